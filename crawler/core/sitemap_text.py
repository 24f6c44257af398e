"""The text of a sitemap, piece by piece, whatever its bytes are called.

    body ──gunzip, if it is gzip──► bytes ──► text ──mend──► XML that a parser gets through
             at most `MAX_BYTES`              in its encoding, or in what it is in truth

1. Nothing here raises, and no more than a few pieces are held at once, however large the body unpacks.
2. Of XML no reference to an entity is left, but in CDATA and what looks like it, where none is one.
"""

import codecs
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import webencodings

from crawler.core.content import FALLBACK, xml_charset
from crawler.core.gunzipping import MAGIC as GZIP
from crawler.core.gunzipping import Gunzipping

MAX_BYTES: Final = 50 << 20
"""Of a sitemap, unpacked: what comes later is not read (sitemaps.org, "Using Sitemap index files": 50MB, 52,428,800 bytes)."""
PIECE: Final = 64 << 10
"""Bytes that are read at once. The first piece is never less, if there is as much: it tells what all is."""

_INPUT: Final = 16 << 10
_MAX_MEMBERS: Final = 1_000
"""Of a gzip file. A new one costs 30 us, and hostile ones have one for every 20 bytes."""

_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16le"), (b"\xfe\xff", "utf-16be"))
_WITHOUT_MARK: Final = ((b"<\0", "utf-16le"), (b"\0<", "utf-16be"))
"""UTF-16 that begins at once, as XML in it does."""


class Text:
    """The text of a body: to be iterated once.

    Args:
        body: as it came, content encodings removed.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.detail = ""
        """Why it ended early; empty while it did not."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._body)} bytes {self.detail}>"

    def __iter__(self) -> Iterator[str]:
        """Pieces of some `PIECE` characters; U+FFFD stands for what is not in the encoding."""
        pieces = self._unpacked() if self._body.startswith(GZIP) else self._plain()
        head = b""
        for piece in pieces:
            head += piece
            if len(head) >= PIECE:
                break
        mark, name = _encoding(head)
        found = webencodings.lookup(name)
        decoder = (found or webencodings.UTF8).codec_info.incrementaldecoder("replace")
        yield decoder.decode(head[len(mark) :])
        for piece in pieces:
            yield decoder.decode(piece)
        yield decoder.decode(b"", final=True)

    def _plain(self) -> Iterator[bytes]:
        for at in range(0, min(len(self._body), MAX_BYTES), PIECE):
            yield self._body[at : min(at + PIECE, MAX_BYTES)]
        if len(self._body) > MAX_BYTES:
            self.detail = _TOO_LARGE

    def _unpacked(self) -> Iterator[bytes]:
        left, packing = MAX_BYTES, Gunzipping(PIECE, _MAX_MEMBERS)
        for at in range(0, len(self._body), _INPUT):
            for piece in packing.feed(self._body[at : at + _INPUT]):
                yield piece[:left]
                if len(piece) > left:
                    self.detail = _TOO_LARGE
                    return
                left -= len(piece)
            if packing.has_rubbish:  # nothing to tell: it follows many a file
                return
        packing.end()
        self.detail = packing.detail


_TOO_LARGE: Final = f"it is larger than {MAX_BYTES >> 20} MiB: the rest was not read"


