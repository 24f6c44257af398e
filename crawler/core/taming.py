"""What HTML itself multiplies: told beforehand, and kept from it.

    body ──► tamed() ──► turbohtml ──► tree ──► tame_layout() ──► text

The rules of HTML are not linear, so a parser that follows them is not either. Of a few bytes come

- formatting that is opened and not closed: it comes back in every paragraph, with all its attributes.
  20 kB made 1.6 million nodes, and 64 kB were copied into 832 MB;
- the attributes of a second ``<html>`` or ``<body>``, each of which is looked for among those of the first:
  64 kB took 0.8 seconds, half a megabyte six;
- the columns of a table laid out as text, padded to the width of the widest: 96 kB became 160 MB.

1. What is made of a body takes time and memory in proportion to its bytes, and a constant.
2. No link is lost by it, but one of SVG in a page that could multiply.
3. A page that cannot multiply is left as it is, and telling so takes a thirtieth of its parsing, above 16 kB a quarter.
"""

import re
from collections import Counter
from itertools import accumulate
from typing import Final

from turbohtml import Document, Element, Text

FEW_TAGS: Final = 600
"""So few tags make no more than 90,000 nodes: 20 ms and 10 MB."""
NODES: Final = 100_000
"""Nodes that repeated formatting may come to. And one for every `BYTES_A_NODE` of the body."""
BYTES_A_NODE: Final = 8
DEEPEST: Final = 512
"""turbohtml nests no deeper, so no more elements are open at a time."""
COPIED: Final = 16_000_000
"""Bytes of attributes that may be copied for repeated elements: 20 ms and some 40 MB. And `COPIES` times the body."""
COPIES: Final = 8
ROOTS: Final = 16
"""So many ``<html>`` and as many ``<body>`` are read: pages of 2012 have five, four of them in comments."""
FEW_BYTES: Final = 16 * 1024
"""In so few, two tags full of attributes are merged in 10 ms."""

_ENDS: Final = rb"(?=[\t\n\f\r />])"
"""What stands behind the name of a tag."""
_REST: Final = rb"((?:[^<>\"'=]++(?:=(?:\"[^\"<>]*+\"|'[^'<>]*+'|[^\s\"'<>]*+(?=[\t\n\f\r >])))?+)*+>)?+"
"""The rest of a start tag that can be read in one way only, so that it certainly ends there; empty if it cannot."""
_NAME: Final = (
    rb"[bceifnstuBCEIFNSTU](?:|[iI][gG]|[oO][dD][eE]|[mM]|[oO][nN][tT]|[oO][bB][rR]|[mM][aA][lL][lL]"
    rb"|[tT][rR][iI][kK][eE]|[tT][rR][oO][nN][gG]|[tT])" + _ENDS
)
"""All formatting but ``<a>``, and some names that nobody uses: twice as fast as a list of the names."""
_FORMATTING: Final = re.compile(rb"<(/?)" + _NAME)
_FORMATTING_TAG: Final = re.compile(rb"<" + _NAME + _REST)
_ANCHOR: Final = re.compile(rb"<[aA]" + _ENDS + _REST)
_ROOT: Final = re.compile(rb"<(html|body)" + _ENDS + _REST, re.IGNORECASE)


def tamed(body: bytes) -> bytes:
    """A body, in an encoding that leaves ASCII alone, of which HTML makes no more than it should.

    Formatting that could multiply is read as ``<q>``, which nobody reopens; links that could, as ``<area>``,
    which has no inside and leads to the same place.
    """
    if len(body) > FEW_BYTES:
        body = _with_few_roots(body)
    tags = body.count(b"<")
    copied = COPIED + COPIES * len(body)
    if tags <= FEW_TAGS and tags * len(body) <= copied:
        return body
    formatting = _FORMATTING_TAG.findall(body)
    if (
        min(len(formatting), DEEPEST) * tags > NODES + len(body) // BYTES_A_NODE
        or sum(map(len, formatting)) * tags > copied
        or b"" in formatting
    ):
        body = _FORMATTING.sub(lambda tag: b"<" + tag[1] + b"q", body)
    anchors = _ANCHOR.findall(body)
    longest = copied // tags
    if max(map(len, anchors), default=0) > longest or b"" in anchors:
        body = _ANCHOR.sub(
            lambda tag: tag[0] if 0 < len(tag[1] or b"") <= longest else b"<area" + tag[0][2:], body
        )
    return body


def _with_few_roots(body: bytes) -> bytes:
    """The body with every ``<html>`` and ``<body>`` beyond the first `ROOTS` of each read as ``<head>``.

    That is ignored wherever they would be merged. Of those that are long, or end nobody knows where, the first
    of each is kept.
    """
    lower = body.lower()
    if lower.count(b"<html") <= 1 and lower.count(b"<body") <= 1:
        return body
    seen: Counter[tuple[bytes, bool]] = Counter()

    def kept(tag: re.Match[bytes]) -> bytes:
        is_short = 0 < len(tag[2] or b"") <= SHORT
        kind = (tag[1].lower(), is_short)
        seen[kind] += 1
        return tag[0] if seen[kind] <= (ROOTS if is_short else 1) else b"<head" + tag[0][5:]

    return _ROOT.sub(kept, body)


SHORT: Final = 512
_ENDLESS: Final = 1 << 40


DEEPEST_QUOTE: Final = 8
AREA: Final = 4_000_000
"""Bytes that laying out the tables of a page as text may take. And `TIMES` its text."""
TIMES: Final = 4
CELL: Final = 250
ROW: Final = 1_000
"""Bytes that each takes, however small."""
_CELLS: Final = frozenset({"td", "th"})
_LAID_OUT: Final = frozenset({"td", "th", "tr"})
_TOO_DEEP: Final = " ".join(["blockquote"] * (DEEPEST_QUOTE + 1))


def tame_layout(tree: Document) -> None:
    """Take out of a tree the tables and block quotes whose layout as text would dwarf the text.

    Of the tables stay the words, a row to a line; of the quotes those that are quotes in eight others.
    """
    blocks = [element.tag for element in tree.iter_elements({"blockquote", "table"})]
    if blocks.count("blockquote") > DEEPEST_QUOTE:
        tree.strip_tags(_TOO_DEEP)
    if "table" not in blocks:
        return
    kinds = Counter([element.tag for element in tree.iter_elements(_LAID_OUT)])
    cells, rows = kinds["td"] + kinds["th"], kinds["tr"]
    if CELL * cells + rows * (ROW + len(tree.text) + 2 * cells) <= AREA:
        return
    areas = accumulate(map(_area, tree.iter_elements("table")))
    most = AREA + TIMES * len(tree.text)
    if any(area > most for area in areas):
        _flatten(tree)


def _area(table: Element) -> int:
    """The bytes that laying out a table takes; endless if others lie in its cells, each padded in turn."""
    if next(table.iter_elements("table"), None) is not None:
        return _ENDLESS
    rows = cells = 0
    widths: dict[int, int] = {}
    for row in table.iter_elements("tr"):
        rows += 1
        for column, cell in enumerate(row.iter_elements(_CELLS)):
            cells += 1
            widths[column] = max(widths.get(column, 0), len(cell.text) + 2)
    return CELL * cells + rows * (ROW + sum(widths.values()))


def _flatten(tree: Document) -> None:
    """Make words of all tables. One by one, those within each other would take quadratic time."""
    for part in tree.iter_elements({"caption", "td", "th", "tr"}):
        part.append(Element("br") if part.tag == "tr" else Text(" "))
    tree.strip_tags("table")
