"""What `crawl check` says of RabbitMQs that are not as they should be: each of them real."""

import asyncio
import shlex
from collections.abc import AsyncIterator

import aio_pika
import pytest

from crawler.checking_broker import broker
from crawler.findings import Finding, Level
from crawler.settings import Settings
from tests.broker import Gate, PrivateNode, free_port
from tests.system.told import Terminal

SERVER = "postgresql://crawl@db/crawl"
PREFIX = "checked"
USER, PASSWORD = "carl", "s3cret-4711"


async def look(url: str, prefix: str = PREFIX) -> list[Finding]:
    """What is said of the broker there."""
    return await broker(Settings(database_url=SERVER, amqp_url=url, amqp_prefix=prefix))


async def wrong(url: str) -> str:
    """The one thing that is wrong with the broker there."""
    (found,) = (one for one in await look(url) if one.level is Level.WRONG)
    return found.text


def named(node: PrivateNode, user: str = USER, password: str = PASSWORD, vhost: str = "%2F") -> str:
    """The broker, for this user."""
    return f"amqp://{user}:{password}@127.0.0.1:{node.port}/{vhost}"


@pytest.fixture
async def node(private_broker: PrivateNode) -> AsyncIterator[PrivateNode]:
    """A broker with a user who may do nothing yet."""
    await asyncio.to_thread(private_broker.ctl, "add_user", USER, PASSWORD)
    yield private_broker
    await asyncio.to_thread(private_broker.ctl, "delete_user", USER)


async def test_a_good_one(amqp: tuple[str, str]) -> None:
    """Nothing is wrong with a broker that lets us work, and looking leaves no queue behind."""
    url, prefix = amqp
    found = [await look(url, prefix), await look(url, prefix)]

    assert {one.level for one in found[0]} == {Level.OK}
    assert found[0] == found[1]
    assert any("the first worker makes them" in one.text for one in found[1])
    assert not any("guest:guest" in one.text for one in found[0])


@pytest.mark.xdist_group("node")
async def test_permissions(node: PrivateNode) -> None:
    """A user who may do too little is told so with the command that mends it; given to rabbitmqctl, nothing is wrong any more."""
    outside = await wrong(named(node))
    await asyncio.to_thread(node.ctl, "set_permissions", USER, "", "", "")
    nothing = await wrong(named(node))
    await asyncio.to_thread(node.ctl, "set_permissions", USER, r"^checked\.", "", r"^checked\.")
    unwritable = await wrong(named(node))
    mending = shlex.split(unwritable.partition(": rabbitmqctl ")[2])
    await asyncio.to_thread(node.ctl, *mending)
    after = await look(named(node))

    assert f'does not let user "{USER}" into virtual host "/"' in outside
    assert (
        f"{USER} lacks configure and write and read on the virtual host /: rabbitmqctl set_permissions"
        in nothing
    )
    assert f"{USER} lacks write on the virtual host /" in unwritable
    assert {one.level for one in after} == {Level.OK}
    assert PASSWORD not in outside + nothing + unwritable + "".join(one.text for one in after)


@pytest.mark.xdist_group("node")
async def test_not_let_in(node: PrivateNode) -> None:
    """A wrong password, a missing virtual host and a port without a broker are told apart, and no password is shown."""
    refused = await wrong(named(node, password="guess-4712"))
    homeless = await wrong(named(node, vhost="nowhere"))
    away = await wrong(f"amqp://{USER}:{PASSWORD}@127.0.0.1:{free_port()}/")

    assert f'does not know user "{USER}" with this password' in refused
    assert 'has no virtual host "nowhere": create it (rabbitmqctl add_vhost nowhere)' in homeless
    assert "cannot be reached" in away
    assert not {"guess-4712", PASSWORD} & set((refused + homeless + away).replace(":", " ").split())


async def test_a_silent_one(amqp: tuple[str, str]) -> None:
    """A broker that takes the connection and says nothing is told of after a while, and not waited for."""
    async with Gate(amqp[0]) as gate:
        gate.hold()
        async with asyncio.timeout(30):
            text = await wrong(gate.url)

    assert "no answer" in text or "did not answer" in text


async def test_queues_of_other_properties(amqp: tuple[str, str]) -> None:
    """A queue that somebody made with other properties is wrong, with what to do about it."""
    url, prefix = amqp
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await channel.declare_queue(f"{prefix}.turns", durable=True)
    found = [one for one in await look(url, prefix) if one.topic == "queues"]

    assert found[0].level is Level.WRONG
    assert f"{prefix}.turns" in found[0].text
    assert "delete" in found[0].text


async def test_embedded(amqp: tuple[str, str]) -> None:
    """A broker for many machines beside a database of one machine is a note."""
    url, prefix = amqp
    found = await broker(Settings(amqp_url=url, amqp_prefix=prefix))

    assert [one.level for one in found if "embedded" in one.text] == [Level.NOTE]


async def test_none_named() -> None:
    """Where no broker is named, nothing is said of one."""
    assert await broker(Settings(database_url=SERVER)) == []


async def test_the_program(dsn: str, amqp: tuple[str, str]) -> None:
    """`crawl check` on a migrated server and a broker is done with status 0 once a contact is named, and with 1 before."""
    url, prefix = amqp
    crawl = Terminal(dsn, {"AMQP_PREFIX": prefix})
    unnamed = await crawl("check", "--amqp", url)
    said = await crawl("check", "--amqp", url, CONTACT="https://example.com/bot")

    assert (unnamed.status, said.status) == (1, 0)
    assert "names no contact: set CRAWL_CONTACT" in unnamed.out
    assert "permissions  configure, write, read" in said.out
    assert said.out.endswith("ready to crawl\n")
    assert "guest:guest" not in said.out + said.err
