"""Content encodings off, piece by piece, with every piece and every stage counted.

    body as sent ──► last coding named ──► ... ──► first coding named ──► body as meant

1. No call ever yields more than `PIECE` bytes at once, so a bomb goes off 64 KiB at a time.
   Nor does it work long without yielding: what unpacks to nothing yields empty pieces, so that others get their turn.
2. No stage yields more than `cap` bytes, nor takes much more: a bomb within a bomb stops at the outer one.
3. A stream that ends early is corrupt; what follows the end of a whole one is ignored, as browsers do.
"""

import sys
import zlib
from typing import TYPE_CHECKING, Any, Final, Protocol

import brotli  # type: ignore[import-untyped]  # it has no stubs
from isal import isal_zlib
from isal.igzip_lib import IsalError

if sys.version_info >= (3, 14):  # pragma: no cover
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ACCEPT_ENCODING: Final = "gzip, deflate, br, zstd"
PIECE: Final = 64 * 1024
SLICE: Final = 8 * 1024
"""How much packed data is looked at in one go: code tables for nothing take 100 times as long to read as text does."""
OVERHEAD: Final = 64 * 1024
"""How much longer than its content a packed body may be."""
MAX_CODINGS: Final = 5
MAX_MEMBERS: Final = 10_000
"""Gzip members or zstd frames in one body: each costs a decoder, and an empty one only 20 bytes."""
ZSTD_WINDOW_LOG: Final = 23
"""8 MiB, the most a server may use (RFC 9659)."""

_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB_HEAD: Final = 2
_GZIP_FLAGS: Final = 3  # where they stand in a member's head


class DecodeError(Exception):
    """The body is not what its Content-Encoding says."""


class DecodedTooLargeError(Exception):
    """The body, or what one of its codings unpacks to, is larger than the cap."""


class Decoder(Protocol):
    """Takes one content coding off."""

    def feed(self, data: bytes) -> "Iterator[bytes]":
        """Yield what `data` unpacks to, up to `PIECE` bytes at a time, maybe none. Raises `DecodeError`."""

    def finish(self) -> None:
        """Say that no more comes. Raises `DecodeError` if more should have."""


class _Identity:
    """No coding at all."""

    def feed(self, data: bytes) -> "Iterator[bytes]":
        yield data

    def finish(self) -> None:
        """Any end is a good end."""


class _Members:
    """Gzip or zstd: one compressed stream after another.

    A second stream is read only if it starts like one: anything else after the first is litter.
    """

    __slots__ = ("_again", "_count", "_litter", "_magic", "_make", "_step", "_stream", "_tail")

    def __init__(
        self, make: "Callable[[bytes], Any]", step: "Callable[[Any, bytes], bytes]", magic: bytes
    ) -> None:
        self._make = make
        self._step = step
        self._magic = magic
        self._stream: Any = None
        self._tail = b""  # a few bytes that may be the start of the next stream
        self._count = 0
        self._litter = False

    def feed(self, data: bytes) -> "Iterator[bytes]":
        while self._stream is not None or self._begins(data):
            if self._tail:
                data, self._tail = self._tail + data, b""
            stream = self._stream
            piece = self._step(stream, data)
            if piece or stream.eof:
                yield piece
            if stream.eof:
                data = stream.unused_data
                self._stream = None
                continue
            data = _pending(stream)
            if not data and len(piece) < PIECE:
                return

    def _begins(self, data: bytes) -> bool:
        """Whether another stream starts here; if so, there is a decoder for it."""
        if self._litter or not data:
            return False
        head = self._tail + data
        if self._count and not head.startswith(self._magic):
            self._litter = not self._magic.startswith(head)
            self._tail = b"" if self._litter else head
            return False
        if self._count >= MAX_MEMBERS:
            raise DecodeError(f"more than {MAX_MEMBERS} compressed streams in one body")
        self._stream = self._make(head)
        self._count += 1
        return True

    def finish(self) -> None:
        if self._stream is not None:
            raise DecodeError("the compressed body ends early")


def _pending(stream: Any) -> bytes:
    """What zlib hands back to be fed again; a zstd decoder keeps that to itself."""
    pending: bytes = getattr(stream, "unconsumed_tail", b"")
    return pending


def _new_gzip(head: bytes) -> Any:
    # isal 1.9 misreads a head with optional fields when it comes in parts ("Invalid deflate block found");
    # nearly all heads have none, and there it takes a third of zlib's time.
    if len(head) > _GZIP_FLAGS and head[_GZIP_FLAGS] == 0:
        return isal_zlib.decompressobj(_GZIP)
    return zlib.decompressobj(_GZIP)


def _new_zstd(_head: bytes) -> Any:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG})


def _step_zlib(stream: Any, data: bytes) -> bytes:
    try:
        piece: bytes = stream.decompress(data, PIECE)
    except (IsalError, zlib.error) as error:  # type: ignore[misc]  # the stub calls it a plain class
        raise DecodeError(f"corrupt gzip or deflate: {_short(error)}") from None
    return piece


def _step_zstd(stream: Any, data: bytes) -> bytes:
    try:
        piece: bytes = stream.decompress(data, PIECE)
    except zstd.ZstdError as error:
        raise DecodeError(f"corrupt zstd: {_short(error)}") from None
    return piece


