"""What a turn needs of its worker: the worker puts it together once, and all its turns share it."""

from dataclasses import dataclass

from crawler.adapters.frontier import Frontier
from crawler.adapters.web import Web
from crawler.asking import RobotsAsker
from crawler.crawlbook import CrawlBook
from crawler.reading import Reader
from crawler.recorder import Recorder
from crawler.room import Room
from crawler.rules import RulesBook


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
    recorder: Recorder
    manners: Manners
