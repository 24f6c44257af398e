"""Bytes of HTML in, a tree out, in time and memory that grow with the bytes.

    body ──► UTF-8, and there is a clock? ──► fed in pieces, watched ──► tree
                     │ no                           │ it takes too long
                     └──────────► tamed() ──────────┴──► parsed at once ──► tree

1. Nothing here raises but `PARSER_FAILS`, whatever the bytes.
2. Watched or tamed, the text and the links are the same; to watch costs a tenth of what `tamed` does.
"""

from collections.abc import Callable
from typing import Final

from turbohtml import Document, HTMLParseError, IncrementalParser, PlainText, parse
from turbohtml.detect import detect

from crawler.core.content import (
    FALLBACK,
    UnreadableError,
    charset_of,
    clean,
    decode,
    is_text,
    is_xml,
    reads_as_html,
    sniff,
    xml_charset,
    xml_text,
)
from crawler.core.taming import tame_layout, tamed, with_few_roots

Clock = Callable[[], float]
"""Seconds, from whenever. Of the wall: to ask for processor time takes ten times as long as to feed what is fed between two looks."""

FEW_BYTES: Final = 4_096
"""So few cannot multiply to more than 20 ms."""
PRESCANNED: Final = 1_024
"""Bytes in which a ``<meta charset>`` counts before anything is parsed (HTML, 13.2.3.2)."""
PIECE: Final = 1_024
"""Characters fed between two looks at the clock, if no more than `COPIED` bytes could be copied in that time."""
LEAST: Final = 64
COPIED: Final = 4_000_000
COPIES: Final = 8
"""As `taming.COPIED` and `taming.COPIES`: for each tag of a piece all that came before may be copied, and takes ten times its size."""
SECONDS: Final = 0.02
SECONDS_A_BYTE: Final = 1e-7
"""What feeding may take; an ordinary page takes a tenth of the latter."""


def html_tree(body: bytes, charset: str | None, clock: Clock | None = None) -> tuple[Document, str]:
    """The tree of an HTML body, and the encoding it was read in (WHATWG name, lower case).

    `charset` is what the header said; a byte order mark beats it; ``<meta>``, an XML declaration and the
    detector come after it. Raises nothing but what turbohtml documents: `PARSER_FAILS`.

    `taming` keeps HTML from multiplying; it reads ASCII, so that what is written otherwise is decoded first.
    With a clock, what turns out not to multiply is not looked at so closely.
    """
    if clock is not None and len(body) > FEW_BYTES and (tree := _watched(body, charset, clock)) is not None:
        return tree, "utf-8"
    decoded_from = None
    if len(body) > FEW_BYTES and (
        body.startswith((b"\xfe\xff", b"\xff\xfe")) or charset in _DISGUISES or b"\x1b" in body
    ):
        text, decoded_from = decode(body, charset or (detect(body).encoding or FALLBACK).lower())
        body, charset = text.encode("utf-8", "replace"), "utf-8"
    body = tamed(body)
    tree = _parse(body, charset)
    if tree.encoding_confidence == "tentative" and (declared := xml_charset(body)) not in {None, _name(tree)}:
        tree = _parse(body, declared)
    return tree, decoded_from or _name(tree)


_DISGUISES: Final = frozenset({"utf-16le", "utf-16be", "iso-2022-jp"})
"""Encodings in which a tag's name need not be written in its ASCII bytes (the last needs an escape)."""
_MARKS: Final = (b"\xef\xbb\xbf", b"\xfe\xff", b"\xff\xfe")

PARSER_FAILS: Final = (HTMLParseError, LookupError, UnreadableError)
"""What a parser may raise: turbohtml documents the first (in strict mode) and the second (for an encoding it does not know)."""


def _watched(body: bytes, charset: str | None, clock: Clock) -> Document | None:
    """The tree of a body that says it is UTF-8, and is; None: it has to be looked at more closely, or multiplies."""
    if body.startswith(_MARKS) or not _says_utf8(body, charset) or b"shadowrootmode" in body.lower():
        return None  # the parser would attach shadow roots, where nobody looks for links
    body = with_few_roots(body)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    parser = IncrementalParser(positions=False)
    until = clock() + SECONDS + SECONDS_A_BYTE * len(body)
    start = 0
    while start < len(text):
        size = PIECE
        while size > LEAST and text.count("<", start, start + size) * start > COPIED + COPIES * start:
            size //= 2
        parser.feed(text[start : start + size])
        if clock() > until:
            return None
        start += size
    return parser.close()


def _says_utf8(body: bytes, charset: str | None) -> bool:
    if charset is not None:
        return charset == "utf-8"
    head = _parse(body[:PRESCANNED], None)
    return head.encoding_confidence == "certain" and _name(head) == "utf-8"


def _parse(body: bytes, charset: str | None) -> Document:
    return parse(
        body,
        encoding=charset,
        detect_encoding=charset is None,
        positions=False,
        allow_declarative_shadow_roots=False,  # or links in them could not be found by walking the tree
    )


def _name(tree: Document) -> str:
    return (tree.encoding or FALLBACK).lower()


_PLAIN: Final = PlainText(layout="strict", bullet="")


def tree_text(tree: Document) -> str:
    """The visible text of a tree: a line or more to a block, white space folded but in ``<pre>``.

    May take tables out of the tree, never a link.
    """
    tame_layout(tree)
    return clean(tree.to_text(_PLAIN))


def visible_text(
    body: bytes, content_type: str | None, charset: str | None, clock: Clock | None = None
) -> str:
    """What a reader sees: of HTML all but head, scripts, styles and templates; of XML the character data.

    `charset` is a WHATWG name known from before (`Page.charset`), or None to find out; `clock` as `html_tree` takes it.
    Empty for what is not text.
    """
    told = sniff(body, content_type)
    charset = charset or charset_of(content_type)
    if reads_as_html(told, body):
        return tree_text(html_tree(body, charset, clock)[0])
    if not is_text(told):
        return ""
    text, _ = decode(body, charset)
    return clean(xml_text(text) if is_xml(told) else text)
