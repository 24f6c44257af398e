"""`crawl status` where there may be many machines, by the real program."""

from pathlib import Path

import pytest

from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue
from crawler.adapters.rabbit import RabbitQueue
from tests.broker import free_port
from tests.making import Frontiers
from tests.system.told import Terminal

WORKER = "insert into workers (worker_id, host, boot, pid, version, slots, queue, seen_at) values ({})"


@pytest.fixture
def crawl(dsn: str) -> Terminal:
    """`crawl` on a database of its own."""
    return Terminal(dsn)


@pytest.fixture
def heart(database: Database) -> Frontiers:
    """Hands on that database."""
    return Frontiers(database, "w1")


async def sign_in(database: Database, name: str, **other: object) -> None:
    """A worker that was seen so many seconds ago."""
    row = {
        "host": f"host-{name}",
        "pid": 7,
        "version": "1.2",
        "slots": 50,
        "queue": "postgres",
        "ago": 5,
        **other,
    }
    seen = f"now() - interval '{row['ago']} s'"
    values = f"'{name}', '{row['host']}', '', {row['pid']}, '{row['version']}', {row['slots']}, '{row['queue']}', {seen}"
    await database.script(WORKER.format(values))


async def test_all_of_it(crawl: Terminal, heart: Frontiers, database: Database) -> None:
    """JSON has the workers with what each visits, the turns that wait, the dead letters, and what waits for nobody."""
    await heart.crawl("https://a.example/", "https://b.example/")
    await heart.hold("a.example")
    await sign_in(database, "w1")
    await sign_in(database, "w2", ago=120, queue="rabbit")
    queue = PostgresQueue(database)
    await queue.publish([b"x", b"y", b"z"])
    await queue.bury([b"x"], "deadly")
    await heart.seed(1, "https://late.example/")
    await database.script("update domains set due_at = now() - interval '1 hour' where name = 'late.example'")
    said = await crawl("status", "test", "--json")
    first, second = said.json["workers"]

    assert (first["id"], first["host"], first["pid"], first["slots"]) == ("w1", "host-w1", 7, 50)
    assert (first["visiting"], first["silent"], first["queue"]) == (1, False, "postgres")
    assert (second["visiting"], second["silent"], second["queue"]) == (0, True, "rabbit")
    assert (said.json["turns_waiting"], said.json["dead_letters"], said.json["queue_trouble"]) == (3, 1, None)
    assert said.json["oldest_due"]["domain"] == "late.example"
    assert said.json["queue"] == {"ready": 1, "resting": 0, "queued": 1, "held": 1}


async def test_for_a_person(crawl: Terminal, heart: Frontiers, database: Database) -> None:
    """The same for a person, in lines: who was not seen for a minute is marked, and the dead letters have their command."""
    await heart.crawl("https://late.example/")
    await database.script("update domains set due_at = now() - interval '1 hour'")
    await sign_in(database, "w1")
    await sign_in(database, "w2", ago=120)
    await sign_in(database, "clock", slots=0)
    await PostgresQueue(database).bury([b"x"], "deadly")
    said = await crawl("status")
    lines = [line.split() for line in said.out.splitlines()]

    assert "  turns         0 waiting in PostgreSQL, 0 with a worker\n" in said.out
    assert "  oldest due    late.example, ready for 1 h and on no queue\n" in said.out
    assert "  dead letters  1; `crawl dead list` shows them\n" in said.out
    assert "\n1 worker, 1 scheduler, 1 not seen for a minute\n" in said.out
    assert next(line for line in lines if "host-w1" in line)[:5] == ["host-w1", "7", "1.2", "50", "0"]
    assert next(line for line in lines if "host-w2" in line)[5:9] == ["not", "for", "2", "min"]
    assert next(line for line in lines if "host-clock" in line)[:4] == ["host-clock", "7", "1.2", "scheduler"]


