"""One PostgreSQL cluster in a data folder, and at most one server on it.

    data/            as its owner made it, else 0700
      pg/            the cluster, 0700, of the server's user; the socket .s.PGSQL.5432 lies in it too
      pg.new/        a cluster in the making
      postgres.log
      start.lock  users.lock  server.lock

    nothing ──initdb──► pg.new ──rename──► pg ──spawn──► starting ──► ready ──halt──► stopping ──► gone

1. A cluster is whole or not there: initdb works in `pg.new`, and the rename comes last.
2. Every process of a server, and of initdb, inherits the lock on `server.lock`. The lock can be had exactly
   when all of them have gone, however they died, and whoever has their numbers by now.
3. No mode outside the data folder is changed, and as root none is needed: the server gets its folder as an
   open descriptor, and `/proc/self/fd/N` leads there past parents that its user could not enter.
4. Only the server's user and root can connect: the socket lies in a folder that nobody else may enter.
   (It trusts every connection, so beside the cluster, in a folder of any mode, would be too far out.)
"""

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crawler.adapters.binaries import Account, Binaries, cluster_major, environment
from crawler.core.errors import EmbeddedDatabaseError

SOCKET: Final = ".s.PGSQL.5432"
SOCKET_PATH_MAX: Final = 107 if sys.platform == "linux" else 103  # sun_path of unix(7), without its end
LOG_MAX: Final = 8 << 20
OURS: Final = frozenset({"pg", "pg.new", "start.lock", "users.lock", "server.lock", "postgres.log"})
LINUX: Final = sys.platform == "linux"

SETTINGS: Final[tuple[tuple[str, str, str], ...]] = (
    ("listen_addresses", "", "the socket only: no port to clash, nothing to reach from outside"),
    ("unix_socket_directories", ".", "the cluster's own folder (law 4), whatever its path is called"),
    ("unix_socket_permissions", "0700", "twice is safer"),
    ("port", "5432", "a part of the socket's name"),
    ("max_connections", "200", "several processes, each with a pool"),
    ("shared_buffers", "256MB", "the hot end of the frontier's indexes; more is the kernel's to cache"),
    ("work_mem", "16MB", "sets of 1,000 rows are sorted in memory"),
    ("maintenance_work_mem", "128MB", "autovacuum passes over an index once, not many times"),
    ("wal_level", "minimal", "no replica, so less is written for what a crash alone needs"),
    ("max_wal_senders", "0", "wal_level=minimal asks for it"),
    ("wal_compression", "on", "whole pages in the log are the most of it; the wheel is built without lz4"),
    ("max_wal_size", "2GB", "a checkpoint every few minutes, not seconds: fewer whole pages in the log"),
    ("checkpoint_timeout", "15min", "as max_wal_size; a recovery takes seconds for it"),
    ("checkpoint_completion_target", "0.9", "no burst of writes that stalls the fetching"),
    ("fsync", "on", "what was committed stays"),
    ("synchronous_commit", "on", "what was committed stays; the recorder makes few commits of many pages"),
    ("full_page_writes", "on", "a page half written at a power loss is mended"),
    ("random_page_cost", "1.1", "SSDs, and memory"),
    ("effective_io_concurrency", "64", "as random_page_cost"),
    ("jit", "off", "it costs more than these short statements do"),
    ("autovacuum", "on", "the frontier is updated in place all the time"),
    ("autovacuum_naptime", "20s", "queues bloat by the minute"),
    ("autovacuum_vacuum_scale_factor", "0.05", "a twentieth of a large table, not a fifth"),
    ("autovacuum_analyze_scale_factor", "0.05", "a growing crawl gets its plans in time"),
    ("autovacuum_vacuum_cost_limit", "1000", "five times as fast as the default of 2003's disks"),
    ("timezone", "UTC", "as the crawler"),
    ("cluster_name", "faircrawl", "whose server it is, in a list of processes"),
    ("logging_collector", "off", "its log is the one file we hand it"),
    ("log_checkpoints", "off", "only what is wrong stands in the log"),
)
"""What the server is told, each with its reason; on its command line, so that a new version renews them."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its first process, and what it says of itself."""

    pid: int
    status: str  # starting, ready, stopping


