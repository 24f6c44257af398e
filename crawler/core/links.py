"""Bytes in, links and page facts out.

    body ──one parse──► elements that matter, in document order ──► Found ──► directives ──► links, resolved
                        (turbohtml; html5lib when that fails)

1. `parse_page` raises nothing but `content.UnreadableError`, whatever a site sends.
2. Every link is canonical, unique, in document order and not the page itself; none is marked nofollow.
3. A page that says nofollow, in whatever way, has no links.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from turbohtml import Namespace

from crawler.core import content
from crawler.core.directives import (
    AGENT,
    NO_FOLLOW,
    kept,
    language_tag,
    leads_to_page,
    may_follow,
    refresh_target,
    robots_directives,
)
from crawler.core.gist import gist
from crawler.core.model import Page
from crawler.core.references import resolve
from crawler.core.simhash import simhash
from crawler.core.trees import PARSER_FAILS, Clock, html_tree, tree_text

MAX_LINKS: Final = 5_000
MAX_FEEDS: Final = 10
MAX_TITLE: Final = 1_000
TAGS: Final = frozenset({"a", "area", "base", "frame", "html", "iframe", "link", "meta", "template", "title"})
"""All that matters here: a parser need bring no other element."""

LINKED_TYPES: Final = frozenset({"", "text/html", "application/xhtml+xml", "text/plain", "text/markdown"})
"""``<link type>`` that is a page: feeds and oEmbed are not."""

FEED_TYPES: Final = frozenset({"application/rss+xml", "application/atom+xml"})
"""``<link rel=alternate type>`` that is a feed (HTML, section 4.6.7.1)."""


class Element(Protocol):
    """As much of turbohtml's Element as is needed: the reference parser's look the same."""

    @property
    def tag(self) -> str:
        """The local name, lower case."""
        ...

    @property
    def namespace(self) -> Namespace:
        """HTML, SVG or MathML."""
        ...

    @property
    def text(self) -> str:
        """All text within."""
        ...

    def attr(self, name: str, /) -> str | None:
        """An attribute as it was written; None if there is none of that name."""
        ...

    def iter_elements(self, tags: Iterable[str], /) -> "Iterator[Element]":
        """The elements of those tags within, in document order."""
        ...


class Reading(NamedTuple):
    """What a parser makes of a body."""

    elements: Iterator[Element]
    """Those of `TAGS`, in document order."""
    text: str
    """The visible text."""
    charset: str


Parser = Callable[[bytes, str | None, Clock | None], Reading]
"""Body, the header's charset and a clock in; may raise `trees.PARSER_FAILS`."""


@dataclass(slots=True)
class Found:
    """What the elements of a page said, before anything is resolved."""

    references: list[str] = field(default_factory=list)
    feeds: list[str] = field(default_factory=list)
    robots: list[str] = field(default_factory=list)
    base: str | None = None
    title: str | None = None
    language: str | None = None
    meta_language: str | None = None


def parse_page(
    body: bytes,
    url: str,
    content_type: str | None,
    headers: Sequence[tuple[str, str]] = (),
    *,
    parser: str = "turbohtml",
    clock: Clock | None = None,
    near_duplicates: bool = False,
) -> Page:
    """What a body says: its links and the facts of `Page`.

    `url` is where the body came from, canonical; `headers` are the response's, for X-Robots-Tag,
    Content-Language and Refresh. `parser` is ``turbohtml`` or ``html5lib``, the slow reference.
    `clock` tells the seconds: with it most pages take fewer (`trees.html_tree`), and say the same.
    `near_duplicates`: with the SimHash of its text.

    Raises:
        crawler.core.content.UnreadableError: no parser could make anything of it.
    """
    said = _said(headers)
    media_type = content.sniff(body[: content.SNIFFED_BYTES], content_type)
    charset = content.charset_of(content_type)
    found, text = Found(), ""
    if content.reads_as_html(media_type, body):
        if charset is None and content.is_xml(media_type):
            charset = content.xml_charset(body)
        reading = read(body, charset, PARSERS[parser], clock)
        found, text, charset = gather(reading.elements), reading.text, reading.charset
    elif content.is_text(media_type):
        text, charset = content.decode(body, charset)
        text = content.xml_text(text) if content.is_xml(media_type) else text
    else:
        charset = None
    directives = robots_directives((*found.robots, *said.robots))
    references = (*filter(None, map(refresh_target, said.refresh)), *found.references)
    return Page(
        media_type=media_type,
        charset=charset,
        title=content.clean(found.title or "") or None,
        language=next(
            filter(None, map(language_tag, (found.language, found.meta_language, said.language))), None
        ),
        directives=kept(directives),
        links=() if directives & NO_FOLLOW else resolve(references, url, found.base, charset, MAX_LINKS),
        feeds=()
        if directives & NO_FOLLOW or not found.feeds
        else resolve(found.feeds, url, found.base, charset, MAX_FEEDS),
        text_digest=content.text_digest(text),
        # A page of links without a word may be one of a trap's too: then its title is all it says.
        gist=gist(text, url) or (gist(f"silent: {found.title or ''}", url) if found.references else None),
        simhash=simhash(text) if near_duplicates else None,
    )


