"""The line to a RabbitMQ: one that can be hung up, and what goes wrong on it in words of this house.

    Place("amqp://...") ──dial──► Connection (aio-pika) over a Line
                                      │ async with place.answer(line.hang_up): what the libraries raise becomes
                                      ├──► BrokerUnavailableError   nobody there, or gone: try again
                                      └──► BrokerError              something has to be mended first: try again in vain

1. No exception of aio-pika, aiormq or pamqp leaves, and no line of theirs reaches the terminal.
2. No line of ours holds a password.
3. A line that was hung up is closed at once, whatever still waits to be sent on it.
4. Who is cancelled ends: aiormq swallows a cancellation that comes while it closes a channel.
"""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

import aio_pika
from aio_pika.abc import ConnectionParameter
from aio_pika.connection import make_url
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aiormq.connection import SSLContextProvider, TransportFactory
from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelPreconditionFailed,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from pamqp import commands
from pamqp.exceptions import PAMQPException
from pamqp.frame import unmarshal
from yarl import URL

from crawler.core.errors import BrokerError, BrokerUnavailableError, FaircrawlError

CONNECT: Final = 10.0
"""Seconds for a connection to be made."""
HEARTBEAT: Final = 15
"""Seconds; the broker gives a silent program up after two of them, the program the broker after three."""
AFTER_HANGING_UP: Final = 1.0
UNSENT: Final = 20_000
"""Milliseconds for which what was sent may stay unacknowledged: a cable that was pulled is noticed sooner than by heartbeats."""
FIRST_WORDS: Final = 16384
"""Bytes of the broker's first answers that are kept until it has let us in."""
NOT_ALLOWED: Final = 530
PORTS: Final = {"amqp": 5672, "amqps": 5671}

for _name in ("aiormq", "aio_pika"):
    # They log with tracebacks what they also raise, and we say in a line.
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a broker is and who we are there, for sentences about it: without the password."""

    host: str
    port: int
    user: str
    vhost: str
    prefix: str

    @classmethod
    def of(cls, url: str, prefix: str) -> Self:
        """Read the URL. Raises BrokerError."""
        try:
            parts = urlsplit(url)
            usual = PORTS[parts.scheme]
            port = parts.port or usual
        except (ValueError, KeyError):
            raise BrokerError(
                "that is no RabbitMQ address: it looks like amqp://user:password@host:5672/vhost"
            ) from None
        user = unquote(parts.username or "guest")
        return cls(parts.hostname or "localhost", port, user, unquote(parts.path[1:]) or "/", prefix)

    def __str__(self) -> str:
        return f"RabbitMQ at {self.host}:{self.port}"

    def answer(self, hang_up: Callable[[], None], seconds: float = CONNECT) -> "_Answer":
        """For an ``async with``: after so many seconds we hang up; what the libraries raise is raised as ours."""
        return _Answer(self, hang_up, seconds)

    def permission(self) -> str:
        """The command that lets us do what we do."""
        name = self.prefix.replace(".", r"\.")
        own = rf"'^{name}\.'"
        # Publishing to a queue by its name goes through the default exchange, whose name in permissions is amq.default.
        return rf"rabbitmqctl set_permissions -p {self.vhost} {self.user} {own} '^({name}\.|amq\.default$)' {own}"

    def told(self, error: BaseException, seconds: float = CONNECT) -> BrokerError:
        """What this error of the libraries means."""
        reason = words(error)
        match error:
            case ProbableAuthenticationError():
                return BrokerError(
                    f'{self} does not know user "{self.user}" with this password: see the user and password in --amqp'
                )
            case ChannelAccessRefused():
                return BrokerError(f"{self} refuses: {reason}: allow it ({self.permission()})")
            case ChannelPreconditionFailed() if "inequivalent arg" in reason:
                return BrokerError(
                    f"{self} has a queue of other properties: {reason}: delete it when it is empty (rabbitmqctl delete_queue),"
                    " or set another amqp_prefix"
                )
            case ssl.SSLCertVerificationError():
                return BrokerError(
                    f"{self} has a certificate that is not trusted ({error.verify_message}): name the file of its authority"
                    " at the end of --amqp (?cafile=/path/to/ca.pem)"
                )
            case TimeoutError():
                reason = f"no answer within {seconds:g} s"
        return BrokerUnavailableError(
            f"{self} cannot be reached: {reason}: see that it runs, and that --amqp is right"
        )

    def refused(self, code: int | None, words: str) -> BrokerError:
        """What the broker means that closes the connection before it has let us in."""
        if code == NOT_ALLOWED and "not found" in words:
            return BrokerError(
                f'{self} has no virtual host "{self.vhost}": create it (rabbitmqctl add_vhost {self.vhost}),'
                " or name another one in --amqp"
            )
        if code == NOT_ALLOWED and "refused" in words and "limit" not in words and "down" not in words:
            return BrokerError(
                f'{self} does not let user "{self.user}" into virtual host "{self.vhost}": allow it ({self.permission()})'
            )
        return BrokerUnavailableError(f"{self} lets nobody in: {words}: see its log")


class _Answer:
    """An async context manager; no function with ``except``, because what closes a connection may raise plain Exception."""

    def __init__(self, place: Place, hang_up: Callable[[], None], seconds: float) -> None:
        self._place = place
        self._hang_up = hang_up
        self._seconds = seconds
        self._expired = False

    async def __aenter__(self) -> None:
        self._cancelled = _cancellations()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._expire)
        # Who waits to write to a line that is closed is told by nobody.
        self._timeout = asyncio.timeout(self._seconds + AFTER_HANGING_UP)
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as late:
            error = late
        if _cancellations() > self._cancelled and not isinstance(error, asyncio.CancelledError):
            # Whoever closes a channel with them may be cancelled in vain: they take it for the channel's end.
            raise asyncio.CancelledError from error
        if error is None or isinstance(error, FaircrawlError) or not foreign(error):
            return
        raise self._place.told(TimeoutError() if self._expired else error, self._seconds) from error

    def _expire(self) -> None:
        self._expired = True
        self._hang_up()


def _cancellations() -> int:
    """How often this task was asked to end."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def foreign(error: BaseException) -> bool:
    """Does this come from the broker or its libraries, or from losing them?"""
    if isinstance(error, asyncio.CancelledError):
        # What waits for a connection that goes away is ended as if it were cancelled, without anybody having cancelled us.
        return not _cancellations()
    return isinstance(error, (*CONNECTION_EXCEPTIONS, TimeoutError)) or type(error) is Exception


