"""Sitemaps and feeds in, links out.

    bytes ──► text, unpacked and mended ──► entries as written ──► Sitemap: canonical, unique, bounded
              (sitemap_text)                (sitemap_xml)

1. `read_sitemap` raises nothing but MemoryError, whatever a site sends; time grows with the bytes and no faster.
2. URLs are canonical and unique, at most `MAX_URLS`, of at most `sitemap_text.MAX_BYTES`.
3. Broken XML gives what could be read of it. Nothing is opened, and no entity is expanded.

The protocol: https://www.sitemaps.org/protocol.html. Feeds: RSS 0.9x, 1.0 and 2.0, Atom (RFC 4287).
"""

import re
from collections.abc import Container, Iterator
from datetime import datetime
from itertools import chain
from typing import Final, Literal, TypeAlias

import msgspec

from crawler.core.lastmod import lastmod
from crawler.core.revisit import changefreq
from crawler.core.sitemap_text import Mender, Text
from crawler.core.sitemap_xml import MAX_TEXT, ROOTS, Elements, Reference, Said, XmlReader
from crawler.core.urls import canonical, origin_of, path_of

Form: TypeAlias = Literal["urlset", "index", "rss", "atom", "text"]

MAX_URLS: Final = 50_000
"""Kept of one sitemap (the protocol, "Using Sitemap index files"); as many sitemaps of one index."""
MAX_LEVEL: Final = 3
"""How deep indexes of indexes are followed: robots.txt and the usual places name level 0."""
MAX_NAMED: Final = 500_000
"""Read of one sitemap, however often it repeats them: 50,000 pages of 50 MB name seven alternates each."""
MAX_MENDED: Final = 500_000
CUT_OFF: Final = "it is cut off"
FEEDS: Final = frozenset({"rss", "atom"})

_HEAD: Final = re.compile(
    r"<!--.*?(?:-->|\Z)|<!doctype\s+(?!html)[^\[>]*+(?:\[.*?(?:\]\s*>|\Z)|>|\Z)"
    r"|(?P<html><(?:!doctype\s+)?html[\s>/])"
    r"|<(?:[A-Za-z_][\w.-]*:)?(?P<root>urlset|sitemapindex|rss|rdf|feed)(?=[\s>/])",
    re.DOTALL | re.IGNORECASE,
)
"""What stands before the first element is passed over, and with it every DTD: no entity is ever declared."""
_ELEMENT: Final = re.compile(r"<([A-Za-z_][\w.:-]{0,40})")
_WHITE: Final = " \t\r\n\f\v\0\u00a0\ufeff\u200b"
_LINE_END: Final = re.compile(r"\r\n|[\r\n]")
_ABSOLUTE: Final = re.compile(r"https?:", re.IGNORECASE)
_RELATIVE: Final = re.compile(r"https?:|[/?]|\.\.?/", re.IGNORECASE)


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A URL that a sitemap names, and what it says of it."""

    url: str
    """Canonical."""
    lastmod: datetime | None = None
    """When it changed last, in UTC; of a feed's item, when it was updated or else published."""
    changefreq: float | None = None
    """Seconds between its changes."""
    priority: float | None = None
    """0.0 to 1.0, among the pages of its site."""


class Sitemap(msgspec.Struct, frozen=True, array_like=True):
    """What a sitemap or a feed says."""

    form: Form | None
    """None: it is no sitemap; `detail` says what it is."""
    entries: tuple[Entry, ...] = ()
    """Pages: unique, in the order in which they were named."""
    sitemaps: tuple[Entry, ...] = ()
    """Of an index: further sitemaps, or indexes."""
    named: int = 0
    """How many URLs were read, those included that cannot be crawled."""
    detail: str = ""
    """Why not all of it could be read."""


def read_sitemap(body: bytes, url: str, now: datetime) -> Sitemap:
    """What the bytes of a sitemap or a feed say.

    Args:
        body: content encodings removed; gzip, if it is itself a file of that, whatever it is called.
        url: where it came from, canonical.
        now: what no page can have changed after.

    Raises:
        MemoryError: there is not enough of it; a few hundred megabytes always are.
    """
    text = Text(body)
    pieces = iter(text)
    head = next(pieces)
    at, form = _root(head)
    found = _Found(now)
    if form == "html":
        return Sitemap(None, detail="it is a page of HTML")
    if form:
        detail = _read_xml(head[at:], pieces, Elements(form, url, found.take), head.count("\n", 0, at))
    elif _ABSOLUTE.match(head.lstrip(_WHITE)):
        form, detail = "text", ""
        _read_text(head, pieces, found)
    else:
        return Sitemap(None, detail=text.detail or _looks_like(head))
    return Sitemap(
        form,  # type: ignore[arg-type]  # one of them, by `ROOTS`
        tuple(found.pages.values()),
        tuple(found.sitemaps.values()),
        len(found.pages) + len(found.sitemaps) + found.unusable,
        found.detail or text.detail or detail,
    )


def may_name(
    url: str,
    sitemap_url: str,
    found_in_robots: bool,  # noqa: FBT001 - a fact about it, no choice of what to do
    vouched: Container[str],
    form: Form | None = None,
) -> bool:
    """Whether a sitemap may speak for a URL (the protocol, "Sitemap file location" and "Sitemaps & Cross Submits").

    It speaks for what lies below its own folder; for all of its origin, if that origin's robots.txt names it; for
    another origin, only if that one's own robots.txt does. A feed speaks for its origin.

    Args:
        url: canonical, that it names.
        sitemap_url: canonical.
        found_in_robots: whether the robots.txt of its origin names it, or an index above it.
        vouched: origins whose own robots.txt names it, or an index above it.
        form: of the sitemap.
    """
    origin = origin_of(url)
    if origin != origin_of(sitemap_url):
        return origin in vouched
    if found_in_robots or form in FEEDS:
        return True
    folder = path_of(sitemap_url).partition("?")[0].rpartition("/")[0]
    return path_of(url).startswith(f"{folder}/")


