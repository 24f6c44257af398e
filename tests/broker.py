"""A RabbitMQ to test with: found, or made; and what tests do to one.

    CRAWL_TEST_AMQP_URL ──► localhost:5672 as guest ──► rabbitmq-server of this machine, as a private node
                        ──► apt-get install (root) ──► docker or podman ──► the session ends, with one line

A `PrivateNode` can be killed and started again on its data; a `Gate` stands between a program and its broker, and can be shut.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import aio_pika
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

LOOPBACK: Final = "127.0.0.1"
T = TypeVar("T")

USUAL: Final = "amqp://guest:guest@localhost:5672/"
HELLO: Final = b"AMQP\x00\x00\x09\x01"
"""The first words of AMQP 0-9-1; a broker that is ready for us answers them."""
BOOT: Final = 90.0
"""Seconds that a broker may take to start on a busy machine."""
FOLDERS: Final = ("/usr/lib/rabbitmq/bin", "/usr/local/sbin", "/opt/homebrew/sbin", "/usr/sbin")
IMAGE: Final = "rabbitmq:4"
NO_SERVICE: Final = Path("/usr/sbin/policy-rc.d")


class NoBrokerError(Exception):
    """There is no RabbitMQ to test with."""


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Run something to its end on a loop that no test ever sees."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result(60)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        return int(one.getsockname()[1])


def answers(host: str, port: int, patience: float = 5.0) -> bool:
    """Is there an AMQP server?"""
    try:
        with socket.create_connection((host, port), patience) as line:
            line.settimeout(patience)
            line.sendall(HELLO)
            return line.recv(1) == b"\x01"
    except OSError:
        return False


async def refusal(url: str) -> str | None:
    """Why we may not use this broker; None: we may."""
    try:
        async with await aio_pika.connect(url, timeout=10) as connection, connection.channel():
            return None
    except (*CONNECTION_EXCEPTIONS, TimeoutError, ValueError, KeyError) as error:
        return f"{error or type(error).__name__}"


async def remove_queues(url: str, prefix: str) -> None:
    """Delete the queues of one test."""
    async with await aio_pika.connect(url, timeout=10) as connection:
        for name in ("turns", "turns.urgent", "dead"):
            async with connection.channel() as channel:
                await channel.queue_delete(f"{prefix}.{name}")


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs of a RabbitMQ of this machine."""

    folder: Path

    @classmethod
    def find(cls) -> Self | None:
        """Those of Debian first: what it puts on the PATH wants to be root or rabbitmq."""
        folders = [Path(name) for name in FOLDERS]
        folders += sorted(Path("/opt").glob("rabbitmq*/sbin"), reverse=True)
        folders += [Path(name) for name in os.get_exec_path()]
        for folder in folders:
            server = folder / "rabbitmq-server"
            # The wrapper of Debian changes the user and the folder, and is named as the others are.
            if server.is_file() and b"su rabbitmq" not in server.read_bytes():
                return cls(folder)
        return None


