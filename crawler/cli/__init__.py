"""The command `crawl`: one file per command, each imported only when it is used.

1. What the user got wrong, and what we lack, is one line on stderr with what to do next; never a traceback.
2. Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted. A command returns its own, or None for 0.
3. Listing the commands imports none of them: `crawl --help` must be quick.
"""

import gc
import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

import click

from crawler import __version__
from crawler.core.errors import FaircrawlError, leaves
from crawler.core.masking import masked, without

DONE, FAILED, INTERRUPTED = 0, 1, 130

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "run": ("crawler.cli.run", "Crawl from these URLs, in one process tree, until nothing is left to do."),
    "seed": ("crawler.cli.seed", "Give a crawl its seeds, for workers on any number of machines."),
    "import": (
        "crawler.cli.import_",
        "Bring seeds and visited URLs from elsewhere: lists, sitemaps, CDX, Scrapy's feeds.",
    ),
    "worker": ("crawler.cli.worker", "Fetch what all crawls have to do: one of many, on any machine."),
    "scheduler": (
        "crawler.cli.scheduler",
        "Do what the clock asks for: hand out what comes due, and upkeep.",
    ),
    "dashboard": ("crawler.cli.dashboard", "Show what the crawls are doing: the web page, and the API."),
    "demo": ("crawler.cli.demo", "Serve a small hostile web on this machine, and crawl it before your eyes."),
    "status": ("crawler.cli.status", "Show how a crawl is doing: outcomes, speed, slow and failing domains."),
    "list": ("crawler.cli.list", "List the crawls."),
    "pause": ("crawler.cli.pause", "Let a crawl rest, until it is resumed."),
    "resume": ("crawler.cli.resume", "Let a paused or cancelled crawl go on."),
    "cancel": ("crawler.cli.cancel", "End a crawl, whatever is left of it."),
    "delete": ("crawler.cli.delete", "Remove a crawl and all that is only its."),
    "set": ("crawler.cli.set", "Change the limits of a crawl."),
    "refresh": ("crawler.cli.refresh", "Visit URLs, or all of a crawl, or a robots.txt now."),
    "domain": ("crawler.cli.domain", "Look at a domain, slow it, block it, or remove all we hold of it."),
    "dead": ("crawler.cli.dead", "Look at the turns that failed too often, try them again, or drop them."),
    "show": ("crawler.cli.show", "Show what is stored of a URL, now and before."),
    "diff": ("crawler.cli.diff", "Show what changed on a page."),
    "duplicates": (
        "crawler.cli.duplicates",
        "Show which pages are the same, say the same, or nearly do.",
    ),
    "search": ("crawler.cli.search", "Search what was crawled, for crawls that are searched."),
    "why": ("crawler.cli.why", "Tell everything that decides about a URL."),
    "export": ("crawler.cli.export", "Write the pages of a crawl to a file."),
    "schedule": (
        "crawler.cli.schedule",
        "List the timetable's jobs, and when each crawl is visited again.",
    ),
    "migrate": ("crawler.cli.migrate", "Bring the database up to date."),
    "check": (
        "crawler.cli.check",
        "Say what is missing or wrong: database, RabbitMQ, DNS, descriptors, user agent.",
    ),
    "settings": ("crawler.cli.settings", "Show every setting in force, and where it came from."),
}
"""Each command's module, whose attribute `command` it is, and its line in `crawl --help`."""


@dataclass(slots=True)
class Door:
    """What was asked of the program as a whole: the object that every command's context carries."""

    debug: bool = False
    config: Path | None = None
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    """Of the settings: what no error may show."""


class Commands(click.Group):
    """The commands of the table, imported one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as above
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        gc.disable()  # modules are no garbage: to look for some among them was a seventh of the start
        try:
            command = importlib.import_module(COMMANDS[cmd_name][0]).command
        finally:
            gc.enable()
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name][0]}.command is no click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # as above
        """The table, for `crawl --help`."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="faircrawl", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="Read settings from a TOML file."
)
@click.pass_obj
def group(door: Door, *, debug: bool, config: Path | None) -> None:
    """A web crawler that is fair to the web and loses nothing.

    \b
    Example:
      crawl run https://example.com/
      crawl status
    """  # noqa: D301  # \b tells click to keep the lines
    door.debug = debug
    door.config = config


def main(arguments: Sequence[str] | None = None, program: click.Group = group) -> NoReturn:
    """Do what the command line says, and exit."""
    door = Door()
    try:
        status = program.main(arguments, prog_name="crawl", standalone_mode=False, obj=door)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone; without this, Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = FAILED
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        status = error.exit_code
    except click.ClickException as error:
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "crawl"
        hint = f" (see {path} --help)" if isinstance(error, click.UsageError) else ""
        # It quotes what was typed, which may be an address without the option before it.
        said = masked(error.format_message()).rstrip(".")
        status = _tell(door, f"{path}: {said}{hint}", error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        status = _tell(door, "crawl: interrupted", INTERRUPTED)
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        status = _tell(door, f"crawl: {named}{error.strerror or error}", FAILED)
    except Exception as error:  # noqa: BLE001  # the last place: whatever comes here is told, not lost
        status = _report(door, error)
    sys.exit(status if isinstance(status, int) else DONE)


def _report(door: Door, error: Exception) -> int:
    """One line for each thing that went wrong; several tasks may have failed together."""
    found = leaves(error)
    ours = [leaf for leaf in found if isinstance(leaf, FaircrawlError)]
    if len(ours) < len(found):
        strange = next(leaf for leaf in found if not isinstance(leaf, FaircrawlError))
        text = " ".join(f"{type(strange).__name__}: {strange}".split())
        hint = "" if door.debug else "; run again with --debug and report what it shows"
        return _tell(door, f"crawl: this is a bug in faircrawl: {text}{hint}", FAILED)
    lines = dict.fromkeys(line for leaf in ours for line in str(leaf).splitlines())
    return _tell(door, "\n".join(f"crawl: {line}" for line in lines), max(leaf.exit_status for leaf in ours))


def _tell(door: Door, text: str, status: int) -> int:
    if door.debug:
        click.echo(without(traceback.format_exc(), door.secrets), err=True, nl=False)
    click.echo(without(text, door.secrets), err=True)
    return status
