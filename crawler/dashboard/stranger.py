"""What strangers wrote, shown so that it can do no harm: titles, URLs, details, headers, names.

    text ──► marks that turn writing round, or that nobody sees, become visible ──► escaped ──► isolated in <bdi>
                                                                          └─► too long: the first part, the rest on demand

1. Nothing of it is markup, and nothing of it changes the direction or the place of what stands around it.
2. A link to the web is made of http and https alone, and goes there only when it is asked to.
"""

import re
import unicodedata
from typing import Final
from urllib.parse import urlsplit

from markupsafe import Markup

SHORT: Final = 120
"""Characters of a text in a list."""
LONG: Final = 400
"""Characters that are shown at once where there is room; the rest is behind a click."""
MOST: Final = 20_000
"""Characters that are sent to a browser at all."""

# Not among them: U+200C and U+200D, which join letters in Persian and people in emoji.
_UNSEEN: Final = re.compile(
    "[\0-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_HIDDEN_WORDS: Final = {"\n": "line feed", "\r": "carriage return", "\t": "tab", "\0": "null"}


def plain(text: str) -> str:
    """The text on one line for where no markup can be: a title, a label. What nobody sees is left out."""
    return _UNSEEN.sub(" ", text)


def words(text: str | None, most: int = MOST) -> Markup:
    """The text, isolated, with what is invisible made visible; cut after *most* characters."""
    if not text:
        return Markup("")
    cut = len(text) > most
    return Markup("<bdi>{}{}</bdi>").format(_visible(text[:most]), "…" if cut else "")


def short(text: str | None, most: int = SHORT) -> Markup:
    """The beginning of a text, for a list: the whole of it stands on the page that the list leads to."""
    return words(text, most)


def full(text: str | None, most: int = LONG) -> Markup:
    """The text; of a long one the beginning, and all of it after a click."""
    if not text or len(text) <= most:
        return words(text)
    rest = "" if len(text) <= MOST else f" The first {MOST:,} of {len(text):,} characters."
    return Markup(
        '<details class="long"><summary>{} <span class="more">all {} characters</span></summary>{}{}</details>'
    ).format(words(text, SHORT), f"{len(text):,}", words(text), rest)


def outside(url: str | None) -> Markup:
    """A small link to where the URL lies on the web; nothing, unless it is http or https."""
    target = web_address(url)
    if target is None:
        return Markup("")
    return Markup(
        '<a class="outside" href="{}" target="_blank" rel="noopener noreferrer nofollow" aria-label="Open on the web">↗</a>'
    ).format(target)


def web_address(url: str | None) -> str | None:
    """The URL, if a browser may be sent there."""
    if not url or _UNSEEN.search(url):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in {"http", "https"} and parts.netloc else None


def _visible(text: str) -> Markup:
    pieces: list[Markup | str] = []
    last = 0
    for found in _UNSEEN.finditer(text):
        pieces += [text[last : found.start()], _sign(found[0])]
        last = found.end()
    pieces.append(text[last:])
    return Markup("").join(pieces)


def _sign(letter: str) -> Markup:
    name = _HIDDEN_WORDS.get(letter) or unicodedata.name(letter, "control character").lower()
    return Markup('<span class="unseen" title="{}">U+{}</span>').format(name, f"{ord(letter):04X}")
