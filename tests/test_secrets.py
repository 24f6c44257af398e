"""Secrets: planted in every setting that has one, by every source, and looked for in everything that is said."""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import click
import pytest
import structlog

from crawler import cli, processes
from crawler.adapters.postgres import Database
from crawler.adapters.rabbit_link import Link
from crawler.cli.options import settings_from
from crawler.core.errors import DatabaseRefusesError, SettingsError
from crawler.dashboard.auth import Guard
from crawler.opening import Place
from crawler.settings import FIELDS, Settings, describe, load, secrets_in
from crawler.sources import variable
from crawler.telemetry import announce, configure
from tests.broker import Gate, free_port
from tests.forking import ROOT
from tests.scraping import asked
from tests.sentry import some_sentry
from tests.system.machines import until

WORD: Final = "sesame"
"""In every secret, and nowhere else."""
ODD: Final = "Sesame1 @/?#:%&=\"'\\\u20ac Sesame2"
"""A password with all that an address, a quotation, a terminal or a log may stumble over; the word is on both sides of it."""
SECRET: Final = sorted(name for name, field in FIELDS.items() if field.metadata["secret"])
CLOSED: Final = 1
"""A port on which nobody listens."""


def planted(**there: str) -> dict[str, str]:
    """A value with a secret for every setting that has one; nobody is where they lead."""
    password = quote(ODD, safe="")
    return {
        "amqp_url": f"amqp://carl:{password}@127.0.0.1:{CLOSED}/crawl",
        "api_token": "Sesame-0123456789-Sesame",
        "database_url": f"postgresql://carl:{password}@127.0.0.1:{CLOSED}/crawl?sslpassword={password}",
        "proxy": f"http://carl:{password}@127.0.0.1:{CLOSED}",
        "sentry_dsn": f"http://5e5a3e5esame:{password}@127.0.0.1:{CLOSED}/42",
    } | there


def given(folder: Path, values: Mapping[str, str], turn: int) -> tuple[dict[str, str], list[str]]:
    """The environment and the first arguments that give these values, each by another source; *turn*: which by which."""
    environ, lines = {}, []
    for number, (name, value) in enumerate(sorted(values.items())):
        match (number + turn) % 3:
            case 0:
                environ[variable(name)] = value
            case 1:
                file = folder / name
                file.write_bytes(f"\ufeff{value} \r\n".encode())
                environ[f"{variable(name)}_FILE"] = str(file)
            case _:
                lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}\n")
    config = folder / "crawl.toml"
    config.write_text("".join(lines), "utf-8")
    return environ, ["--config", str(config)]


