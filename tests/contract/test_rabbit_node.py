"""What the queue on RabbitMQ promises when the broker itself is killed, frozen, out of memory, or will not have us."""

import re
import secrets
import shlex
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import cache

import pytest

from crawler.adapters.rabbit import RabbitQueue
from crawler.adapters.rabbit_facts import inspect
from crawler.core.errors import BrokerError, BrokerUnavailableError
from tests.broker import PrivateNode
from tests.contract.test_rabbit import consuming, everything, waiting
from tests.making import until

pytestmark = pytest.mark.xdist_group("node")  # they share a broker that is costly to start

PREFIX = f"node-{secrets.token_hex(4)}"


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What is closed at the end of the test."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def queue(private_broker: PrivateNode, stack: AsyncExitStack) -> RabbitQueue:
    """A program on a broker that only this test uses."""
    prefix = f"test-{secrets.token_hex(6)}"
    return await stack.enter_async_context(RabbitQueue(private_broker.url, prefix=prefix, patience=2))


async def test_killed(private_broker: PrivateNode, queue: RabbitQueue) -> None:
    """A broker that is killed at once after it confirmed has it all when it is up again, and its consumers go on by themselves."""
    bodies = [b"%d" % number for number in range(300)]
    got: list[bytes] = []
    await queue.depth()
    private_broker.remember_queues()
    assert await queue.publish(bodies) == [True] * 300
    async with consuming(queue, 5) as consumer:
        for _ in range(100):
            delivery = await consumer.next()
            delivery.ack()
            got.append(delivery.body)
        kept = await consumer.next()
        private_broker.kill()
        with pytest.raises(BrokerUnavailableError):
            await until(lambda: _published(queue))
        await private_broker.start_again()
        kept.ack()
        got.append(kept.body)
        while len(got) < 300:
            delivery = await consumer.next()
            delivery.ack()
            got.append(delivery.body)

    assert Counter(got) == Counter(bodies)
    assert consumer.got == 300
    await until(waiting(queue, 0))


async def test_frozen(private_broker: PrivateNode, queue: RabbitQueue) -> None:
    """A broker that is frozen is not waited for beyond the patience, and goes on afterwards as if nothing had been."""
    await queue.publish([b"1"])
    private_broker.freeze()
    told = await queue.publish([b"2"])
    with pytest.raises(BrokerUnavailableError, match="no answer within 2 s"):
        await queue.depth()
    private_broker.thaw()

    assert told == [False]
    assert await queue.publish([b"3"]) == [True]
    assert {b"1", b"3"} <= set(await everything(queue))


async def test_short_of_memory(private_broker: PrivateNode, queue: RabbitQueue) -> None:
    """A broker that is short of memory lets nobody publish: that is False after the patience; to consume is possible all the time."""
    await queue.publish([b"1", b"2"])
    async with consuming(queue, 1) as consumer:
        first = await consumer.next()
        private_broker.ctl("set_vm_memory_high_watermark", "0")
        try:
            told = [await queue.publish([b"3"]), await queue.publish([b"4"])]
            depth = await queue.depth()
            first.ack()
            second = await consumer.take(1)
        finally:
            private_broker.ctl("set_vm_memory_high_watermark", "0.4")
        await until(lambda: _published(queue))

    assert told == [[False], [False]]
    assert (depth, second) == (1, [b"2"])


@pytest.mark.parametrize(
    ("user", "vhost", "line"),
    [
        ("guest:wrong", "", 'does not know user "guest" with this password'),
        ("nobody:wrong", "", 'does not know user "nobody" with this password'),
        ("guest:guest", "nowhere", r'no virtual host "nowhere": create it \(rabbitmqctl add_vhost nowhere\)'),
        ("crawl:wrong", "other", r'does not let user "crawl" into virtual host "other": allow it \(rabbitmqctl set_perm'),
        ("crawl:wrong", "", r"refuses: ACCESS_REFUSED - access to queue .*: allow it \(rabbitmqctl set_permissions"),
    ],
)  # fmt: skip
async def test_refused(user: str, vhost: str, line: str, private_broker: PrivateNode) -> None:
    """Who is not let in, or may not do it, hears at once what is wrong and what to do, without the password."""
    others(private_broker)
    url = f"amqp://{user}@127.0.0.1:{private_broker.port}/{vhost}"
    async with RabbitQueue(url, prefix=PREFIX) as queue:
        for work in (queue.publish([b"1"]), queue.depth(), queue.consume(1, print)):
            with pytest.raises(BrokerError, match=line) as caught:
                await work

            assert not isinstance(caught.value, BrokerUnavailableError)
            assert "wrong" not in str(caught.value)
            assert "\n" not in str(caught.value)


async def test_advice(private_broker: PrivateNode) -> None:
    """The command in the line about permissions is the one that helps, and gives no more than is needed."""
    url = stranger(private_broker, "advised", "^$")
    async with RabbitQueue(url, prefix=PREFIX) as queue:
        with pytest.raises(BrokerError) as caught:
            await queue.publish([b"1"])
        advice = re.search(r"\(rabbitmqctl (.*)\)$", str(caught.value))
        assert advice
        before = await inspect(url, PREFIX)
        private_broker.ctl(*shlex.split(advice[1]))
        after, elsewhere = await inspect(url, PREFIX), await inspect(url, "elsewhere")
        told = await queue.publish([b"1"])
        await queue.bury([b"2"], "because")
        async with consuming(queue, 1) as consumer:
            (await consumer.next()).dead("also")
            await until(lambda: _letters(queue, 2))
        bodies = [letter.body for letter in await queue.dead_letters(5)]

    assert (before.may_configure, before.may_write, before.may_read) == (False, False, False)
    assert (after.may_configure, after.may_write, after.may_read, after.refusals) == (True, True, True, ())
    assert (elsewhere.may_configure, elsewhere.may_read) == (False, False)
    assert len(elsewhere.refusals) == 2
    assert (told, bodies) == ([True], [b"2", b"1"])


async def test_wrong_password_later(private_broker: PrivateNode, stack: AsyncExitStack) -> None:
    """A consumer that was let in once goes on trying, for its password may be put right again."""
    url = stranger(private_broker, "later", ".*")
    queue = await stack.enter_async_context(RabbitQueue(url, prefix=f"{PREFIX}-later"))
    async with consuming(queue, 1) as consumer:
        await queue.publish([b"1", b"2"])
        first = await consumer.next()
        private_broker.ctl("change_password", "later", "another")
        private_broker.ctl("close_all_user_connections", "later", "test")
        with pytest.raises(BrokerError, match="password"):
            await until(lambda: _published(queue))
        private_broker.ctl("change_password", "later", "wrong")
        first.ack()
        second = await consumer.next()

    assert second.body == b"2"


@cache  # each rabbitmqctl is a second of the machine's
def others(node: PrivateNode) -> None:
    """Make a user crawl without permissions, and a virtual host that nobody may use."""
    stranger(node, "crawl", "^$")
    node.ctl("add_vhost", "other")


def stranger(node: PrivateNode, name: str, may: str) -> str:
    """Make a user, who may do everything to the queues of these names: where the broker is for it."""
    node.ctl("add_user", name, "wrong")
    node.ctl("set_permissions", "-p", "/", name, may, may, may)
    return f"amqp://{name}:wrong@127.0.0.1:{node.port}/"


async def _published(queue: RabbitQueue) -> bool:
    return await queue.publish([b"x"]) == [True]


async def _letters(queue: RabbitQueue, how_many: int) -> bool:
    return await queue.dead_count() == how_many
