# ruff: noqa: INP001  # a script, in no package
"""What docs/reference.md says, taken from the program itself: `make reference` writes it, a test compares."""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from crawler.cli import group
from crawler.settings import FIELDS, describe, load

HEAD: Final = """\
# Reference

Made by `make reference` from the program itself: change the program, not this page.
How the settings and commands are meant to be used is told in the [tutorial](tutorial.md) and in [operations](operations.md).

Exit status of every command: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
What went wrong is one line on standard error; `crawl --debug COMMAND` shows the traceback too.
"""
SETTINGS: Final = """\
## Settings

A setting is given in one of these places; the later wins:

1. a TOML file, named by `crawl --config FILE` or `CRAWL_CONFIG`: `delay = "5s"`,
2. a file that holds the value alone: `/run/secrets/crawl_delay`, or the file that `CRAWL_DELAY_FILE` names,
3. the environment: `CRAWL_DELAY=5s`,
4. an option of the command, where it has one: `--delay 5s`.

A name that nobody knows is an error in a file and a warning in the environment.
The word `none` takes back an optional setting, and what is empty counts as not given.
`crawl settings` shows every setting in force, and which of these places it came from.

| setting | default | takes | meaning |
| --- | --- | --- | --- |"""
FAR: Final = 1 << 30
"""A bound beyond this is there for the database, not for a person."""


def main() -> None:
    """Print the page."""
    sys.stdout.write("\n".join(page()) + "\n")


def page() -> Iterator[str]:
    """The lines of the page."""
    yield HEAD
    yield from settings()
    yield "\n## Commands\n"
    context = click.Context(group, info_name="crawl", **group.context_settings)
    yield "```text\ncrawl [--config FILE] [--debug] COMMAND ...\n```\n"
    found = list(commands(group, context))
    for one in found:
        yield f"- [`{one.command_path}`](#{one.command_path.replace(' ', '-')})"
    for one in found:
        yield from told(one.command, one)


def commands(of: click.Group, context: click.Context) -> Iterator[click.Context]:
    """A context for each command, and after a group for each of its own."""
    for name in of.list_commands(context):
        command = of.get_command(context, name)
        if command is not None:
            inner = click.Context(command, parent=context, info_name=name)
            yield inner
            if isinstance(command, click.Group):
                yield from commands(command, inner)


def settings() -> Iterator[str]:
    """The table of settings, with defaults that hang on no machine."""
    yield SETTINGS
    for row in describe(load(overrides={}, environ={}, secrets_dir=Path("/nowhere"))):
        kind = FIELDS[row.name].metadata["kind"]
        cells = (f"`{row.name}`", f"`{row.value}`", kind.expected, row.help)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def told(command: click.Command, context: click.Context) -> Iterator[str]:
    """One command: how it is called, what it does, its examples, its options."""
    yield f"\n### {context.command_path}\n"
    yield f"```text\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    prose, _, example = inspect.cleandoc(command.help or "").partition("\b\nExample:\n")
    yield "\n".join(sentences(prose))
    if example:
        yield f"\n```sh\n{inspect.cleandoc(example)}\n```"
    if command.epilog:
        yield "\n" + "\n".join(sentences(command.epilog))
    yield "\n| option | meaning |\n| --- | --- |"
    for param in command.get_params(context):
        record = param.get_help_record(context)
        if record is not None and isinstance(param, click.Option) and param.name != "help":
            yield f"| `{escaped(record[0].replace('INTEGER RANGE', 'N'))}` | {escaped(bounded(record[1]))} |"


def sentences(prose: str) -> Iterator[str]:
    """One a line."""
    for number, paragraph in enumerate(prose.strip().split("\n\n")):
        if number:
            yield ""
        yield from re.split(r"(?<=[.:]) (?=[A-Z`])", " ".join(paragraph.split()))


def bounded(about: str) -> str:
    """The bounds of a number in words; those that nobody reaches are left out."""

    def words(found: re.Match[str]) -> str:
        least, most = found[1], found[2]
        return f"[{least} to {most}]" if int(most) < FAR else "" if least == "0" else f"[at least {least}]"

    return re.sub(r"\[(\d+)<=x<=(\d+)\]", words, about).replace("x>=1]", "at least 1]").strip()


def escaped(text: str) -> str:
    """Text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
