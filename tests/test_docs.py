"""What the documents say of the program is so: the reference, the names of targets and commands, the links."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import click
import pytest

from crawler.cli import COMMANDS, group

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = [
    path.relative_to(ROOT).as_posix()
    for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))
]
each_page = pytest.mark.parametrize("page", PAGES)


def text(page: str) -> str:
    """What a page says."""
    return (ROOT / page).read_text("utf-8")


def code(page: str) -> list[str]:
    """What stands in a page as code: the lines of blocks for a shell, and what stands between backticks."""
    said = text(page)
    blocks = re.findall(r"^```sh\n(.*?)^```", said, re.MULTILINE | re.DOTALL)
    bare = re.sub(r"^```.*?^```", "", said, flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", bare)


def called(page: str) -> list[list[str]]:
    """The words of every `crawl ...` of a page, without what is in front of the command and behind a comment."""
    pattern = r"(?:^|[\s/;&|(])crawl ((?:--config \S+ |--debug )*)([a-z]\w*\b[^#|&;]*)"
    return [match[2].split() for line in code(page) for match in re.finditer(pattern, line)]


def test_the_reference_is_what_the_program_says() -> None:
    """docs/reference.md equals what docs/reference.py prints: `make reference` writes it anew."""
    printed = subprocess.run(
        [sys.executable, "docs/reference.py"], cwd=ROOT, capture_output=True, check=True, encoding="utf-8"
    )

    assert text("docs/reference.md") == printed.stdout


@each_page
def test_every_target_of_make_exists(page: str) -> None:
    """Every `make TARGET` of a page is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    named = {found[1] for line in code(page) if (found := re.match(r"make ([a-z-]+)", line))}

    assert set() == named - targets


@each_page
def test_every_command_exists(page: str) -> None:
    """Every `crawl COMMAND` of a page is a command."""
    assert set() == {words[0] for words in called(page)} - set(COMMANDS)


@each_page
def test_every_option_exists(page: str) -> None:
    """Every option that a page gives to a command is one of that command's."""
    context = click.Context(group, **group.context_settings)
    strange = []
    for name, *words in called(page):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group) and words:
            command = command.get_command(context, words[0]) or command
        known = {opt for param in command.get_params(context) for opt in (*param.opts, *param.secondary_opts)}
        given = {word.strip("[]`").partition("=")[0] for word in words if word.strip("[]").startswith("--")}
        strange += [f"crawl {name} {option}" for option in sorted(given - known)]

    assert strange == []


@each_page
def test_every_relative_link_leads_to_a_file(page: str) -> None:
    """A link or a picture that names no host leads to a file that is there, and to a heading if it names one."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        file = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        if not file.exists() or (heading and heading not in headings(file)):
            broken.append(target)

    assert broken == []


def headings(file: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
