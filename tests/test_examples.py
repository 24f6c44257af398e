"""Each example of README.md, of docs/*.md and of `--help` (which docs/reference.md is made of) is shown running.

    a page ──► its blocks ``sh`` and ``python``, in order ──► one shell, one notebook ──► every statement ends with 0

A web that plays example.com stands behind a proxy on loopback, the database has a crawl of it, and `crawl` is the real program.
What cannot run here is named in `NOT_HERE`, each with its reason. Queries (``sql``) are run by tests/system/test_schema_page.py.
"""

import contextlib
import gzip
import itertools
import os
import re
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from crawler.core.turns import VERSION, Turn, TurnUrl, encode
from crawler.core.urls import domain_id, url_hash
from crawler.demo.language import Reply, Site, page, robots
from tests.conftest import Server
from tests.proxied_web import ProxiedWeb, proxied
from tests.shelling import Crawls, Notebook, Service, Shell, crawls

pytestmark = pytest.mark.xdist_group("examples")  # they share what is costly to make

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = [
    path.relative_to(ROOT).as_posix() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
]
NOT_HERE: Final[Mapping[str, str]] = {
    r"make (crawl|test|demo)\b": "sets up the whole checkout; tests/test_docs.py knows the targets, tests/system/test_demo.py the demo",
    r"make (image|secrets)\b": "builds images and makes secrets: tests/deploy",
    r"pip install\b": "changes the environment that this runs in: tests/system/test_wheel.py installs the wheel",
    r"docker\b": "needs Docker: tests/deploy reads the files that it would run, and runs them where it is there",
    r"for server in .* docker\b": "needs Docker on several servers",
    r"crawl\(\) \{ docker\b": "needs Docker; what stands behind it runs as the program itself",
    r"kubectl\b": "needs a cluster: tests/deploy/test_kubernetes.py reads what it would apply",
    r"curl .*127\.0\.0\.1:8080": "tests/dashboard/test_api_docs.py runs these against a dashboard",
    r"ssh\b": "needs another machine",
    r"git (clone|pull)\b": "needs a repository elsewhere",
    r"sudo\b": "changes the machine",
    r"htpasswd\b": "asks for a password, on a server of the swarm",
    r"openssl rand\b": "writes a secret of the swarm",
    r"deploy/swarm/secrets\.sh": "gives secrets to a swarm: tests/deploy/test_swarm.py",
    r"(cat > swarm\.env|\. \./swarm\.env)": "of the swarm: tests/deploy/test_swarm.py reads them",
    r"echo '?\w+://.* > secrets/": "writes a secret of the cluster",
    r"(createuser|createdb|rabbitmqctl)\b": "changes a server: the tests have one of each, made likewise",
    r"(pg_dump|pg_restore|pg_basebackup|psql|pg_ctl)\b": "needs a server elsewhere: tests/system/test_backup.py backs up and restores",
    r"mkdir -m 700 /srv/pg\b|cat >> /srv/pg\b|touch /srv/pg\b": "restores a server: as above",
    r"cp --archive /srv/crawl\b": "copies a data folder: tests/system/test_backup.py",
    r"flock --shared": "looks into a data folder with psql: tests/adapters/test_embedded.py has the lock",
    r"DATA=/path|crawl list --data \$DATA": "as above",
    r"prometheus\b": "goes on until it is stopped: tests/deploy runs promtool on its files",
    r"crawl demo\b": "takes half a minute: tests/system/test_demo.py",
}
"""What cannot run here: the beginning of a statement, and why."""
SUBSTITUTES: Final[Mapping[str, str]] = {
    r"postgresql://\S*@(db|localhost|db\.internal)/crawl(er)?\b": "$TEST_DATABASE",
    r"amqp://\S*@(mq|broker|mq\.internal)/crawl(er)?\b": "$TEST_BROKER",
    r"--port 91\d\d\b": "--port 0",  # somebody may have it
    r"crawl dashboard\b": "crawl dashboard --port 0",  # as above
    r"--processes 4\b": "--processes 2",  # each costs half a second
    r"127\.0\.0\.1:5335,10\.0\.0\.53": "127.0.0.1",
    r"/srv/crawl\b": "$PWD/nothing",
    r" --data /tmp/sizes\b": "",  # another PostgreSQL would take seconds
}
"""What an example says of a machine that is not this one, and what stands for it here."""
ASKS: Final = (
    "crawl delete example.com",
    "crawl domain example.com --forget",
    "crawl dead drop 17",
    "crawl dead drop --all",
)
"""Statements that ask whether that is meant: a person says y. (With --yes nothing is asked.)"""
_MORE: Final = "crawl seed example.com https://example.com/more"
BEFORE: Final[Mapping[str, str]] = {
    "crawl pause example.com": _MORE,
    "crawl resume example.com": f"{_MORE} && crawl pause example.com",
    "crawl cancel example.com": _MORE,
    "crawl delete example.com --yes": _MORE,
}
"""What has to be so before a statement: the crawl that all have is finished, or was deleted by the example before."""
SERVICE: Final = re.compile(
    r"(\w+=\S+ )*crawl (worker\b|scheduler\b|dashboard\b|export \S+ --follow (?!.*--until-finished))"
)
PATIENCE: Final = 60.0
FILES: Final[Mapping[str, bytes]] = {
    "seeds.txt": b"https://example.com/\nhttps://example.org/\n",
    "seeds": b"https://example.com/\n",
    "seeds.gz": gzip.compress(b"https://example.com/\n"),
    "blocked.txt": b"blocked.example\n",
    "urls.gz": gzip.compress(b"https://example.com/\n"),
    "items.jsonl": b'{"url": "https://example.com/1"}\n',
    "status.jsonl": b'{"url": "https://example.com/1", "status": "FETCHED"}\n',
    "sitemap.xml.gz": gzip.compress(b"<urlset><url><loc>https://example.com/1</loc></url></urlset>"),
    "archive.cdx.gz": gzip.compress(
        b" CDX N b a m s k r M S V g\ncom,example)/1 20260101000000 https://example.com/1 text/html 200 X - - 9 9 a.warc.gz\n"
    ),
    "crawl.log": b"2026-01-01T00:00:00.000Z 200 9 https://example.com/1 L - text/html #001 - sha1:X - -\n",
    "part-00000": b'Url,Status code,Status name\n"https://example.com/1",2,"db_fetched"\n',
    "crawl.toml": b'delay = "2s"\n',
}
"""What the examples find in their folder."""


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of code of a page."""

    kind: str
    text: str
    line: int

    def statements(self) -> list[str]:
        """Those of a shell: a line each, unless it goes on."""
        found: list[str] = []
        more, end = False, ""
        for line in self.text.splitlines():
            if more:
                found[-1] += f"\n{line}"
            elif line.strip():
                found.append(line)
            here = re.search(r"<<'?(\w+)'?", line)
            end = here[1] if here else "" if line == end else end
            more = bool(end) or line.endswith("\\")
        return found


@dataclass(frozen=True, slots=True)
class Story:
    """What is done in one folder, on one database."""

    name: str
    blocks: list[Block]


def stories() -> Iterator[Story]:
    """A page is one, but in the reference each command stands for itself."""
    for name in PAGES:
        text = (ROOT / name).read_text("utf-8")
        parts = re.split(r"^(?=#+ )", text, flags=re.MULTILINE) if name.endswith("reference.md") else [text]
        line = 1
        for part in parts:
            blocks = [
                Block(found[1], found[2], line + part.count("\n", 0, found.start(2)))
                for found in re.finditer(r"^```(sh|python)\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
            ]
            title = re.match(r"#+ (.*)", part)
            line += part.count("\n")
            if blocks:
                yield Story(name if len(parts) == 1 or title is None else title[1].strip("`"), blocks)


STORIES: Final = list(stories())
STATEMENTS: Final = [
    statement
    for story in STORIES
    for block in story.blocks
    if block.kind == "sh"
    for statement in block.statements()
]


def is_elsewhere(statement: str) -> bool:
    """Whether it cannot run here."""
    return any(re.match(start, statement, re.DOTALL) for start in NOT_HERE)


def placed(statement: str) -> str:
    """With what is here in place of what is not."""
    for pattern, here in SUBSTITUTES.items():
        statement = re.sub(pattern, here, statement)
    return statement


SERVICES: Final = list(
    dict.fromkeys(
        placed(one).partition(" #")[0].rstrip()
        for one in STATEMENTS
        if SERVICE.match(one) and not is_elsewhere(one)
    )
)


def site() -> Site:
    """example.com. Its first page says something else each time."""
    times = itertools.count(1)

    def home(_path: str) -> Reply:
        return page(
            "Example",
            "/news",
            "/page",
            "/docs/",
            "/private/",
            body=f"<h1>Example</h1><p>Visit {next(times)}.",
        )

    return {
        "/": home,
        "/robots.txt": robots("/private/"),
        "/news": page("News", "/"),
        "/page": page("Page", "/missing"),
        "/docs/": page("Documentation", "/docs/guide"),
        "/docs/guide": page("Guide"),
    }


@dataclass(frozen=True, slots=True)
class Ground:
    """What all examples share."""

    server: Server
    template: str
    web: ProxiedWeb
    crawls: Crawls

    def environment(self, folder: Path, dsn: str) -> dict[str, str]:
        """What the examples know of this machine."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("CRAWL_")}
        return own | {
            "HOME": str(folder),
            "CRAWL_DATABASE_URL": dsn,
            "CRAWL_PROXY": self.web.proxy,
            "CRAWL_TLS_CA_FILE": str(self.web.authority),
            "CRAWL_CONTACT": "https://example.com/our-crawler",
            "CRAWL_DELAY": "0",
            "TEST_DATABASE": dsn,
        }

    @contextlib.contextmanager
    def database(self, template: str = "") -> Iterator[str]:
        """A database of a story's own: where it is."""
        name = self.server.clone(template or self.template)
        try:
            yield self.server.dsn(name)
        finally:
            self.server.drop(name)


