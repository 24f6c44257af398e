"""What the commands that look have in common: how they run, and how they print.

On a terminal, tables and sentences fit its width; anywhere else a row is a line, for grep and awk.
"""

import asyncio
import json
import shutil
import signal
import sys
import textwrap
from collections.abc import Coroutine, Sequence
from typing import Any

import click
import uvloop

from crawler.cli import DONE
from crawler.phrases import seen


def run(work: Coroutine[Any, Any, int | None]) -> int:
    """Run a command to its end. SIGTERM ends it as Ctrl-C does: the embedded server is not left behind."""

    async def stoppable() -> int | None:
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return uvloop.run(stoppable()) or DONE
    except asyncio.CancelledError:
        raise click.Abort from None


def print_json(value: object) -> None:
    """JSON for a program: indented, in UTF-8 whatever the locale, and without what UTF-8 cannot say."""
    write((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))


def write(data: bytes) -> None:
    """Bytes to standard output, as they are."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, indent: str = "") -> None:
    """Rows under titles; a title that starts with ``>`` has numbers below it."""
    plain = [title.removeprefix(">") for title in titles]
    cells = [[seen(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        # Only here: to import rich takes a tenth of the time that a command takes.
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        if indent:
            table.add_column("", width=len(indent) - 2)
        for title, name in zip(titles, plain, strict=True):
            table.add_column(name, justify="right" if title.startswith(">") else "left", overflow="fold")
        for row in cells:
            table.add_row(*([""] if indent else []), *map(Text, row))
        Console(highlight=False).print(table)
        return
    widths = [max(map(len, column)) for column in zip(plain, *cells, strict=True)]
    for row in [plain, *cells]:
        padded = (
            f"{cell:>{width}}" if title.startswith(">") else f"{cell:{width}}"
            for title, cell, width in zip(titles, row, widths, strict=True)
        )
        click.echo(indent + "  ".join(padded).rstrip())


def print_heading(text: str) -> None:
    """A line that stands above others."""
    click.secho(seen(text), bold=True)


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """A label and what is to be said of it, wrapped beside the label on a terminal."""
    width = max((len(label) for label, _ in facts), default=0)
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    before = None
    for label, text in facts:
        head = f"  {label if label != before else '':{width}}  "
        before = label
        body = seen(text)
        if columns > len(head) + 20:
            lines = textwrap.wrap(
                body, columns - len(head), break_long_words=False, break_on_hyphens=False
            ) or [""]
            body = f"\n{' ' * len(head)}".join(lines)
        click.echo((head + body).rstrip())
