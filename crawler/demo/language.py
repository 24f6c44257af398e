"""The language small webs are written in: a site is paths and what each of them answers.

    {"a.test": {"/": page("start", "/slow"), "/slow": slow(page("late"), 3), "/day/*": calendar}}

``:PORT/`` in a body or a Location becomes the port that the web is served on, which nobody knows before.
"""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from typing import Final, TypeAlias

Headers: TypeAlias = Mapping[str, str]

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Reply:
    """What a path answers. The body goes out as it is."""

    body: bytes = b""
    status: int = 200
    headers: Headers = field(default_factory=dict)
    """Over the usual ones; an empty value takes one away."""
    after: float = 0.0
    """Seconds before the answer."""
    times: int = 1
    """How many times over the body is sent, without so much memory."""
    pause: float = 0.0
    """Seconds between those times."""
    silent: bool = False
    """There is no answer: the line is kept open until the client has enough."""
    title: str | None = None
    """What a reader should find as the page's title."""

    @property
    def length(self) -> int:
        """Bytes of the whole body."""
        return len(self.body) * self.times


Answer: TypeAlias = Reply | Callable[[str], Reply]
"""A reply, or who makes one for a path."""
Site: TypeAlias = Mapping[str, Answer]
"""Answers by path; a path that ends in ``*`` stands for all that begin so. What is not there is 404."""

UNTIL_CLOSED: Final[Headers] = {"Content-Length": "", "Connection": "close"}
LOST: Final = Reply(b"no such page", 404)


def answer_of(site: Site, path: str) -> Reply:
    """What a site answers to a path."""
    found = site.get(path)
    if found is None:
        found = next(
            (site[key] for key in site if key.endswith("*") and path.startswith(key[:-1])),
            LOST,
        )
    return found if isinstance(found, Reply) else found(path)


def page(title: str, *links: str, body: str = "", head: str = "") -> Reply:
    """An HTML page with links."""
    anchors = "".join(f'<p><a href="{link}">{link}</a></p>' for link in links)
    return Reply(f"<!doctype html><title>{title}</title>{head}{anchors}{body}".encode(), title=title)


def lettered(
    title: str, text: str, codec: str, *, header: str = "", meta: str = "", bom: bytes = b""
) -> Reply:
    """A page in the letters of *codec*, which the header, a meta element, a byte order mark or nobody declares."""
    declared = f"<meta charset={meta}>" if meta else ""
    html = f"<!doctype html>{declared}<title>{title}</title><p>{text}"
    kind = f"text/html; charset={header}" if header else "text/html"
    return Reply(bom + html.encode(codec), headers={"Content-Type": kind}, title=title)


def text(words: str) -> Reply:
    """Plain text."""
    return Reply(words.encode(), headers={"Content-Type": "text/plain"})


def robots(*disallow: str, crawl_delay: float | None = None) -> Reply:
    """A robots.txt for everybody."""
    lines = ["User-agent: *", *(f"Disallow: {path}" for path in disallow)]
    if crawl_delay is not None:
        lines.append(f"Crawl-delay: {crawl_delay:g}")
    return text("\n".join(lines) + "\n")


def redirect(to: str, status: int = 301) -> Reply:
    """Elsewhere."""
    return Reply(b"", status, {"Location": to})


def status(code: int, **headers: str) -> Reply:
    """A bare status; ``retry_after="3"`` is the header Retry-After."""
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return Reply(b"", code, named)


def slow(reply: Reply, seconds: float) -> Reply:
    """The same, after so many seconds."""
    return replace(reply, after=seconds)


def trickle(title: str, pieces: int, pause: float) -> Reply:
    """A page that comes in pieces, with seconds between them."""
    # A piece is the whole page so far as HTML goes: the first title counts.
    return replace(page(title, body="<p>drop</p>"), times=pieces, pause=pause)


def silence() -> Reply:
    """A server that takes the request and says nothing."""
    return Reply(silent=True)


def huge(mebibytes: int) -> Reply:
    """A page of so many MiB, which does not say so beforehand: it ends with the connection."""
    return Reply(b"<p>and so on" + b" " * (MIB - 12), headers=UNTIL_CLOSED, times=mebibytes)


def bomb(mebibytes: int) -> Reply:
    """A thousandth of so many MiB, which unpacks to all of them."""
    return Reply(gzip.compress(bytes(mebibytes * MIB), 9), headers={"Content-Encoding": "gzip"})


def once(first: Reply, then: Reply) -> Callable[[str], Reply]:
    """The first time one reply, and another ever after."""
    replies = chain([first], repeat(then))
    return lambda _path: next(replies)


def endless(path: str) -> Reply:
    """A page of a calendar without end: `/day/7` links to the days around it, and to the same in other words."""
    folder, _, day = path.rpartition("/")
    number = int(day.partition("?")[0] or 0)
    return page(
        f"day {number}", f"{folder}/{number + 1}", f"{folder}/{number + 30}", f"{folder}/{number}?view=week"
    )


def further(path: str) -> Reply:
    """A redirect that leads to another one, for ever: `/to/1` to `/to/2`."""
    folder, _, number = path.rpartition("/")
    return redirect(f"{folder}/{int(number) + 1}", 302)