async def test_many_workers(crawl: Terminal, heart: Frontiers, database: Database) -> None:
    """More than ten workers are summed up by machine, and more than ten machines in a line; JSON has each."""
    await heart.crawl("https://a.example/")
    for number in range(24):
        await sign_in(database, f"w{number}", host=f"host-{number // 2:02}")
    said, told = await crawl("status"), await crawl("status", "--json")
    rows = [line.split() for line in said.out.splitlines() if line.startswith("  host-")]

    assert "\n24 workers\n" in said.out
    assert rows == [[f"host-{number:02}", "2", "1.2", "100", "0", "0"] for number in range(10)]
    assert "  and 4 workers on 2 machines more, visiting 0: --json has all of them\n" in said.out
    assert len(told.json[0]["workers"]) == 24


async def test_nobody_works(crawl: Terminal, heart: Frontiers, database: Database) -> None:
    """A crawl that was seeded, and nobody works on, names `crawl worker`; one that a run began names that too."""
    await heart.crawl("https://a.example/")
    seeded = await crawl("status")
    await database.script("update crawls set attendant = '{}'")
    begun = await crawl("status")

    assert "; nobody works on it: `crawl worker` goes on with it\n" in seeded.out
    assert "; nobody works on it: the same `crawl run` goes on, and so does `crawl worker`\n" in begun.out


async def test_nothing_that_is_empty(crawl: Terminal, heart: Frontiers) -> None:
    """What is empty is not shown: no workers, no dead letters, and no domain that waits since a moment ago."""
    await heart.crawl("https://a.example/")
    said = await crawl("status")

    assert "dead letters" not in said.out
    assert "oldest due" not in said.out
    assert "seen" not in said.out


async def test_a_data_folder(tmp_path: Path, crawl: Terminal) -> None:
    """On one machine nothing is said of workers and turns, until a letter is dead."""
    data = str(tmp_path / "data")
    own = Terminal("none", {"ALLOW_NETS": "127.0.0.0/8", "RUN_PATIENCE": "0"})
    await own("run", "http://127.0.0.1:1/", "--quiet", "--name", "one", "--data", data)
    said = await own("status", "one", "--data", data)
    told = (await own("status", "one", "--json", "--data", data)).json

    assert said.status == 0, said.err
    assert not {"turns", "oldest", "workers", "dead"} & {
        line.split()[0] for line in said.out.splitlines() if line.strip()
    }
    assert (told["workers"], told["turns_waiting"], told["dead_letters"]) == ([], 0, 0)


async def test_on_rabbitmq(crawl: Terminal, heart: Frontiers, amqp: tuple[str, str]) -> None:
    """Where RabbitMQ carries the turns, it is asked for those that wait and for the dead letters."""
    url, prefix = amqp
    await heart.crawl("https://a.example/")
    async with RabbitQueue(url, prefix=prefix) as queue:
        await queue.publish([b"x", b"y"])
        await queue.publish([b"z"], urgent=True)
        await queue.bury([b"x"], "deadly")
        settings = {"AMQP_URL": url, "AMQP_PREFIX": prefix}
        said, told = await crawl("status", **settings), await crawl("status", "--json", **settings)

    assert "  turns         3 waiting in RabbitMQ, 0 with a worker\n" in said.out
    assert "  dead letters  1; `crawl dead list` shows them\n" in said.out
    assert (told.json[0]["turns_waiting"], told.json[0]["dead_letters"]) == (3, 1)


async def test_broker_away(crawl: Terminal, heart: Frontiers) -> None:
    """A broker that is away does not keep the rest from being shown: it is told of where its numbers would stand."""
    await heart.crawl("https://a.example/")
    away = {"AMQP_URL": f"amqp://carl:hidden@127.0.0.1:{free_port()}/"}
    said, told = await crawl("status", **away), await crawl("status", "--json", **away)

    assert said.status == told.status == 0
    assert "0 stored of 1 URL known" in said.out
    assert "  turns     unknown: RabbitMQ at 127.0.0.1:" in said.out
    assert (told.json[0]["turns_waiting"], told.json[0]["dead_letters"]) == (None, None)
    assert "cannot be reached" in told.json[0]["queue_trouble"]
    assert "hidden" not in said.out + said.err + told.out


async def test_turns_elsewhere(crawl: Terminal, heart: Frontiers, database: Database) -> None:
    """Who names no broker, where the workers use one, is told that it is needed to see the turns."""
    await heart.crawl("https://a.example/")
    await sign_in(database, "w1", queue="rabbit")
    said = await crawl("status")

    assert "the workers take them from RabbitMQ: name it with --amqp" in said.out
