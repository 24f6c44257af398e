"""Serving the app: one socket, one server in this process, started and stopped by us.

    bound ──► served ──► told to stop: streams let go, open answers have a moment ──► closed

1. The socket is bound before anything else is begun: that a port is taken is known at once.
2. Who connects and says nothing keeps nobody else out: see `connections`.
3. Whoever stops us waits for a second or two, whatever is open.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from crawler.core.errors import EmbeddedDatabaseError, FaircrawlError, UsageError
from crawler.dashboard.auth import is_loopback
from crawler.dashboard.connections import Connection, Crowd, bounded
from crawler.dashboard.desk import Desk
from crawler.upkeep import keep_minutes

GRACE: Final = 1
"""Seconds for answers that are under way."""
BACKLOG: Final = 128
TICK: Final = 1.0
REVIVE_AGAIN: Final = 2.0


def resolved(host: str) -> list[tuple[int, str]]:
    """Family and address of each place to listen. Raises UsageError: the name leads nowhere."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"--host {host} is no address of this machine: {getattr(error, 'strerror', None) or error}"
        ) from None
    return list(dict.fromkeys((family, str(place[0])) for family, _, _, _, place in found))


def is_here(host: str) -> bool:
    """Whether nobody but this machine reaches us there."""
    return all(is_loopback(address) for _, address in resolved(host))


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0: any free one.

    Raises:
        UsageError: the host is none of ours.
        FaircrawlError: the port is taken, or forbidden.
    """
    family, address = resolved(host)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and address == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise FaircrawlError(
            f"cannot listen on port {port} of {host} ({error.strerror}): name another with --port, or 0 for any free one"
        ) from None
    return listener


class Server(uvicorn.Server):
    """uvicorn's, but that signals are ours, and that it is told to stop by an event."""

    def __init__(self, config: uvicorn.Config, stop: asyncio.Event) -> None:
        super().__init__(config)
        self._stop = stop

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave them to who started us."""
        yield

    async def main_loop(self) -> None:
        """Until we are told to stop; the date in the headers is kept up meanwhile."""
        while not self._stop.is_set():
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._stop.wait()


def server_of(app: ASGIApp, stop: asyncio.Event, crowd: Crowd) -> Server:
    """What answers with the app until told to stop."""
    # What strangers send that is no HTTP is no news, and what goes wrong in the app is told by the door.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        bounded(app),
        loop="none",
        http=partial(Connection, crowd),  # type: ignore[arg-type]  # it makes protocols, as a class does
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
    return Server(config, stop)


@contextlib.asynccontextmanager
async def served(app: Any, listener: socket.socket) -> AsyncIterator[None]:
    """The app of `make_app` answers on this socket, its errands run, minutes are counted, and a database that died is started again."""
    desk: Desk = app.state.desk
    server = server_of(app, desk.stopping, Crowd())
    async with app.state.errands.running(), asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve(sockets=[listener]))
        beside = [tasks.create_task(mind(desk)), tasks.create_task(keep_minutes(desk.database))]
        try:
            yield
        finally:
            desk.stopping.set()
            for task in beside:
                task.cancel()
            await serving


async def mind(desk: Desk) -> None:
    """Start the embedded database again when it was found away."""
    while True:
        await desk.away.wait()
        try:
            await desk.place.revive()
        except EmbeddedDatabaseError as error:
            desk.alerts.away(error)
        await asyncio.sleep(REVIVE_AGAIN)
        desk.away.clear()
