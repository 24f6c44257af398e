"""A page as those who use the crawler see it: hooks, while it is fetched, and programs that read what was stored.

    bytes and facts ──► Page ──asked for──► text, html, links, document, soup

1. What takes time is made when it is first asked for, and kept.
2. Nothing of it can be changed: what a hook makes of a page is what it returns.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from functools import cached_property
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self

from crawler.adapters.zstd import unpack
from crawler.core.content import UnreadableError, decode
from crawler.core.links import parse_page
from crawler.core.trees import html_tree, visible_text

if TYPE_CHECKING:
    from bs4 import BeautifulSoup
    from turbohtml import Document

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Headers(Mapping[str, str]):
    """The headers of an answer, as received: names in any case, the first of several; `pairs` has all of them in order."""

    def __init__(self, pairs: Sequence[tuple[str, str]] = ()) -> None:
        self.pairs = tuple((name, value) for name, value in pairs)
        self._first: dict[str, str] = {}
        for name, value in self.pairs:
            self._first.setdefault(name.lower(), value)

    def __getitem__(self, name: str) -> str:
        return self._first[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    def __repr__(self) -> str:
        return f"Headers({list(self.pairs)!r})"

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of that name, in order."""
        wanted = name.lower()
        return tuple(value for key, value in self.pairs if key.lower() == wanted)


@dataclass(frozen=True)
class Page:
    """One page, as it was fetched last.

    Moments have a time zone, sizes are bytes. Whatever is text holds no NUL and no lone surrogate.
    """

    url: str
    """Canonical (WHATWG)."""
    _: KW_ONLY
    crawl: str = ""
    """The name of the crawl that it belongs to."""
    depth: int = 0
    """Links from a seed."""
    status: int | None = None
    """Of HTTP."""
    outcome: str = "ok"
    """How the fetch ended: ``ok``, ``redirect``, ``gone``, ... (docs/schema.md lists them)."""
    headers: Headers = field(default_factory=Headers, repr=False)
    """Of the answer."""
    body: bytes = field(default=b"", repr=False)
    """Content encodings removed; empty if none is kept."""
    content_type: str | None = None
    """The media type without parameters, lower case, as the bytes say."""
    charset: str | None = None
    """In which the body was read: a WHATWG name."""
    title: str | None = None
    language: str | None = None
    """A BCP 47 tag, as the page declares it."""
    directives: tuple[str, ...] = ()
    """Robots directives of the page, e.g. ``("nofollow", "noindex")``."""
    redirect_to: str | None = None
    """The target of a redirect, canonical."""
    digest: str | None = None
    """SHA-256 of the body, in hex."""
    first_at: datetime | None = None
    """When it was first stored."""
    fetched_at: datetime | None = None
    """When it was last seen like this."""
    changed_at: datetime | None = None
    """When it last became another."""
    fields: Mapping[str, Any] = field(default_factory=lambda: NOTHING, repr=False)
    """What hooks said of it."""

    @classmethod
    def of_row(cls, row: Any, crawl: str) -> Self:
        """A stored page: a row of the statement `export`, of the crawl of that name. Raises DatabaseError: its body is damaged."""
        return cls(
            row["url"],
            crawl=crawl,
            depth=row["depth"],
            status=row["status"],
            outcome=row["outcome"],
            headers=Headers([(name, value) for name, value in json.loads(row["headers"])]),
            body=b"" if row["data"] is None else unpack(row["data"]),
            content_type=row["content_type"],
            charset=row["charset"],
            title=row["title"],
            language=row["language"],
            directives=tuple(word for word in row["directives"] if word),
            redirect_to=row["redirect_to"],
            digest=None if row["digest"] is None else row["digest"].hex(),
            first_at=row["first_at"],
            fetched_at=row["fetched_at"],
            changed_at=row["changed_at"],
            fields=MappingProxyType({} if row["fields"] is None else json.loads(row["fields"])),
        )

    @property
    def html(self) -> str:
        """The body as text, in the charset that it was read in. Of what is no HTML too."""
        return decode(self.body, self.charset)[0]

    @cached_property
    def text(self) -> str:
        """What a reader sees of it: of HTML all but head, scripts, styles and templates; empty for what is not text."""
        return visible_text(self.body, self.content_type, self.charset, perf_counter)

    @cached_property
    def links(self) -> tuple[str, ...]:
        """What it links to: canonical, unique, in document order, without those marked nofollow; at most 5,000."""
        try:
            return parse_page(
                self.body, self.url, self.content_type, self.headers.pairs, clock=perf_counter
            ).links
        except UnreadableError:
            return ()

    @cached_property
    def document(self) -> "Document":
        """The body as a tree (turbohtml): ``page.document.select_one("h1").text``, ``.json_ld()``, ``.opengraph()``, ..."""
        return html_tree(self.body, self.charset, perf_counter)[0]

    @cached_property
    def soup(self) -> "BeautifulSoup":
        """The body as a tree of BeautifulSoup, read by html5lib: 60 times slower than `document`."""
        from bs4 import BeautifulSoup  # noqa: PLC0415 - few ask for it

        return BeautifulSoup(self.html, "html5lib")
