"""What only the queue on RabbitMQ has to keep: what its messages and queues are, and what a lost or silent line may cost."""

import asyncio
import contextlib
import gc
import logging
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

import aio_pika
import pytest
import trustme
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelPreconditionFailed
from structlog.testing import capture_logs

from crawler.adapters.rabbit import GROUP, RabbitQueue
from crawler.adapters.rabbit_facts import inspect
from crawler.core.errors import BrokerError, BrokerUnavailableError
from crawler.ports import DeadLetter, Delivery
from tests.broker import Gate, free_port
from tests.contract.carriers import Consumer
from tests.making import until

pytest_plugins = ["tests.adapters.loops"]
BOTH_LOOPS: Final = True

Amqp: TypeAlias = tuple[str, str]
MOST: Final = 10_000


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What is closed at the end of the test."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def queue(amqp: Amqp, stack: AsyncExitStack) -> RabbitQueue:
    """A program with an undisturbed line to the broker."""
    return await stack.enter_async_context(RabbitQueue(amqp[0], prefix=amqp[1]))


@pytest.fixture
async def gate(amqp: Amqp, stack: AsyncExitStack) -> Gate:
    """What stands between `far` and the broker."""
    return await stack.enter_async_context(Gate(amqp[0]))


@pytest.fixture
async def far(gate: Gate, amqp: Amqp, stack: AsyncExitStack) -> RabbitQueue:
    """A program whose line to the broker can be disturbed; it has little patience."""
    return await stack.enter_async_context(RabbitQueue(gate.url, prefix=amqp[1], patience=1))


@pytest.fixture
async def channel(amqp: Amqp, stack: AsyncExitStack) -> AbstractChannel:
    """Somebody who does to the queues what this project would not."""
    connection = await stack.enter_async_context(await aio_pika.connect(amqp[0]))
    return await connection.channel()


def consuming(queue: RabbitQueue, prefetch: int) -> Consumer:
    """Somebody who consumes with this queue."""
    return Consumer(SimpleNamespace(queue=queue), prefetch)


def waiting(queue: RabbitQueue, how_many: int) -> Callable[[], Awaitable[bool]]:
    """For `until`: so many messages wait."""

    async def look() -> bool:
        return await queue.depth() == how_many

    return look


async def test_on_disk(amqp: Amqp, queue: RabbitQueue, channel: AbstractChannel) -> None:
    """Messages are persistent and each has a number of its own; their queue is durable and a quorum queue."""
    prefix = amqp[1]
    await queue.publish([b"1", b"2"])
    turns = await channel.get_queue(f"{prefix}.turns")
    found = [await turns.get(no_ack=True), await turns.get(no_ack=True)]
    with pytest.raises(ChannelPreconditionFailed, match=r"x-queue-type|x-dead-letter"):
        await channel.declare_queue(f"{prefix}.turns", durable=True, arguments={"x-queue-type": "classic"})

    assert [message.delivery_mode for message in found] == [aio_pika.DeliveryMode.PERSISTENT] * 2
    assert len({message.message_id for message in found} - {None}) == 2


async def test_many(queue: RabbitQueue, amqp: Amqp, stack: AsyncExitStack) -> None:
    """Ten thousand messages are confirmed, in more than one group, and each is handed out once to one of two programs."""
    other = await stack.enter_async_context(RabbitQueue(amqp[0], prefix=amqp[1]))
    bodies = [b"%d" % number for number in range(MOST)]
    got: Counter[bytes] = Counter()
    done = asyncio.Event()

    def deliver(delivery: Any) -> None:
        got[delivery.body] += 1
        delivery.ack()
        if len(got) == MOST:
            done.set()

    tasks = [asyncio.create_task(one.consume(100, deliver)) for one in (queue, other)]
    confirmed = await queue.publish(bodies)
    async with asyncio.timeout(60):
        await done.wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

    assert confirmed == [True] * MOST
    assert MOST > GROUP
    assert got == Counter(bodies)
    assert await queue.depth() == 0