def _encoding(head: bytes) -> tuple[bytes, str]:
    """The byte order mark and the encoding (a WHATWG name) of what begins so.

    What is UTF-8 is that, whatever it declares: half of those that declare something else are wrong.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return mark, name
    for begin, name in _WITHOUT_MARK:
        if head.lstrip(b"\r\n\t ").startswith(begin):
            return b"", name
    declared = xml_charset(head.lstrip())
    if head.isascii():
        return b"", declared or "utf-8"
    try:
        # A letter that is cut in two at the end is no fault.
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return b"", declared if declared not in {None, "utf-8"} else FALLBACK
    return b"", "utf-8"


_LONGEST_CUT: Final = 48
_CUT: Final = re.compile(r"(?:<(?:\?|!(?:-{0,5}|\[[A-Z]{0,5}\[?))?|&#?[A-Za-z0-9]{0,33}|\]{1,2}|-{1,2}|\?)\Z")
"""What may belong with what the next piece begins with, so that neither is understood alone."""
_TO_MEND: Final = re.compile(
    r"<!\[CDATA\[.*?(?:\]\]>|(?P<section>\Z))|(?P<left_out><!--.*?(?:-->|(?P<comment>\Z))|<\?.*?(?:\?>|(?P<instruction>\Z)))"
    r"|&(?:#?[A-Za-z0-9]{1,32};)?"
    r"|<(?![A-Za-z_:/!?\x80-\U0010ffff])",
    re.DOTALL,
)
_MAY_NEED_MENDING: Final = re.compile(r"&|<(?![A-Za-z_:/\x80-\U0010ffff])")
_CONTROLS: Final = bytes({*range(32)} - {9, 10, 13})
_NUMBER: Final = re.compile(r"&#(?:([0-9]{1,7})|[xX]([0-9A-Fa-f]{1,6}));")
_UNKNOWN: Final = "\ufffd"
_BY_NUMBER: Final = {
    "&": "&#38;",
    "&amp;": "&#38;",
    "&lt;": "&#60;",
    "&gt;": "&#62;",
    "&quot;": "&#34;",
    "&apos;": "&#39;",
}
_SECTION: Final = "<![CDATA["
_SECTION_END: Final = "]]>"


class Mender:
    """Mends what sites get wrong in XML, and what a parser then would not get over, or get wrong itself.

    A ``&`` alone, as in ``?a=1&b=2``, and a ``<`` that begins nothing are what they look like. The five entities that
    XML has by itself become numbers, for after the first fault libxml2 leaves them out: ``?a=1&amp;b=2`` would be
    another URL. Any other becomes U+FFFD. Comments, processing instructions and control characters are left out.
    """

    def __init__(self) -> None:
        self._back = ""
        self._until = ""  # within a comment, an instruction or a CDATA section: what ends it
        self.mended = 0
        """How much was mended or left out."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self._back)} characters kept back, {self.mended} mended>"

    def mend(self, piece: str, *, last: bool = False) -> bytes:
        """One more piece of the text, in UTF-8, but for what may belong with the next."""
        text = self._back + piece
        self._back = ""
        if not last:
            cut = _CUT.search(text, max(0, len(text) - _LONGEST_CUT))
            if cut is not None:
                text, self._back = text[: cut.start()], cut[0]
        within = ""
        if self._until:
            before, end, text = text.partition(self._until)
            # The parser would hold a whole section back: it gets one for each piece.
            within = f"{_SECTION}{before}{_SECTION_END}" if self._until == _SECTION_END else _lines(before)
            if end:
                self._until = ""
        if _MAY_NEED_MENDING.search(text):
            text = _TO_MEND.sub(self._mended, text)
        return (within + text).encode("utf-8", "replace").translate(None, _CONTROLS)

    def _mended(self, found: re.Match[str]) -> str:
        text = found[0]
        if text[0] == "&":
            mended = _reference(text)
            self.mended += text == "&" or mended == _UNKNOWN
            return mended
        if text.startswith(_SECTION):
            if found["section"] is None:
                return text
            self._until = _SECTION_END
            return text + _SECTION_END
        self.mended += 1
        if found["left_out"] is None:
            return "&#60;"
        self._until = (
            "-->" if found["comment"] is not None else "?>" if found["instruction"] is not None else ""
        )
        return _lines(text)


_NO_CHARACTERS: Final = (
    range(9),
    range(0xB, 0xD),
    range(0xE, 0x20),
    range(0xD800, 0xE000),
    range(0xFFFE, 0x10000),
)
_LAST: Final = 0x10FFFF


@lru_cache(maxsize=1024)
def _reference(text: str) -> str:
    """A reference by number to the character that a text refers to; U+FFFD if there is none (XML, production 2)."""
    if (known := _BY_NUMBER.get(text)) is not None:
        return known
    found = _NUMBER.fullmatch(text)
    if found is None:
        return _UNKNOWN
    number = int(found[1]) if found[1] else int(found[2], 16)
    if number > _LAST or any(number in numbers for numbers in _NO_CHARACTERS):
        return _UNKNOWN  # lxml would raise for half a surrogate pair
    return f"&#{number};"


def _lines(text: str) -> str:
    """The ends of the lines, so that those after it keep their numbers."""
    return "\n" * text.count("\n")
