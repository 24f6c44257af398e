"""The reference parser: BeautifulSoup on html5lib, by the book and in no hurry.

It is what `--parser html5lib` names, what `links` falls back on, and what the tests compare turbohtml with.

1. It reads the first megabyte, and gives up where html5lib would take quadratic time or more:
   beyond `MAX_DEPTH` open elements, `MAX_ELEMENTS`, `MAX_TEXTS` or `MAX_TAGS` in all, `MAX_ATTRIBUTES` of one,
   `MAX_MOVED` that were written in a table and belong before it, or `MAX_STEPS` up the open elements.
   The worst that is left takes some five seconds.
2. It raises nothing but `content.UnreadableError`.
"""

from collections.abc import Iterable, Iterator
from io import StringIO
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from bs4 import BeautifulSoup, CData, Comment, Declaration, Doctype, ProcessingInstruction, Tag
from bs4.builder._html5lib import HTML5TreeBuilder, TreeBuilderForHtml5lib
from turbohtml import Namespace
from turbohtml.detect import detect

from crawler.core import content
from crawler.core.links import TAGS, Reading
from crawler.core.taming import tamed

if TYPE_CHECKING:
    from crawler.core.links import Element

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 256
MAX_ELEMENTS: Final = 60_000
MAX_ATTRIBUTES: Final = 500
MAX_TEXTS: Final = 100_000
MAX_MOVED: Final = 2_000
MAX_TAGS: Final = 150_000
MAX_STEPS: Final = 10_000_000

_NAMESPACES: Final = {
    "http://www.w3.org/2000/svg": Namespace.SVG,
    "http://www.w3.org/1998/Math/MathML": Namespace.MATHML,
}
_UNSEEN: Final = frozenset({"head", "noembed", "noframes", "script", "style", "template", "title"})
_NO_TEXT: Final = (Comment, Declaration, Doctype, ProcessingInstruction, CData)
_TROUBLE: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What html5lib and BeautifulSoup have been seen to raise over malformed pages; neither documents it."""


class _TooBigError(ValueError):
    """This page would take the reference parser minutes."""


class _BoundedTree(TreeBuilderForHtml5lib):
    """A tree that stops growing."""

    elements = 0
    texts = 0
    moved = 0
    steps = 0

    def reset(self) -> None:
        """Begin a document. Only now is there a tokenizer, which compares an attribute with all before."""
        super().reset()
        parser: Any = getattr(self, "parser", None)
        if parser is None:  # the constructor's own call
            return
        tokenizer = parser.tokenizer
        as_ever = tokenizer.attributeNameState

        def bounded() -> bool:
            if len(tokenizer.currentToken["data"]) > MAX_ATTRIBUTES:
                raise _TooBigError
            return bool(as_ever())

        tokenizer.attributeNameState = bounded

    def insertText(self, data: str, parent: Any = None) -> None:  # noqa: N802 - html5lib's name
        """Append text, which is copied each time: a megabyte of ``<`` would take a minute."""
        self.texts += 1
        if self.texts > MAX_TEXTS:
            raise _TooBigError
        super().insertText(data, parent)

    def getTableMisnestedNodePosition(self) -> Any:  # noqa: N802 - html5lib's name
        """Where something goes that may not stand in a table: BeautifulSoup counts all its neighbours to put it there."""
        self.moved += 1
        if self.moved > MAX_MOVED:
            raise _TooBigError
        return super().getTableMisnestedNodePosition()

    def elementInScope(self, target: Any, variant: str | None = None) -> bool:  # noqa: N802 - html5lib's name
        """Whether an element is open, which means to look at all that are: for each of many ``</h1>`` six times."""
        self.steps += len(self.openElements)
        if self.steps > MAX_STEPS:
            raise _TooBigError
        return bool(super().elementInScope(target, variant))

    def elementClass(self, name: str, namespace: str) -> Any:  # noqa: N802 - html5lib's name
        self.elements += 1
        if self.elements > MAX_ELEMENTS or len(self.openElements) > MAX_DEPTH:
            raise _TooBigError
        return super().elementClass(name, namespace)


class _Builder(HTML5TreeBuilder):
    """BeautifulSoup's html5lib, on a bounded tree and with attributes as they were written."""

    def prepare_markup(self, markup: Any, *_: Any, **__: Any) -> Iterator[tuple[Any, None, None, bool]]:
        """Hand over the markup as it is, without the warning that XHTML might be XML."""
        yield markup, None, None, False

    def create_treebuilder(self, namespaceHTMLElements: bool) -> TreeBuilderForHtml5lib:  # noqa: FBT001, N803 - bs4's
        self.underlying_builder = _BoundedTree(namespaceHTMLElements, self.soup, store_line_numbers=False)
        return self.underlying_builder