async def test_cut_before_the_answer(queue: RabbitQueue, far: RabbitQueue, gate: Gate) -> None:
    """What is not confirmed when the connection breaks is False, be it there or not; the next attempt connects again."""
    await far.publish([b"0"])
    gate.homeward.hold()
    there = asyncio.create_task(far.publish([b"1", b"2"]))
    await until(waiting(queue, 3))
    await gate.cut()
    told = [await there, await far.publish([b"3"])]
    gate.onward.hold()
    nowhere = asyncio.create_task(far.publish([b"4"]))
    await gate.onward.held.wait()
    await gate.cut()
    told += [await nowhere, await far.publish([b"5"])]

    assert told == [[False, False], [True], [False], [True]]
    assert await everything(queue) == [b"0", b"1", b"2", b"3", b"5"]


@pytest.mark.parametrize(("direction", "step"), [("onward", 900), ("homeward", 9)])
async def test_cut_in_the_middle(
    direction: str, step: int, queue: RabbitQueue, far: RabbitQueue, gate: Gate
) -> None:
    """Wherever the connection breaks while a thousand are published, what is True is there, and none is there twice."""
    confirmed: list[bytes] = []
    refused = 0
    for attempt in range(10):
        await until(lambda: _published(far, b"connected"))
        getattr(gate, direction).break_after(10 + step * attempt**2)
        bodies = [b"%d-%d" % (attempt, number) for number in range(2 * GROUP)]
        told = await far.publish(bodies)
        confirmed += [body for body, safe in zip(bodies, told, strict=True) if safe]
        refused += told.count(False)
        await gate.cut()
    there = Counter(await everything(queue))
    del there[b"connected"]

    assert set(confirmed) <= set(there)
    assert set(there.values()) <= {1}
    assert min(len(confirmed), refused) > 0


@pytest.mark.parametrize("lost", [False, True])
async def test_told_to_end(
    amqp: Amqp, queue: RabbitQueue, gate: Gate, stack: AsyncExitStack, *, lost: bool
) -> None:
    """Whenever a consumer is cancelled, it ends: also while it opens its feeds anew, or has just lost its line."""
    restless = await stack.enter_async_context(
        RabbitQueue(gate.url, prefix=amqp[1], look_again=0.002)  # it does almost nothing else
    )
    for number in range(60):
        got = asyncio.Event()

        def deliver(delivery: Delivery, got: asyncio.Event = got) -> None:
            delivery.ack()
            got.set()

        consuming = asyncio.create_task(restless.consume(10, deliver))
        await queue.publish([b"1"])
        async with asyncio.timeout(60):
            await got.wait()
        if lost:
            await gate.cut()
        await asyncio.sleep(0.0007 * number)  # no event tells where in its work it is
        consuming.cancel()
        _, left = await asyncio.wait([consuming], timeout=60)

        assert not left, f"cancelled after {0.0007 * number:.4f} s"


async def test_silent(queue: RabbitQueue, far: RabbitQueue, gate: Gate) -> None:
    """A broker that says nothing is given up after the patience: for publishing that is False, for a question an error."""
    await far.publish([b"1"])
    await far.depth()
    gate.hold()
    clock = asyncio.get_running_loop().time
    began = clock()
    told = await far.publish([b"2"])
    with pytest.raises(BrokerUnavailableError, match="no answer within 1 s"):
        await far.dead_count()
    lasted = clock() - began
    gate.let_go()

    assert told == [False]
    assert lasted < 14  # twice the patience, and one attempt to connect
    assert await far.publish([b"3"]) == [True]


async def test_nobody_there(amqp: Amqp) -> None:
    """Without a connection nothing is published, and the error says so, without the password."""
    url = f"amqp://crawl:geheim@127.0.0.1:{free_port()}/"
    async with RabbitQueue(url, prefix=amqp[1]) as queue:
        for work in (
            queue.publish([b"1"]),
            queue.bury([b"1"], "because"),
            queue.depth(),
            queue.dead_letters(1),
        ):
            with pytest.raises(
                BrokerUnavailableError, match=r"127\.0\.0\.1.*Connection refused.*--amqp"
            ) as caught:
                await work

            assert "geheim" not in str(caught.value)


