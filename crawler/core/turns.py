"""The message: one domain's next few URLs, for one worker.

    dispatch ──encode──► queue ──decode──► accept

The first field is the version of the form. A worker that meets another version refuses the message (it goes to the
dead letters and is not crashed on), so that old and new workers can run side by side during an upgrade.
"""

import math
from typing import Final

import msgspec

from crawler.core.errors import MessageError

VERSION: Final = 1
MOST_URLS: Final = 500


class TurnUrl(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A URL as the turn hands it out: what is needed to visit it and to settle it."""

    crawl_id: int
    url_hash: bytes
    url: str
    due_at: int
    """Microseconds since the epoch: settling compares with it and sets."""
    depth: int
    hops: int
    attempts: int
    seed: bool
    outcome: str | None
    """Of the visit before, None for the first."""
    kind: str = "page"
    """As `crawler.core.model.UrlKind`. Behind all others: a worker from before this field leaves it out of account."""


class Turn(msgspec.Struct, array_like=True, frozen=True):
    """A batch of due URLs of one domain, fenced by a number."""

    version: int
    domain_id: int
    domain: str
    turn: int
    """The fencing number: accepted only while the domain still has it."""
    urls: list[TurnUrl]
    address: str | None = None
    """Where the domain was visited last: so many turns at once may be there."""


def most_urls(turn_seconds: float, delay: float, slots: int) -> int:
    """How many URLs a turn takes: as many as its *slots* can ask for in *turn_seconds*, with *delay* seconds between two requests."""
    if delay <= turn_seconds / MOST_URLS:
        return MOST_URLS
    return max(1, min(MOST_URLS, math.ceil(turn_seconds / delay) * slots))


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Turn)
_envelope = msgspec.msgpack.Decoder(list[msgspec.Raw])


def encode(turn: Turn) -> bytes:
    """The turn as bytes (msgpack)."""
    return _encoder.encode(turn)


def decode(body: bytes) -> Turn:
    """The turn that `encode` made.

    Raises:
        MessageError: not a turn, or one of another version.
    """
    try:
        fields = _envelope.decode(body)
        version = msgspec.msgpack.decode(fields[0], type=int) if fields else None
    except msgspec.MsgspecError as error:
        raise MessageError(f"this message is not a turn: {error}") from error
    if version != VERSION:
        raise MessageError(f"this message is of version {version}, this worker understands version {VERSION}")
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise MessageError(f"this message is not a turn of version {VERSION}: {error}") from error