async def started(environ: Mapping[str, str], *words: str) -> asyncio.subprocess.Process:
    """The real program, with nothing of this machine's settings."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("CRAWL_")}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crawler", *words, cwd=ROOT, env={**plain, **environ},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def said(environ: Mapping[str, str], *words: str) -> tuple[int, str]:
    """How it ended, and all that it said."""
    process = await started(environ, *words)
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


def test_all_secrets_are_known() -> None:
    """The settings that hold a secret are those that are planted here."""
    assert sorted(planted()) == SECRET


@pytest.mark.parametrize(
    ("words", "status", "some"),
    [
        (["settings", "--json"], 0, '"postgresql://carl:********@127.0.0.1:1/crawl?sslpassword=********"'),
        (["check", "--json"], 1, "RabbitMQ at 127.0.0.1:1 cannot be reached"),
        (["worker", "--log-format", "json"], 1, "crawl: the database at 127.0.0.1:1 cannot be reached"),
        (["dashboard", "--port", "0", "--host", "0.0.0.0"], 1, "database.awaited"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
async def test_nobody_is_there(
    tmp_path: Path, words: list[str], status: int, some: str, request: pytest.FixtureRequest
) -> None:
    """Every command with secrets from everywhere and nobody to talk to: with its traceback, and without a secret."""
    turn = request.node.callspec.indices["words"]
    environ, first = given(tmp_path, planted(), turn)
    environ |= {"CRAWL_CONTACT": "mailto:carl@example.com", "CRAWL_START_PATIENCE": "0.3s"}
    ended, text = await said(environ, "--debug", *first, *words)

    assert (ended, some in text) == (status, True), text
    assert WORD not in text.lower()


async def test_at_work(dsn: str, tmp_path: Path, amqp: tuple[str, str]) -> None:
    """A worker and a dashboard at work, while the broker goes away: no secret in their logs, on a page, in an answer or an event."""
    port, password = free_port(), quote(ODD, safe="")
    mine = dsn.replace("postgres@", f"postgres:{password}@")
    assert mine != dsn
    with some_sentry() as sentry:
        async with Gate(amqp[0]) as gate, await Database.open(dsn, size=1) as database:
            values = planted(
                database_url=f"{mine}&sslpassword={password}", amqp_url=gate.url, sentry_dsn=sentry.dsn
            )
            shown = {**values, "proxy": planted()["proxy"]}
            environ, first = given(tmp_path, shown, 0)
            environ |= {
                "CRAWL_CONTACT": "mailto:carl@example.com", "CRAWL_AMQP_PREFIX": amqp[1], "CRAWL_ALERT_AFTER": "1s",
                "CRAWL_LOG_FORMAT": "json", "CRAWL_LOG_LEVEL": "debug",
            }  # fmt: skip
            worker = await started(environ, "--debug", *first, "worker", "--processes", "2")
            board = await started(environ, "--debug", *first, "dashboard", "--port", f"{port}")
            # Read from the beginning: who fills a pipe that nobody empties stands still.
            saying = [asyncio.create_task(process.communicate()) for process in (worker, board)]
            here = "select count(*) = 2 from workers where slots > 0"
            try:
                await until(lambda: database.ask(here), "two processes are at work")
                names = await database.ask(
                    "select string_agg(application_name || query, ' ') from pg_stat_activity"
                )
                await until(lambda: answers(port), "the dashboard answers")
                typed = arguments()
                await gate.shut()
                await until(lambda: sentry.events, "the broker is critical")
                pages = [(await asked(f"http://127.0.0.1:{port}{path}"))[1] for path in PATHS]
            finally:
                for process in (worker, board):
                    process.terminate()
                texts = [out.decode() for out, _ in await asyncio.gather(*saying)]
    events = json.dumps(sentry.events)

    assert (worker.returncode, board.returncode) == (0, 0), texts
    for text in (*texts, *pages, names, events, typed):
        assert WORD not in text.lower()
        assert urlsplit(sentry.dsn).username not in text
    assert "broker.lost" in texts[0]
    assert all(pages)


PATHS: Final = (
    "/", "/crawls", "/workers", "/schedule", "/errors", "/domains", "/bot", "/login", "/docs", "/openapi.json",
    "/metrics", "/healthz", "/readyz", "/api/crawls", "/api/workers", "/api/dead", "/api/nothing", "/nothing",
)  # fmt: skip


async def answers(port: int) -> bool:
    """Whether it is there yet."""
    try:
        return (await asked(f"http://127.0.0.1:{port}/readyz"))[0] == 200
    except OSError:
        return False


def arguments() -> str:
    """The command lines of our programs, as everybody on the machine sees them."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            found.append(file.read_text("utf-8", "replace"))
    return "".join(text for text in found if "crawler" in text)


async def test_wrong_passwords(dsn: str, tmp_path: Path, amqp: tuple[str, str]) -> None:
    """A broker that refuses the password, and a database that is not there, are told without what was tried."""
    at = urlsplit(amqp[0])
    wrong = f"amqp://{at.username}:{quote(ODD, safe='')}@{at.hostname}:{at.port}/"
    environ, first = given(tmp_path, planted(database_url=dsn, amqp_url=wrong), 1)
    environ["CRAWL_CONTACT"] = "mailto:carl@example.com"
    ended, text = await said(environ, "--debug", *first, "scheduler")

    assert (ended, "with this password" in text) == (1, True), text
    assert WORD not in text.lower()


ASTRAY: Final = (
    ("database_url", "postgresql://u:Sesame@h:Sesame/d"),
    ("database_url", "postgresql://u:12/Sesame@h/d"),
    ("database_url", "postgresql://u:12#Sesame@h/d"),
    ("database_url", "postgresql://u:12?Sesame@h/d"),
    ("database_url", "postgresql://u:Sesame@h@h/d"),
    ("database_url", "postgresql://u:Sesame@[::1/d"),
    ("database_url", "postgresql://u:Sesame@h:99999/d"),
    ("database_url", "host=h password=Sesame"),
    ("database_url", "postgresql://u:Sesame@h/d\nSesame"),
    ("amqp_url", "amqp://u:12/Sesame@h/v"),
    ("amqp_url", "amqp://u:Sesame@h:Sesame/v"),
    ("amqp_url", "Sesame"),
    ("proxy", "http://u:12/Sesame@h:1"),
    ("proxy", "https://u:Sesame@h:1"),
    ("sentry_dsn", "https://Sesame@h/project"),
    ("sentry_dsn", "https://Sesame@[h/1"),
    ("api_token", "Sesame Sesame"),
    ("api_token", "Sesame\u20ac"),
)


