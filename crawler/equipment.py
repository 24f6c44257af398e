"""What a turn needs of its worker: the worker puts it together once, and all its turns share it."""

from dataclasses import dataclass

from crawler.adapters.announcements import Announcements
from crawler.adapters.frontier import Frontier
from crawler.adapters.postgres import Database
from crawler.adapters.web import Web
from crawler.announcing import Announcer
from crawler.asking import RobotsAsker
from crawler.core.sitemap_text import MAX_BYTES
from crawler.crawlbook import CrawlBook
from crawler.hook_processes import Hooks
from crawler.reading import Reader
from crawler.recorder import Recorder
from crawler.refusals import Decisions
from crawler.room import Room
from crawler.rules import RulesBook
from crawler.settings import Settings


@dataclass(frozen=True, slots=True)
class Manners:
    """The settings that pace a turn, in seconds."""

    delay: float
    max_crawl_delay: float
    per_domain: int
    turn_seconds: float
    user_agent: str
    parser: str


@dataclass(frozen=True, slots=True)
class Tools:
    """What a turn needs of its worker."""

    frontier: Frontier
    web: Web
    crawls: CrawlBook
    rules: RulesBook
    asker: RobotsAsker
    reader: Reader
    room: Room
    room_for_sitemaps: Room
    announcer: Announcer
    recorder: Recorder
    manners: Manners
    decisions: Decisions
    hooks: Hooks | None
    """None: there are none."""


def equip(
    settings: Settings,
    database: Database,
    *,
    web: Web,
    crawls: CrawlBook,
    rules: RulesBook,
    asker: RobotsAsker,
    reader: Reader,
    recorder: Recorder,
    hooks: Hooks | None = None,
) -> Tools:
    """The tools of one worker: what it has put together, and what follows from the settings."""
    manners = Manners(
        settings.delay,
        settings.max_crawl_delay,
        settings.per_domain,
        settings.turn_seconds,
        settings.user_agent,
        settings.parser,
    )
    return Tools(
        Frontier(database),
        web,
        crawls,
        rules,
        asker,
        reader,
        Room(settings.max_body, settings.processes),
        Room(MAX_BYTES, settings.processes),
        Announcer(Announcements(database)),
        recorder,
        manners,
        Decisions(),
        hooks if hooks is not None and hooks.names else None,
    )
