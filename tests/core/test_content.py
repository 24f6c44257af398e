"""Media type, charset, text and digest of a body."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core import content, trees

PNG: Final = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b" \r\n\t<!DOCTYPE html><p>", "text/html"),
        (b"<HTML >", "text/html"),
        (b"<b>x", "text/html"),
        (b"<bold>x", "text/plain"),
        (b"<!-- x -->", "text/html"),
        (b"\xef\xbb\xbf<html>", "text/html"),
        ("\ufeff<html>".encode("utf-16le"), "text/html"),
        ("\ufeff<html>".encode("utf-16be"), "text/html"),
        ("\ufeffwords".encode("utf-16le"), "text/plain"),
        (b" <?xml version='1.0'?>", "text/xml"),
        (b"%PDF-1.4", "application/pdf"),
        (PNG, "image/png"),
        (b"GIF89a", "image/gif"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\1\2\3\4WEBPVP8", "image/webp"),
        (b"\x1f\x8b\x08\0", "application/x-gzip"),
        (b"PK\x03\x04", "application/zip"),
        (b"\0\0\0 ftypisom", "video/mp4"),
        (b"words\x1b[0m\n", "text/plain"),
        (b"words\0", "application/octet-stream"),
        (b"", "text/plain"),
    ],
)
@pytest.mark.parametrize("declared", [None, "", "html", "unknown/unknown", "*/*; q=1"])
def test_undeclared_type_is_told_by_the_bytes(body: bytes, told: str, declared: str | None) -> None:
    """A type that is absent, malformed or unknown is told by the bytes."""
    expected = told

    assert content.sniff(body, declared) == expected


@pytest.mark.parametrize(
    ("body", "declared", "told"),
    [
        (b"<html>", "text/plain", "text/plain"),
        (b"<html>", "text/plain; charset=UTF-8", "text/plain"),
        (b"words\0", "text/plain", "application/octet-stream"),
        (b"\xff\xfew\0", "text/plain", "text/plain"),
        (b"words\0", "text/plain; charset=utf-8", "text/plain"),
        (b"<html>", "application/octet-stream", "application/octet-stream"),
        (PNG, "Text/HTML ; charset=x", "text/html"),
    ],
)
def test_declared_type_is_believed(body: bytes, declared: str, told: str) -> None:
    """A declared type holds, but for binary bytes in what an old Apache calls text/plain."""
    expected = told

    assert content.sniff(body, declared) == expected


@pytest.mark.parametrize(
    ("stored", "media_type"),
    [
        *(
            (True, name)
            for name in ("text/html", "text/plain", "text/markdown", "text/csv", "text/xml", None)
        ),
        *((True, name) for name in ("application/xhtml+xml", "application/xml", "application/rss+xml")),
        *((True, name) for name in ("application/json", "application/ld+json")),
        *((False, name) for name in ("text/css", "text/javascript", "application/javascript", "image/png")),
        *(
            (False, name)
            for name in ("image/svg+xml", "model/x3d+xml", "application/octet-stream", "video/mp4")
        ),
    ],
)
def test_stored_types(media_type: str | None, *, stored: bool) -> None:
    """Text, HTML, XHTML, XML and JSON are stored; styles, scripts, pictures and programs are not."""
    expected = stored

    assert content.may_store(media_type) is expected


@pytest.mark.parametrize("named", ["image/png", "image/*", "*/*"])
def test_named_types_are_stored(named: str) -> None:
    """A type that is named, or covered by a named pattern, is stored as well."""
    expected = (True, False)

    assert (content.may_store("image/png", frozenset({named})), content.may_store("image/png")) == expected


@pytest.mark.parametrize(
    ("header", "charset"),
    [
        ("text/html; charset=ISO-8859-1", "windows-1252"),
        ('text/html;charset="utf8"', "utf-8"),
        ("text/html; charset='koi8-r'", "koi8-r"),
        ("text/html; x=y; CHARSET= Shift_JIS ;z", "shift_jis"),
        ("text/html; charset=gb2312", "gbk"),
        ("text/html; charset=klingon", None),
        ("text/html; charset=\udcff", None),
        ("text/html; charset=\0", None),
        ("text/html; charset=", None),
        ("text/html", None),
        ("nonsense; charset=utf-8", None),
        (None, None),
    ],
)
def test_header_charset_is_mapped(header: str | None, charset: str | None) -> None:
    """A charset parameter is read by the Encoding Standard's table of labels; an unknown one is nothing."""
    expected = charset

    assert content.charset_of(header) == expected


