"""A PostgreSQL of one's own in a data folder: there while somebody uses it.

    open ──► start.lock ──► share users.lock ──► a server? ──yes──► join ──┐
                                                     └──no──► start ──► ready ──► in use
                                                                                    │ close
    gone ◄── stop ◄──yes── alone on users.lock? ◄── start.lock ◄───────────────────┘
                                └──no──► left to the others

1. While anybody has it open, the server runs; after the last ``close()`` returned, none of it does.
2. Starting and stopping happen one at a time, under `start.lock`. All locks are the kernel's (flock), so a
   user that was killed holds none: its server is joined by the next user, and stops with that one.
3. What was committed stays, whatever is killed when.
4. The server is out of reach of the terminal's Ctrl-C, and nobody's zombie.
"""

import asyncio
import fcntl
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote

import asyncpg

from crawler.adapters.binaries import COPIES, Binaries, default_data_dir, find_binaries, reachable
from crawler.adapters.cluster import Cluster, in_one_line
from crawler.core.errors import EmbeddedDatabaseError

if TYPE_CHECKING:
    from subprocess import Popen
    from types import TracebackType

__all__ = ["Binaries", "EmbeddedPostgres", "default_data_dir", "find_binaries"]

DATABASE: Final = "crawl"
LOOK_AGAIN: Final = 0.01
"""Seconds between two looks at a lock or a server: neither wakes us, and a waiting thread has no cancel."""
ORPHANS_GO: Final = 60.0
"""Seconds that the processes of a killed server may take to notice: they end their statement first."""
FAST_STOP: Final = 120.0
"""Seconds for a fast stop, which writes out shared_buffers; then SIGQUIT leaves that to recovery."""
QUICK_STOP: Final = 15.0


