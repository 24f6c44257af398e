"""Damaged answers through a real socket: whatever a server says, it is an `Answer`, soon, and nothing is left open."""

import asyncio
import contextlib
import gc
import gzip
import json
import os
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import brotli  # type: ignore[import-untyped]  # it has no stubs
import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crawler.adapters.attempt import Limits
from crawler.adapters.web import Web
from crawler.adapters.wire import Wire
from crawler.core.model import Answer, Outcome
from tests.adapters.browsing import HOME, Names, anything
from tests.adapters.servers import Site, Visitor, response

SECONDS: Final = float(os.environ.get("CRAWL_TEST_FUZZ_SECONDS", "3"))
A_SECOND: Final = 8
"""How many examples there are to a second, about."""
CAP: Final = 5_000
SILENCE: Final = 0.2
"""Seconds: what the server of an answer that is not whole may cost."""

CORPUS: Final = Path(__file__).parent.parent / "corpus" / "http" / "answers.json"
GOOD: Final = b"<p>a good page"
TEXT: Final = b"<p>All work and no play makes Jack a dull boy.\n" * 40
PACKED: Final = {
    "gzip": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    "br": brotli.compress(TEXT),
    "zstd": zstd.compress(TEXT),
    "gzip, br, zstd": zstd.compress(brotli.compress(gzip.compress(TEXT))),
}
WHOLE: Final = [
    *(one["raw"].encode("latin-1") for one in json.loads(CORPUS.read_text())),
    *(response(body, headers=[f"Content-Encoding: {name}"]) for name, body in PACKED.items()),
]
WORDS: Final = """
HTTP/1.1 200 OK|HTTP/1.0 304 X|HTTP/1.1 100 Continue|HTTP/1.1 204 No|HTTP/1.1 101 Up|Content-Length: 5|Content-Length: 0
Transfer-Encoding: chunked|Transfer-Encoding: gzip, chunked|Connection: close|Connection: upgrade|Upgrade: h2c|Location: /
Content-Encoding: gzip|Content-Encoding: br, zstd|0|5|ffffffff|;a=b|: |,|x
""".strip().replace("\n", "|")
PIECES: Final = st.one_of(
    st.sampled_from(
        [*WORDS.encode().split(b"|"), b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b"\xff"]
    ),
    st.binary(max_size=6),
)


@dataclass(frozen=True)
class Damaged:
    """What a server says to one request."""

    packets: tuple[bytes, ...]
    stays: bool
    """It keeps the connection open, and answers the next request as it should."""


@st.composite
def damaged(draw: st.DrawFn) -> Damaged:
    """An answer into which pieces were put, from which some were taken, and of which some were said again and again."""
    raw = draw(st.sampled_from(WHOLE))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(raw)))
        end = draw(st.integers(at, min(len(raw), at + 20)))
        times = draw(st.sampled_from([0, 0, 1, 1, 2, 3000]))
        between = b"".join(draw(st.lists(PIECES, max_size=3)))
        raw = raw[:at] + raw[at:end] * times + between + raw[end:]
    if draw(st.booleans()):
        raw += draw(st.sampled_from(WHOLE))
    cuts = sorted({0, len(raw), *draw(st.lists(st.integers(0, len(raw)), max_size=3))})
    packets = tuple(raw[start:end] for start, end in pairwise(cuts))
    return Damaged(packets, draw(st.sampled_from([False, False, True])))


class Rig:
    """A server that says what it is told, and a `Web` that asks it, on a loop of their own."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self.said: list[Damaged] = []
        self.over: list[asyncio.Event] = []
        self.site = Site(self._say)

    async def _say(self, visitor: Visitor) -> bool:
        if visitor.path == "/good":
            await visitor.say(response(GOOD))
            return True
        number = int(visitor.path[1:])
        try:
            for packet in self.said[number].packets:
                await visitor.say(packet)
                await asyncio.sleep(0)
        finally:
            self.over[number].set()
        return self.said[number].stays

    def ask(self, answers: list[Damaged]) -> list[tuple[Answer, Answer]]:
        """Ask for all of them at once, by a `Web` of their own, and each host for a good page after that."""
        return self._runner.run(self._ask(answers))

    async def _ask(self, answers: list[Damaged]) -> list[tuple[Answer, Answer]]:
        self.said, self.over = answers, [asyncio.Event() for _ in answers]
        limits = Limits(
            max_body=CAP, first_byte_timeout=SILENCE, read_timeout=SILENCE, total_timeout=4 * SILENCE
        )
        web = Web(resolver=Names(), policy=HOME, limits=limits, user_agent="fuzz", max_connections=500)
        try:
            found = await asyncio.gather(*(self._twice(web, number) for number in range(len(answers))))
            assert not web._connector._acquired
            return found
        finally:
            await web.close()

    async def _twice(self, web: Web, number: int) -> tuple[Answer, Answer]:
        host = f"h{number}.test"
        bad = await web.get(self.site.url(f"/{number}", host), accept_type=anything)
        with contextlib.suppress(
            TimeoutError
        ):  # on a busy machine the time may be over before there is a connection
            async with asyncio.timeout(1):
                await self.over[number].wait()
        await asyncio.sleep(
            0.005
        )  # what was said has come by then: nobody can tell it from an answer later on
        return bad, await web.get(self.site.url("/good", host), accept_type=anything)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """One for all examples."""
    with asyncio.Runner() as runner:
        made = Rig(runner)
        runner.run(made.site.__aenter__())
        yield made
        runner.run(made.site.__aexit__(None, None, None))


@settings(
    max_examples=max(20, int(SECONDS * A_SECOND)),
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
@given(answers=st.lists(damaged(), min_size=1, max_size=30))
def test_every_answer_is_an_answer(rig: Rig, answers: list[Damaged]) -> None:
    """Damaged answers end as outcomes, in their time, with no more body than may be, and spoil no other request."""
    began = time.monotonic()
    found = rig.ask(answers)

    # A busy machine may be late for the good page, too; that is no page, and no other one's.
    assert all(good.body == GOOD or good.outcome is Outcome.TIMEOUT for _, good in found)
    assert all(len(bad.body) <= CAP for bad, _ in found)
    assert all("\n" not in bad.detail for bad, _ in found)
    assert time.monotonic() - began < 20


def test_nothing_is_left(rig: Rig) -> None:
    """After damaged answers of every kind no connection of ours is alive."""
    rig.ask([Damaged((raw,), stays=False) for raw in WHOLE])
    rig.ask([Damaged((raw[: len(raw) // 2],), stays=True) for raw in WHOLE[:40]])
    gc.collect()
    alive = [one for one in gc.get_objects() if isinstance(one, Wire)]

    assert alive == []