class Cluster:
    """The folder, and what runs on it. Nothing here waits for a server."""

    def __init__(self, data: Path) -> None:
        self.data = Path(os.path.abspath(data))  # noqa: PTH100  # resolve() would lengthen a link's short path
        self.pg = self.data / "pg"
        self.log = self.data / "postgres.log"

    def __repr__(self) -> str:
        return f"<Cluster {self.data} {self.server() or 'no server'}>"

    def claim(self) -> None:
        """Make the data folder, or see that it is one of ours or empty.

        Raises:
            EmbeddedDatabaseError: it is a file, holds something else, or its path cannot be connected to.
        """
        length = len(os.fsencode(self.pg / SOCKET))
        if length > SOCKET_PATH_MAX:
            raise EmbeddedDatabaseError(
                f"the path of the socket, {self.pg / SOCKET}, has {length} bytes and the system allows "
                f"{SOCKET_PATH_MAX}: give a shorter --data (a link to the folder will do)",
            )
        if "," in str(self.data):
            raise EmbeddedDatabaseError(
                f"{self.data}: a comma divides hosts in a DSN: give a --data without one (a link will do)",
            )
        try:
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise EmbeddedDatabaseError(
                f"{self.data} is a file, not a folder: give another --data"
            ) from error
        names = {each.name for each in self.data.iterdir()}
        others = sorted(name for name in names - {"lost+found"} if not name.startswith("."))
        if others and not names & OURS:
            raise EmbeddedDatabaseError(
                f"{self.data} holds other things ({others[0]}) and no crawl: give a new folder as --data",
            )

    def open_file(self, name: str, flags: int) -> int:
        """Open a file of ours, made if missing: it is the data folder's owner's, even if root makes it."""
        fd = os.open(self.data / name, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        made = os.fstat(fd)
        if os.geteuid() == made.st_uid == 0 and made.st_nlink == 1:
            owner = self.data.stat()
            os.fchown(fd, owner.st_uid, owner.st_gid)
        return fd

    def account(self) -> Account | None:
        """Whom the server must run as, or None if we are not root.

        The owner of the cluster, else of the data folder (so that they need no root next time), else a
        user that is there for such things.
        """
        if os.geteuid() != 0:
            return None
        if cluster_major(self.pg) is not None and (owner := self.pg.stat()).st_uid != 0:
            return Account(f"number {owner.st_uid}", owner.st_uid, owner.st_gid)
        for known in (self.data.stat().st_uid, "faircrawl", "postgres", "nobody"):
            try:
                entry = pwd.getpwuid(known) if isinstance(known, int) else pwd.getpwnam(known)
            except KeyError:
                continue
            if entry.pw_uid != 0:
                return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
        raise EmbeddedDatabaseError(
            "PostgreSQL does not run as root, and there is no user faircrawl, postgres or nobody: "
            "make one, or run as another user",
        )

    def initdb(
        self,
        binaries: Binaries,
        account: Account | None,
        settings: Mapping[str, str],
        lock: int,
    ) -> subprocess.Popen[bytes]:
        """Begin to make a cluster beside the real place; it inherits the lock. Call it with the lock."""
        new = self.data / "pg.new"
        if new.exists():
            shutil.rmtree(new)  # of a start that was killed; law 2 says that nobody works on it
        new.mkdir(mode=0o700)
        if account:
            _give(new, account)
        arguments = ["--username=postgres", "--auth-local=trust", "--auth-host=reject", "--no-instructions"]
        arguments += ["--encoding=UTF8", "--locale=C"]
        if binaries.major >= 17:  # noqa: PLR2004  # the release that brought it
            arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if settings.get("fsync") == "off":
            arguments.append("--no-sync")
        return self._run(
            [binaries.initdb, *arguments], folder=new, account=account, lock=lock, output=subprocess.PIPE
        )

    def adopt(self, status: int | None, output: bytes) -> None:
        """Take what `initdb` made, if it ended well (law 1).

        Raises:
            EmbeddedDatabaseError: it did not.
        """
        new = self.data / "pg.new"
        if status != 0:
            full = _is_full(self.data)
            shutil.rmtree(new, ignore_errors=True)
            words = _last_words(output.decode(errors="replace")) or "it said nothing"
            raise EmbeddedDatabaseError(f"initdb could not make a database in {self.data}: {words}{full}")
        new.rename(self.pg)
        folder = os.open(self.data, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def spawn(
        self,
        binaries: Binaries,
        account: Account | None,
        settings: Mapping[str, str],
        lock: int,
    ) -> subprocess.Popen[bytes]:
        """Start the server; it inherits the lock. Call it with the lock and with no server."""
        if account and self.pg.stat().st_uid == 0:
            _give(self.pg, account)  # a backup that root has put back
        if LINUX:  # law 2 says that they name nobody: their number may be another process's by now
            for stale in ("postmaster.pid", f"{SOCKET}.lock"):
                (self.pg / stale).unlink(missing_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_MAX:
            self.log.replace(self.log.with_suffix(".log.old"))
        told = {name: value for name, value, _ in SETTINGS} | dict(settings)
        arguments = [word for name, value in told.items() for word in ("-c", f"{name}={value}")]
        log = self.open_file(self.log.name, os.O_WRONLY | os.O_APPEND)
        try:
            return self._run(
                [binaries.postgres, *arguments], folder=self.pg, account=account, lock=lock, output=log
            )
        finally:
            os.close(log)

    @staticmethod
    def _run(
        command: list[str | Path],
        *,
        folder: Path,
        account: Account | None,
        lock: int,
        output: int,
    ) -> subprocess.Popen[bytes]:
        """Run a program on a cluster: as its user, out of the terminal's reach, with law 2 and 3."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return subprocess.Popen(  # noqa: S603  # a program we chose, no shell
                [*command, "-D", f"/proc/self/fd/{fd}" if LINUX else folder],
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                cwd="/",
                env=environment(),
                pass_fds=(fd, lock),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                umask=0o077,
            )
        finally:
            os.close(fd)

    def server(self) -> Server | None:
        """The server that runs on this cluster now."""
        try:
            lines = (self.pg / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
            pid = int(lines[0])
        except (FileNotFoundError, NotADirectoryError, IndexError, ValueError):
            return None
        if pid <= 0 or not self.runs(pid):
            return None
        return Server(pid, lines[7].strip() if len(lines) > 7 else "starting")  # noqa: PLR2004  # pidfile.h

    def runs(self, pid: int) -> bool:
        """Whether this process is a PostgreSQL that lives in our folder, and not just one of that number."""
        try:
            if not LINUX:
                os.kill(pid, 0)
                return True
            name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
            return name in ("postgres", "postmaster") and self.pg.samefile(f"/proc/{pid}/cwd")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return False

    def halt(self, how: signal.Signals) -> int | None:
        """Tell the server to stop: SIGINT is fast, SIGQUIT at once (and recovered at the next start)."""
        server = self.server()
        if server is None:
            return None
        with suppress(ProcessLookupError):
            os.kill(server.pid, how)
        return server.pid

    def log_size(self) -> int:
        """How long the log is now."""
        return self.log.stat().st_size if self.log.exists() else 0

    def failure(self, since: int) -> EmbeddedDatabaseError:
        """Why the server did not start, in its own words: those after this place in its log."""
        try:
            with self.log.open("rb") as file:
                file.seek(since)
                words = _last_words(file.read().decode(errors="replace"))
        except OSError:
            words = None
        said = words or "it said nothing"
        return EmbeddedDatabaseError(
            f"PostgreSQL did not start: {said}{_is_full(self.data)} (log: {self.log})"
        )


@contextmanager
def in_one_line(data: Path) -> Iterator[None]:
    """What the operating system refuses, as one line that names the folder."""
    try:
        yield
    except OSError as error:
        what = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        raise EmbeddedDatabaseError(
            f"cannot use the data folder {data} ({what}): give another --data, or mend that",
        ) from error


def _give(folder: Path, account: Account) -> None:
    """Hand a folder, all of it, to the server's user. Links are not followed."""
    for _, folders, files, fd in os.fwalk(folder):
        for name in folders + files:
            os.chown(name, account.uid, account.gid, dir_fd=fd, follow_symlinks=False)
        os.fchown(fd, account.uid, account.gid)


def _last_words(text: str) -> str | None:
    """The last line that says what went wrong, without its date and number."""
    found = re.findall(r"^.*?\b(?:FATAL|PANIC|ERROR|error): +(.+)$", text, re.MULTILINE)
    if found:
        return str(found[-1])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else None


def _is_full(folder: Path) -> str:
    """A server on a full disk cannot even write its last words."""
    return " (the disk is full)" if shutil.disk_usage(folder).free < 1 << 20 else ""
