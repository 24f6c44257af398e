"""What befalls many machines, and what the web saw of it: nothing is lost, nobody is hurried, only what was cut off is repeated.

Each disaster comes over a crawl of some 150 domains with 12 pages each; CRAWL_TEST_SCALE multiplies the domains.
"""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aio_pika
import pytest

from crawler.adapters.embedded import EmbeddedPostgres
from crawler.adapters.migrations import migrate
from crawler.adapters.postgres import Database
from crawler.demo.language import page, robots
from crawler.demo.server import Web, serving
from tests.broker import Gate, PrivateNode
from tests.system.judge import judge
from tests.system.machines import LEASE, PATIENCE, Machine, Surprise, machines, until, wide_web

pytestmark = pytest.mark.xdist_group("disasters")  # each wants the machine to itself

PAGES: Final = 12
DYING: Final = {"delivered": 1, "accepted": 1, "writing": 2, "committed": 2, "acknowledged": 3}
"""The steps of a turn; a worker dies when it comes there for the first time, or a later one."""


def web_has(web: Web, machine: Machine, since: int = 0) -> bool:
    """Has the web been asked by that worker?"""
    return any(machine.mark in one.headers["user-agent"] for one in web.log[since:])


async def test_killed_at_every_step(dsn: str, tmp_path: Path, carrier: tuple[str, str] | None) -> None:
    """Whatever a worker is doing when it is killed, the others and the next one make up for it."""
    parts = {step: wide_web(50, PAGES, step) for step in (*DYING, "fetching")}
    surprise = Surprise(page("late", "/after"))
    parts["fetching"]["late.test"] = {"/robots.txt": robots("/x"), "/": surprise, "/after": page("after")}
    sites = {host: site for part in parts.values() for host, site in part.items()}
    with serving(sites) as web:
        async with machines(web, dsn, tmp_path, carrier) as hall:
            await hall.here(hall.start(), hall.start())
            for step, nth in DYING.items():
                victim = hall.victim(step, nth)
                await hall.here(victim)  # the others would have done all of it before
                # At once: one that stands still in a transaction is in the way of whoever seeds.
                await asyncio.gather(hall.bury(victim), hall.seed("all", [web.url(f"{step}0.test")]))
            await hall.seed("all", [web.url("late.test"), web.url("fetching0.test")])
            await until(lambda: surprise.asked, "fetching: the request is open")
            await hall.kill(await hall.holder("late.test"))
            hall.start()
            await hall.until_done("all", "every step")
            await hall.dismiss()
            await judge(hall, "all", sites)


async def test_frozen(dsn: str, tmp_path: Path, amqp: tuple[str, str]) -> None:
    """Workers that stand still for longer than their leases hurry nobody when they go on, wherever they were; and work again."""
    first, second = wide_web(125, PAGES, "first"), wide_web(50, PAGES, "second")
    with serving({**first, **second}) as web:
        # Long enough for a busy machine to see what a worker holds that has just stopped.
        lease = f"{3 * LEASE}s"
        async with machines(web, dsn, tmp_path, amqp, WORK_LEASE=lease, QUEUE_LEASE=lease) as hall:
            anywhere = hall.start()
            frozen = [hall.victim(step, 8) for step in ("accepted", "connected")]
            await hall.here(anywhere, *frozen, hall.start())
            await hall.seed("all", [web.url("first0.test")])

            async def taken_down(machine: Machine) -> list[str]:
                await machine.stands_still()
                # At once: leases that were old already end soon.
                return await hall.held_are_cut(machine, anywhere=machine is anywhere)

            held = await asyncio.gather(*map(taken_down, frozen))
            frozen.append(anywhere)
            sql = "select count(*) from domains where holder ~ $1"

            async def at_work() -> bool:
                return bool(await hall.database.ask(sql, f"-{anywhere.pid}-") > 2)

            await until(at_work, "a worker holds some domains")
            anywhere.signal(signal.SIGSTOP)
            held.append(await taken_down(anywhere))
            names = "|".join(f"-{machine.pid}-" for machine in frozen)

            async def taken_over() -> bool:
                return not await hall.database.ask(sql, names)

            # A frozen transaction keeps its locks for 15 s; one of the next that stands still behind it begins its own then, and so on.
            await until(taken_over, "somebody else has what they held", 2 * PATIENCE)
            asked = len(web.log)
            for machine in frozen:
                machine.signal(signal.SIGCONT)

            async def all_take_turns() -> bool:
                return await consumers(*amqp) == len(hall.alive)

            # Whom the broker gave up meanwhile connects again, and the others would be done before that.
            await until(all_take_turns, "all take turns again")
            await hall.seed("all", [web.url("second0.test")])
            await hall.until_done("all", "after the frost", 2 * PATIENCE)
            await hall.dismiss()
            await judge(hall, "all", {**first, **second})
            log = web.log[asked:]

    assert all(held)
    for machine in frozen:
        assert any(machine.mark in one.headers["user-agent"] for one in log)


