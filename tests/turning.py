"""What a worker hands to its turns, for tests that visit a site of their own in a single turn."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from crawler.adapters.crawls import Crawls
from crawler.adapters.frontier import Frontier
from crawler.adapters.postgres import Database
from crawler.adapters.recording import Recording
from crawler.asking import RobotsAsker
from crawler.crawlbook import CrawlBook
from crawler.equipment import Tools, equip
from crawler.parsers import Parsers
from crawler.reading import Reader
from crawler.recorder import Recorder
from crawler.rules import RulesBook
from crawler.settings import Settings


@contextlib.asynccontextmanager
async def tools_of(database: Database, web: Any, settings: Settings) -> AsyncIterator[Tools]:
    """The tools of a worker with these settings, while its recorder is at work; a page that cannot be read fails the test."""
    crawls, rules, parsers = CrawlBook(Crawls(database)), RulesBook(database), Parsers()
    recorder = Recorder(Recording(database, "worker", 1), crawls, patience=10.0, due=lambda _: None)
    asker = RobotsAsker(web, Frontier(database), rules, "worker", settings.delay, timeout=20)
    recording = asyncio.create_task(recorder.run())
    try:
        async with asyncio.timeout(30):
            yield equip(
                settings,
                database,
                web=web,
                crawls=crawls,
                rules=rules,
                asker=asker,
                reader=Reader(parsers, lambda error, _: pytest.fail(repr(error))),
                recorder=recorder,
            )
    finally:
        recording.cancel()
        await asyncio.wait([recording])
        await parsers.close()