class EmbeddedPostgres:
    """One user's hold on the server of a data folder; see the picture and the laws above.

    ``async with await EmbeddedPostgres.open(folder) as postgres: ... postgres.dsn``
    """

    dsn: str
    """Where to connect to, for asyncpg and libpq."""

    def __init__(self, cluster: Cluster) -> None:
        """Not for you: `open` makes one."""
        self._cluster = cluster
        self._start_lock = -1
        self._users_lock = -1
        self._process: Popen[bytes] | None = None
        self.dsn = self._dsn(DATABASE)

    def __repr__(self) -> str:
        state = "in use" if self._users_lock >= 0 else "left"
        return f"<EmbeddedPostgres {self._cluster.data} {state}>"

    @classmethod
    async def open(
        cls,
        data: Path,
        *,
        bin_dir: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Self:
        """Join the server of this folder, or start it: 10 ms, 0.2 s, or 1 s the first time.

        Args:
            data: The folder; made if missing.
            bin_dir: The PostgreSQL for a new cluster, if not the wheel's.
            settings: Server settings over `cluster.SETTINGS`; not applied to a server that runs already.

        Raises:
            EmbeddedDatabaseError: in one line, what is wrong with the folder, the programs or the cluster.
        """
        postgres = cls(Cluster(data))
        cluster = postgres._cluster
        with in_one_line(cluster.data):
            cluster.claim()
            try:
                postgres._start_lock = cluster.open_file("start.lock", os.O_RDWR)
                postgres._users_lock = cluster.open_file("users.lock", os.O_RDWR)
                async with postgres._alone():
                    await _locked(postgres._users_lock, fcntl.LOCK_SH)
                    try:
                        await postgres._arrive(bin_dir, settings or {})
                    except BaseException:
                        await postgres._leave()
                        raise
            except BaseException:
                postgres._let_go()
                raise
        return postgres

    async def close(self) -> None:
        """Leave. The last one to leave stops the server, and waits for its end. Again: nothing happens.

        Raises:
            EmbeddedDatabaseError: the server could not be stopped.
        """
        if self._users_lock < 0:
            return
        try:
            with in_one_line(self._cluster.data):
                async with self._alone():
                    await self._leave()
        finally:
            self._let_go()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        await self.close()

    async def _arrive(self, bin_dir: Path | None, settings: Mapping[str, str]) -> None:
        """Have a server that answers: the one that runs, or a new one."""
        cluster = self._cluster
        lock = cluster.open_file("server.lock", os.O_RDWR)
        patience = time.monotonic() + ORPHANS_GO
        try:
            while True:
                server = cluster.server()
                if server is not None and server.status != "stopping":
                    if await self._answers(partial(cluster.runs, server.pid)):
                        return
                elif server is None and _try_lock(lock, fcntl.LOCK_EX):
                    await self._start(bin_dir, settings, lock)
                    return
                elif time.monotonic() > patience:
                    raise EmbeddedDatabaseError(
                        f"{cluster.data} is held by a PostgreSQL that was killed, is stopping, or runs in "
                        f"another container: end it (see `fuser {cluster.data}/server.lock`)",
                    )
                await asyncio.sleep(LOOK_AGAIN)
        finally:
            os.close(lock)  # and not unlocked: the server's processes hold it now

    async def _start(self, bin_dir: Path | None, settings: Mapping[str, str], lock: int) -> None:
        cluster = self._cluster
        binaries = await asyncio.to_thread(find_binaries, cluster.data, bin_dir)
        account = cluster.account()
        if account:
            binaries = await asyncio.to_thread(reachable, binaries, account, (COPIES, cluster.data))
        if not (cluster.pg / "PG_VERSION").exists():
            making = cluster.initdb(binaries, account, settings, lock)
            said: list[bytes] = []
            # A thread of its own: one of the pool, cancelled before it began, would leave a zombie.
            Thread(target=lambda: said.append(making.communicate()[0]), daemon=True).start()
            while not said:  # noqa: ASYNC110  # as LOOK_AGAIN
                await asyncio.sleep(LOOK_AGAIN)
            cluster.adopt(making.returncode, said[0])
        since = cluster.log_size()
        # Nothing here is left to a thread but waiting: threads go on after a cancel, without our locks.
        process = self._process = cluster.spawn(binaries, account, settings, lock)
        Thread(target=process.wait, name="postgres-reaper", daemon=True).start()
        if not await self._answers(lambda: process.poll() is None):
            raise cluster.failure(since)

    async def _answers(self, lives: Callable[[], bool]) -> bool:
        """Wait until our database answers, however long a recovery takes; False if the server dies first."""
        while lives():
            server = self._cluster.server()
            if server is not None and server.status == "stopping":
                return False
            if server is not None and server.status == "ready":
                try:
                    await self._ensure_database()
                except (OSError, asyncpg.OperatorInterventionError, asyncpg.PostgresConnectionError):
                    pass  # between "ready" and a crash, or a restart after one: look again
                except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                    raise EmbeddedDatabaseError(
                        f"PostgreSQL in {self._cluster.data} answers: {error} (log: {self._cluster.log})"
                    ) from error
                else:
                    return True
            await asyncio.sleep(LOOK_AGAIN)
        return False

    async def _ensure_database(self) -> None:
        try:
            connection = await asyncpg.connect(self._dsn("postgres"), timeout=10)
        except asyncpg.TooManyConnectionsError:
            return  # it is well, and busy
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f"CREATE DATABASE {DATABASE}")
        except BaseException:
            connection.terminate()
            raise
        await connection.close()

    async def _leave(self) -> None:
        """Stop the server if nobody else uses it. Call it alone (law 2)."""
        if _try_lock(self._users_lock, fcntl.LOCK_EX):
            await self._stop()

    async def _stop(self) -> None:
        stopped: set[int] = set()
        for how, seconds in ((signal.SIGINT, FAST_STOP), (signal.SIGQUIT, QUICK_STOP)):
            patience = time.monotonic() + seconds
            if (pid := self._cluster.halt(how)) is not None:
                stopped.add(pid)
            elif self._process is not None:
                self._process.send_signal(how)  # too young for a postmaster.pid; or gone: nothing
            while time.monotonic() < patience:
                if self._is_gone(stopped):
                    return
                await asyncio.sleep(LOOK_AGAIN)
        raise EmbeddedDatabaseError(
            f"PostgreSQL in {self._cluster.data} does not stop (log: {self._cluster.log})"
        )

    def _is_gone(self, stopped: set[int]) -> bool:
        """Whether no server runs, nor a child of ours is about to be one (orphans of a killed one may)."""
        ours = self._process is not None and self._process.poll() is None
        return not ours and not any(map(self._cluster.runs, stopped)) and self._cluster.server() is None

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        await _locked(self._start_lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._start_lock, fcntl.LOCK_UN)

    def _let_go(self) -> None:
        for fd in (self._users_lock, self._start_lock):
            if fd >= 0:
                with suppress(OSError):
                    fcntl.flock(fd, fcntl.LOCK_UN)  # a child being forked just now may have a copy
                os.close(fd)
        self._users_lock = self._start_lock = -1

    def _dsn(self, database: str) -> str:
        host = quote(str(self._cluster.pg))
        return f"postgresql://postgres@/{database}?host={host}&port=5432&sslmode=disable"


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _locked(fd: int, kind: int) -> None:
    while not _try_lock(fd, kind):  # noqa: ASYNC110  # another process's lock sets no event here
        await asyncio.sleep(LOOK_AGAIN)