class PrivateNode:
    """A RabbitMQ of our own: its ports, its name, its data and its epmd are nobody else's."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="fc-rabbit-"))
        self.port = free_port()
        self.url = f"amqp://guest:guest@{LOOPBACK}:{self.port}/"
        self._node: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._env = self._environment()

    def __repr__(self) -> str:
        return f"<PrivateNode {self.url} {'up' if self._node else 'down'}>"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def mend(self) -> None:
        """See that it is up."""
        if self._node is None:
            self.start()
        else:
            self.thaw()

    def start(self) -> None:
        """Start it, on the data it has, and wait until it answers."""
        self.launch()
        deadline = time.monotonic() + BOOT
        while not self._ready(deadline):
            time.sleep(0.05)

    async def start_again(self) -> None:
        """The same, while the loop goes on."""
        self.launch()
        deadline = time.monotonic() + BOOT
        while not await asyncio.to_thread(self._ready, deadline):  # noqa: ASYNC110 - a port sets no event
            await asyncio.sleep(0.05)

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        if self._epmd is None:
            # One of our own, because the node would start one that outlives it.
            epmd = shutil.which("epmd") or self._bundled("epmd")
            self._epmd = self._spawn(epmd, "-port", self._env["ERL_EPMD_PORT"], "-address", LOOPBACK)
        self._node = self._spawn(str(self._programs.folder / "rabbitmq-server"))

    def remember_queues(self) -> None:
        """Have it write down now which queues there are: it does so half a second late, and killed before that it is at a loss."""
        self.ctl("eval", "[dets:sync(Table) || Table <- dets:all()].")

    def kill(self) -> None:
        """SIGKILL: no farewell, no last write."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it as its operator would; the data stays."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """SIGSTOP: it holds its connections, and says nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def ctl(self, *args: str) -> str:
        """What rabbitmqctl says."""
        program = self._programs.folder / "rabbitmqctl"
        done = subprocess.run(
            [program, "-q", "-n", self._env["RABBITMQ_NODENAME"], *args],
            env=self._env, cwd=self._folder, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode:
            raise NoBrokerError(f"rabbitmqctl {' '.join(args)}: {done.stderr or done.stdout}")
        return done.stdout

    def close(self) -> None:
        """Stop it, and remove all it had."""
        try:
            self.kill()
            if self._epmd is not None:
                self._epmd.kill()
                self._epmd.wait()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        (folder / "home").mkdir()
        (folder / "env.conf").write_text("", "utf-8")  # else that of the machine's own node is read
        (folder / "plugins").write_text("[].\n", "utf-8")
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {LOOPBACK}:{self.port}\n"
            "disk_free_limit.absolute = 10MB\n"
            "raft.wal_max_size_bytes = 16777216\n"
            "log.console = false\n"
            "log.file.level = warning\n",
            "utf-8",
        )
        own = {
            "HOME": folder / "home",  # the cookie
            "RABBITMQ_NODENAME": f"faircrawl-{secrets.token_hex(4)}@localhost",
            "RABBITMQ_CONF_ENV_FILE": folder / "env.conf",
            "RABBITMQ_CONFIG_FILE": folder / "rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": folder / "advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "plugins",
            "RABBITMQ_MNESIA_BASE": folder / "data",
            "RABBITMQ_LOG_BASE": folder / "log",
            "RABBITMQ_PID_FILE": folder / "pid",
            "RABBITMQ_DIST_PORT": free_port(),
            "ERL_EPMD_PORT": free_port(),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_FLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            # Busy waiting would take the cores from the others.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the node, so that a signal to it reaches the node
            "ERL_CRASH_DUMP": folder / "crash.dump",
            "LC_ALL": "C.UTF-8",
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RABBITMQ_")}
        return clean | {name: str(value) for name, value in own.items()}

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        # Whoever kills us with SIGKILL kills it too, where util-linux can see to that.
        leash = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with (self._folder / "output").open("ab") as output:
            return subprocess.Popen(
                [*leash, *command], env=self._env, cwd=self._folder, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def _bundled(self, name: str) -> str:
        root = subprocess.run(
            ["erl", "-noshell", "-eval", "io:put_chars(code:root_dir()), halt()."],
            capture_output=True, text=True, timeout=30, check=True,
        ).stdout  # fmt: skip
        return str(next(Path(root).glob(f"erts-*/bin/{name}")))

    def _ready(self, deadline: float) -> bool:
        if self._node is None or self._node.poll() is not None or time.monotonic() > deadline:
            said = (self._folder / "output").read_text("utf-8", errors="replace")[-500:]
            raise NoBrokerError(f"the private RabbitMQ does not start: {' '.join(said.split())}")
        return answers(LOOPBACK, self.port, 1.0)

    def _signal(self, number: int) -> None:
        if self._node is not None:
            self._node.send_signal(number)

    def _end(self, number: int) -> None:
        if self._node is not None:
            self._node.send_signal(number)
            self._node.wait(60)
            self._node = None


@contextlib.contextmanager
def some_broker() -> Iterator[str]:
    """Where a RabbitMQ is that this session may use, and as whom. Raises NoBrokerError."""
    with ExitStack() as stack:
        named = os.environ.get("CRAWL_TEST_AMQP_URL")
        if named:
            why = run_apart(refusal(named))
            if why is not None:
                where = urlsplit(named).hostname
                raise NoBrokerError(
                    f"CRAWL_TEST_AMQP_URL ({where}) cannot be used: {why}: mend it, or unset it"
                )
            yield named
            return
        if run_apart(refusal(USUAL)) is None:
            yield USUAL
            return
        programs = Programs.find() or _installed()
        if programs is not None:
            yield stack.enter_context(PrivateNode(programs)).url
            return
        url = _contained(stack)
        if url is None:
            raise NoBrokerError(
                "no RabbitMQ to test with: neither localhost:5672 as guest, nor a rabbitmq-server of this machine, nor apt-get as root,"
                " nor docker or podman gave one; install rabbitmq-server, or name a broker in CRAWL_TEST_AMQP_URL"
            )
        yield url


def _installed() -> Programs | None:
    """As root on Debian, RabbitMQ's programs, without the service that comes with them."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    ours = not NO_SERVICE.exists()
    if ours:
        NO_SERVICE.write_text("#!/bin/sh\nexit 101\n", "utf-8")
        NO_SERVICE.chmod(0o755)
    try:
        for command in (["update"], ["install", "-y", "--no-install-recommends", "rabbitmq-server"]):
            done = subprocess.run(
                ["apt-get", "-qq", *command], env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL, capture_output=True, timeout=600, check=False,
            )  # fmt: skip
        return None if done.returncode else Programs.find()
    except subprocess.TimeoutExpired:
        return None
    finally:
        if ours:
            NO_SERVICE.unlink()


