"""Hooks that do what the path of the page says: every way in which a hook may go wrong, and some in which it does not."""

import asyncio
import ctypes
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final

from crawler.hooks import Found, Page, Refuse

HOSTILE: Final = {
    "nul\0": "a\0b",
    "half": "\ud800 \udfff",
    "odd": float("nan"),
    "far": [float("inf"), -1.5, 10**30],
    "line": "\u2028\x85\r\n</script>",
    "when": date(2026, 1, 31),
    "nested": {"deep": ({"er": None},)},
}
STARTED: Final = time.monotonic()


class Odd:
    """What says nothing of itself."""

    def __repr__(self) -> str:
        raise ValueError


def raises(_: Page) -> None:
    """Raise."""
    raise KeyError("price")


def raises_silently(_: Page) -> None:
    """Raise what cannot even be told."""

    class OddError(Exception):
        def __str__(self) -> str:
            raise ValueError

    raise OddError


def busy(_: Page) -> None:
    """Compute for ever."""
    while True:
        pass


def sleeps(_: Page) -> None:
    """Sleep for ever."""
    time.sleep(3600)


def stuck(_: Page) -> None:
    """Hold the interpreter's lock for ever."""
    re.match(r"(a+)+$", "a" * 60 + "b")


async def late(_: Page) -> None:
    """Wait for ever."""
    await asyncio.sleep(3600)


def leaves(_: Page) -> None:
    """End the process."""
    os._exit(0)


def quits(_: Page) -> None:
    """Ask the process to end."""
    sys.exit("enough")


def crashes(_: Page) -> None:
    """Take the process down."""
    ctypes.string_at(0)


def eats(_: Page) -> None:
    """Take more memory than there is."""
    hoard = bytearray(400 << 20)
    raise AssertionError(len(hoard))


def forks(_: Page) -> Mapping[str, Any]:
    """Come back twice."""
    os.fork()
    return {"pid": os.getpid()}


def prints(_: Page) -> Mapping[str, Any]:
    """Talk, and try to take what is not meant for it."""
    sys.stdout.write("\x00\x00\x00\x05hello")
    os.write(1, b"\xff" * 100)
    return {"read": sys.stdin.read() + os.read(0, 10).decode()}


def hostile(_: Page) -> Mapping[str, Any]:
    """Say what PostgreSQL and JSON know no word for."""
    return HOSTILE


def nested(_: Page) -> Mapping[str, Any]:
    """Say what holds itself."""
    fields: dict[str, Any] = {}
    fields["self"] = fields
    return fields


WAYS: Final[Mapping[str, tuple[str, Callable[[Page], Any]]]] = {
    "raises": ("raised", raises),
    "raises-silently": ("raised", raises_silently),
    "quits": ("raised", quits),
    "eats": ("raised", eats),
    "busy": ("slow", busy),
    "sleeps": ("slow", sleeps),
    "stuck": ("slow", stuck),
    "late": ("slow", late),
    "leaves": ("died", leaves),
    "crashes": ("died", crashes),
    "nonsense": ("wrong", lambda _: 42),
    "text": ("wrong", lambda _: "fields"),
    "object": ("wrong", lambda _: {"odd": Odd()}),
    "bytes": ("wrong", lambda _: {"image": b"GIF89a"}),
    "number": ("wrong", lambda _: {1: "one"}),
    "too-large": ("wrong", lambda _: {"text": "x" * (1 << 20)}),
    "nested": ("wrong", nested),
    "one-link": ("wrong", lambda _: Found(links="http://a.test/")),
    "prints": ("ok", prints),
    "forks": ("ok", forks),
    "hostile": ("ok", hostile),
    "refused": ("refused", lambda _: Refuse("no\nmore\0 of " + "that " * 200)),
    "links": (
        "ok",
        lambda _: Found({"n": 3}, ["/more", "http://elsewhere.test/", "mailto:x", "\ud800", "#"]),
    ),
}
"""What the last part of a path makes a page's hook do, and how that ends."""


def fails(page: Page) -> Any:
    """Do what the path says."""
    _, way = WAYS.get(page.url.rpartition("/")[2], ("ok", lambda _: None))
    return way(page)


async def tells(page: Page) -> Mapping[str, Any]:
    """What an honest hook says."""
    await asyncio.sleep(0)
    return {"title": page.title, "links": len(page.links), "seen": sorted(page.fields)}


def trivial(page: Page) -> Mapping[str, Any]:
    """What costs nothing."""
    return {"title": page.title}
