"""A consumer on RabbitMQ: hands out what comes, settles what was decided, and takes up a connection that was lost.

    crawl.turns ────────► waiting ──┐  room?                     ┌─ ack ──┐
    (at most prefetch)              ├──────► in hand ──► program ┼─ back ─┼──► the broker
    crawl.turns.urgent ─► waiting ──┘                            └─ dead ─┘
    (a few more)          first

1. At most *prefetch* messages are in the program's hands, and a few more if these are urgent (`crawler.ports.urgent_places`), also
   across a lost connection: what it has, it keeps.
2. Urgent messages have a channel of their own, so that a full prefetch does not keep them on the broker.
3. No message is handed out twice by one consumer. The broker delivers again what it had not seen acknowledged when the
   connection was lost: a message that is still in hand only gets its new number, one that was settled is acknowledged once more.
4. All a program does is to decide: telling the broker is done by the consumer's own task.
5. At the end, what was decided is told first, and all the rest goes back.
"""

import asyncio
import contextlib
import itertools
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import structlog
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from crawler.adapters.rabbit_feed import Feed, Held
from crawler.adapters.rabbit_link import Link
from crawler.core.errors import BrokerError, BrokerUnavailableError
from crawler.ports import Delivery, urgent_places

log: Final = structlog.get_logger()

Bury: TypeAlias = Callable[[bytes, str | None, str], Awaitable[None]]
"""Put a copy of this body, with this number and for this reason, among the dead letters; returns when it is there."""