def words(error: BaseException | None) -> str:
    """The reason in a line."""
    if error is None:
        return "it hung up"
    for one in (error, error.__cause__):
        if isinstance(one, asyncio.IncompleteReadError):
            return "it hung up"
        if isinstance(one, OSError) and not isinstance(one, (ssl.SSLError, socket.gaierror)) and one.errno:
            return os.strerror(one.errno)
    if error.args:
        return " ".join(str(error.args[-1]).split())
    return " ".join(str(error).split()) or "the connection was lost"


class _FirstWords(asyncio.StreamReader):
    """A reader that remembers the beginning of what it heard."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.heard = bytearray()

    def feed_data(self, data: Any) -> None:
        """Called by the protocol."""
        if len(self.heard) < FIRST_WORDS:
            self.heard += data
        super().feed_data(data)


class Line(TransportFactory):
    """Makes the socket of one connection, and keeps hold of it: aiormq shows it to nobody."""

    def __init__(self) -> None:
        self._reader: _FirstWords | None = None
        self._transport: Any = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Called by aiormq."""
        provider: SSLContextProvider = kwargs.pop("ssl_context_provider")
        context = await provider.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        reader = self._reader = _FirstWords(loop)
        transport, protocol = await loop.create_connection(
            lambda: asyncio.StreamReaderProtocol(reader, loop=loop),
            url.host or "localhost",
            url.port or PORTS[url.scheme],
            ssl=context,
            **kwargs,
        )
        self._transport = transport
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            line = transport.get_extra_info("socket")
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNSENT)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def hang_up(self) -> None:
        """Close the socket now; what was not sent is dropped."""
        if self._transport is not None:
            self._transport.abort()

    def last_words(self) -> tuple[int | None, str] | None:
        """Why the broker closed the connection while it was being opened: aiormq says that it did, and drops the reason."""
        heard = bytes(self._reader.heard) if self._reader else b""
        try:
            while heard:
                size, _, frame = unmarshal(heard)
                if isinstance(frame, commands.Connection.Close):
                    return frame.reply_code, frame.reply_text or ""
                heard = heard[size:]
        except PAMQPException:
            pass  # the last frame is not whole
        return None


class Connection(aio_pika.Connection):
    """One connection, over a `Line`."""

    PARAMETERS = (
        *aio_pika.Connection.PARAMETERS,
        ConnectionParameter(name="transport_factory", parser=lambda line: line, is_kwarg=True),
    )


async def dial(url: str, place: Place, name: str, *, seconds: float = CONNECT) -> tuple[Connection, Line]:
    """Connect, as *name* in the broker's list of connections.

    Raises:
        BrokerUnavailableError: nobody answers, or not in time.
        BrokerError: they do not let us in.
    """
    line = Line()
    async with place.answer(line.hang_up, seconds):
        full = make_url(url) if "heartbeat=" in url else make_url(url, heartbeat=HEARTBEAT)
        connection = Connection(
            full, client_properties={"connection_name": name, "product": "faircrawl"}, transport_factory=line
        )
        try:
            await connection.connect()
        except InvalidFrameError:
            refused = line.last_words()
            if refused is None:
                raise
            raise place.refused(*refused) from None
        finally:
            if not connection.connected.is_set():
                line.hang_up()
    return connection, line
