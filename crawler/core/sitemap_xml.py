"""What the elements of sitemaps and feeds say, one after the other, without a tree.

    start, text, end ──► Elements ──► Said: one <url>, <sitemap>, <item> or <entry>

1. Nothing is kept of a document but the entry that is being read: memory does not grow with it.
2. An element counts in any namespace and with any prefix, declared or not; those of news, images and videos
   (``image:loc``) count never, for what they name is no page.
3. What is not closed ends where the next begins: a missing ``</loc>`` costs nothing, a cut off one its entry's URL.

Not taken: ``video:player_loc`` and ``content_loc`` (a player and a film have no text of their own: the page around
them is the entry's ``loc``), ``image:loc``, enclosures, ``comments``, and the site that a feed is of.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from crawler.core.urls import canonical

ROOTS: Final[Mapping[str, str]] = MappingProxyType(
    {"urlset": "urlset", "sitemapindex": "index", "rss": "rss", "rdf": "rss", "feed": "atom"}
)
"""The form that the first element tells, by its local name in lower case."""
MAX_ELEMENTS: Final = 2_000_000
"""Fifty megabytes of honest sitemap have half as many; hostile ones have twelve million, at a microsecond each."""
MAX_TAG: Final = 1 << 20
"""Bytes without an end of a tag or any text. The parser holds them all, and five times that for the attributes."""
MAX_LINKS: Final = 1_000
"""Of one entry, and as many alternates: its page in all languages."""
MAX_BASES: Final = 16
"""``xml:base`` within ``xml:base``: what comes deeper is not read."""
MAX_TEXT: Final = 8_192
"""Characters of a URL or a date. No longer URL is fetched."""

_ENTRIES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "urlset": frozenset({"url", "sitemap"}),
        "index": frozenset({"url", "sitemap"}),
        "rss": frozenset({"item"}),
        "atom": frozenset({"entry"}),
    }
)
_PLAIN_FIELDS: Final = frozenset({"loc", "lastmod", "changefreq", "priority"})
_FEED_FIELDS: Final = frozenset(
    {"link", "guid", "pubdate", "date", "updated", "modified", "published", "issued"}
)
_FIELDS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "urlset": _PLAIN_FIELDS,
        "index": _PLAIN_FIELDS,
        "rss": _FEED_FIELDS,
        "atom": _FEED_FIELDS - {"link", "guid"},
    }
)
_SKIPPED: Final = frozenset(
    {"image", "video", "news", "pagemap", "textinput", "source", "author", "contributor", "content", "encoded", "summary",
     "description", "title", "enclosure", "comments"}
)  # fmt: skip
"""Elements within which nothing is a page of the entry's."""

_XML_BASE: Final = "{http://www.w3.org/XML/1998/namespace}base"
_ABOUT: Final = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}about"
_PAGE_TYPES: Final = frozenset({"", "text/html", "application/xhtml+xml", "text/plain"})


class Reference(NamedTuple):
    """A URL as it was written, and what it is relative to."""

    text: str
    base: str | None
    is_attribute: bool = False
    """It was written where a relative one is usual."""


@dataclass(slots=True)
class Said:
    """What one entry said, as it was written."""

    is_sitemap: bool
    base: str
    fields: dict[str, str] = field(default_factory=dict)
    """By local name; the first of each."""
    links: list[Reference] = field(default_factory=list)
    """Of elements that name a page of the entry in an attribute: Atom's ``link``."""
    alternates: list[Reference] = field(default_factory=list)
    """The same page in other languages, or for other devices."""
    about: str = ""
    """``rdf:about`` of an item of RSS 1.0."""
    guid_is_link: bool = True