URGENT_FIRST: Final = 0.5
"""Seconds for which the urgent messages that are there may take to come before the others are asked for."""
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""Seconds between attempts to connect."""
LOOK_AGAIN: Final = 30.0
"""Seconds without a message after which a feed is opened anew. When a queue is deleted and made again at once, RabbitMQ tells its
consumers nothing, counts them as consumers of the new one, and drops what it should deliver to them."""
LAST_WORDS: Final = 5.0
"""Seconds for settling and giving back at the end; a broker that notices our absence gives it all back too."""
REMEMBERED: Final = 4
"""Times as many settled messages as can be unsettled are remembered: only those that the broker thinks unsettled can come again."""


class Consumer:
    """One consumer of both queues. Use `run`."""

    def __init__(
        self,
        link: Link,
        prefetch: int,
        deliver: Callable[[Delivery], None],
        bury: Bury,
        *,
        look_again: float = LOOK_AGAIN,
    ) -> None:
        self._link = link
        self._look_again = look_again
        self._prefetch = prefetch
        self._urgent_most = urgent_places(prefetch)
        self._deliver = deliver
        self._bury = bury
        self._feeds: list[Feed] = []
        self._in_hand: dict[str, Held] = {}
        self._remembered: dict[str, None] = {}
        self._most_remembered = REMEMBERED * (prefetch + self._urgent_most)
        self._strangers = itertools.count(1)
        self._acked: list[Held] = []
        self._returned: list[Held] = []
        self._dead: deque[tuple[Held, str]] = deque()
        self._burial: asyncio.Future[None] | None = None
        self._wake = asyncio.Event()
        self._dying = asyncio.Event()
        self._came = asyncio.Event()

    def __repr__(self) -> str:
        waiting = sum(len(feed.waiting) for feed in self._feeds)
        return f"<Consumer {len(self._in_hand)} of {self._prefetch} in hand, {waiting} waiting>"

    async def run(self) -> None:
        """Hand out until cancelled.

        Raises:
            BrokerError: it would be in vain to try again (no permission, a wrong password), from the beginning on.
        """
        if self._prefetch <= 0:
            await asyncio.Event().wait()  # AMQP takes 0 for: without limit
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._stay_connected())
                tasks.create_task(self._serve())
                tasks.create_task(self._bury_all())
        except BaseExceptionGroup as group:  # what went wrong, as if there were no tasks here
            raise group.exceptions[0] from group
        finally:
            await self._let_go()

    async def _stay_connected(self) -> None:
        clock = asyncio.get_running_loop().time
        met, away, pause = False, False, FIRST_PAUSE
        while True:
            began = clock()
            try:
                lost = await self._connect()
                if away:
                    log.warning("broker.regained", where=str(self._link.place))
                met, away = True, False
                why = await self._until(lost)
            except BrokerError as error:
                if not met and not isinstance(error, BrokerUnavailableError):
                    raise
                why = str(error)
            await self._drop_feeds()
            if not away:
                log.warning("broker.lost", where=str(self._link.place), reason=why)
            away = True
            if clock() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - not all programs at once
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _connect(self) -> asyncio.Future[str]:
        """Begin to consume; what is returned says when that is over, and why."""
        names, lost = self._link.names, asyncio.get_running_loop().create_future()
        urgent, there = await self._open(0, names.urgent, self._urgent_most, lost)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(URGENT_FIRST):
                while urgent.came < min(there, urgent.most) and not lost.done():
                    self._came.clear()
                    await self._came.wait()
        await self._open(1, names.turns, self._prefetch, lost)
        return lost

    async def _until(self, lost: asyncio.Future[str]) -> str:
        """Return when the broker has nothing more for us, and why. A feed from which nothing comes is opened anew now and then."""
        while True:
            await asyncio.wait([lost], timeout=self._look_again)
            if lost.done():
                return lost.result()
            for place, feed in enumerate(self._feeds):
                if feed.came == feed.seen and not feed.unsettled:
                    await feed.close()
                    await self._open(place, feed.name, feed.most, lost)
                feed.seen = feed.came

    async def _open(self, place: int, name: str, most: int, lost: asyncio.Future[str]) -> tuple[Feed, int]:
        """Consume one queue; the second is how many messages wait there."""
        feed = await Feed.open(self._link, name, most)
        self._feeds[place : place + 1] = [feed]
        return feed, await feed.start(self._arrived, lost)

    def _arrived(self, feed: Feed, message: DeliveredMessage) -> None:
        if not isinstance(message.delivery, Basic.Deliver):
            return
        tag, number = message.delivery.delivery_tag or 0, message.header.properties.message_id
        feed.unsettled[tag] = None
        feed.came += 1
        self._came.set()
        if message.delivery.redelivered and number in self._in_hand:
            known = self._in_hand[number]
            known.feed, known.tag = feed, tag
        elif message.delivery.redelivered and number in self._remembered:
            feed.acked.add(tag)
        else:
            feed.waiting.append(Held(number or self._stranger(), number, message.body, feed, tag))
        self._wake.set()

    def _stranger(self) -> str:
        return f"#{next(self._strangers)}"

    async def _serve(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._settle()
            self._hand_out()

    def _hand_out(self) -> None:
        for feed in self._feeds:  # the urgent one is the first
            urgent = feed.name == self._link.names.urgent
            most = self._prefetch + (self._urgent_most if urgent else 0)
            while feed.waiting and len(self._in_hand) < most:
                held = feed.waiting.popleft()
                if held.key in self._in_hand:  # two messages of one number, by whoever made them
                    held.key = self._stranger()
                self._in_hand[held.key] = held
                self._deliver(self._delivery(held))

    def _delivery(self, held: Held) -> Delivery:
        def ack() -> None:
            decide(self._acked)

        def back() -> None:
            decide(self._returned)

        def dead(reason: str) -> None:
            if not held.decided:
                held.decided = True
                self._dead.append((held, reason))
                self._dying.set()

        def decide(pile: list[Held]) -> None:
            if not held.decided:
                held.decided = True
                pile.append(held)
                self._wake.set()

        return Delivery(held.body, ack, back, dead)

    async def _settle(self) -> None:
        """Take out of hand what was decided, and tell the broker, if it still knows what we speak of."""
        for held in self._acked:
            del self._in_hand[held.key]
            held.feed.acked.add(held.tag)
            self._remembered[held.key] = None
        for held in self._returned:
            del self._in_hand[held.key]
            held.feed.returned.add(held.tag)
        self._acked.clear()
        self._returned.clear()
        for key in list(
            itertools.islice(self._remembered, max(0, len(self._remembered) - self._most_remembered))
        ):
            del self._remembered[key]
        with contextlib.suppress(BrokerUnavailableError):  # then it is being connected to again
            for feed in self._feeds:
                await feed.tell()

    async def _bury_all(self) -> None:
        pause = FIRST_PAUSE
        while True:
            await self._dying.wait()
            self._dying.clear()
            while self._dead:
                try:
                    await self._bury_next()
                    pause = FIRST_PAUSE
                except BrokerUnavailableError:
                    await asyncio.sleep(pause)
                    pause = min(LONGEST_PAUSE, pause * 2)

    async def _bury_next(self) -> None:
        held, reason = self._dead[0]
        if self._burial is None:
            self._burial = asyncio.ensure_future(self._bury(held.body, held.message_id, reason))
        await asyncio.wait(
            [self._burial]
        )  # who is cancelled here leaves it to be waited for at the end: once is enough
        burial, self._burial = self._burial, None
        burial.result()
        self._dead.popleft()
        self._acked.append(held)
        self._wake.set()

    async def _drop_feeds(self) -> None:
        """Leave the channels, where there are any: what was not settled on them goes back."""
        feeds, self._feeds = self._feeds, []
        for feed in feeds:
            feed.alive = False  # all of them, before the first is closed
        for feed in feeds:
            with contextlib.suppress(BrokerError):
                await feed.close()

    async def _let_go(self) -> None:
        said = False
        try:
            with contextlib.suppress(TimeoutError, BrokerError):
                async with asyncio.timeout(LAST_WORDS):
                    with contextlib.suppress(BrokerError):  # then it goes back, and the next one will bury it
                        while self._dead:
                            await self._bury_next()
                    await self._settle()
                    await self._drop_feeds()
                    said = True
        finally:
            if not said:
                self._link.hang_up()
            if self._burial is not None:
                self._burial.cancel()
