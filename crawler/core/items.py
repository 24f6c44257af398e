"""Items of Scrapy's feeds: pieces of JSON, CSV or XML in, what each item says of a URL out.

    `{...}` a line ─────► json_line
    `[{...}, {...}]` ───► Array ──each──┐
    a CSV with a header ► Table ──each──┼──► item: the URL is what its key says
    `<items><item>` ────► ItemElements ─┘

1. Memory holds one item, of at most `MOST` characters.
2. No entity is expanded and nothing is opened; what is nested too deeply is a fault of its item.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from crawler.core.mentions import STATES, STATUSES, Fault, Mention

KEYS: Final = ("url", "response_url", "link")
"""Where the URL of an item stands, if nobody says otherwise: the first that it has."""
MOST: Final = 16 << 20
"""Characters of an item: what has more, such as one whole page in it, is passed over."""
MOST_LINES: Final = 10_000
"""Of a record of CSV: a quotation mark too many would swallow all that follows."""
DELIMITERS: Final = ",;\t|"

_WHITE: Final = re.compile(r"[\s,\ufeff]*")
_TEXT: Final = 8192
"""Characters of a URL in XML. No longer one is fetched."""


def item(said: object, key: str | None, number: int) -> Mention | Fault:
    """What an item says. *key*: where its URL stands; None: see `KEYS`."""
    if not isinstance(said, Mapping):
        return Fault("is no object", number)
    for name in KEYS if key is None else (key,):
        text = _single(said.get(name))
        if isinstance(text, str) and text:
            status = _single(said.get("status"))
            state = status if isinstance(status, str) and status in STATES else None
            return Mention(text, number, status=_status(status), state=state)
    return Fault(f"has no URL under {key or ', '.join(KEYS)}", number)


def json_line(key: str | None, line: str, number: int) -> Mention | Fault | None:
    """What a line of JSON lines says; None: it is empty."""
    if not line or line.isspace():
        return None
    if len(line) > MOST:
        return Fault(f"is longer than {MOST:,} characters", number)
    try:
        return item(msgspec.json.decode(line), key, number)
    except (msgspec.MsgspecError, ValueError):  # of half a surrogate pair, too
        return Fault("is not JSON", number)
    except RecursionError:
        return Fault("is nested too deeply", number)


def url_column(cells: Sequence[str], key: str | None) -> str | None:
    """The name of the column with the URL, if a table has these columns."""
    return next((name for name in (KEYS if key is None else (key,)) if name in cells), None)


class Array:
    """The elements of a JSON array, from pieces of its text."""

    def __init__(self) -> None:
        self._text = ""
        self._began = False
        self._enough = 0  # characters with which it is worth trying again: the work stays linear
        self.number = 0
        """Elements that were read."""
        self.detail = ""
        """Why it cannot be read on."""
        self.is_over = False

    def feed(self, text: str) -> Iterator[object]:
        """The elements that end in this piece."""
        self._text += text
        if self.is_over or self.detail or len(self._text) < self._enough:
            return
        at = 0
        while (at := self._next(at)) < len(self._text):
            try:
                value, at = _DECODER.raw_decode(self._text, at)
            except RecursionError:
                self.detail = f"its element {self.number + 1:,} is nested too deeply: the rest was not read"
                break
            except ValueError:
                self._enough = 2 * (len(self._text) - at)
                if len(self._text) - at > MOST:
                    self.detail = f"its element {self.number + 1:,} is not JSON, or longer than {MOST:,} characters: the rest was not read"
                break
            self._enough = 0
            self.number += 1
            yield value
        self._text = "" if self.is_over or self.detail else self._text[at:]

    def end(self) -> Iterator[object]:
        """Nothing more comes."""
        self._enough = 0
        yield from self.feed("")
        if not (self.is_over or self.detail):
            self.detail = f"it is cut off, or no JSON, after {self.number:,} elements"

    def _next(self, at: int) -> int:
        """Where the next element begins."""
        at = _end(_WHITE.match(self._text, at))
        if not self._began and at < len(self._text):
            self._began = True
            at = _end(_WHITE.match(self._text, at + 1))  # the bracket
        if self._text.startswith("]", at):
            self.is_over = True
            at = len(self._text)
        return at


class Table:
    """The records of a CSV, from its lines: the first one names the columns.

    *key*: the column with the URL; None: see `KEYS`.
    """

    def __init__(self, key: str | None) -> None:
        self._key = key
        self._columns: Sequence[str] = ()
        self._delimiter = ","
        self._lines: list[str] = []
        self._number = 0
        self._quotes = self._length = 0

    def line(self, text: str, number: int) -> Mention | Fault | None:
        """One more line; None: nothing ends with it."""
        if not self._lines:
            self._number = number
        self._lines.append(text)
        self._quotes += text.count('"')
        self._length += len(text)
        if self._length > MOST or len(self._lines) > MOST_LINES:
            return self._dropped(
                f"is longer than {MOST_LINES:,} lines, or {MOST:,} characters: a quotation mark is not closed"
            )
        if self._quotes % 2:
            return None
        record, self._quotes, self._length = "\n".join(self._lines), 0, 0
        self._lines.clear()
        return self._record(record) if record.strip() else None

    def end(self) -> Fault | None:
        """Nothing more comes."""
        return self._dropped("is cut off: a quotation mark is not closed") if self._lines else None

    def _dropped(self, why: str) -> Fault:
        self._lines.clear()
        self._quotes = self._length = 0
        return Fault(why, self._number)

    def _record(self, text: str) -> Mention | Fault | None:
        if not self._columns:
            self._columns, self._delimiter = header_of(text, self._key)
            return None
        try:
            cells = _cells(text, self._delimiter)
        except csv.Error as error:
            return Fault(f"is no record of CSV ({error})", self._number)
        return item(dict(zip(self._columns, cells, strict=False)), self._key, self._number)


def header_of(line: str, key: str | None) -> tuple[tuple[str, ...], str]:
    """The columns that a first line names, and what stands between them; none: no column of them has URLs."""
    for delimiter in DELIMITERS:
        try:
            cells = tuple(cell.strip() for cell in _cells(line.lstrip("\ufeff"), delimiter))
        except csv.Error:
            continue
        if url_column(cells, key) is not None:
            return cells, delimiter
    return (), ","


class ItemElements:
    """Takes the elements of ``<items><item><url>...``, as lxml's parser reports them; `sitemap_xml.XmlReader` feeds it."""

    elements = 0
    """Not counted: there is no end to how many items a feed may have."""
    is_over = False

    def __init__(self) -> None:
        self._depth = 0
        self._field = ""
        self._item: dict[str, str] = {}
        self._taken = 0
        self.items: list[dict[str, str]] = []
        """What was read, to be taken out."""
        self.events = 0

    @property
    def is_whole(self) -> bool:
        """Whether the first element was closed."""
        return self._depth == 0 and self.events > 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:  # noqa: ARG002 - lxml calls it so
        """An element begins."""
        self.events += 1
        self._depth += 1
        if self._depth == _OF_FIELD:
            self._field = tag.rpartition("}")[2]
            self._taken = 0
        elif self._depth == _OF_FIELD + 1:
            self._taken += 1

    def data(self, text: str) -> None:
        """Text: of a list, the first of its values counts."""
        self.events += 1
        if self._depth < _OF_FIELD or self._taken > 1:
            return
        before = self._item.get(self._field, "")
        if len(before) <= _TEXT:
            self._item[self._field] = before + text

    def end(self, tag: str) -> None:  # noqa: ARG002 - as above
        """An element ends."""
        self.events += 1
        self._depth -= 1
        if self._depth == _OF_FIELD - 2:
            self.items.append({name: text.strip() for name, text in self._item.items()})
            self._item = {}

    def close(self) -> None:
        """Nothing more comes."""


_OF_FIELD: Final = 3
_LONG: Final = 20
"""Digits, beyond any number that means something here. Python refuses those of thousands of digits (sys.set_int_max_str_digits)."""
_DECODER: Final = json.JSONDecoder(
    parse_int=lambda digits: int(digits) if len(digits) <= _LONG else float(digits)
)


def _cells(record: str, delimiter: str) -> Sequence[str]:
    """The cells of a record. Raises csv.Error."""
    before = csv.field_size_limit(MOST)  # 128 KiB otherwise: less than a page that an item may hold
    try:
        return next(csv.reader([record], delimiter=delimiter), ())
    finally:
        csv.field_size_limit(before)  # it is the whole process's


def _end(found: "re.Match[str] | None") -> int:
    return 0 if found is None else found.end()


def _single(value: Any) -> Any:
    """Of a list, its first: what an item loader gathers is one."""
    return value[0] if isinstance(value, list) and value else value


def _status(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= len("599"):
        value = int(value)
    return value if isinstance(value, int) and value in STATUSES else None
