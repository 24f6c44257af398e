"""What a body is, before and apart from its links: media type, charset, text, digest.

    Content-Type ──► sniff() ──► media type ──► trees.html_tree() or decode() ──► text ──► text_digest()

1. Nothing here raises, whatever the bytes.
2. Time and memory grow with the bytes and no faster; where HTML itself breaks that, `taming` mends it.
3. Text that leaves here can be stored: no NUL, no lone surrogate (PostgreSQL refuses both).
"""

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from turbohtml import HTMLParseError, parse, parse_xml
from turbohtml.detect import detect

from crawler.core.timestamps import folded

SNIFFED_BYTES: Final = 1445
"""How much of a body `sniff` looks at (MIME Sniffing, section 5.2)."""

FALLBACK: Final = "windows-1252"
"""What the Encoding Standard's callers use where nothing is declared and nothing can be told."""

HTML_TYPES: Final = frozenset({"text/html", "application/xhtml+xml", "application/vnd.wap.xhtml+xml"})
XML_TYPES: Final = frozenset({"text/xml", "application/xml"})
JSON_TYPES: Final = frozenset({"application/json", "application/x-ndjson", "application/ndjson"})

TEXT_REFUSED: Final = frozenset(
    {
        "text/css",
        "text/ecmascript",
        "text/javascript",
        "text/javascript1.5",
        "text/jscript",
        "text/livescript",
        "text/x-ecmascript",
        "text/x-javascript",
    }
)
"""Text that makes pages look or move, and tells a reader nothing: stored only when it is named."""

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a grammar, not a password
_MEDIA_TYPE: Final = re.compile(rf"[\t\n\r ]*({_TOKEN}/{_TOKEN})[\t\n\r ]*(?:;(.*))?", re.DOTALL)
_CHARSET: Final = re.compile(
    rf"(?:^|;)[\t\n\r ]*charset=(?:\"([^\"]*)\"?|'({_TOKEN}?)'|([^;\"]*))", re.IGNORECASE
)
_UNKNOWN: Final = frozenset({"unknown/unknown", "application/unknown", "*/*"})
_APACHE: Final = frozenset(
    {
        "text/plain",
        "text/plain; charset=ISO-8859-1",
        "text/plain; charset=iso-8859-1",
        "text/plain; charset=UTF-8",
    }
)
"""What old Apaches say of any file they do not know, to the letter (MIME Sniffing, section 5.1)."""

