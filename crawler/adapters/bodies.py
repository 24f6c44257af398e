"""The body of an answer: read, unpacked and counted, or drained.

    packets ──► waiting for its turn to unpack ──► at most `HOLD` seconds ──► ... ──► the body as meant
                          └──────────────◄───────────────┘

1. A body is never larger than its cap, nor is anything on the way to it.
2. Unpacking holds the event loop for one short moment a round, however many bombs come at once: the others wait their turn.
"""

import asyncio
import io
import ssl
import time
from typing import TYPE_CHECKING, Final

import aiohttp

from crawler.adapters.attempt import Failure
from crawler.adapters.connecting import reason
from crawler.adapters.decoding import DecodedTooLargeError, DecodeError, Decoding
from crawler.core.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crawler.adapters.attempt import Attempt, Claim

DRAINED_BYTES: Final = 64 * 1024
"""What an unwanted body may cost to keep its connection: a new one costs about as much."""
HOLD: Final = 0.002
"""Seconds of unpacking in one round of the event loop; most pages take a tenth of it."""


class Bodies:
    """Reads the bodies of all answers, and unpacks one at a time."""

    def __init__(self) -> None:
        self._unpacking = asyncio.Lock()

    async def read(
        self,
        content: aiohttp.StreamReader,
        attempt: "Attempt",
        cap: int,
        *,
        truncate: bool,
        claim: "Claim | None" = None,
    ) -> tuple[bytes, str]:
        """Read and decode a body of at most `cap` bytes; the text says so if it was cut there. `claim`: to room, should it be large.

        Raises:
            Failure: there is no such body.
        """
        # BytesIO hands its buffer over without a copy: a list of parts would need twice the cap to join.
        body = io.BytesIO()
        try:
            decoding = Decoding(attempt.content_encoding, cap)
            if (attempt.content_length or 0) > decoding.most_packed and not truncate:
                raise Failure(Outcome.TOO_LARGE, f"{attempt.content_length} bytes announced")
            while data := await content.readany():
                attempt.wire_bytes += len(data)
                await _make_room(claim, body.tell() + len(data), attempt)
                await self._unpack(decoding.feed(data), body, claim, attempt)
            decoding.finish()
        except DecodedTooLargeError:
            if truncate:
                return body.getvalue(), f"cut at {cap} bytes"
            raise Failure(Outcome.TOO_LARGE, f"more than {cap} bytes") from None
        except DecodeError as error:
            raise Failure(Outcome.DECODE_ERROR, str(error)) from None
        except (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError) as error:
            raise broken(error) from None
        return body.getvalue(), ""

    async def _unpack(
        self, pieces: "Iterator[bytes]", body: io.BytesIO, claim: "Claim | None", attempt: "Attempt"
    ) -> None:
        if not self._unpacking.locked() and _wrote_all(pieces, body, claim):
            return
        while True:
            # A packet may unpack to a thousand times its size. Who waits for room lets others unpack.
            await _make_room(claim, body.tell(), attempt)
            async with self._unpacking:
                if _wrote_all(pieces, body, claim):
                    return
                await asyncio.sleep(0)  # with the lock held: the next one begins in the next round

    async def drain(self, content: aiohttp.StreamReader, attempt: "Attempt") -> None:
        """Read what nobody wants, if it is short. Raises `Failure` if it breaks."""
        try:
            while attempt.wire_bytes <= DRAINED_BYTES and (data := await content.readany()):
                attempt.wire_bytes += len(data)
        except (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError) as error:
            raise broken(error) from None


async def _make_room(claim: "Claim | None", size: int, attempt: "Attempt") -> None:
    """Wait for room, should a body of so many bytes need it."""
    if claim is not None and claim.needs(size):
        attempt.waits = time.monotonic()
        await claim.wait()
        attempt.last = time.monotonic()
        attempt.waited += attempt.last - attempt.waits
        attempt.waits = 0.0


def _wrote_all(pieces: "Iterator[bytes]", body: io.BytesIO, claim: "Claim | None") -> bool:
    """Write pieces until there are no more, or the time is over, or they need room first."""
    until = time.monotonic() + HOLD
    for piece in pieces:
        body.write(piece)
        if time.monotonic() > until or (claim is not None and claim.needs(body.tell())):
            return False
    return True


def broken(error: Exception) -> Failure:
    """What aiohttp says of a connection or a message that broke, as an outcome."""
    cause = error.__cause__ or error
    if isinstance(cause, ssl.SSLError):
        return Failure(Outcome.TLS_ERROR, reason(cause))
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return Failure(Outcome.PROTOCOL_ERROR, "closed without an answer")
    if isinstance(error, aiohttp.ClientPayloadError):
        return Failure(Outcome.PROTOCOL_ERROR, "the body ends early or is malformed")
    if isinstance(error, OSError):
        return Failure(Outcome.PROTOCOL_ERROR, reason(error))
    message = getattr(error, "message", "") or str(error)
    line = " ".join(message.split("\n", 1)[0].split()).rstrip(":")[:100]
    return Failure(Outcome.PROTOCOL_ERROR, f"malformed: {line}" if line else "malformed")