def usual_places(origin: str) -> tuple[str, ...]:
    """Where sitemaps lie that nobody names, canonical; in this order."""
    return (f"{origin}/sitemap.xml", f"{origin}/sitemap_index.xml")


class _Found:
    """What the entries come to."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self.pages: dict[str, Entry] = {}
        self.sitemaps: dict[str, Entry] = {}
        self.unusable = 0
        self.detail = ""
        """Why no more is taken."""
        self._read = 0

    def take(self, said: Said) -> bool:
        """Keep what an entry names; False: enough."""
        facts = self._facts(said.fields)
        kept = self.sitemaps if said.is_sitemap else self.pages
        for reference in _references(said):
            self.keep(kept, reference, facts)
        for reference in said.alternates:
            self.keep(self.pages, reference, _NOTHING)
        return not self.detail

    def keep(self, kept: dict[str, Entry], reference: Reference, facts: "_Facts") -> None:
        """Keep a URL, with what is said of it."""
        text = reference.text.strip(_WHITE)
        usable = "\ufffd" not in text and (reference.is_attribute or _RELATIVE.match(text) is not None)
        url = canonical(text, reference.base) if usable and text else None
        if url is None:
            self.unusable += 1
        else:
            self._keep(kept, url, facts)
        self._read += 1
        if self._read > MAX_NAMED:
            self.detail = f"it names more than {MAX_NAMED:,} URLs, many of them twice: the rest was not read"

    def _keep(self, kept: dict[str, Entry], url: str, facts: "_Facts") -> None:
        if (known := kept.get(url)) is None:
            if len(kept) < MAX_URLS:
                kept[url] = Entry(url, *facts)
            else:
                self.detail = f"it names more than {MAX_URLS:,} URLs: the rest was not read"
        elif facts != _NOTHING and known == Entry(url):
            kept[url] = Entry(url, *facts)  # it was named before as another's alternate

    def _facts(self, fields: dict[str, str]) -> "_Facts":
        if not fields:
            return _NOTHING
        dates = (fields[name] for name in _DATES if name in fields)
        changed = next(filter(None, (lastmod(text, self._now) for text in dates)), None)
        return changed, changefreq(fields.get("changefreq", "")), _priority(fields.get("priority", ""))


_Facts: TypeAlias = tuple[datetime | None, float | None, float | None]
_NOTHING: Final[_Facts] = (None, None, None)
_DATES: Final = ("lastmod", "updated", "modified", "pubdate", "date", "published", "issued")
_PRIORITY: Final = re.compile(r"[01](?:[.,]\d{0,9})?|[.,]\d{1,9}", re.ASCII)


def _references(said: Said) -> list[Reference]:
    """The pages (or the sitemap) that an entry is about: one, but for Atom, which may name several."""
    fields = said.fields
    if "loc" in fields:
        return [Reference(fields["loc"], said.base)]
    if fields.get("link", "").strip(_WHITE):
        return [Reference(fields["link"], said.base)]
    if said.links:
        return said.links
    guid = fields.get("guid", "").strip(_WHITE)
    if said.guid_is_link and _ABSOLUTE.match(guid):
        return [Reference(guid, said.base)]
    return [Reference(said.about, said.base)] if said.about else []


def _priority(text: str) -> float | None:
    found = _PRIORITY.fullmatch(text.strip())
    value = float(found[0].replace(",", ".")) if found else None
    return value if value is None or value <= 1 else None


def _root(head: str) -> tuple[int, str]:
    """Where the first element that matters begins, and the form it tells: "html" for a page, empty for none."""
    for found in _HEAD.finditer(head):
        if found["html"]:
            return found.start(), "html"
        if found["root"] and "\0" not in head[: found.start()]:
            return found.start(), ROOTS[found["root"].lower()]
    return 0, ""


def _looks_like(head: str) -> str:
    """What it is that is no sitemap, in a few words."""
    start = head.lstrip(_WHITE)
    if not start:
        return "it is empty"
    if "\0" in start:
        return "it is binary"
    if start[0] in "{[":
        return "it is JSON"
    element = _ELEMENT.search(start)
    if element is not None and start[0] == "<":
        return f"it begins with <{element[1]}>"
    return "it is neither a sitemap in XML, nor a feed, nor a list of URLs"


def _read_xml(first: str, rest: Iterator[str], elements: Elements, lines_before: int) -> str:
    """Read the elements; why not all of it could be read."""
    reader, mender = XmlReader(elements, lines_before), Mender()
    for piece in chain([first], rest):
        if not reader.feed(mender.mend(piece)):
            break
        if mender.mended > MAX_MENDED:
            reader.detail = f"its XML has more than {MAX_MENDED:,} faults and comments: the rest was not read"
            break
    else:
        reader.feed(mender.mend("", last=True) + b"\n")
    detail = reader.detail or ("" if elements.is_whole or elements.is_over else CUT_OFF)
    elements.close()
    return detail


def _read_text(first: str, rest: Iterator[str], found: _Found) -> None:
    """Read one URL a line."""
    back = ""
    for piece in chain([first], rest, ["\n"]):
        *lines, back = _LINE_END.split(back + piece)
        for line in filter(str.strip, lines):
            # What is longer than a URL may be is none.
            text = line.strip(_WHITE) if len(line) <= MAX_TEXT else ""
            found.keep(found.pages, Reference(text if _ABSOLUTE.match(text) else "", None), _NOTHING)
        if found.detail:
            return
        back = back[: MAX_TEXT + 1]  # so much is enough to see that
