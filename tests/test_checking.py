"""What `crawl check` thinks of what it measured."""

from dataclasses import replace
from typing import Any

import pytest

from crawler import __version__
from crawler.adapters.migrations import Applied, Migration
from crawler.adapters.rabbit_facts import BrokerFacts
from crawler.adapters.rabbit_wire import Place
from crawler.checking import user_agent
from crawler.checking_broker import judge
from crawler.checking_database import clocks, connections, others, schema, version
from crawler.checking_machine import descriptors, memory
from crawler.findings import Finding, Level
from crawler.settings import Settings

SERVER = "postgresql://crawl@db/crawl"
MB = 10**6
BROKER = "amqp://crawl:hidden@mq/crawl"
FACTS = BrokerFacts(
    product="RabbitMQ",
    version="3.10.8",
    may_configure=True,
    may_write=True,
    may_read=True,
    queues={"crawl.turns": None, "crawl.turns.urgent": None, "crawl.dead": None},
    refusals=(),
)


def levels(found: list[Finding]) -> dict[str, Level]:
    """How bad each topic is, at its worst."""
    order = list(Level)
    worst: dict[str, Level] = {}
    for one in found:
        worst[one.topic] = max(worst.get(one.topic, Level.OK), one.level, key=order.index)
    return worst


def judged(**facts: Any) -> list[Finding]:
    """What is thought of a broker that is well but for this."""
    return judge(replace(FACTS, **facts), Place.of(BROKER, "crawl"))


@pytest.mark.parametrize(
    ("given_", "level"),
    [
        ({}, Level.NOTE),
        ({"database_url": SERVER}, Level.WRONG),
        ({"database_url": SERVER, "contact": "https://example.com/bot"}, Level.OK),
        ({"database_url": SERVER, "user_agent": "bot/1 (me@example.com)"}, Level.OK),
    ],
)
def test_contact(given_: dict[str, Any], level: Level) -> None:
    """A user agent without a contact is a note on one machine, and wrong where a database server is named."""
    found = user_agent(Settings(**given_))

    assert found.level is level


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("seconds", "level"), [(1.9, Level.OK), (2.0, Level.WARNING), (59.0, Level.WARNING), (60.0, Level.WRONG)]
)
def test_clock(seconds: float, level: Level, sign: int) -> None:
    """A clock that is off is a warning from 2 s on and wrong from a minute on, in both directions."""
    found = clocks(sign * seconds)

    assert found.level is level
    assert level is Level.OK or ("ahead of" if sign > 0 else "behind") in found.text


@pytest.mark.parametrize(("processes", "amqp", "wanted"), [(1, None, 11), (4, None, 35), (4, BROKER, 31)])
def test_connections(processes: int, amqp: str | None, wanted: int) -> None:
    """Every process wants its pool and its listeners, of which RabbitMQ spares one: one connection too few is wrong."""
    settings = Settings(processes=processes, amqp_url=amqp)

    assert connections(wanted, settings).level is Level.OK
    assert connections(wanted - 1, settings).level is Level.WRONG
    assert f"up to {wanted} are wanted" in connections(wanted - 1, settings).text


def test_descriptors() -> None:
    """Too few descriptors for the requests at once is a warning with the limit to raise."""
    settings = Settings(domains_at_once=1000)

    assert descriptors(settings, 20_000).level is Level.OK
    assert descriptors(settings, 1000).level is Level.WARNING
    assert "raise ulimit -Hn" in descriptors(settings, 1000).text


@pytest.mark.parametrize(
    ("free", "limit", "found"),
    [
        (400 * MB, 400 * MB, [Level.OK, Level.OK]),
        (300 * MB, 400 * MB, [Level.WARNING, Level.OK]),
        (400 * MB, 300 * MB, [Level.OK, Level.WARNING]),
        (None, None, [Level.NOTE, Level.NOTE]),
    ],
)
def test_memory(free: int | None, limit: int | None, found: list[Level]) -> None:
    """For 200 domains 350 MB are wanted: less that is free, or a lower limit, is a warning; what nobody knows is a note."""
    assert [one.level for one in memory(Settings(), free, limit)] == found


@pytest.mark.parametrize(
    ("number", "level"), [(140_013, Level.WRONG), (150_000, Level.OK), (180_001, Level.OK)]
)
def test_postgres_version(number: int, level: Level) -> None:
    """PostgreSQL before 15 is wrong."""
    assert version(number).level is level


