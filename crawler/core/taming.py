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
BYTES_A_NODE: Final = 1
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
_REST: Final = rb"(?:[^<>\"'=]++(?:=(?:\"[^\"<>]*+\"|'[^'<>]*+'|[^\s\"'<>]*+(?=[\t\n\f\r >])))?+)*+>"
"""The rest of a start tag that can be read in one way only, so that it certainly ends there."""
_NAME: Final = (
    rb"[bceifnstuBCEIFNSTU](?:|[iI][gG]|[oO][dD][eE]|[mM]|[oO][nN][tT]|[oO][bB][rR]|[mM][aA][lL][lL]"
    rb"|[tT][rR][iI][kK][eE]|[tT][rR][oO][nN][gG]|[tT])" + _ENDS
)
"""All formatting but ``<a>``, and some names that nobody uses: twice as fast as a list of the names."""
_PHRASING: Final = (
    rb"(?:a(?:bbr)?|b(?:ig|r)?|c(?:ode|ite)|dfn|em|font|i(?:mg)?|kbd|q"
    rb"|s(?:pan|u[bp]|amp|mall|tr(?:ike|ong))?|tt|u|var)" + _ENDS
)
"""What may stand in formatting without keeping its end tag from ending it: no block, no table, no scope of its own."""
_ENDED: Final = (
    rb"(?:[^<]*+<(?:/span>|span" + _REST + rb"|/?(?!\1" + _ENDS + rb")" + _PHRASING + _REST + rb")){0,20}+"
    rb"[^<]*+</\1" + _ENDS
)
"""What follows formatting whose end tag follows soon, with little between that is not of the same name: it never comes back.

None of what stands between can be the furthest block of the adoption agency (HTML, 13.2.6.4.7), which would keep it.
"""
_FORMATTING: Final = re.compile(rb"<" + _NAME)
_FORMATTING_END: Final = re.compile(rb"</" + _NAME)
_OPEN_FORMATTING: Final = re.compile(rb"<(" + _NAME + rb")(?!" + _REST + _ENDED + rb")(" + _REST + rb")?+")
"""Formatting that may come back: its name, and the rest of its tag, empty if that ends nobody knows where."""
_ANCHOR: Final = re.compile(rb"<[aA]" + _ENDS + rb"(" + _REST + rb")?+")
_ENDLESS_ANCHOR: Final = re.compile(rb"<[aA]" + _ENDS + rb"(?!" + _REST + rb")")
_ROOT: Final = re.compile(rb"<(html|body)" + _ENDS + rb"(" + _REST + rb")?+", re.IGNORECASE)
_ROOT_NAME: Final = re.compile(rb"<([hH][tT][mM][lL]|[bB][oO][dD][yY])" + _ENDS)


def tamed(body: bytes) -> bytes:
    """A body, in an encoding that leaves ASCII alone, of which HTML makes no more than it should.

    Formatting that could multiply is read as ``<q>``, which nobody reopens; links that could, as ``<area>``,
    which has no inside and leads to the same place.
    """
    body = with_few_roots(body)
    tags = body.count(b"<")
    copied = COPIED + COPIES * len(body)
    if tags <= FEW_TAGS and tags * len(body) <= copied:
        return body
    formatting = [rest for _, rest in _OPEN_FORMATTING.findall(body)]
    if (
        min(len(formatting), DEEPEST) * tags > NODES + len(body) // BYTES_A_NODE
        or sum(map(len, formatting)) * tags > copied
        or b"" in formatting
    ):
        body = _FORMATTING_END.sub(b"</q", _FORMATTING.sub(b"<q", body))
    longest = copied // tags
    if _has_gap(body, longest) or _ENDLESS_ANCHOR.search(body) is not None:
        body = _ANCHOR.sub(
            lambda tag: tag[0] if 0 < len(tag[1] or b"") <= longest else b"<area" + tag[0][2:], body
        )
    return body


def _has_gap(body: bytes, size: int) -> bool:
    """Whether so many bytes may lie between two tags, as they do where a tag that ends before the next one is so long."""
    step = max(1, size // 2)
    return any(body.find(b"<", start, start + step) < 0 for start in range(0, len(body) - step + 1, step))


def with_few_roots(body: bytes) -> bytes:
    """The body with every ``<html>`` and ``<body>`` beyond the first `ROOTS` of each read as ``<head>``.

    That is ignored wherever they would be merged. Of those that are long, or end nobody knows where, the first
    of each is kept.
    """
    if len(body) <= FEW_BYTES:
        return body
    roots = [root.lower() for root in _ROOT_NAME.findall(body)]
    if len(roots) == len(set(roots)):
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
_LAID_OUT: Final = frozenset({"blockquote", "table", "td", "th", "tr"})
_TOO_DEEP: Final = " ".join(["blockquote"] * (DEEPEST_QUOTE + 1))


def tame_layout(tree: Document) -> None:
    """Take out of a tree the tables and block quotes whose layout as text would dwarf the text.

    Of the tables stay the words, a row to a line; of the quotes those that are quotes in eight others.
    """
    kinds = Counter([element.tag for element in tree.iter_elements(_LAID_OUT)])
    if kinds["blockquote"] > DEEPEST_QUOTE:
        tree.strip_tags(_TOO_DEEP)
    if not kinds["table"]:
        return
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
