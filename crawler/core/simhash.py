"""What a page says, in 64 bits that are nearly the same for pages that say nearly the same: Charikar's SimHash.

    text ──► words ──► those that count, each with a weight ──► 32-bit CRC ──► 64 bits each ──► the majority of each bit

1. Pages that differ by a few words differ by a few bits (`distance`); pages that say something else differ by some thirty.
2. The same at all times and on all machines: it is stored.
3. Time and memory grow with the text, up to `MOST` words.

Letters alone count, whatever their case: so digits and the signs of the page's own address do not, as for a `gist`, and its letters are a
word or two of many. A word weighs the more, the more often it stands there, by the logarithm: if each weighed the same, one new word in
fifty would change five bits, and if each weighed as often as it stands there, all pages of one language would be alike.

Of a longer text only the words that end in e count, of a long one only those that end in n (of any other script those whose last byte is
one of as few): the same pages are found, in a fourth of the time. Words are compared without regard to their order.

Measured on 2,000 pages of published documentation, 22 sites (docs/why.md), by the share of words changed, struck out and added:

    distance at most     1 %    2 %    3 %    pairs of one site    of these with less than half of their phrases in common
           3            0.84   0.79   0.69            49                                1
           5            0.96   0.93   0.91           106                                3
           8            0.99   0.98   0.98           250                               51

Moses Charikar, Similarity estimation techniques from rounding algorithms, STOC 2002. Gurmeet Manku, Arvind Jain, Anish Das Sarma,
Detecting near-duplicates for web crawling, WWW 2007, who have the distance of 3 for eight billion pages.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from struct import pack
from typing import Final
from zlib import crc32

BITS: Final = 64
NEAR: Final = 5
"""Pages that differ by so many bits, or fewer, say nearly the same: what a person asks for."""
ALIKE: Final = 3
"""For the budgets of domains, where a mistake would cost an honest site its pages, and a trap has many pages to be known by."""

FEWEST: Final = 16
"""Different words from which on a text has one: of fewer, one that changes may change any bit."""
SHORT: Final = 1_200
"""Bytes of a text of which every word counts."""
LONG: Final = 4_000
"""Bytes from which on a text has enough words that end in n."""
MOST: Final = 20_000
"""Words that are looked at, or a page that is all of words of one letter would take seconds."""
OFTEN: Final = (1, 3, 7)
"""A word that stands there more often than that counts once more, for each of them."""


def _letters(end: str, few: int) -> bytes:
    """Letters in lower case, a space for all else. Beyond ASCII one byte of so *few* stands for the sign *end* of the words that count."""
    table = bytearray(ord(chr(byte).lower()) if chr(byte).isalpha() else ord(" ") for byte in range(0x80))
    table += bytes(range(0x80, 0x100))
    # Signs beyond ASCII are two to four bytes; what follows the first says nothing of the language, and comes up evenly. Where there
    # are no spaces, as in Chinese, one in sixteen of them makes some: so words have about eight signs there.
    for byte in range(0x80, 0xC0):
        if byte < 0x84:  # noqa: PLR2004 - as said
            table[byte] = ord(" ")
        elif byte % few == 0:
            table[byte] = ord(end)
    return bytes(table)


_OF_E: Final = _letters("e", 6), b"e "
_OF_N: Final = _letters("n", 9), b"n "


def simhash(text: str) -> int | None:
    """What the visible text of a page says, as a signed 64-bit number; None if that is too little."""
    said = text.encode("utf-8", "replace")
    table, end = _OF_N if len(said) > LONG else _OF_E
    letters = said.translate(table) + b" "
    times = Counter[bytes]() if len(said) <= SHORT else Counter(_some(letters, end))
    if len(times) < FEWEST:
        times = Counter(letters.split(None, MOST)[:MOST])
    if len(times) < FEWEST:
        return None
    words = list(times)
    repeated: Iterable[tuple[bytes, int]] = times.items()
    for often in OFTEN:
        repeated = [(word, n) for word, n in repeated if n > often]
        words += [word for word, _ in repeated]
    return _majority([*map(crc32, words)])


def distance(one: int, other: int) -> int:
    """By how many bits two of them differ."""
    return ((one ^ other) & _ALL).bit_count()


def _some(letters: bytes, end: bytes) -> list[bytes]:
    """The words of a longer text that end so, without their last letter."""
    return [part[part.rfind(b" ") + 1 :] for part in letters.split(end, MOST)[:MOST]]


_ALL: Final = (1 << BITS) - 1
_LOW: Final = b"\xff\xff\xff\xff\0\0\0\0"


def _majority(numbers: Sequence[int]) -> int:
    """64 bits, each as most of the numbers have it, once their 32 bits are spread over 64. As a signed number."""
    many = len(numbers)
    low = int.from_bytes(_LOW * many, "little")
    lanes = int.from_bytes(pack(f"<{many}Q", *numbers), "little")  # 64 bits to each, all in one integer
    spread = _mixed(lanes, low) | _mixed(lanes ^ low, low) << 32
    columns = spread.to_bytes(8 * many, "little")
    bits = [int.from_bytes(bytes((1 << bit,)) * many, "little") for bit in range(8)]
    half = many // 2
    said = [
        "1" if (column & bit).bit_count() > half else "0"
        for column in [int.from_bytes(columns[byte::8], "little") for byte in range(8)]
        for bit in bits
    ]
    number = int("".join(reversed(said)), 2)
    return number - (1 << BITS) if number >> (BITS - 1) else number


def _mixed(lanes: int, low: int) -> int:
    """Every number in the lower half of its lane, mixed as MurmurHash3 does in the end: a CRC keeps too much of what it is of."""
    lanes ^= (lanes >> 16) & low
    lanes = (lanes * 0x85EBCA6B) & low
    lanes ^= (lanes >> 13) & low
    lanes = (lanes * 0xC2B2AE35) & low
    return lanes ^ ((lanes >> 16) & low)