@pytest.mark.parametrize(
    ("body", "given", "text", "charset"),
    [
        (b"\xef\xbb\xbf\xc3\xa9", "koi8-r", "é", "utf-8"),
        (b"\xff\xfe\xe9\0", None, "é", "utf-16le"),
        (b"\xe9", "windows-1252", "é", "windows-1252"),
        (b"\xc3\xa9", None, "é", "utf-8"),
        (
            b"<?xml version='1.0' encoding='koi8-r'?>\xc1",
            None,
            "<?xml version='1.0' encoding='koi8-r'?>\u0430",
            "koi8-r",
        ),
        (
            b'<?xml version="1.0" encoding="UTF-16"?>x',
            None,
            '<?xml version="1.0" encoding="UTF-16"?>x',
            "utf-8",
        ),
        (b'<?xml version="1.0" encoding="odd"?>x', None, '<?xml version="1.0" encoding="odd"?>x', "utf-8"),
        (b"caf\xe9 cr\xe8me", None, "café crème", "windows-1252"),
        (b"\xc3(", "utf-8", "\ufffd(", "utf-8"),
    ],
)
def test_text_is_decoded(body: bytes, given: str | None, text: str, charset: str) -> None:
    """A byte order mark wins, then what is given, the XML declaration, UTF-8, and a guess."""
    expected = (text, charset)

    assert content.decode(body, given) == expected


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (
            b"<title>t</title><p>a <b>b</b>c</p><script>s</script><template>n</template><p>d",
            "text/html",
            "a bc\n\nd",
        ),
        (b"<html><p>a", "application/xhtml+xml", "a"),
        (b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><p>a", "application/xml", "a"),
        (b"<r a='no'><b>x</b> <c>y &amp; z</c></r>", "text/xml", "x\ny & z"),
        (b"<r><b>not closed</r>", "text/xml", "<r><b>not closed</r>"),
        (b'{"a": "b\0"}', "application/json", '{"a": "b\ufffd"}'),
        (b"a  b", "text/plain", "a  b"),
        (b"\xc1", "text/plain; charset=koi8-r", "\u0430"),
        (PNG, "image/png", ""),
    ],
)
def test_visible_text(body: bytes, content_type: str, text: str) -> None:
    """Visible text is what a reader sees of HTML, the character data of XML, and other text as it is."""
    expected = text

    assert trees.visible_text(body, content_type, None).strip() == expected


@pytest.mark.parametrize(
    "body",
    [
        b"<p>one two</p><p>three</p>",
        b"<html><head><title>new</title><script>x</script></head><div>one <b>two</b></div>\n<li>three",
        b"<body>one&#32;two<!-- c --><br>three<style>y</style><template>t</template>",
    ],
)
def test_digest_depends_on_the_text_alone(body: bytes) -> None:
    """Other markup, attributes, scripts, comments and white space leave the digest of the text as it was."""
    expected = content.text_digest("one two three")

    assert content.text_digest(trees.visible_text(body, "text/html", None)) == expected


def test_no_text_has_no_digest() -> None:
    """White space alone has no digest; one letter has one of 128 bits."""
    expected = (None, 16)

    assert (content.text_digest(" \n\t"), len(content.text_digest("x") or b"")) == expected


def test_xml_declaration_counts_where_html_declares_nothing() -> None:
    """HTML that names its encoding only in an XML declaration is read in it; a meta element is stronger."""
    declared = b"<?xml version='1.0' encoding='koi8-r'?><html><p>\xc1\xc2"
    expected = ("koi8-r", "windows-1251")

    assert (
        trees.html_tree(declared, None)[1],
        trees.html_tree(declared + b"<meta charset=windows-1251>", None)[1],
    ) == expected


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "iso-2022-jp"])
def test_formatting_does_not_multiply(charset: str) -> None:
    """Unclosed formatting that HTML would repeat in every paragraph makes no tree of millions of nodes."""
    formatting = "".join(f"<b a{number}>" for number in range(400))
    body = f"<meta charset={charset}><div>{formatting}</div>{'<p>x' * 50_000}<a href=y>".encode(charset)
    if charset == "iso-2022-jp":
        body = body.replace(b"<b", b"<\x1b(Bb")
    tree, read_as = trees.html_tree(body, None)
    expected = ("utf-16le" if charset == "utf-16" else charset, True, "y")

    assert (
        read_as,
        sum(1 for _ in tree.iter_elements()) < 60_000,
        next(tree.iter_elements("a")).attr("href"),
    ) == expected


def test_large_pages_with_little_formatting_are_read_as_they_are() -> None:
    """A large page whose formatting cannot multiply keeps its elements."""
    tree, _ = trees.html_tree(b"<b>bold</b>" + b"<p>x" * 6_000, None)
    expected = 1

    assert sum(1 for _ in tree.iter_elements("b")) == expected


@given(st.text(st.characters(exclude_categories=[])))
def test_clean_text_can_be_stored(text: str) -> None:
    """Clean text has no NUL, encodes as UTF-8, keeps its length, and cleaning it again changes nothing."""
    cleaned = content.clean(text)
    cleaned.encode()
    expected = (False, len(text), cleaned)

    assert ("\0" in cleaned, len(cleaned), content.clean(cleaned)) == expected


TYPES: Final = (
    st.none()
    | st.text()
    | st.sampled_from(
        [
            "text/html",
            "text/plain",
            "text/xml",
            "application/json",
            "text/html; charset=utf-16",
            "text/xml; charset=big5",
        ]
    )
)


@given(st.binary(), TYPES)
def test_no_bytes_raise(body: bytes, content_type: str | None) -> None:
    """Whatever the bytes and the header, there is a type, and text that can be stored."""
    told = content.sniff(body, content_type)
    text = trees.visible_text(body, content_type, None)
    content.text_digest(text)
    expected = (True, text)

    assert ("/" in told, content.clean(text)) == expected


@pytest.mark.parametrize("declared", ["*/*", "unknown/unknown", "application/unknown"])
def test_a_type_that_says_nothing_may_be_read(declared: str) -> None:
    """What the MIME Sniffing standard takes for no type (section 7) is not refused before its bytes were seen."""
    assert content.may_store(declared)
