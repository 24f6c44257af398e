"""Every encoding of the Encoding Standard, declared in every way, and what is none."""

import json
from pathlib import Path
from typing import Final

import pytest
import webencodings
from hypothesis import given
from hypothesis import strategies as st

from crawler.core import content, links, trees
from crawler.core.links import parse_page

URL: Final = "http://site.test/"
ENCODINGS: Final[dict[str, list[str]]] = json.loads(
    (Path(__file__).parent.parent / "corpus" / "encodings.json").read_text()
)["encodings"]
LABELS: Final = [(label, name) for name, labels in ENCODINGS.items() for label in labels]
WIDE: Final = {"utf-16le", "utf-16be"}
IN_META: Final = {"utf-16le": "utf-8", "utf-16be": "utf-8", "x-user-defined": "windows-1252"}
"""What a declaration that was read as ASCII cannot mean (HTML, "prescan", steps 17 and 18)."""
LETTERS: Final = {
    "big5": "中文字",
    "euc-jp": "日本語カナ",
    "euc-kr": "한국어",
    "gb18030": "中文字€😀",
    "gbk": "中文字",
    "iso-2022-jp": "日本語カナ",
    "shift_jis": "日本語カナ",
    "utf-16be": "a€中😀",
    "utf-16le": "a€中😀",
    "utf-8": "a€中😀",
}
"""What an encoding of several bytes is asked to read."""
UPPER: Final = bytes(range(0x80, 0x100))
OTHERWISE: Final = {"koi8-u": {0xAE: "\u045e", 0xBE: "\u040e"}}
"""Where the standard's index and Python's table differ: index-koi8-u has the letters of Belarusian."""


def charset(body: bytes, content_type: str = "text/html") -> str | None:
    """What a body is read in."""
    return parse_page(body, URL, content_type).charset


def test_all_labels_are_here() -> None:
    """The standard has 40 encodings with 228 labels."""
    expected = (40, 228)

    assert (len(ENCODINGS), len(LABELS)) == expected


@pytest.mark.parametrize("spelling", ["{}", '"{}"', " {} ", "{}; x=y"])
def test_every_label_in_a_header(spelling: str) -> None:
    """Each label in a Content-Type header means its encoding, in any case and quoting."""
    expected = [name for _, name in LABELS]
    headers = [f"text/html; charset={spelling.format(label)}" for label, _ in LABELS]

    assert [content.charset_of(header) for header in (*headers, *map(str.upper, headers))] == expected * 2


@pytest.mark.parametrize("parser", links.PARSERS)
def test_every_label_in_a_meta_element(parser: str) -> None:
    """Each label in a meta element means its encoding, but what cannot have been read so far."""
    expected = [IN_META.get(name, name) for _, name in LABELS]
    bodies = [f"<meta charset={label}><p>x".encode() for label, _ in LABELS]

    assert [parse_page(body, URL, "text/html", parser=parser).charset for body in bodies] == expected


def test_every_label_in_an_old_meta_element() -> None:
    """Each label in a meta element that stands for a header means its encoding."""
    expected = [IN_META.get(name, name) for _, name in LABELS]
    form = "<meta http-equiv=Content-Type content='text/html; charset={}'>"

    assert [charset(form.format(label).encode()) for label, _ in LABELS] == expected


def test_every_label_in_an_xml_declaration() -> None:
    """Each label in an XML declaration means its encoding, but UTF-16, which it cannot be."""
    expected = ["utf-8" if name in WIDE else name for _, name in LABELS]
    form = "<?xml version='1.0' encoding='{}'?><html xmlns='http://www.w3.org/1999/xhtml'><p>x</p></html>"

    assert [charset(form.format(label).encode(), "application/xhtml+xml") for label, _ in LABELS] == expected