@pytest.mark.parametrize(("name", "value"), ASTRAY)
def test_a_wrong_value_is_not_shown(tmp_path: Path, name: str, value: str) -> None:
    """A secret setting that cannot be read is refused by name and source, whichever that is, and never shown: nor is a part of it."""
    (tmp_path / f"crawl_{name}").write_text(value)
    config = tmp_path / "crawl.toml"
    config.write_text(f"{name} = {json.dumps(value)}\n")
    sources: list[dict[str, Any]] = [
        {"environ": {variable(name): value}},
        {"environ": {f"{variable(name)}_FILE": str(tmp_path / f"crawl_{name}")}},
        {"environ": {}, "secrets_dir": tmp_path},
        {"environ": {}, "config": config},
        {"environ": {}, "overrides": {name: value}},
    ]
    for source in sources:
        with pytest.raises(SettingsError, match=rf"^{name} from .*\*{{8}} is not ") as error:
            load(**{"overrides": {}, "secrets_dir": Path("/none"), **source})

        assert WORD not in str(error.value).lower()
        assert "\n" not in str(error.value)
        assert error.value.__context__ is None or error.value.__suppress_context__


@pytest.mark.parametrize(
    "address", ["postgresql://u:12Sesame/x@h/d", "postgresql://u:p@h/d?sslmode=Sesame&password=Sesame"]
)
async def test_an_address_that_cannot_be_used(address: str) -> None:
    """What the driver says of an address is not repeated where it may quote a secret; nor is it in the traceback."""
    async with await Database.open(address) as database:
        with pytest.raises(DatabaseRefusesError, match="the database's address cannot be used: ") as error:
            await database.ask("select 1")

    assert WORD not in "".join(traceback.format_exception(error.value)).lower().replace(address.lower(), "")


@pytest.mark.parametrize("end", ["", "\n", "\r\n", " \t\r\n\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n "])
def test_a_file_of_any_editor(tmp_path: Path, start: str, end: str) -> None:
    """What editors put before and behind a secret is none of it; also in the folder that containers have."""
    for name, value in planted().items():
        (tmp_path / f"crawl_{name}").write_bytes(f"{start}{value}{end}".encode())
    loaded = load(overrides={}, environ={}, secrets_dir=tmp_path)

    assert {name: getattr(loaded.settings, name) for name in SECRET} == planted()
    assert {loaded.origins[name] for name in SECRET} == {
        f"secret file {tmp_path}/crawl_{name}" for name in SECRET
    }


@pytest.mark.parametrize("text", ["", "\n", " \r\n"])
@pytest.mark.parametrize("name", SECRET)
def test_an_empty_file_is_not_given(tmp_path: Path, name: str, text: str) -> None:
    """An empty secret file means that there is none, in the folder of containers or named."""
    file = tmp_path / f"crawl_{name}"
    file.write_text(text)
    for environ in ({}, {f"{variable(name)}_FILE": str(file)}):
        loaded = load(overrides={}, environ=environ, secrets_dir=tmp_path)

        assert getattr(loaded.settings, name) is None
        assert loaded.origins[name] == "default"


def test_a_blank_variable_hides_no_file(tmp_path: Path) -> None:
    """A variable with nothing but blanks is not given, so the secret file counts, and there is nothing to warn of."""
    (tmp_path / "crawl_api_token").write_text("Sesame")
    for environ in ({}, {"CRAWL_API_TOKEN_FILE": str(tmp_path / "crawl_api_token")}):
        loaded = load(overrides={}, environ={"CRAWL_API_TOKEN": " ", **environ}, secrets_dir=tmp_path)

        assert loaded.settings.api_token == "Sesame"
        assert not any("CRAWL_API_TOKEN" in warning for warning in loaded.warnings)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is missing, a folder, a loop, no text: a line that names it and says why. What is not there at all is not given."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "bytes").write_bytes(b"\xff\xfeS\x00e\x00")
    for name, why in {
        "missing": "cannot be read: No such file or directory",
        "folder": "cannot be read: Is a directory",
        "loop": "cannot be read: Too many levels of symbolic links",
        "bytes/x": "cannot be read: Not a directory",
        "bytes": "not text in UTF-8",
    }.items():
        with pytest.raises(SettingsError) as error:
            load(overrides={}, environ={"CRAWL_API_TOKEN_FILE": str(tmp_path / name)}, secrets_dir=tmp_path)

        assert str(error.value) == f"api_token from secret file {tmp_path / name}: {why}"
    (tmp_path / "crawl_api_token").mkdir()
    with pytest.raises(SettingsError, match=r"crawl_api_token: cannot be read: Is a directory"):
        load(overrides={}, environ={}, secrets_dir=tmp_path)
    assert load(overrides={}, environ={}, secrets_dir=tmp_path / "none").settings.api_token is None