@pytest.fixture
async def own_postgres(tmp_path: Path) -> AsyncIterator["Postgres"]:
    """A PostgreSQL that this test may kill."""
    postgres = Postgres(tmp_path / "data")
    await postgres.start()
    async with await Database.open(postgres.dsn, size=1) as database:
        await migrate(database)
    yield postgres
    await postgres.close()


class Postgres:
    """An embedded server, killed and started again."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._users: list[EmbeddedPostgres] = []

    @property
    def dsn(self) -> str:
        """Where it is."""
        return self._users[-1].dsn

    async def start(self) -> None:
        """Start it, on the data it has."""
        self._users.append(await EmbeddedPostgres.open(self._data))

    async def kill(self) -> None:
        """SIGKILL to the postmaster; its children go by themselves."""
        pid = int((self._data / "pg" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)

    async def close(self) -> None:
        """Stop it."""
        while self._users:
            await self._users.pop().close()


async def test_postgres_killed(own_postgres: Postgres, tmp_path: Path, amqp: tuple[str, str]) -> None:
    """Workers outlive a PostgreSQL that is killed and started again, and go on by themselves."""
    sites = wide_web(150, PAGES)
    with serving(sites) as web:
        async with machines(web, own_postgres.dsn, tmp_path, amqp) as hall:
            await hall.here(*(hall.start() for _ in range(3)))
            await hall.seed("all", [web.url("site0.test")])
            for number in (150, 750):
                await hall.until_pages("all", number, "before PostgreSQL dies")
                await own_postgres.kill()
                await own_postgres.start()
            await hall.until_done("all", "PostgreSQL is back")
            await hall.dismiss()
            await judge(hall, "all", sites)


async def test_rabbitmq_killed(private_broker: PrivateNode, dsn: str, tmp_path: Path) -> None:
    """A RabbitMQ that is killed and started again, and one that is away for longer than a lease, cost no turn at all."""
    sites = wide_web(150, PAGES)
    carrier = private_broker.url, f"test-{secrets.token_hex(6)}"
    with serving(sites) as web:
        async with machines(web, dsn, tmp_path, carrier) as hall:
            await hall.here(*(hall.start() for _ in range(3)))
            await hall.seed("all", [web.url("site0.test")])
            await hall.until_pages("all", 150, "before RabbitMQ dies")
            private_broker.kill()
            await private_broker.start_again()
            await hall.until_pages("all", await hall.pages("all") + 450, "RabbitMQ is back")
            private_broker.kill()
            await asyncio.sleep(LEASE)  # and then it takes a while to come up
            left = await hall.open("all")
            await private_broker.start_again()
            await hall.until_done("all", "RabbitMQ is back again")
            await hall.dismiss()
            await judge(hall, "all", sites)

    assert left


async def test_purged(dsn: str, tmp_path: Path, amqp: tuple[str, str]) -> None:
    """Turns that are purged from RabbitMQ are handed out again when their lease has ended."""
    sites = wide_web(150, PAGES)
    with serving(sites) as web:
        async with machines(web, dsn, tmp_path, amqp, DOMAINS_AT_ONCE="10") as hall:
            await hall.here(*(hall.start() for _ in range(3)))
            await hall.seed("all", [web.url(host) for host in sites])
            for number in (150, 600, 1050):
                await hall.until_pages("all", number, "before the purge")
                while not await purge(*amqp):  # noqa: ASYNC110 - at this moment nothing waits in it, and nothing tells when it does
                    await asyncio.sleep(0.02)
            await hall.until_done("all", "after the purge")
            await hall.dismiss()
            await judge(hall, "all", sites)


async def consumers(url: str, prefix: str) -> int:
    """How many take turns from the queue."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        return (await channel.get_queue(f"{prefix}.turns")).declaration_result.consumer_count or 0


async def purge(url: str, prefix: str) -> int:
    """Remove what waits in the queues of turns: how many messages."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        queues = [await channel.get_queue(f"{prefix}.{name}") for name in ("turns", "turns.urgent")]
        answers = [await queue.purge() for queue in queues]
    return sum(answer.message_count or 0 for answer in answers)


async def test_broker_out_of_reach(dsn: str, tmp_path: Path, amqp: tuple[str, str]) -> None:
    """While only one worker reaches the broker, that one does all the work; the others take part again when they reach it too."""
    first, second = wide_web(100, PAGES, "first"), wide_web(60, PAGES, "second")
    with serving({**first, **second}) as web:
        async with Gate(amqp[0]) as gate, machines(web, dsn, tmp_path, amqp) as hall:
            near, *far = hall.start(), hall.start(amqp=gate.url), hall.start(amqp=gate.url)
            await hall.here(near, *far)
            await hall.seed("all", [web.url("first0.test")])
            await until(lambda: all(web_has(web, machine) for machine in far), "all are at work")
            await gate.shut()
            await hall.until_done("all", "the one that reaches it")
            asked = len(web.log)
            await hall.dismiss(near)  # it would have done all the rest before the others look again
            gate.open()
            await hall.seed("all", [web.url("second0.test")])
            await hall.until_done("all", "those who reach it again")
            await hall.dismiss()
            await judge(hall, "all", {**first, **second})

    assert {machine.name: web_has(web, machine, asked) for machine in far} == dict.fromkeys(
        (one.name for one in far), True
    )