@pytest.mark.parametrize(
    ("have", "embedded", "level", "words"),
    [
        ({1, 2}, False, Level.OK, "at migration 2"),
        ({1}, False, Level.WRONG, "migration 2 is missing: run `crawl migrate`"),
        ({1}, True, Level.NOTE, "the next crawl does it"),
        (set(), False, Level.NOTE, "the next crawl does it"),
        ({1, 2, 3}, False, Level.NOTE, "with which this one can go on: upgrade this program in the end"),
        ({1, 3}, False, Level.WRONG, "migration 2 is missing: run `crawl migrate`"),
        ({1, 2, 4}, False, Level.WRONG, "cannot work with (urls.open is gone): upgrade this program"),
    ],
)
def test_tables(have: set[int], level: Level, words: str, *, embedded: bool) -> None:
    """A server is wrong that is not migrated, or has what breaks this program; what migrates by itself, or does not matter, is a note."""
    found = schema(
        {number: Applied(number, "x", "urls.open is gone" if number == 4 else None) for number in have},
        [Migration(number, "x", "") for number in (1, 2)],
        embedded=embedded,
    )

    assert found.level is level
    assert words in found.text


@pytest.mark.parametrize(
    ("workers", "told"),
    [
        ([], []),
        ([("rabbit", __version__)] * 3, [(Level.OK, "3 at work")]),
        (
            [("rabbit", __version__), ("postgres", __version__)],
            [(Level.NOTE, "PostgreSQL (1), RabbitMQ (1)")],
        ),
        ([("postgres", __version__)], [(Level.NOTE, "PostgreSQL (1), and here RabbitMQ is named")]),
        ([("rabbit", "0.0.1"), ("rabbit", __version__)], [(Level.NOTE, "version 0.0.1 (1)")]),
    ],
)
def test_other_workers(workers: list[tuple[str, str]], told: list[tuple[Level, str]]) -> None:
    """Workers on another queue than ours, or of another version, are a note that says how many there are of each."""
    found = list(others(workers, Settings(amqp_url=BROKER)))

    assert [one.level for one in found] == [level for level, _ in told]
    assert all(words in one.text for one, (_, words) in zip(found, told, strict=True))


def test_a_good_broker() -> None:
    """A broker that lets us do everything is well, also before the first worker has made the queues."""
    found = judged()

    assert set(levels(found).values()) == {Level.OK}
    assert any("the first worker makes them" in one.text for one in found)


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ("3.9.29", Level.WRONG),
        ("3.10.0", Level.OK),
        ("3.13.7", Level.OK),
        ("4.1.2-rc.1", Level.OK),
        ("", Level.WRONG),
    ],
)
def test_broker_version(said: str, level: Level) -> None:
    """RabbitMQ before 3.10 is wrong, by its numbers and not by its letters."""
    assert levels(judged(version=said))["RabbitMQ"] is level


def test_another_broker() -> None:
    """What speaks AMQP and is no RabbitMQ is a warning."""
    assert levels(judged(product="LavinMQ", version="2.0"))["RabbitMQ"] is Level.WARNING


@pytest.mark.parametrize("lacking", ["configure", "write", "read"])
def test_permissions(lacking: str) -> None:
    """A permission that is missing is wrong, and named with the virtual host and the command that gives it."""
    (found,) = (one for one in judged(**{f"may_{lacking}": False}) if one.topic == "permissions")

    assert found.level is Level.WRONG
    assert f"crawl lacks {lacking} on the virtual host crawl" in found.text
    assert r"rabbitmqctl set_permissions -p crawl crawl '^crawl\.'" in found.text


def test_queues() -> None:
    """Queues that are there are shown with what is in them; one with other properties is wrong, in the broker's words."""
    queues = {**FACTS.queues, "crawl.turns": (1200, 3), "crawl.dead": (2, 0)}
    found = judged(queues=queues, refusals=("queue 'crawl.turns' is down",))

    assert levels(found)["queues"] is Level.WRONG
    assert [one.text for one in found if one.topic == "queues"] == [
        "queue 'crawl.turns' is down",
        "crawl.turns: 1,200 messages, 3 consumers",
        "2 dead letters in crawl.dead: `crawl dead list` shows them",
    ]


@pytest.mark.parametrize(
    ("refusal", "advice"),
    [
        (
            "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'crawl.turns' in vhost 'crawl'",
            "delete it when it is empty (rabbitmqctl delete_queue -p crawl crawl.turns), or set another CRAWL_AMQP_PREFIX",
        ),
        (
            "ACCESS_REFUSED - read access to queue 'crawl.turns' refused",
            "allow it (rabbitmqctl set_permissions",
        ),
    ],
)
def test_what_to_do_about_a_queue(refusal: str, advice: str) -> None:
    """A queue of other properties, and one that we may not use, come with the command that mends it."""
    (found,) = (one for one in judged(refusals=(refusal,)) if one.topic == "queues")

    assert found.text.startswith(refusal)
    assert advice in found.text


def test_a_refusal_that_was_told() -> None:
    """What the broker refuses because a permission is missing is told once: as the permission."""
    found = judged(may_read=False, refusals=("ACCESS_REFUSED - read access refused",))

    assert [one.topic for one in found if one.level is Level.WRONG] == ["permissions"]
