"""The program `crawl` from outside: its settings, its help, and what it says when something is wrong."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click
import pytest

from crawler import cli
from crawler.core.errors import DatabaseUnavailableError

ROOT: Final = Path(__file__).parent.parent
PLAIN: Final = {key: value for key, value in os.environ.items() if not key.startswith("CRAWL_")}


def crawl(*arguments: str, environ: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run the real program."""
    return subprocess.run(
        [sys.executable, "-m", "crawler", *arguments],
        cwd=ROOT,
        env={**PLAIN, **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_settings_tell_value_and_origin() -> None:
    """Each setting in force is a line: name, value, where it came from."""
    done = crawl("settings", environ={"CRAWL_DELAY": "90s"})
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in done.stdout.splitlines()}

    assert (done.returncode, done.stderr) == (0, "")
    assert rows["delay"] == ["90s", "environment CRAWL_DELAY"]
    assert rows["work_lease"] == ["1m", "default"]


def test_settings_are_readable_by_programs() -> None:
    """`--json` gives durations in seconds and sizes in bytes, and no password."""
    done = crawl("settings", "--json", environ={"CRAWL_DATABASE_URL": "postgresql://u:hidden@h/d"})
    rows = {row["name"]: row["value"] for row in json.loads(done.stdout)}

    assert (rows["delay"], rows["max_body"], rows["tls_verify"]) == (1.0, 10 << 20, True)
    assert rows["database_url"] == "postgresql://u:********@h/d"


def test_a_file_is_named_on_the_command_line(tmp_path: Path) -> None:
    """`--config FILE` stands before the command."""
    config = tmp_path / "crawl.toml"
    config.write_text('delay = "7s"\n')
    done = crawl("--config", str(config), "settings")

    assert f"file {config}" in done.stdout


def test_a_bad_setting_is_wrong_usage() -> None:
    """A line for each bad value on stderr, exit status 2, nothing on stdout."""
    done = crawl("settings", environ={"CRAWL_DELAY": "soon", "CRAWL_GRACE": "x"})

    assert (done.returncode, done.stdout) == (2, "")
    assert [line.partition(" from")[0] for line in done.stderr.splitlines()] == [
        "crawl: delay",
        "crawl: grace",
    ]


def test_a_doubt_is_told_and_no_error() -> None:
    """A warning goes to stderr, and the command goes on."""
    done = crawl("settings", environ={"CRAWL_DELAI": "1s"})

    assert done.returncode == 0
    assert done.stderr == (
        "crawl: warning: nothing reads the environment variable CRAWL_DELAI (did you mean CRAWL_DELAY?)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("jump",), "crawl: No such command 'jump' (see crawl --help)\n"),
        (("settings", "--fast"), "crawl settings: No such option '--fast' (see crawl settings --help)\n"),
    ],
)
def test_wrong_usage_is_one_line(arguments: tuple[str, ...], expected: str) -> None:
    """What cannot be understood is one line that says where help is, and exit status 2."""
    done = crawl(*arguments)

    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_help_lists_the_commands_quickly() -> None:
    """`crawl --help` lists every command of the table and imports none of them, nor anything slow."""
    code = """import sys; from crawler.cli import main
try: main(["--help"])
finally: print(*sys.modules, file=sys.stderr)"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = set(done.stderr.split())

    assert all(f"\n  {name} " in done.stdout for name in cli.COMMANDS)
    assert not {module for module, _ in cli.COMMANDS.values()} & imported
    assert not {"asyncio", "rich", "aiohttp", "asyncpg", "crawler.settings"} & imported


def test_every_command_has_help_with_an_example() -> None:
    """The table names modules that exist, and each command's help shows an example."""
    for name in cli.COMMANDS:
        command = cli.group.get_command(click.Context(cli.group), name)

        assert command is not None
        assert "Example" in (command.help or "")


def test_version_and_module_are_the_same_program() -> None:
    """`--version` names the program and its version."""
    assert crawl("--version").stdout.startswith("faircrawl ")


def test_a_reader_that_leaves_is_no_error() -> None:
    """When whoever reads our output leaves early, nothing is said about it."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "crawler", "settings"],
        cwd=ROOT, env=PLAIN, stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writing)

    assert (done.returncode, done.stderr) == (1, "")


def ended(error: BaseException, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """How the program ends when a command raises this."""

    class Failing(cli.Commands):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:  # noqa: ARG002  # click's signature
            def fail() -> None:
                raise error

            return click.Command(cmd_name, callback=fail)

    failing = Failing(callback=cli.group.callback, params=cli.group.params)
    with pytest.raises(SystemExit) as caught:
        cli.main([*arguments, "run"], failing)
    assert isinstance(caught.value.code, int)
    return caught.value.code, capsys.readouterr().err


def test_our_own_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What we raise on purpose is its message, with its exit status, also out of a group of tasks."""
    line = f"crawl: {DatabaseUnavailableError()}\n"
    group = ExceptionGroup("tasks", [DatabaseUnavailableError(), DatabaseUnavailableError()])

    assert ended(DatabaseUnavailableError(), capsys) == (1, line)
    assert ended(group, capsys) == (1, line)


def test_a_bug_is_one_line_that_asks_for_more(capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody expected is said to be a bug; `--debug` shows where."""
    group = ExceptionGroup("tasks", [DatabaseUnavailableError(), KeyError("x")])
    line = "crawl: this is a bug in faircrawl: KeyError: 'x'"

    assert ended(group, capsys) == (1, f"{line}; run again with --debug and report what it shows\n")
    status, text = ended(group, capsys, "--debug")
    assert status == 1
    assert "Traceback" in text
    assert text.endswith(f"{line}\n")


def test_an_interruption_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    """Control-C ends with 130."""
    status, text = ended(KeyboardInterrupt(), capsys)

    assert (status, text.strip()) == (130, "crawl: interrupted")