@pytest.fixture(scope="module")
def ground(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A web, and a database that knows it: example.com was crawled, and visited again three times; two turns are dead letters."""
    folder = tmp_path_factory.mktemp("ground")
    sites = {name: site() for name in ("example.com", "example.org", "docs.example.com")}
    name = server.clone()
    with proxied(sites, folder) as web, crawls() as found:
        ground = Ground(server, name, web, found)
        env = ground.environment(folder, server.dsn(name))
        with Shell(found, folder, env) as shell:
            begin = "crawl run https://example.com/ --keep-versions 3 --keep-links --search --quiet"
            status, said = shell.run(begin)
            assert status == 0, said
            with at_work(shell):
                for _ in range(3):
                    status, said = shell.run("crawl refresh https://example.com/")
                    assert status == 0, said
        server.do(_bury(server.dsn(name)))
        yield ground
    server.drop(name)


async def _bury(dsn: str) -> None:
    import asyncpg  # noqa: PLC0415

    url = "https://example.com/page"
    urls = [TurnUrl(1, url_hash(url), url, 0, 1, 0, 0, seed=False, outcome="ok")]
    body = encode(Turn(VERSION, domain_id("example.com"), "example.com", 1, urls))
    connection = await asyncpg.connect(dsn)
    await connection.executemany(
        "insert into messages (message_id, queue, body, reason) overriding system value values ($1, 'crawl.dead', $2, 'lost')",
        [(17, body), (18, body)],
    )
    await connection.close()


@contextlib.contextmanager
def at_work(shell: Shell) -> Iterator[None]:
    """A worker is, in this shell."""
    worker = shell.start("CRAWL_METRICS_PORT=0 crawl worker")
    ready(worker)
    try:
        yield
    finally:
        assert worker.stop() == 0, worker.said()


def test_what_cannot_run_here_is_there() -> None:
    """Each entry of the lists above is of a statement that stands in a page."""
    said = [statement for statement in STATEMENTS if is_elsewhere(statement)]
    lists: list[Any] = [NOT_HERE, SUBSTITUTES, ASKS]
    idle = [
        entry
        for entries in lists
        for entry in entries
        if not any(
            re.search(entry, one, re.DOTALL) for one in (STATEMENTS if entries is not NOT_HERE else said)
        )
    ]
    text = "\n".join([*STATEMENTS, *(block.text for story in STORIES for block in story.blocks)])

    assert idle == []
    assert [name for name in FILES if name not in text] == []
    assert BEFORE.keys() - set(STATEMENTS) == set()


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_every_example_runs(
    story: Story, ground: Ground, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What a page shows is done in its order, and each statement ends with 0, each cell without an error."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    failures = []
    with ground.database() as dsn, contextlib.ExitStack() as stack:
        env = ground.environment(tmp_path, dsn)
        if any("amqp" in block.text for block in story.blocks):
            env["TEST_BROKER"], env["CRAWL_AMQP_PREFIX"] = request.getfixturevalue("amqp")
        shell = stack.enter_context(Shell(ground.crawls, tmp_path, env))
        if any("crawl refresh" in block.text for block in story.blocks):
            stack.enter_context(at_work(shell))
        notebook: Notebook | None = None
        for block in story.blocks:
            if block.kind == "python":
                notebook = notebook or stack.enter_context(Notebook(tmp_path, env))
                found = cell_failures(notebook, block, tmp_path)
            else:
                found = statement_failures(shell, block)
            failures += [f"{story.name}:{block.line}\n{one}" for one in found]

    assert not failures, "\n\n".join(failures)


def cell_failures(notebook: Notebook, block: Block, folder: Path) -> list[str]:
    """Run a cell: with what it raised. One that begins with the name of a file is that file too."""
    named = re.match(r"# (\w+\.py)\n", block.text)
    if named:
        (folder / named[1]).write_text(block.text)
    _, raised = notebook.run(block.text)
    return [f"{block.text}{raised}"] if raised else []


def statement_failures(shell: Shell, block: Block) -> list[str]:
    """Run what can run here, but for what goes on: with what was said by those that failed."""
    failures = []
    for statement in block.statements():
        if is_elsewhere(statement) or SERVICE.match(statement):
            continue
        if statement in BEFORE:
            shell.run(BEFORE[statement])
        status, said = shell.run(placed(statement), "y\n" if statement.startswith(ASKS) else "")
        if status:
            failures.append(f"$ {statement}\n{said}ended with {status}")
    return failures


@pytest.mark.parametrize("statement", SERVICES)
def test_every_service_begins_and_ends(
    statement: str, ground: Ground, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What goes on until it is told to stop says that it is ready, and ends with 0 when it is told."""
    with ground.database() as dsn:
        env = ground.environment(tmp_path, dsn) | {"CRAWL_METRICS_PORT": "0"}
        if "TEST_BROKER" in statement:
            env["TEST_BROKER"], env["CRAWL_AMQP_PREFIX"] = request.getfixturevalue("amqp")
        with Shell(ground.crawls, tmp_path, env) as shell:
            service = shell.start(statement)
            ready(service)

            assert service.stop() == 0, service.said()


def ready(service: Service) -> None:
    """Return when it says that it is."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if (service.folder / "pages.jsonl").exists():  # of an export that follows
            return
        found = re.search(r"http://[\d.]+:\d+", service.said())
        with contextlib.suppress(OSError):  # not yet: 503 is one too
            if found is not None:
                where = found[0].replace("0.0.0.0", "127.0.0.1")
                urllib.request.urlopen(f"{where}/readyz", timeout=PATIENCE).close()  # noqa: S310 - our own
                return
        time.sleep(0.02)
    raise AssertionError(f"it is not ready: {service.said()}")
