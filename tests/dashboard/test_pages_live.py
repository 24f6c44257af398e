"""What is sent while pages are open: once for all who look, only what changed, and nothing when nobody looks."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from crawler.core.errors import DatabaseUnavailableError
from crawler.dashboard.live import MOST_VIEWERS, Gallery, event

SOON: Final = 0.005
"""Seconds between two looks, here."""


@dataclass
class Scene:
    """Something to look at, that counts who looks."""

    numbers: dict[str, int] = field(default_factory=lambda: {"a": 1, "b": 1})
    looks: int = 0
    drawn: int = 0
    trouble: str = ""

    async def look(self) -> Mapping[str, Any]:
        """Ask for the models."""
        self.looks += 1
        await asyncio.sleep(0)
        if self.trouble:
            raise DatabaseUnavailableError(self.trouble)
        return dict(self.numbers)

    def draw(self, context: Mapping[str, Any]) -> dict[str, str]:
        """Render them."""
        self.drawn += 1
        return {name: f"<b>{number}</b>" for name, number in context.items()}


def gallery() -> Gallery:
    """One that looks often."""
    return Gallery(asyncio.Event(), SOON)


async def told(stream: AsyncIterator[str]) -> tuple[str, Any]:
    """The next event."""
    lines = (await anext(stream)).strip().split("\n")
    name, data = (
        lines[0].removeprefix("event: "),
        "\n".join(line.removeprefix("data: ") for line in lines[1:]),
    )
    return name, json.loads(data) if name == "regions" else data


async def test_a_viewer_is_sent_all_and_then_what_changed() -> None:
    """First every region, then only those that changed, else a beat with nothing in it."""
    scene = Scene()
    stream = gallery().stream("/", scene.look, scene.draw)

    assert (await anext(stream)).startswith("retry: ")
    assert await told(stream) == ("regions", {"a": "<b>1</b>", "b": "<b>1</b>"})
    assert await told(stream) == ("regions", {})
    assert scene.drawn == 1
    scene.numbers["b"] = 2
    assert await told(stream) == ("regions", {"b": "<b>2</b>"})
    await stream.aclose()


async def test_all_who_look_at_a_page_share_one_look() -> None:
    """Ten viewers of a page cost as much as one; each gets everything that it has not seen."""
    scene = Scene()
    shown = Gallery(asyncio.Event(), 60.0)
    streams = [shown.stream("/", scene.look, scene.draw) for _ in range(10)]
    for stream in streams:
        await anext(stream)
    found = await asyncio.gather(*(told(stream) for stream in streams))

    assert [regions for _, regions in found] == [{"a": "<b>1</b>", "b": "<b>1</b>"}] * 10
    assert (scene.looks, scene.drawn, shown.viewers) == (1, 1, 10)
    for stream in streams:
        await stream.aclose()
    assert (shown.viewers, shown.pictures) == (0, {})


async def test_what_cannot_be_seen_is_told_and_tried_again() -> None:
    """While the database is away viewers are told so; when it is back, they get what they have not seen."""
    scene = Scene()
    stream = gallery().stream("/", scene.look, scene.draw)
    await anext(stream)
    await told(stream)
    scene.trouble = "the database is away"

    assert await told(stream) == ("trouble", "the database is away")
    scene.trouble = ""
    scene.numbers["a"] = 5
    assert await told(stream) == ("regions", {"a": "<b>5</b>"})
    await stream.aclose()


async def test_a_viewer_who_leaves_while_looking_takes_nothing_along() -> None:
    """When the viewer whose turn it is to look is cut off, the next one looks."""
    scene, shown, begun = Scene(), gallery(), asyncio.Event()

    async def stuck() -> Mapping[str, Any]:
        begun.set()
        await asyncio.Event().wait()
        return {}

    first = shown.stream("/", stuck, scene.draw)
    await anext(first)
    waiting = asyncio.ensure_future(told(first))
    await begun.wait()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    second = shown.stream("/", scene.look, scene.draw)
    await anext(second)

    assert (await told(second))[0] == "regions"
    await second.aclose()
    assert shown.viewers == 0


async def test_streams_end_when_the_program_does() -> None:
    """Told to stop, a stream ends at once, however long it would have waited."""
    stopping = asyncio.Event()
    shown, scene = Gallery(stopping, 3600.0), Scene()
    stream = shown.stream("/", scene.look, scene.draw)
    await anext(stream)
    await told(stream)
    stopping.set()

    assert [text async for text in stream] == []
    assert shown.viewers == 0


async def test_viewers_are_bounded() -> None:
    """Beyond so many viewers a gallery says that it is crowded."""
    shown = gallery()
    shown.viewers = MOST_VIEWERS

    assert shown.crowded
    assert repr(shown) == f"<Gallery 0 pages, {MOST_VIEWERS} viewers>"


def test_an_event_of_several_lines_stays_one_event() -> None:
    """Whatever stands in the data, no line of it becomes another event."""
    assert event("trouble", "a\nevent: b\r\n\n") == "event: trouble\ndata: a\ndata: event: b\ndata: \n\n"
