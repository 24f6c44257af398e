"""Worker processes and their parent: what stands between them."""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import TypeAlias

import pytest

from crawler import processes
from crawler.processes import LONGEST, _keep_telling, open_worker
from crawler.settings import Settings

Ends: TypeAlias = tuple[int, int]
"""Where a parent reads, and where its child writes."""


def sockets() -> Ends:
    """As uvloop makes them."""
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


@pytest.mark.parametrize("made", [os.pipe, sockets])
async def test_a_parent_that_does_not_read(
    dsn: str, made: Callable[[], Ends], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child tells its parent nothing more until it has read what it was told: else it would stand still like the parent, at last."""
    monkeypatch.setattr(processes, "REPORT", 0.0)
    parent, child = made()
    told: list[bytes] = []
    async with open_worker(Settings(database_url=dsn), dsn) as worker:
        telling = asyncio.create_task(_keep_telling(worker, child, measures=True))
        for _ in range(3):
            for _ in range(20):
                await asyncio.sleep(0)  # it goes round once
            told.append(os.read(parent, LONGEST))
        telling.cancel()
        await asyncio.wait([telling])
    for end in (parent, child):
        os.close(end)

    assert [one.count(b"\n") for one in told] == [1, 1, 1]
