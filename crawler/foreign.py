"""Files of other programs, read a piece at a time: what each says of URLs.

    bytes ──► unpacked, if they are packed ──► recognised by how they begin ──► Form.feed ──► Mention, Fault, ...

1. Memory holds one line or item, of however many; only of a sitemap the whole, which has its own bound.
2. What a file is, its content says; its name only helps to say what it is not.
3. Nothing is executed, expanded or opened: what is pickled is refused.
"""

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from crawler.adapters.zstd import MAGIC as ZSTD
from crawler.adapters.zstd import Unpacking
from crawler.core import cdx, items
from crawler.core.errors import UsageError
from crawler.core.gunzipping import MAGIC as GZIP
from crawler.core.gunzipping import Gunzipping
from crawler.core.items import Array, ItemElements, Table
from crawler.core.lines import Lines
from crawler.core.mentions import Fault, Mention
from crawler.core.sitemap_text import MAX_BYTES, Mender
from crawler.core.sitemap_xml import XmlReader
from crawler.core.sitemaps import read_sitemap
from crawler.core.urls import host_of
from crawler.phrases import count
from crawler.seeds import PIECE, is_remark, seed_in

Said: TypeAlias = Mention | Fault

AUTO: Final = "auto"
FORMATS: Final = (AUTO, "list", "sitemap", "cdx", "scrapy")
HEAD: Final = PIECE
"""Bytes, unpacked, by which a file is recognised."""
NOWHERE: Final = "sitemap.invalid"
"""What the relative URLs of a sitemap are taken to be of, as nobody knows where it came from: they are no use (RFC 2606)."""