@pytest.mark.parametrize("name", SECRET)
def test_a_secret_in_place_of_a_file(name: str) -> None:
    """Who puts the secret itself where the path of its file belongs is told so without it."""
    with pytest.raises(
        SettingsError, match=f"^{name} from secret file that {variable(name)}_FILE names: "
    ) as error:
        load(overrides={}, environ={f"{variable(name)}_FILE": planted()[name]}, secrets_dir=Path("/none"))

    assert WORD not in str(error.value).lower()


def test_what_is_repeated_to_a_programmer() -> None:
    """No secret is in the `repr` of what holds one."""
    values = planted()
    loaded = load(overrides=values, environ={}, secrets_dir=Path("/none"))
    things = (
        loaded, describe(loaded), Guard("Sesame", here=True, port=1), Link(values["amqp_url"], "crawl", "asking", patience=1),
        Place(values["database_url"], "the database", "", asyncio.sleep),  # type: ignore[arg-type]  # it is not called
    )  # fmt: skip

    assert WORD not in repr(things).lower()


@pytest.fixture
def veiled() -> Iterator[frozenset[str]]:
    """The log of a program with all those secrets."""
    secrets = secrets_in(load(overrides=planted(), environ={}, secrets_dir=Path("/none")).settings)
    yield secrets
    configure()


class Told:
    """Whose two texts differ: a console shows one, JSON the other."""

    def __repr__(self) -> str:
        return f"<Told {ODD}>"

    def __str__(self) -> str:
        return "told"


def fail(secret: str) -> None:
    """With secrets in what is said, and in the cause."""
    try:
        Path(f"/{secret}").read_text()
    except OSError as cause:
        raise ValueError(f"{ODD}; {quote(ODD, safe='')}; {ODD!r}") from cause


@pytest.mark.parametrize(("form", "level"), [*itertools.product(["json", "console"], ["debug", "warning"])])
def test_a_log_says_no_secret(
    veiled: frozenset[str], form: str, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever logs a secret, in an event, an exception and its causes, or by the log of a library: it is taken out last."""
    configure(form=form, level=level, secrets=veiled)
    log = structlog.get_logger()
    values = planted()
    try:
        fail(values["database_url"])
    except ValueError as error:
        log.exception(
            "page.failed", why=error, where=Path(f"/{values['api_token']}"), of=[values, (values["proxy"],)],
            by={ODD: 1}, told=Told(),
        )  # fmt: skip
        logging.getLogger("library").exception("oh, %s", values["amqp_url"])
    announce(form, f"there is {ODD}", "page.told", secret=values["sentry_dsn"])
    text = capsys.readouterr().err

    assert all(
        word in text
        for word in ("page.failed", "library.failed", "there is" if form == "console" else "page.told")
    )
    assert WORD not in text.lower()


def test_a_worker_process_says_no_secret(
    veiled: frozenset[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours that ends a worker process is an event in its log as any other, not Python's traceback."""

    async def serve() -> None:
        configure(form="json", secrets=veiled)
        fail(planted()["database_url"])

    monkeypatch.setattr(processes, "_serve", serve)
    monkeypatch.setattr(processes, "collect_less", lambda: None)
    with pytest.raises(SystemExit) as ended:
        processes.main()
    event = json.loads(capsys.readouterr().err)

    assert (ended.value.code, event["event"]) == (1, "worker.stopped")
    assert "ValueError" in event["exception"]
    assert WORD not in json.dumps(event).lower()


def test_an_error_says_no_secret(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours that quotes secrets ends in a line, and with --debug in a traceback, without them; so does a wrong command line."""
    values = planted()
    for name, value in values.items():
        monkeypatch.setenv(variable(name), value)

    class Failing(cli.Commands):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            @click.pass_context
            def fail(ctx: click.Context) -> None:
                settings: Settings = settings_from(ctx).settings
                raise KeyError(settings.database_url, settings.api_token, ODD)

            return (
                click.Command("run", callback=fail)
                if cmd_name == "run"
                else super().get_command(ctx, cmd_name)
            )

    program = Failing(callback=cli.group.callback, params=cli.group.params)
    for words in (
        ["run"],
        ["--debug", "run"],
        ["settings", values["database_url"]],
        ["worker", values["amqp_url"]],
    ):
        with pytest.raises(SystemExit):
            cli.main(words, program)
        text = capsys.readouterr().err

        assert "crawl" in text
        assert WORD not in text.lower(), words


def test_words_that_are_no_secret_stay() -> None:
    """The user of a database is no secret, and a password as short as a word is looked for in addresses alone."""
    loaded = load(
        overrides={"database_url": "postgresql://crawler@db/crawl", "amqp_url": "amqp://guest:guest@mq/"},
        environ={},
        secrets_dir=Path("/none"),
    )

    assert secrets_in(loaded.settings) == {"postgresql://crawler@db/crawl", "amqp://guest:guest@mq/", "guest"}