async def test_tls(amqp: Amqp, stack: AsyncExitStack, tmp_path: Path) -> None:
    """Over TLS it is the same, if the broker's certificate is trusted; if not, the line says how to."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    gate = await stack.enter_async_context(Gate(amqp[0], context))
    stranger = await stack.enter_async_context(RabbitQueue(gate.url, prefix=amqp[1]))
    queue = await stack.enter_async_context(
        RabbitQueue(f"{gate.url}?cafile={tmp_path}/ca.pem", prefix=amqp[1])
    )
    with pytest.raises(BrokerError, match=r"certificate that is not trusted.*cafile=") as caught:
        await stranger.depth()
    told = await queue.publish([b"1"])
    async with consuming(queue, 1) as consumer:
        got = await consumer.take(1)

    assert gate.url.startswith("amqps://")
    assert not isinstance(caught.value, BrokerUnavailableError)
    assert (told, got) == ([True], [b"1"])


async def test_deleted(amqp: Amqp, queue: RabbitQueue, channel: AbstractChannel) -> None:
    """When somebody deletes the queues, what is published into nothing is False, and then they are there again."""
    await queue.publish([b"1"])
    await delete_all(channel, amqp)

    assert await queue.publish([b"2"]) == [False]
    assert await queue.publish([b"3"]) == [True]
    await delete_all(channel, amqp)

    assert (await queue.depth(), await queue.dead_count()) == (0, 0)


async def test_deleted_with_a_consumer(amqp: Amqp, queue: RabbitQueue, channel: AbstractChannel) -> None:
    """A consumer whose queues were deleted makes them again, and goes on."""
    with capture_logs() as told:
        async with consuming(queue, 2) as consumer:
            await queue.publish([b"1"])
            (await consumer.next()).ack()
            await delete_all(channel, amqp)
            await until(lambda: _some(told))
            await until(lambda: _published(queue, b"2"))
            got = await consumer.take(1)

    assert got == [b"2"]
    assert "deleted" in told[0]["reason"]


async def test_made_again_at_once(amqp: Amqp, channel: AbstractChannel, stack: AsyncExitStack) -> None:
    """A queue that is deleted and made again before its consumer hears of it gives that consumer messages all the same."""
    queue = await stack.enter_async_context(RabbitQueue(amqp[0], prefix=amqp[1], look_again=0.2))
    async with consuming(queue, 2) as consumer:
        await queue.publish([b"1"])
        (await consumer.next()).ack()
        await delete_all(channel, amqp)
        await until(lambda: _published(queue, b"2"))
        got = await consumer.next()

    assert got.body == b"2"


async def test_purged(amqp: Amqp, queue: RabbitQueue, channel: AbstractChannel) -> None:
    """A purge takes what waits; what is in hand is settled as ever, and what comes later is delivered."""
    await queue.publish([b"1", b"2", b"3"])
    async with consuming(queue, 1) as consumer:
        first = await consumer.next()
        await (await channel.get_queue(f"{amqp[1]}.turns")).purge()
        first.ack()
        await queue.publish([b"4"])
        second = await consumer.next()
        second.ack()
    await until(waiting(queue, 0))

    assert (second.body, consumer.got) == (b"4", 2)


async def test_urgent(queue: RabbitQueue) -> None:
    """Urgent messages do not wait behind a full prefetch, on the broker or here; what finds no place is the next to be handed out."""
    await queue.publish([b"1", b"2"])
    async with consuming(queue, 1) as consumer:
        first = await consumer.next()
        await queue.publish([b"a", b"b", b"c"], urgent=True)
        urgent = [await consumer.next() for _ in range(2)]
        await until(waiting(queue, 2))
        early = consumer.got
        urgent[0].ack()
        third = await consumer.next()
        for each in (first, urgent[1], third):
            each.ack()
        last = await consumer.next()

    assert early == 3
    assert [each.body for each in (*urgent, third, last)] == [b"a", b"b", b"c", b"2"]


@pytest.mark.parametrize("seed", range(5))
async def test_in_any_order(seed: int, queue: RabbitQueue, amqp: Amqp, stack: AsyncExitStack) -> None:
    """In whatever order messages are settled, exactly those are gone that were acknowledged, and each other one comes again."""
    dice = random.Random(seed)
    bodies = [b"%d" % number for number in range(200)]
    await queue.publish(bodies)
    acked: list[bytes] = []
    async with consuming(queue, 40) as consumer:
        held = [await consumer.next() for _ in range(40)]
        while len(acked) < 120:
            delivery = held.pop(dice.randrange(len(held)))
            if dice.random() < 0.1:
                delivery.back()
            else:
                delivery.ack()
                acked.append(delivery.body)
            if dice.random() < 0.5 or not held:
                held += [await consumer.next() for _ in range(40 - len(held))]
    await until(waiting(queue, 80))

    assert Counter(acked + await everything(queue)) == Counter(bodies)


async def test_lost_ack(queue: RabbitQueue, far: RabbitQueue, gate: Gate) -> None:
    """A message whose acknowledgement was lost with the connection is not handed out again, and is gone in the end."""
    await queue.publish([b"1", b"2"])
    async with consuming(far, 2) as consumer:
        one, two = await consumer.next(), await consumer.next()
        gate.onward.hold()
        one.ack()
        await gate.onward.held.wait()
        await gate.cut()
        await queue.publish([b"3"])
        two.ack()
        three = await consumer.next()
        three.ack()
    await until(waiting(queue, 0))
    async with consuming(queue, 5) as later:
        await queue.publish([b"last"])
        last = await later.take(1)

    assert (consumer.got, three.body, last) == (3, b"3", [b"last"])


async def test_keeps_what_it_has(queue: RabbitQueue, far: RabbitQueue, gate: Gate) -> None:
    """What is in hand when the connection breaks still counts against the prefetch afterwards."""
    await queue.publish([b"1", b"2"])
    async with consuming(far, 2) as consumer:
        one, _ = await consumer.next(), await consumer.next()
        await gate.cut()
        await until(waiting(queue, 2))  # the broker has them again
        await queue.publish([b"3"])
        await until(waiting(queue, 1))  # and now the two are with the program again
        early = consumer.got
        one.ack()
        next_one = await consumer.next()

    assert early == 2
    assert (next_one.body, consumer.got) == (b"3", 3)


async def test_given_back_and_cut(queue: RabbitQueue, far: RabbitQueue, gate: Gate) -> None:
    """What was given back is handed out again, also when the broker hears of it only by the break."""
    await queue.publish([b"1"])
    async with consuming(far, 2) as consumer:
        one = await consumer.next()
        gate.onward.hold()
        one.back()
        await gate.onward.held.wait()
        await gate.cut()
        again = await consumer.next()

    assert again.body == b"1"


async def test_settled_twice(queue: RabbitQueue) -> None:
    """The first decision counts; a decision that comes after the end has no effect."""
    await queue.publish([b"1", b"2"])
    async with consuming(queue, 2) as consumer:
        one, two = await consumer.next(), await consumer.next()
        one.ack()
        one.back()
        one.dead("changed my mind")
    two.ack()
    await until(waiting(queue, 1))
    async with consuming(queue, 2) as later:
        again = await later.take(1)

    assert again == [b"2"]
    assert await queue.dead_count() == 0


async def test_dead_while_away(queue: RabbitQueue, far: RabbitQueue, gate: Gate) -> None:
    """A message that a program condemns while the broker is away lies with the dead letters once it is back, once."""
    await queue.publish([b"1"])
    async with consuming(far, 2) as consumer:
        one = await consumer.next()
        await gate.shut()
        one.dead("deadly")
        await queue.publish([b"2"])
        gate.open()
        two = await consumer.next()
        two.ack()
        await until(lambda: _letters(queue, 1))
    await until(waiting(queue, 0))

    assert consumer.got == 2
    assert [(one.body, one.reason) for one in await queue.dead_letters(5)] == [(b"1", "deadly")]


async def test_away_at_first(queue: RabbitQueue, far: RabbitQueue, gate: Gate) -> None:
    """A consumer that begins while the broker is away waits for it, and tells of the loss and of the return once each."""
    await gate.shut()
    with capture_logs() as told:
        async with consuming(far, 2) as consumer:
            await queue.publish([b"1"])
            await until(lambda: _says(told, "broker.lost"))
            gate.open()
            got = await consumer.take(1)
            with contextlib.suppress(TimeoutError):  # what was told instead is shown below
                await until(lambda: _says(told, "broker.regained"))  # a turn may come before that

    assert got == [b"1"]
    assert [(one["event"], one["log_level"]) for one in told] == [
        ("broker.lost", "warning"),
        ("broker.regained", "warning"),
    ]


async def test_without_noise(
    queue: RabbitQueue, far: RabbitQueue, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """Connections that break leave no traceback in the log: what there is to say is said in one line."""
    caplog.set_level(logging.WARNING)
    await queue.publish([b"1"])
    async with consuming(far, 2) as consumer:
        await consumer.take(1)
        for number in range(3):
            await far.publish([b"x"] * 20)
            gate.homeward.break_after(5 * number)
            await far.publish([b"x"] * 20)
            await gate.cut()
            await far.depth()
    gc.collect()

    assert caplog.records == []


async def test_cable_pulled(queue: RabbitQueue, gate: Gate, amqp: Amqp, stack: AsyncExitStack) -> None:
    """A connection on which nothing comes any more is noticed by the missing heartbeats, and made again."""
    far = await stack.enter_async_context(RabbitQueue(f"{gate.url}?heartbeat=1", prefix=amqp[1], patience=1))
    await queue.publish([b"1"])
    with capture_logs() as told:
        async with consuming(far, 1) as consumer:
            one = await consumer.next()
            gate.hold()
            await until(lambda: _some(told))
            gate.let_go()
            one.ack()
            await queue.publish([b"2"])
            got = await consumer.take(1)

    assert got == [b"2"]


async def test_kinds_of_death(amqp: Amqp, queue: RabbitQueue, channel: AbstractChannel) -> None:
    """A dead letter says why it died, whoever put it there, and has a number even if its sender gave it none."""
    _, prefix = amqp
    await queue.publish([b"rejected"])
    turns = await channel.get_queue(f"{prefix}.turns")
    await (await turns.get()).reject(requeue=False)
    await until(lambda: _letters(queue, 1))
    await channel.default_exchange.publish(aio_pika.Message(b"foreign"), f"{prefix}.dead")
    await (await channel.get_underlay_channel()).basic_publish(b"bare", routing_key=f"{prefix}.dead")
    letters = await queue.dead_letters(5)

    assert [letter.body for letter in letters] == [b"rejected", b"foreign", b"bare"]
    assert [letter.reason for letter in letters] == ["rejected by its consumer", "", ""]
    assert all(letter.letter_id for letter in letters)
    assert letters[0].buried_at is not None
    assert letters[1].buried_at is letters[2].buried_at is None


async def test_given_up(queue: RabbitQueue, amqp: Amqp) -> None:
    """A delivery counts when its consumer ends without settling it: after five the message is a letter that says so."""
    await queue.publish([b"1"])
    for _ in range(5):
        async with RabbitQueue(amqp[0], prefix=amqp[1]) as mortal, consuming(mortal, 1) as consumer:
            await consumer.take(1)
    await until(lambda: _letters(queue, 1))
    (letter,) = await queue.dead_letters(5)

    assert letter.reason == "delivered 5 times, and its consumer died each time"
    assert letter.buried_at is not None
    assert await queue.depth() == 0


async def test_letters_and_a_break(queue: RabbitQueue, far: RabbitQueue, gate: Gate) -> None:
    """A connection that breaks while letters are worked on costs none of them."""
    await queue.bury([b"1", b"2", b"3"], "because")
    done: list[bytes] = []

    async def work(letter: DeadLetter) -> None:
        done.append(letter.body)
        if letter.body == b"2":
            await gate.cut()

    with pytest.raises(BrokerUnavailableError):
        await far.exhume(None, work)
    await until(lambda: _letters(queue, 2))

    assert done == [b"1", b"2"]
    assert [letter.body for letter in await queue.dead_letters(5)] == [b"2", b"3"]


async def test_order_of_letters(queue: RabbitQueue) -> None:
    """However often some or all letters are looked at, or one in the middle is dropped, the others keep their order."""
    bodies = [b"%d" % number for number in range(6)]
    await queue.bury(bodies, "because")

    async def drop(_: DeadLetter) -> None:
        """It is not needed any more."""

    for most in (6, 2, 4):
        found = await queue.dead_letters(most)
    await queue.exhume([found[1].letter_id], drop)
    await queue.dead_letters(1)

    assert [letter.body for letter in await queue.dead_letters(9)] == [bodies[0], *bodies[2:]]


async def test_other_properties(amqp: Amqp, queue: RabbitQueue, channel: AbstractChannel) -> None:
    """A queue of our name that is not as we need it is told of in a line, by every operation, and by a consumer at its start."""
    prefix = amqp[1]
    await channel.declare_queue(f"{prefix}.turns", durable=True)
    said = f"queue of other properties.*{prefix}.turns.*delete it when it is empty.*amqp_prefix"
    for work in (queue.publish([b"1"]), queue.depth(), queue.consume(1, print)):
        with pytest.raises(BrokerError, match=said) as caught:
            await work

        assert not isinstance(caught.value, BrokerUnavailableError)


async def test_facts(amqp: Amqp, queue: RabbitQueue, channel: AbstractChannel) -> None:
    """Who checks a broker learns its version, what may be done, and what is in our queues, and leaves nothing there."""
    url, prefix = amqp
    before = await inspect(url, prefix)
    await queue.publish([b"1", b"2"])
    async with consuming(queue, 1) as consumer:
        await consumer.take(1)
        after = await inspect(url, prefix)

    assert before.product == "RabbitMQ"
    assert before.version.split(".") > ["3"]
    assert (before.may_configure, before.may_write, before.may_read, before.refusals) == (
        True,
        True,
        True,
        (),
    )
    assert set(before.queues.values()) == {None}
    assert after.queues == {
        f"{prefix}.turns": (1, 1),
        f"{prefix}.turns.urgent": (0, 1),
        f"{prefix}.dead": (0, 0),
    }


async def test_facts_of_other_properties(amqp: Amqp, channel: AbstractChannel) -> None:
    """That a queue of ours is not as we need it is among the refusals."""
    url, prefix = amqp
    await channel.declare_queue(f"{prefix}.dead", durable=True)
    facts = await inspect(url, prefix)

    assert len(facts.refusals) == 1
    assert f"{prefix}.dead" in facts.refusals[0]


async def everything(queue: RabbitQueue) -> list[bytes]:
    """All that waits, taken and settled."""
    bodies = []
    async with consuming(queue, GROUP) as consumer:
        for _ in range(await queue.depth()):
            delivery = await consumer.next()
            delivery.ack()
            bodies.append(delivery.body)
    return bodies


async def delete_all(channel: AbstractChannel, amqp: Amqp) -> None:
    """Delete the three queues, as an operator would."""
    for name in ("turns", "turns.urgent", "dead"):
        await channel.queue_delete(f"{amqp[1]}.{name}")


async def _published(queue: RabbitQueue, body: bytes) -> bool:
    with contextlib.suppress(BrokerUnavailableError):  # a busy machine may not answer within the patience
        return await queue.publish([body]) == [True]
    return False


async def _letters(queue: RabbitQueue, how_many: int) -> bool:
    return await queue.dead_count() == how_many


async def _some(told: list[Any]) -> bool:
    return bool(told)


async def _says(told: list[Any], event: str) -> bool:
    return any(one["event"] == event for one in told)