class _Deflate:
    """The coding `deflate`: zlib-wrapped as RFC 9110 says, or bare as some servers send it."""

    __slots__ = ("_head", "_stream")

    def __init__(self) -> None:
        self._stream: Any = None
        self._head = b""

    def feed(self, data: bytes) -> "Iterator[bytes]":
        if self._stream is None:
            self._head += data
            if len(self._head) < _ZLIB_HEAD:
                return
            self._stream = isal_zlib.decompressobj(_deflate_bits(self._head))
            data, self._head = self._head, b""
        stream = self._stream
        while not stream.eof:
            piece = _step_zlib(stream, data)
            if piece:
                yield piece
            data = stream.unconsumed_tail
            if not data and len(piece) < PIECE:
                return

    def finish(self) -> None:
        if self._head or (self._stream is not None and not self._stream.eof):
            raise DecodeError("the compressed body ends early")


def _deflate_bits(head: bytes) -> int:
    # RFC 1950 section 2.2: method 8, and the first two bytes are a multiple of 31
    wrapped = head[0] & 0x0F == zlib.DEFLATED and int.from_bytes(head[:_ZLIB_HEAD], "big") % 31 == 0
    return zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS


class _Brotli:
    """The coding `br`."""

    __slots__ = ("_fed", "_stream")

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()
        self._fed = False

    def feed(self, data: bytes) -> "Iterator[bytes]":
        self._fed = True
        stream = self._stream
        while not stream.is_finished():
            try:
                piece: bytes = stream.process(data, output_buffer_limit=PIECE)
            except brotli.error:
                raise DecodeError("corrupt brotli") from None
            # Its limit is where it stops asking for more room, so it may overshoot by half.
            for start in range(0, len(piece), PIECE):
                yield piece[start : start + PIECE]
            if not piece and stream.can_accept_more_data():
                return
            data = b""

    def finish(self) -> None:
        if self._fed and not self._stream.is_finished():
            raise DecodeError("the compressed body ends early")


_CODINGS: Final["Mapping[str, Callable[[], Decoder]]"] = {
    "gzip": lambda: _Members(_new_gzip, _step_zlib, b"\x1f\x8b"),
    "x-gzip": lambda: _Members(_new_gzip, _step_zlib, b"\x1f\x8b"),
    "deflate": _Deflate,
    "br": _Brotli,
    "zstd": lambda: _Members(_new_zstd, _step_zstd, b"\x28\xb5\x2f\xfd"),
}
_CANNOT: Final = frozenset({"aes128gcm", "compress", "x-compress", "dcb", "dcz", "exi", "pack200-gzip"})
"""The other codings of the registry (IANA, HTTP Content Coding Registry)."""


def decoders(content_encoding: str) -> list[Decoder]:
    """The decoders for a Content-Encoding header, in the order to apply them (the last named first).

    What names no coding at all (`none`, `utf-8`, `text/html`) is passed over, as browsers do: such servers pack nothing.

    Raises:
        DecodeError: a coding that we cannot take off, or more than five of them.
    """
    names = [part.partition(";")[0].strip(' \t"').lower() for part in content_encoding.split(",")]
    codings = [name for name in reversed(names) if name in _CODINGS or name in _CANNOT]
    if len(codings) > MAX_CODINGS:
        raise DecodeError(f"{len(codings)} content encodings on top of each other")
    unknown = next((name for name in codings if name in _CANNOT), None)
    if unknown is not None:
        raise DecodeError(f"unknown content encoding {unknown!r}")
    return [_CODINGS[name]() for name in codings]


class Decoding:
    """All codings of one body. Empty in, empty out."""

    __slots__ = ("_cap", "_decoders", "_given", "_taken")

    def __init__(self, content_encoding: str, cap: int) -> None:
        self._decoders = decoders(content_encoding) or [_Identity()]
        self._taken = 0
        self._given = [0] * len(self._decoders)
        self._cap = cap

    @property
    def most_packed(self) -> int:
        """How long the body may be as sent."""
        return self._cap + (0 if isinstance(self._decoders[0], _Identity) else OVERHEAD)

    def feed(self, data: bytes) -> "Iterator[bytes]":
        """Yield what `data` unpacks to, at most `PIECE` bytes at a time (as they are, if not packed).

        Raises:
            DecodeError: the data are corrupt.
            DecodedTooLargeError: a stage gave more than the cap, after that many bytes were given.
        """
        step = max(1, len(data)) if isinstance(self._decoders[0], _Identity) else SLICE
        for start in range(0, len(data), step):
            part = data[start : start + step]
            self._taken += len(part)
            yield from self._through(0, part)
            if self._taken > self.most_packed:
                raise DecodedTooLargeError
            yield b""

    def _through(self, stage: int, data: bytes) -> "Iterator[bytes]":
        last = stage == len(self._decoders) - 1
        for piece in self._decoders[stage].feed(data):
            room = self._cap - self._given[stage]
            self._given[stage] += len(piece)
            within = piece[:room] if len(piece) > room else piece
            if last or not piece:
                yield within
            else:
                yield from self._through(stage + 1, within)
            if within is not piece:
                raise DecodedTooLargeError

    def finish(self) -> None:
        """Say that no more comes. Raises `DecodeError` if more should have."""
        for decoder in self._decoders:
            decoder.finish()


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:100] if str(error) else type(error).__name__