def turbohtml(body: bytes, charset: str | None, clock: Clock | None = None) -> Reading:
    """Read HTML with turbohtml."""
    tree, charset = html_tree(body, charset, clock)
    return Reading(tree.iter_elements(TAGS), tree_text(tree), charset)


def html5lib(body: bytes, charset: str | None, _clock: Clock | None = None) -> Reading:
    """Read HTML with the reference, sixty times slower: the first megabyte of it, and never in a hurry."""
    from crawler.core.html5 import read_reference  # noqa: PLC0415 - takes 100 ms to import, and is hardly ever needed

    return read_reference(body, charset)


PARSERS: Final[Mapping[str, tuple[Parser, ...]]] = MappingProxyType(
    {"turbohtml": (turbohtml, html5lib), "html5lib": (html5lib,)}
)
"""By name: which to try, in order."""


def read(body: bytes, charset: str | None, parsers: Sequence[Parser], clock: Clock | None = None) -> Reading:
    """The body as the first of the parsers reads it that does not give up. Raises `content.UnreadableError` if all do."""
    for parser in parsers:
        try:
            return parser(body, charset, clock)
        except PARSER_FAILS:
            continue
    raise content.UnreadableError


def gather(elements: Iterator[Element]) -> Found:
    """What the elements say, in document order. This is the hottest loop of the crawler."""
    found = Found()
    for element in elements:
        tag = element.tag
        if tag == "a":
            reference = element.attr("href")
            if reference is None and element.namespace is Namespace.SVG:
                reference = element.attr("xlink:href")
            if reference is not None and may_follow(element.attr("rel")):
                found.references.append(reference)
        elif element.namespace is not Namespace.HTML:
            continue
        elif tag == "template":
            if (element.attr("shadowrootmode") or "").lower() not in {"open", "closed"}:
                # A form for scripts to fill in: its links are none yet, often they read `{{ url }}`.
                inside = sum(1 for _ in element.iter_elements(TAGS))
                next(islice(elements, inside, inside), None)
        elif (fact := _FACTS.get(tag)) is not None:
            fact(element, found)
        elif (reference := _reference(element, tag)) is not None:
            found.references.append(reference)
    return found


def _reference(element: Element, tag: str) -> str | None:
    """The reference of a link that is not an ``<a>``; None if there is none to follow."""
    return element.attr("href" if tag == "area" else "src") if may_follow(element.attr("rel")) else None


def _gather_link(link: Element, found: Found) -> None:
    rel = link.attr("rel") or ""
    if not leads_to_page(rel) or (reference := link.attr("href")) is None:
        return
    media_type = (link.attr("type") or "").partition(";")[0].strip().lower()
    if media_type in LINKED_TYPES:
        found.references.append(reference)
    elif media_type in FEED_TYPES and "alternate" in rel.lower().split():
        found.feeds.append(reference)


def _gather_base(base: Element, found: Found) -> None:
    if found.base is None:
        found.base = base.attr("href")


def _gather_html(html: Element, found: Found) -> None:
    found.language = html.attr("lang") or html.attr("xml:lang")


def _gather_title(title: Element, found: Found) -> None:
    if found.title is None:
        found.title = " ".join(title.text.split())[:MAX_TITLE].rstrip()


def _gather_meta(meta: Element, found: Found) -> None:
    value = meta.attr("content")
    if value is None:
        return
    if (meta.attr("name") or "").strip().lower() in {"robots", AGENT}:
        found.robots.append(value)
    match (meta.attr("http-equiv") or "").strip().lower():
        case "refresh":
            if target := refresh_target(value):
                found.references.append(target)
        case "content-language":
            found.meta_language = found.meta_language or value


_FACTS: Final[Mapping[str, Callable[[Element, Found], None]]] = MappingProxyType(
    {
        "base": _gather_base,
        "html": _gather_html,
        "link": _gather_link,
        "meta": _gather_meta,
        "title": _gather_title,
    }
)


class _Said(NamedTuple):
    """What the response's headers say of the page."""

    robots: list[str]
    refresh: list[str]
    language: str | None


def _said(headers: Sequence[tuple[str, str]]) -> _Said:
    by_name: dict[str, list[str]] = {"x-robots-tag": [], "refresh": [], "content-language": []}
    for name, value in headers:
        if (values := by_name.get(name.lower())) is not None:
            values.append(value)
    languages = by_name["content-language"]
    return _Said(by_name["x-robots-tag"], by_name["refresh"], languages[0] if languages else None)