class _Element:
    """A BeautifulSoup tag that looks like `links.Element`."""

    __slots__ = ("_tag",)

    def __init__(self, tag: Tag) -> None:
        self._tag = tag

    @property
    def tag(self) -> str:
        return self._tag.name

    @property
    def namespace(self) -> Namespace:
        return _NAMESPACES.get(self._tag.namespace or "", Namespace.HTML)

    @property
    def text(self) -> str:
        return self._tag.get_text()

    def attr(self, name: str, /) -> str | None:
        value = self._tag.attrs.get(name)
        return value if value is None else str(value)

    def iter_elements(self, tags: Iterable[str], /) -> "Iterator[Element]":
        wanted = frozenset(tags)
        return (_Element(tag) for tag in self._tag.descendants if isinstance(tag, Tag) and tag.name in wanted)


def read_reference(body: bytes, charset: str | None) -> Reading:
    """Read HTML by the book. `charset` is what the header said. Raises `content.UnreadableError`."""
    body = body[:MAX_BYTES]
    text, name = content.decode(body, charset or _told(body))
    try:
        soup = _parse(text)
        if charset is None and (late := _late_charset(soup)) not in {None, name}:
            text, name = content.decode(body, late)
            soup = _parse(text)
        return Reading(_Element(soup).iter_elements(TAGS), "\n".join(_seen(soup)), name)
    except _TROUBLE as error:
        raise content.UnreadableError from error


def _parse(text: str) -> BeautifulSoup:
    if text.count("<") > MAX_TAGS:
        raise _TooBigError
    text = tamed(text.encode("utf-8", "replace")).decode()
    # As a file, or BeautifulSoup warns that a short text might have been meant as a file's name.
    return BeautifulSoup(StringIO(text), builder=_Builder(multi_valued_attributes={}))


def _told(body: bytes) -> str:
    """What the first kilobyte declares, or the detector guesses."""
    told = detect(body)
    name = (told.encoding or content.FALLBACK).lower().removesuffix("-sig")
    return name if told.confidence == 1 and not body.isascii() else content.xml_charset(body) or name


def _late_charset(soup: BeautifulSoup) -> str | None:
    """What the first ``<meta charset>`` declares, wherever it stands."""
    meta = soup.find("meta", charset=True)
    name = content.whatwg_name(str(meta["charset"])) if isinstance(meta, Tag) else None
    return {"utf-16le": "utf-8", "utf-16be": "utf-8", "x-user-defined": content.FALLBACK}.get(
        name or "", name
    )


def _seen(soup: BeautifulSoup) -> Iterator[str]:
    """The pieces of visible text: a walk that leaves out whole subtrees, without recursion."""
    node: Any = soup.next_element
    while node is not None:
        if isinstance(node, Tag):
            node = _after(node) if node.name in _UNSEEN else node.next_element
            continue
        if not isinstance(node, _NO_TEXT) and (piece := " ".join(node.split())):
            yield content.clean(piece)
        node = node.next_element


def _after(tag: Tag) -> Any:
    """The first node behind a whole subtree."""
    last = next(chain(reversed(tag.contents), [None]))
    while isinstance(last, Tag) and last.contents:
        last = last.contents[-1]
    return (last or tag).next_element