@pytest.mark.parametrize(
    ("mark", "name"), [("utf-8", "utf-8"), ("utf-16-le", "utf-16le"), ("utf-16-be", "utf-16be")]
)
def test_a_byte_order_mark_beats_every_label(mark: str, name: str) -> None:
    """A byte order mark decides, whatever the header and a meta element say."""
    expected = {(name, ("http://site.test/x",))}
    bodies = [
        (f"\ufeff<meta charset={label}><a href=x>".encode(mark), f"text/html; charset={label}")
        for label, _ in LABELS
    ]
    pages = [parse_page(body, URL, told) for body, told in bodies]

    assert {(page.charset, page.links) for page in pages} == expected


@pytest.mark.parametrize("name", sorted(set(ENCODINGS) - set(LETTERS) - {"replacement"}))
def test_single_bytes_are_read(name: str) -> None:
    """Each of the 128 upper bytes is the letter that Python reads, where it reads one."""
    letters, read_as = content.decode(UPPER, name)
    theirs, _ = webencodings.decode(UPPER, name, "replace")
    told = dict(zip(UPPER, theirs, strict=True)) | OTHERWISE.get(name, {})
    expected = (name, {byte: letter for byte, letter in told.items() if letter != "\ufffd"})

    assert (
        read_as,
        {byte: letter for byte, letter in zip(UPPER, letters, strict=True) if told[byte] != "\ufffd"},
    ) == expected


@pytest.mark.parametrize(("name", "letters"), LETTERS.items())
def test_several_bytes_are_read(name: str, letters: str) -> None:
    """The letters of an encoding with several bytes to a letter are read on a page, and its links found."""
    codec = {"big5": "big5hkscs", "shift_jis": "cp932", "euc-kr": "cp949"}.get(name, name)
    body = f"<title>{letters}</title><a href='/{letters}'>".encode(codec)
    page = parse_page(body, URL, f"text/html; charset={name}")
    expected = (letters, name, 1)

    assert (page.title, page.charset, len(page.links)) == expected


@pytest.mark.parametrize("wide", sorted(WIDE))
def test_utf_16_without_a_mark(wide: str) -> None:
    """UTF-16 that only the header declares is read; undeclared it has no links, and does no harm."""
    expected = [("http://site.test/x",), ()]
    body = "<a href=x>y</a>".encode(wide)

    assert [
        parse_page(body, URL, told).links for told in (f"text/html; charset={wide}", "text/html")
    ] == expected


@pytest.mark.parametrize(
    "label", ["utf-7", "cp437", "utf-32", "utf_8_sig", "idna", "rot13", "zlib", "\0", "é", "x" * 10_000]
)
def test_what_is_no_label(label: str) -> None:
    """What the standard does not know is as good as nothing, though Python has a codec of that name."""
    expected = ("utf-8", ("http://site.test/x",))
    page = parse_page(b"<meta charset=utf-8><a href=x>\xc3\xa9", URL, f"text/html; charset={label}")
    told = parse_page(f"<meta charset='{label}'><a href=x>é".encode(), URL, "text/html")

    assert ((page.charset, page.links), (told.charset, told.links)) == (expected, expected)


def test_utf_7_is_no_markup() -> None:
    """Markup that is hidden in UTF-7 is text."""
    expected: tuple[str, ...] = ()

    assert parse_page(b"+ADw-a href=x+AD4-y+ADw-/a+AD4-", URL, "text/html; charset=utf-7").links == expected


@pytest.mark.parametrize("name", sorted(ENCODINGS))
@given(body=st.binary(max_size=200))
def test_wrong_declarations_do_no_harm(name: str, body: bytes) -> None:
    """Any bytes are read in any encoding that is declared for them, as HTML, XML and text, and can be stored."""
    told = f"charset={name}"
    pages = [parse_page(body, URL, f"{media}; {told}") for media in ("text/html", "text/xml", "text/plain")]
    texts = [trees.visible_text(body, f"{media}; {told}", None) for media in ("text/html", "text/plain")]
    expected = True
    for text in (*texts, *(page.title or "" for page in pages)):
        text.encode()

    assert all("\0" not in text for text in texts) is expected
