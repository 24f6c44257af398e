"""What the API answers and the pages show: one vocabulary for both.

1. Times are aware datetimes, durations seconds, sizes bytes, money whatever unit the operator named.
2. What is not known is null; what does not apply is null too, and its name says which.
"""

from crawler.dashboard.models.answers import Attempt, Point, Rate, Series, Told, Trouble
from crawler.dashboard.models.crawls import CrawlFull, CrawlShort, WaitingDomain
from crawler.dashboard.models.domains import DomainCrawl, DomainFull, DomainLine, DomainTops, RobotsRules
from crawler.dashboard.models.machinery import (
    Cost,
    CrawlRule,
    Frontier,
    JobState,
    LetterState,
    Limiting,
    Overview,
    QueueState,
    Schedule,
    WorkerState,
)
from crawler.dashboard.models.pages import (
    CrawlReasons,
    PageFull,
    PageList,
    PageShort,
    Reason,
    RefreshAnswer,
    Refreshed,
    Version,
    Why,
)

__all__ = [
    "Attempt",
    "Cost",
    "CrawlFull",
    "CrawlReasons",
    "CrawlRule",
    "CrawlShort",
    "DomainCrawl",
    "DomainFull",
    "DomainLine",
    "DomainTops",
    "Frontier",
    "JobState",
    "LetterState",
    "Limiting",
    "Overview",
    "PageFull",
    "PageList",
    "PageShort",
    "Point",
    "QueueState",
    "Rate",
    "Reason",
    "RefreshAnswer",
    "Refreshed",
    "RobotsRules",
    "Schedule",
    "Series",
    "Told",
    "Trouble",
    "Version",
    "WaitingDomain",
    "Why",
    "WorkerState",
]