_HTML: Final = re.compile(
    rb"[\t\n\f\r ]*<"
    rb"(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|!--)[ >]",
    re.IGNORECASE,
)
_XML: Final = re.compile(rb"[\t\n\f\r ]*<\?xml")
_BINARY: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_SIGNATURES: Final = (
    (re.compile(rb"%PDF-"), "application/pdf"),
    (re.compile(rb"%!PS-Adobe-"), "application/postscript"),
    (re.compile(rb"\x00\x00[\x01\x02]\x00"), "image/x-icon"),
    (re.compile(rb"BM"), "image/bmp"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF.{4}WEBPVP", re.DOTALL), "image/webp"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"FORM.{4}AIFF", re.DOTALL), "audio/aiff"),
    (re.compile(rb"ID3"), "audio/mpeg"),
    (re.compile(rb"OggS\x00"), "application/ogg"),
    (re.compile(rb"MThd\x00\x00\x00\x06"), "audio/midi"),
    (re.compile(rb"RIFF.{4}AVI ", re.DOTALL), "video/avi"),
    (re.compile(rb"RIFF.{4}WAVE", re.DOTALL), "audio/wave"),
    (re.compile(rb".{4}ftyp", re.DOTALL), "video/mp4"),
    (re.compile(rb"\x1a\x45\xdf\xa3"), "video/webm"),
    (re.compile(rb"\x1f\x8b\x08"), "application/x-gzip"),
    (re.compile(rb"PK\x03\x04"), "application/zip"),
    (re.compile(rb"Rar!\x1a\x07"), "application/x-rar-compressed"),
)
_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xfe\xff", "utf-16be"), (b"\xff\xfe", "utf-16le"))


class _Declared(NamedTuple):
    """What a Content-Type header says."""

    media_type: str | None
    charset: str | None


@lru_cache(maxsize=1024)
def _declared(content_type: str) -> _Declared:
    found = _MEDIA_TYPE.fullmatch(content_type)
    parameters = _CHARSET.search(found[2] or "") if found else None
    label = next((value for value in parameters.groups() if value is not None), "") if parameters else ""
    return _Declared(found[1].lower() if found else None, whatwg_name(label))


def media_type(content_type: str | None) -> str | None:
    """The media type of a Content-Type header without parameters, lower case; None if it names none."""
    return None if content_type is None else _declared(content_type).media_type


def sniff(prefix: bytes, declared: str | None) -> str:
    """The media type of a body that begins with `prefix` and was declared as `declared`.

    A declared type is believed (MIME Sniffing, section 7), with the exceptions that standard makes: a type
    that is absent, malformed or says "unknown" is told by the bytes, and text/plain as old Apaches send it
    is application/octet-stream if it holds binary bytes. What calls itself text/plain never becomes HTML.
    One liberty: HTML and XML are recognised after a byte order mark too; the standard would say text/plain.
    """
    prefix = prefix[:SNIFFED_BYTES]
    essence = media_type(declared)
    if essence is not None and essence not in _UNKNOWN:
        return "application/octet-stream" if declared in _APACHE and _is_binary(prefix) else essence
    text = _without_mark(prefix)
    if _HTML.match(text):
        return "text/html"
    if _XML.match(text):
        return "text/xml"
    for signature, told in _SIGNATURES:
        if signature.match(prefix):
            return told
    return "application/octet-stream" if _is_binary(prefix) else "text/plain"


def _is_binary(prefix: bytes) -> bool:
    return not prefix.startswith(tuple(mark for mark, _ in _MARKS)) and _BINARY.search(prefix) is not None


def _without_mark(prefix: bytes) -> bytes:
    """The prefix as ASCII-compatible bytes, its byte order mark gone."""
    for mark, charset in _MARKS:
        if prefix.startswith(mark):
            return prefix[len(mark) :].decode(charset, "replace").encode()
    return prefix


def is_html(media_type: str) -> bool:
    """Whether a media type (lower case, without parameters) is HTML or XHTML."""
    return media_type in HTML_TYPES


def is_xml(media_type: str) -> bool:
    """Whether a media type is XML that is read for its text (XHTML too; a drawing or a model is not)."""
    return media_type in XML_TYPES or (
        media_type.endswith("+xml") and media_type.startswith(("application/", "text/"))
    )


def is_json(media_type: str) -> bool:
    """Whether a media type is JSON of any kind."""
    return media_type in JSON_TYPES or media_type.endswith("+json")


def is_text(media_type: str) -> bool:
    """Whether a body of that media type is text: only then has it a charset and a text digest."""
    return media_type.startswith("text/") or is_xml(media_type) or is_json(media_type)


def may_store(media_type: str | None, extra: frozenset[str] = frozenset()) -> bool:
    """Whether a body of that media type is kept: text, HTML, XHTML, XML, JSON, and what `extra` names.

    `extra` holds media types, ``image/*`` or ``*/*`` (design, section 7). None, for nothing declared, may be
    read: ask again with what `sniff` tells.
    """
    if (
        media_type is None
        or media_type in _UNKNOWN
        or (is_text(media_type) and media_type not in TEXT_REFUSED)
    ):
        return True
    kind = media_type.partition("/")[0]
    return not extra.isdisjoint((media_type, f"{kind}/*", "*/*"))


_XML_DECLARATION: Final = re.compile(
    rb"<\?xml[^>]{0,200}?[\t\n\r ]encoding[\t\n\r ]*=[\t\n\r ]*(?:\"([^\">]{1,40})\"|'([^'>]{1,40})')"
)


@lru_cache(maxsize=1024)
def whatwg_name(label: str) -> str | None:
    """The encoding that a label means (``Latin1``: windows-1252); None if the standard knows none."""
    try:
        name = parse(b"", encoding=label).encoding
    except (LookupError, ValueError):  # unknown; or not even text: a NUL, a lone surrogate
        return None
    return name.lower() if name else None


def charset_of(content_type: str | None) -> str | None:
    """The WHATWG name of the encoding that a Content-Type header declares, lower case; None for none."""
    return None if content_type is None else _declared(content_type).charset


def xml_charset(body: bytes) -> str | None:
    """The WHATWG name of the encoding that an XML declaration at the very start of a body names."""
    found = _XML_DECLARATION.match(body)
    if found is None:
        return None
    name = whatwg_name((found[1] or found[2]).decode("latin-1"))
    # The declaration was read as ASCII, so it cannot be UTF-16 (HTML: "get an XML encoding", step 9).
    return "utf-8" if name in {"utf-16le", "utf-16be"} else name


def decode(body: bytes, charset: str | None) -> tuple[str, str]:
    """The text of a body that is not HTML, and the encoding it was read in.

    A byte order mark wins, then `charset` (a WHATWG name), an XML declaration, UTF-8 if it is that, and the
    detector's guess last.
    """
    for mark, marked in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(marked, "replace"), marked
    charset = charset or xml_charset(body)
    if charset is None:
        try:
            return body.decode(), "utf-8"
        except UnicodeDecodeError:
            charset = (detect(body).encoding or FALLBACK).lower()
    return body.decode(f"whatwg-{charset}", "replace"), charset


_NOT_STORABLE: Final = re.compile("[\0\ud800-\udfff]")


class UnreadableError(ValueError):
    """No parser can read this body within its bounds."""


def xml_text(text: str) -> str:
    """The character data of XML, a line to each run of it; of XML that is not well-formed, all of it."""
    try:
        return "\n".join(line for run in parse_xml(text).strings if (line := run.strip()))
    except HTMLParseError:
        return text


def reads_as_html(media_type: str, prefix: bytes) -> bool:
    """Whether a body is to be read by the HTML parser: HTML, or XML whose first element is ``<html``."""
    return is_html(media_type) or (
        is_xml(media_type) and _HTML_ELEMENT.search(prefix[:SNIFFED_BYTES]) is not None
    )


_HTML_ELEMENT: Final = re.compile(rb"<html[\s>]", re.IGNORECASE)


def text_digest(text: str) -> bytes | None:
    """128-bit BLAKE2b of a text without its white space, and with one sign for each time in it; None if nothing is left.

    So a page that shows when it was made is the same page a minute later (`timestamps`). All white space goes, rather than being
    folded: so it does not matter which element made a line break, and it takes a third of the time.
    """
    squeezed = folded(text.encode("utf-8", "replace")).translate(None, b" \t\n\r\f\v")
    return blake2b(squeezed, digest_size=16).digest() if squeezed else None


def clean(text: str) -> str:
    """The text with NUL and lone surrogates, which PostgreSQL refuses, replaced by U+FFFD."""
    if "\0" not in text:
        try:
            text.encode()  # a tenth of what looking for surrogates costs
        except UnicodeEncodeError:
            pass
        else:
            return text
    return _NOT_STORABLE.sub("\ufffd", text)