_PICKLED: Final = re.compile(rb"\x80[\x02-\x05](?:\x95|[\]}(c]|cscrapy|q\x00)")
_FINGERPRINTS: Final = re.compile(r"(?:[0-9a-f]{40}\s+)+(?:[0-9a-f]{0,40})", re.ASCII)
_WIDE: Final = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")
"""How XML in UTF-16 begins."""
_ITEMS: Final = re.compile(r"<items[\s/>]")
_PROLOG: Final = re.compile(r"(?:\s|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)


class UnknownFileError(UsageError):
    """That is nothing that can be imported."""


class Form(Protocol):
    """Reads one file."""

    @property
    def detail(self) -> str:
        """Why not all of it could be read; empty if it could."""

    def feed(self, piece: bytes) -> Iterator[Said]:
        """What the file says up to here."""

    def end(self) -> Iterator[Said]:
        """What it says at its end."""


class Packing(Protocol):
    """Unpacks one file."""

    detail: str
    """Why not all of it could be unpacked."""

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """What these bytes give, in pieces."""

    def end(self) -> None:
        """Nothing more comes."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are to be read."""

    form: str
    """One of `FORMATS`."""
    url_key: str | None
    """Where the URL of an item stands; None: where it usually does."""
    now: datetime
    """What no page can have changed after."""


class ByLine:
    """A file that says something on each line."""

    def __init__(self, read: Callable[[str, int], Said | None], longest: int) -> None:
        self._read = read
        self._lines = Lines(longest)
        self._number = 0
        self.detail = ""

    def feed(self, piece: bytes) -> Iterator[Said]:
        """What the lines say that end in this piece."""
        yield from self._said(self._lines.feed(piece))

    def end(self) -> Iterator[Said]:
        """What the last line says, if nothing ended it."""
        yield from self._said(self._lines.end())

    def _said(self, lines: Sequence[str]) -> Iterator[Said]:
        for line in lines:
            self._number += 1
            if (said := self._read(line, self._number)) is not None:
                yield said


class Records(ByLine):
    """A CSV, whose records may go over several lines."""

    def __init__(self, table: Table) -> None:
        super().__init__(table.line, items.MOST)
        self._table = table

    def end(self) -> Iterator[Said]:
        """What the last record says."""
        yield from super().end()
        if (fault := self._table.end()) is not None:
            yield fault


class Elements:
    """A JSON array of items."""

    def __init__(self, key: str | None) -> None:
        self._array = Array()
        self._key = key
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")

    @property
    def detail(self) -> str:
        """Why not all of it could be read."""
        return self._array.detail

    def feed(self, piece: bytes) -> Iterator[Said]:
        """What the items say that end in this piece."""
        for value in self._array.feed(self._decoder.decode(piece)):
            yield items.item(value, self._key, self._array.number)

    def end(self) -> Iterator[Said]:
        """What the last item says."""
        for value in self._array.end():
            yield items.item(value, self._key, self._array.number)


class Xml:
    """XML of items."""

    def __init__(self, key: str | None) -> None:
        self._key = key
        self._target = ItemElements()
        self._reader = XmlReader(self._target, 0)  # type: ignore[arg-type]  # it has all that the reader asks of its elements
        self._mender = Mender()
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._number = 0
        self._over = False
        self.detail = ""

    def feed(self, piece: bytes) -> Iterator[Said]:
        """What the items say that end in this piece."""
        if not self._over:
            self._over = not self._reader.feed(self._mender.mend(self._decoder.decode(piece)))
            yield from self._said()

    def end(self) -> Iterator[Said]:
        """Nothing more comes."""
        if not self._over:
            self._reader.feed(self._mender.mend("", last=True) + b"\n")
            yield from self._said()
        self.detail = self._reader.detail or ("" if self._target.is_whole else "it is cut off")

    def _said(self) -> Iterator[Said]:
        found, self._target.items = self._target.items, []
        for one in found:
            self._number += 1
            yield items.item(one, self._key, self._number)


class SitemapFile:
    """A sitemap or a feed, which is read whole."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._body = bytearray()
        self.detail = ""

    def feed(self, piece: bytes) -> Iterator[Said]:
        """Nothing, until it has ended. Of one that is too large, as much as shows that."""
        self._body += piece[: MAX_BYTES + 1 - len(self._body)]
        yield from ()

    def end(self) -> Iterator[Said]:
        """What it says."""
        read = read_sitemap(bytes(self._body), f"https://{NOWHERE}/", self._now)
        self._body.clear()
        self.detail = read.detail
        for entry in read.entries:
            if host_of(entry.url) == NOWHERE:
                yield Fault("names a URL that is relative to nobody knows what")
            else:
                yield Mention(
                    entry.url, lastmod=entry.lastmod, changefreq=entry.changefreq, priority=entry.priority
                )
        if read.sitemaps:
            first = read.sitemaps[0].url
            yield Fault(
                f"is an index of {count(len(read.sitemaps), 'sitemap')}, the first of them {first}: give those files too"
            )
        for _ in range(read.named - len(read.entries) - len(read.sitemaps)):
            yield Fault("names what is no URL, or names it twice")


def packing_of(head: bytes) -> Packing | None:
    """What unpacks a file that begins so; None: it is not packed."""
    if head.startswith(GZIP):
        return Gunzipping(PIECE)
    return Unpacking(PIECE) if head.startswith(ZSTD) else None


def form_of(head: bytes, file: Path, reading: Reading) -> Form:
    """What reads a file whose first bytes, unpacked, are these.

    Raises:
        UnknownFileError: nothing does.
    """
    if reading.form == AUTO or b"\0" in head:
        _refuse(head, file)
    text = head.decode("utf-8", "replace").lstrip("\ufeff")
    lines = [line for line in text.splitlines() if line.strip()] or [""]
    key = reading.url_key
    archive, feed = partial(_cdx, lines), partial(_feed, text, lines, key)
    readers: dict[str, tuple[Callable[[], Form | None], ...]] = {
        "list": (_list,),
        "sitemap": (partial(SitemapFile, reading.now),),
        "cdx": (archive,),
        "scrapy": (feed,),
        AUTO: (archive, partial(_sitemap, head, text, reading.now), feed, partial(_some_list, lines)),
    }
    for read in readers[reading.form]:
        if (found := read()) is not None:
            return found
    keys = key or ", ".join(items.KEYS)
    items_of = f"items in JSON lines, JSON, CSV or XML that have a URL under {keys} (another name: --url-key)"
    raise UnknownFileError(
        {
            "cdx": "it is no CDX and no CDXJ, by its first lines",
            "scrapy": f"it is no feed of Scrapy: no {items_of}",
        }.get(reading.form, f"it is no list of URLs, no sitemap, no CDX or CDXJ, and has no {items_of}")
    )


def _refuse(head: bytes, file: Path) -> None:
    """What looks like a file that people have at hand, and is of no use. Raises UnknownFileError."""
    if file.name == "requests.seen" or _FINGERPRINTS.fullmatch(head[:4096].decode("ascii", "replace")):
        raise UnknownFileError(
            "it holds fingerprints of requests (Scrapy's requests.seen), of which no URL can be made: import the spider's feed"
        )
    if "requests.queue" in file.parts or _PICKLED.search(head[:4096]):
        raise UnknownFileError(
            "it is pickled, as the queue in Scrapy's JOBDIR, and never read, for that could run anything: import the spider's feed"
        )
    if head.startswith(b"WARC/"):
        raise UnknownFileError("it is a WARC: import its index (CDX or CDXJ), which names the same URLs")
    if b"\0" in head and not head.startswith(_WIDE):
        raise UnknownFileError("it is binary")


def _some_list(lines: Sequence[str]) -> Form | None:
    """A list, if one of the first lines is a URL, or none says anything."""
    plain = [line.strip() for line in lines]
    return _list() if all(map(is_remark, plain)) or any(map(seed_in, plain)) else None


def _list() -> Form:
    def read(line: str, number: int) -> Said | None:
        text = line.strip()
        return None if is_remark(text) else Mention(text, number)

    return ByLine(read, PIECE)


def _cdx(lines: Sequence[str]) -> Form | None:
    first = next((line for line in lines if not line.startswith("!")), "")
    if cdx.is_json(first):
        return ByLine(cdx.capture_json, PIECE)
    legend = cdx.legend_of(first)
    if legend is not None and not {cdx.ORIGINAL, cdx.DATE} <= {*legend}:
        raise UnknownFileError("its header names no column a (the URL) or no column b (the time)")
    columns = legend or cdx.guessed_legend(first)
    if columns is None:
        return None

    def read(line: str, number: int) -> Said | None:
        return None if cdx.legend_of(line) else cdx.capture(line, columns, number)

    return ByLine(read, PIECE)


def _sitemap(head: bytes, text: str, now: datetime) -> Form | None:
    if not (text.lstrip().startswith("<") or head.startswith(_WIDE)):
        return None
    return SitemapFile(now) if read_sitemap(head, f"https://{NOWHERE}/", now).form else None


def _feed(text: str, lines: Sequence[str], key: str | None) -> Form | None:
    start = text.lstrip()
    if start.startswith("["):
        return Elements(key)
    if start.startswith("{"):
        return ByLine(partial(items.json_line, key), items.MOST)
    if start.startswith("<"):
        prolog = _PROLOG.match(text)
        return Xml(key) if _ITEMS.match(text, prolog.end() if prolog else 0) else None
    return Records(Table(key)) if items.header_of(lines[0], key)[0] else None