class Elements:
    """Takes the elements of a document, as lxml's parser reports them.

    Args:
        form: of the document.
        url: where it came from, canonical.
        take: is given each entry. It answers False when it wants no more.
    """

    def __init__(self, form: str, url: str, take: Callable[[Said], bool]) -> None:
        self._entries, self._fields = _ENTRIES[form], _FIELDS[form]
        self._form, self._take = form, take
        self._bases = [(0, url)]
        self._depth = 0
        self._skipped = 0  # the depth of the element within which nothing counts
        self._entry: Said | None = None
        self._entry_depth = 0
        self._field = ""
        self._text: list[str] = []
        self._room = 0
        self.elements = 0
        self.events = 0
        """Grows while the parser gets on."""
        self.is_over = False
        """Nothing more is taken."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._form} at depth {self._depth}, {self.elements} seen>"

    @property
    def is_whole(self) -> bool:
        """Whether every element was closed."""
        return self._depth == 0 and self.elements > 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        self._depth += 1
        self.elements += 1
        self.events += 1
        if self._skipped or self.is_over:
            return
        if self._field:
            self._end_field()
        name = _local(tag)
        if name in self._entries:
            self._end_entry()
            self._entry, self._entry_depth = Said(name == "sitemap", self._bases[-1][1]), self._depth
        elif name in _SKIPPED:
            self._skipped = self._depth
            return
        if attributes:
            self._read_attributes(name, attributes)
        if self._entry is not None and name in self._fields and name not in self._entry.fields:
            self._field, self._room = name, MAX_TEXT

    def data(self, text: str) -> None:
        """Text, or a part of it."""
        self.events += 1
        if self._field and self._room >= 0:
            self._room -= len(text) + 1  # a text may come in ten million pieces of nothing
            self._text.append(text)

    def end(self, tag: str) -> None:  # noqa: ARG002 - lxml calls it so
        """An element ends."""
        self.events += 1
        if self._field:
            self._end_field()
        if self._skipped == self._depth:
            self._skipped = 0
        if self._entry is not None and self._entry_depth == self._depth:
            self._end_entry()
        if self._bases[-1][0] == self._depth:
            self._bases.pop()
        self._depth -= 1

    def close(self) -> None:
        """Nothing more comes: what was said of an entry that was not closed counts, but for a text that was cut off."""
        self._field = ""
        self._end_entry()
        self.is_over = True

    def _end_field(self) -> None:
        if self._entry is not None:
            self._entry.fields[self._field] = "".join(self._text) if self._room >= 0 else ""
        self._field = ""
        self._text.clear()

    def _end_entry(self) -> None:
        if self._entry is not None and not self._take(self._entry):
            self.is_over = True
        self._entry = None

    def _read_attributes(self, name: str, attributes: Mapping[str, str]) -> None:
        written = attributes.get(_XML_BASE)
        if written is not None and len(written) <= MAX_TEXT and len(self._bases) <= MAX_BASES:
            base = canonical(_attribute(written), self._bases[-1][1])
            if base is not None:
                self._bases.append((self._depth, base))
        entry = self._entry
        if entry is None:
            return
        if self._depth == self._entry_depth:
            entry.base = self._bases[-1][1]
            entry.about = _attribute(attributes.get(_ABOUT, ""))
        elif name == "guid":
            entry.guid_is_link = attributes.get("isPermaLink", "true").strip().lower() != "false"
        elif name == "link" and (href := attributes.get("href")) is not None:
            self._read_link(entry, href, attributes)

    def _read_link(self, entry: Said, href: str, attributes: Mapping[str, str]) -> None:
        rel = attributes.get("rel", "" if self._form in {"rss", "atom"} else "none").strip().lower()
        media_type = attributes.get("type", "").partition(";")[0].strip().lower()
        if media_type in _PAGE_TYPES and rel in {"", "alternate"} and len(href) <= MAX_TEXT:
            links = entry.links if self._form in {"rss", "atom"} else entry.alternates
            if len(links) < MAX_LINKS:
                links.append(Reference(_attribute(href), self._bases[-1][1], is_attribute=True))


class XmlReader:
    """Reads XML in pieces, and gives what can be read of the broken.

    Nothing is opened, loaded or expanded: there is no DTD (its text is never given to this reader), and the parser
    is told so besides.
    """

    def __init__(self, elements: Elements, lines_before: int) -> None:
        from lxml import etree  # noqa: PLC0415 - takes 30 ms and 4 MB, and only a parser process needs it

        self._elements = elements
        self._lines_before = lines_before
        self._broken, self._fatal = etree.XMLSyntaxError, etree.ErrorLevels.FATAL
        self._no_memory = etree.ErrorTypes.ERR_NO_MEMORY
        self._parser = etree.XMLParser(
            target=elements,
            encoding="utf-8",
            recover=True,
            resolve_entities=False,
            load_dtd=False,
            no_network=True,
            huge_tree=False,
            dtd_validation=False,
            attribute_defaults=False,
        )
        self._silent = 0
        self.detail = ""
        """Why not all of it could be read."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._elements!r}>"

    def feed(self, piece: bytes) -> bool:
        """Read one more piece; False: no more is wanted.

        Raises:
            MemoryError: the parser got no more. It would stop in silence, as if the document ended there.
        """
        elements = self._elements
        before = elements.events
        try:
            self._parser.feed(piece)
        except (self._broken, UnicodeDecodeError):
            # The latter of &#xD800; in an attribute, where it looks like CDATA and so was not mended.
            self._find_fault()
            self.detail = self.detail or "its XML is broken: the rest was not read"
            return False
        self._find_fault()
        self._silent = 0 if elements.events > before else self._silent + len(piece)
        if elements.elements > MAX_ELEMENTS:
            self.detail = f"it has more than {MAX_ELEMENTS:,} elements: the rest was not read"
        elif self._silent > MAX_TAG:
            self.detail = f"it has a tag of more than {MAX_TAG >> 20} MiB: the rest was not read"
        else:
            return not (elements.is_over or elements.is_whole)
        return False

    def _find_fault(self) -> None:
        """The log holds the first hundred faults, and of names without a namespace; the latter are none to us."""
        faults = [one for one in self._parser.feed_error_log if one.level == self._fatal]
        if faults and faults[-1].type == self._no_memory:
            raise MemoryError
        if faults and not self.detail:
            self.detail = f"its XML is broken at line {faults[0].line + self._lines_before:,}"


@lru_cache(maxsize=512)
def _local(tag: str) -> str:
    return tag.rpartition("}")[2].rpartition(":")[2].lower()


def _attribute(value: str) -> str:
    """Of an attribute, libxml2 hands ``&`` over as it writes it, unless it may resolve entities."""
    return value.replace("&#38;", "&")
