"""From the queue into the worker's hands."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from crawler.adapters.frontier import Accepted
from crawler.adapters.postgres import Database
from crawler.core import turns
from crawler.core.crowds import CrowdLimits
from crawler.core.turns import Turn, TurnUrl
from crawler.core.urls import domain_id
from crawler.intake import Intake
from crawler.ports import Delivery
from tests.making import Frontiers

LEASE = 60.0


@dataclass
class Message:
    """A delivery that remembers how it was settled."""

    body: bytes
    settled: list[str] = field(default_factory=list)

    @property
    def delivery(self) -> Delivery:
        """What the queue hands out."""
        return Delivery(
            self.body,
            lambda: self.settled.append("ack"),
            lambda: self.settled.append("back"),
            lambda reason: self.settled.append(f"dead: {reason}"),
        )


class Hands:
    """An intake at work, and what it began."""

    def __init__(self, heart: Frontiers) -> None:
        self.heart = heart
        self.begun: list[tuple[str, Accepted]] = []
        self.heard: asyncio.Queue[list[int]] = asyncio.Queue()
        self.addresses: dict[str, str | None] = {}
        self.answer = asyncio.Event()
        self.answer.set()

    async def look_up(self, host: str) -> str | None:
        """As a resolver, which answers when it may."""
        await self.answer.wait()
        return self.addresses.get(host)

    def begin(self, turn: Turn, state: Accepted, _delivery: Delivery, _since: float) -> None:
        """Take note of a turn that was begun."""
        self.begun.append((turn.domain, state))

    async def messages(self) -> list[Message]:
        """All that is due, dispatched."""
        taken = await self.heart.take()
        return [
            Message(turns.encode(Turn(turns.VERSION, domain_id(name), name, turn, items)))
            for name, (turn, items) in taken.items()
        ]


@pytest.fixture
async def hands(database: Database) -> AsyncIterator[tuple[Hands, Intake]]:
    """An intake with room for one domain at an address, accepting as long as the test lasts."""
    heart = Frontiers(database)
    hands = Hands(heart)
    async with asyncio.TaskGroup() as tasks:
        intake = Intake(
            heart.frontier,
            "worker",
            LEASE,
            limits=CrowdLimits(1),
            look_up=hands.look_up,
            begin=hands.begin,
            tasks=tasks,
        )
        work = tasks.create_task(intake.accept_all(lambda domains, _asked: hands.heard.put_nowait(domains)))
        yield hands, intake
        work.cancel()


async def test_accepted_once(hands: tuple[Hands, Intake]) -> None:
    """Of two copies of a message one begins a turn, and the other is done with."""
    hand, intake = hands
    await hand.heart.crawl("https://a.example/")
    (message,) = await hand.messages()
    copy = Message(message.body)
    for one in (message, copy):
        intake.offer(one.delivery)
    async with asyncio.timeout(15):
        await hand.heard.get()

    assert [name for name, _ in hand.begun] == ["a.example"]
    assert sorted([message.settled, copy.settled]) == [[], ["ack"]]


async def test_not_understood(hands: tuple[Hands, Intake]) -> None:
    """A message that is no turn, or one of another version, is put aside with the reason."""
    _, intake = hands
    garbage, newer = Message(b"garbage"), Message(b"\x96\x63\x01\xa1a\x01\x90\xc0")
    for one in (garbage, newer):
        intake.offer(one.delivery)

    assert garbage.settled[0].startswith("dead: this message is not a turn")
    assert newer.settled == ["dead: this message is of version 99, this worker understands version 1"]


async def test_crowded_from_the_first_turn(hands: tuple[Hands, Intake]) -> None:
    """Of domains never visited before that turn out to be at one address, one is visited; the messages of the others are done with."""
    hand, intake = hands
    names = [f"{letter}.example" for letter in "abc"]
    hand.addresses = dict.fromkeys(names, "192.0.2.1")
    await hand.heart.crawl(*(f"https://{name}/" for name in names))
    messages = await hand.messages()
    for one in messages:
        intake.offer(one.delivery)
    async with asyncio.timeout(15):
        while len(hand.begun) + sum(map(len, (one.settled for one in messages))) < len(names):
            await hand.heard.get()

    assert len(hand.begun) == 1
    assert sorted(one.settled for one in messages) == [[], ["ack"], ["ack"]]


async def test_a_name_without_address(hands: tuple[Hands, Intake]) -> None:
    """A domain whose name leads nowhere is accepted: that is an outcome of its URLs."""
    hand, intake = hands
    await hand.heart.crawl("https://a.example/")
    (message,) = await hand.messages()
    intake.offer(message.delivery)
    async with asyncio.timeout(15):
        await hand.heard.get()

    assert [name for name, _ in hand.begun] == ["a.example"]


async def test_withdrawn(hands: tuple[Hands, Intake]) -> None:
    """What is not accepted when the worker stops is free at once, also what is still being looked up."""
    hand, intake = hands
    hand.answer.clear()
    await hand.heart.crawl("https://a.example/")
    (message,) = await hand.messages()
    intake.offer(message.delivery)
    await intake.withdraw()

    assert message.settled == ["ack"]
    assert (await hand.heart.domain("a.example"))["holder"] is None
    assert list(await hand.heart.take()) == ["a.example"]


async def test_waits_for_room(database: Database) -> None:
    """While there is no room no turn is accepted, and what has waited for long goes back to be handed out again; then as many as fit."""
    heart, rooms = Frontiers(database), [0]
    hands = Hands(heart)
    await heart.crawl(*(f"http://site{number}.test/" for number in range(4)))
    first, *later = await hands.messages()
    async with asyncio.TaskGroup() as tasks:
        intake = Intake(
            heart.frontier,
            "worker",
            LEASE,
            limits=CrowdLimits(0),
            look_up=None,
            begin=hands.begin,
            tasks=tasks,
            room=lambda: rooms[0],
            hold=0.0,
        )
        work = tasks.create_task(intake.accept_all(lambda domains, _asked: hands.heard.put_nowait(domains)))
        intake.offer(first.delivery)
        async with asyncio.timeout(15):
            while not first.settled:  # noqa: ASYNC110 - the message tells nobody
                await asyncio.sleep(0.01)
        again = await hands.messages()
        begun_before = list(hands.begun)
        rooms[0] = 2
        for message in later:
            intake.offer(message.delivery)
        found = [len(await hands.heard.get()) for _ in range(2)]
        work.cancel()

    assert begun_before == []
    assert first.settled == ["ack"]
    assert len(again) == 1
    assert found == [2, 1]


@pytest.mark.parametrize("url", ["", "nonsense", "http://", "http://[::1"])
async def test_a_url_that_is_none(hands: tuple[Hands, Intake], url: str) -> None:
    """A turn whose first URL is none is offered to the database like any other: its visit fails, and not whoever takes it."""
    seen, intake = hands
    item = TurnUrl(1, b"0" * 16, url, 0, 0, 0, 0, seed=False, outcome=None)
    message = Message(turns.encode(Turn(turns.VERSION, 7, "site.test", 1, [item])))
    intake.offer(message.delivery)

    assert await seen.heard.get() == []
    assert message.settled == ["ack"]