def _contained(stack: ExitStack) -> str | None:
    """A broker in a container, gone at the end."""
    for engine in filter(shutil.which, ("docker", "podman")):
        port, name = free_port(), f"faircrawl-test-{secrets.token_hex(4)}"
        command = [
            engine,
            "run",
            "--detach",
            "--rm",
            "--name",
            name,
            "--publish",
            f"{LOOPBACK}:{port}:5672",
            IMAGE,
        ]
        stack.callback(subprocess.run, [engine, "rm", "--force", name], capture_output=True, check=False)
        try:
            done = subprocess.run(command, capture_output=True, timeout=600, check=False)
        except subprocess.TimeoutExpired:
            continue
        deadline = time.monotonic() + BOOT
        while done.returncode == 0 and time.monotonic() < deadline:
            if answers(LOOPBACK, port, 1.0):
                return f"amqp://guest:guest@{LOOPBACK}:{port}/"
            time.sleep(0.1)
    return None


class Way:
    """One direction through a `Gate`. All that is said goes on, until it is held up or breaks off."""

    def __init__(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.held = asyncio.Event()
        """Set when something waits here."""
        self._left: int | None = None

    def hold(self) -> None:
        """Keep what comes from now on."""
        self._flowing.clear()

    def let_go(self) -> None:
        """Pass on what was held up, and all that comes."""
        self.held.clear()
        self._flowing.set()

    def break_after(self, size: int | None) -> None:
        """So many bytes more (None: any number), in the middle of a word if need be, then the connection breaks."""
        self._left = size

    async def copy(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        """Relay until one side ends, then raise ConnectionError."""
        while data := await source.read(65536):
            if not self._flowing.is_set():
                self.held.set()
                await self._flowing.wait()
            if self._left is not None:
                data, self._left = data[: self._left], max(0, self._left - len(data))
            to.write(data)
            await to.drain()
            if self._left == 0:
                self._left = None
                break
        raise ConnectionError


class Gate:
    """A relay before a broker: both directions can be disturbed, all connections reset, nobody let in."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        """With *tls*, that is what is spoken to the program."""
        self._target = urlsplit(url)
        self._tls = tls
        self._lines: set[asyncio.Task[None]] = set()
        self._open = True
        self.onward = Way()
        """What the program says to the broker."""
        self.homeward = Way()
        """What the broker says to the program."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._welcome, LOOPBACK, 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        credentials = self._target.netloc.rpartition("@")[0]
        way = self._target._replace(netloc=f"{credentials}@{LOOPBACK}:{port}")
        self.url = (way._replace(scheme="amqps") if self._tls else way).geturl()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self.shut()

    async def cut(self) -> None:
        """Reset all connections, with what was held up, and forget to break any; new ones are welcome."""
        lines = list(self._lines)
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)
        self.onward.break_after(None)
        self.homeward.break_after(None)
        self.let_go()

    async def shut(self) -> None:
        """Reset all connections, and new ones at once."""
        self._open = False
        await self.cut()

    def open(self) -> None:
        """Let everybody in again."""
        self._open = True

    def hold(self) -> None:
        """Take everything, and pass nothing on: a broker that is silent."""
        self.onward.hold()
        self.homeward.hold()

    def let_go(self) -> None:
        """Pass on what was held up, and all that comes."""
        self.onward.let_go()
        self.homeward.let_go()

    def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return
        line = asyncio.create_task(self._relay(reader, writer))
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            there, onward = await asyncio.open_connection(self._target.hostname, self._target.port or 5672)
            writers.append(onward)
            async with asyncio.TaskGroup() as both:
                both.create_task(self.onward.copy(reader, onward))
                both.create_task(self.homeward.copy(there, writer))
        except (OSError, ExceptionGroup):
            pass  # a side went away: so does the other
        finally:
            for one in writers:
                one.transport.abort()
