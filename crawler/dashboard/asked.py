"""What the API is asked for: the bodies of requests, and the kinds of parameter. What the rules of a crawl say of it comes later.

1. A text has no NUL, which PostgreSQL cannot hold; a body has no field that nobody knows, and nothing is taken for what it is not.
2. The options of a crawl have the names and the meaning of those of `crawl seed`.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from fastapi import Depends, Path, Query, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from crawler.core.errors import SettingsError, UsageError
from crawler.dashboard.desk import Desk
from crawler.dashboard.errands import Errands
from crawler.settings import parse_duration, parse_size
from crawler.wishes import MOST

LONGEST: Final = 4096
"""Characters of a text: twice a URL."""
MOST_SEEDS: Final = 10_000
MOST_URLS: Final = 100
"""That one call has visited now."""
MOST_LETTERS: Final = 1000
COUNT: Final = 2**53
"""Beyond it JSON's numbers are not whole any more."""

_MOMENT: Final = re.compile(
    r"(?:19[7-9]|20[0-9])[0-9]-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)

Text: TypeAlias = Annotated[str, StringConstraints(max_length=LONGEST, pattern=r"^[^\x00]*$")]
Said: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST, pattern=r"^[^\x00]+$")]
Amount: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False, le=10 * 365 * 86_400)] | Said
"""Seconds, or such as ``30s``, ``5m``."""
Size: TypeAlias = Annotated[int, Field(ge=0, le=COUNT)] | Said
"""Bytes, or such as ``10MiB``."""
Count: TypeAlias = Annotated[int, Field(ge=0, le=COUNT)]
Few: TypeAlias = Annotated[int, Field(ge=0, le=MOST)]
"""What the database counts in four bytes."""
AtOnce: TypeAlias = Annotated[int, Field(ge=1, le=64)]


def _moment(text: object) -> object:
    """A moment as RFC 3339 has it: pydantic would also take a bare number, and one without a zone."""
    if not isinstance(text, str) or not _MOMENT.fullmatch(text):
        raise ValueError("a moment with its zone, such as 2026-01-31T09:30:00Z")
    return text.upper()


Moment: TypeAlias = Annotated[datetime, BeforeValidator(_moment)]
"""With its zone; between 1970 and 2100."""


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def _errands(request: Request) -> Errands:
    errands: Errands = request.app.state.errands
    return errands


Answers: TypeAlias = dict[int | str, dict[str, Any]]
"""What a route may answer, by status."""
AtDesk: TypeAlias = Annotated[Desk, Depends(_desk)]
AtErrands: TypeAlias = Annotated[Errands, Depends(_errands)]
NamePath: TypeAlias = Annotated[Said, Path(description="The crawl's name.", examples=["example.com"])]
DomainPath: TypeAlias = Annotated[
    Said, Path(description="The domain, or a host in it.", examples=["example.com"])
]
UrlQuery: TypeAlias = Annotated[Said, Query(description="The URL.", examples=["https://example.com/"])]
CrawlQuery: TypeAlias = Annotated[
    Said | None, Query(description="Only this crawl.", examples=["example.com"])
]


class Asked(BaseModel):
    """A body."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Options(Asked):
    """What may be said of a crawl when it is made, and changed later; null, or left out: as it is, or as the settings say."""

    max_pages: Count | None = Field(default=None, description="Store at most so many pages; 0: no limit.")
    max_depth: Few | None = Field(
        default=None, description="Follow at most so many links from a seed; 0: no limit."
    )
    max_pages_per_domain: Few | None = Field(
        default=None, description="Store at most so many pages of one domain; 0: no limit."
    )
    delay: Amount | None = Field(
        default=None,
        description="Pause after each answer of a domain, in seconds or as `2s`.",
        examples=["2s"],
    )
    per_domain: AtOnce | None = Field(default=None, description="Requests to one domain at once.")
    user_agent: Said | None = Field(default=None, description="What the crawler calls itself.")
    max_bytes: Size | None = Field(
        default=None, description="Stop when so much has come over the wire; 0: no limit.", examples=["10GiB"]
    )
    types: list[Said] | None = Field(
        default=None,
        max_length=100,
        description="Media types stored too.",
        examples=[["application/pdf"]],
    )
    headers: list[Said] | None = Field(
        default=None,
        max_length=50,
        description="Send these with every request for a page. Secrets go to the seeds' domains only, and are never shown.",
        examples=[["Accept-Language: en"]],
    )
    i_own: list[Said] | None = Field(
        default=None, max_length=1000, description="These domains are yours: their robots.txt is ignored."
    )
    parser: Literal["turbohtml", "html5lib"] | None = Field(
        default=None, description="Which parser reads HTML."
    )
    refresh: Said | None = Field(
        default=None,
        description="When to look at pages again: off, adaptive, an interval (7d) or a cron expression.",
        examples=["7d"],
    )
    sitemaps: bool | None = Field(default=None, description="Read sitemaps and feeds, or do not.")
    keep_versions: Annotated[int, Field(ge=0, le=1000)] | None = Field(
        default=None, description="Earlier bodies kept of a page that has changed."
    )
    keep_links: bool | None = Field(default=None, description="Keep what each page links to, or do not.")
    search: bool | None = Field(default=None, description="Make its pages searchable, or do not.")


class NewCrawl(Options):
    """A crawl to make, with its seeds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "news", "urls": ["https://example.com/"], "max_pages": 1000, "refresh": "7d"}
            ]
        }
    )

    name: Said = Field(description="What it is called.", examples=["news"])
    urls: list[Text] = Field(
        min_length=1, max_length=MOST_SEEDS, description="Its seeds; what is no URL is passed over, and told."
    )
    scope: Literal["page", "prefix", "host", "domain", "any"] = Field(
        default="domain", description="Which links to follow."
    )
    include: list[Said] = Field(
        [], max_length=100, description="Follow only links that match (regular expressions)."
    )
    exclude: list[Said] = Field(default=[], max_length=100, description="Do not follow links that match.")
    ignore_robots: bool = Field(
        default=False, description="Do as if there were no robots.txt: own sites only, see i_own."
    )

    def given(self) -> dict[str, Any]:
        """As the options of `crawl seed` are given. Raises UsageError: an amount is none."""
        return {
            **self.model_dump(exclude={"urls"}),
            "include": tuple(self.include),
            "exclude": tuple(self.exclude),
            "delay": _seconds("delay", self.delay),
            "max_bytes": _bytes("max_bytes", self.max_bytes),
            "types": ",".join(self.types or ()),
            "headers": tuple(self.headers or ()),
            "i_own": tuple(self.i_own or ()),
        }


class Changes(Options):
    """What to change of a crawl; null takes a limit away, what is left out stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"max_pages": 5000, "delay": "2s", "max_depth": None}]}
    )

    def pairs(self) -> Iterator[str]:
        """As `crawl set` takes them: ``max-pages=5000``."""
        for field in sorted(self.model_fields_set):
            value = getattr(self, field)
            if field == "headers":
                yield from (f"header={one}" for one in value or ["none"])
                continue
            key = field.replace("_", "-")
            match value:
                case None | []:
                    text = "none"
                case list():
                    text = ",".join(value)
                case bool():
                    text = "true" if value else "false"
                case float():
                    text = f"{value:f}"
                case _:
                    text = str(value)
            yield f"{key}={text}"


class MoreSeeds(Asked):
    """Seeds for a crawl that exists."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"urls": ["https://example.com/new/"]}]})

    urls: list[Text] = Field(
        min_length=1, max_length=MOST_SEEDS, description="What is no URL is passed over, and told."
    )


class Pace(Asked):
    """How a domain is visited; null takes away what is set, what is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"delay": 10, "per_domain": None}]})

    delay: Amount | None = Field(
        default=None, description="Leave it alone so long after each answer: seconds, or such as `10s`."
    )
    per_domain: AtOnce | None = Field(default=None, description="So many requests at once.")

    def seconds(self) -> float | None:
        """The delay. Raises UsageError: it is none."""
        return _seconds("delay", self.delay)


class Block(Asked):
    """Why a domain is not to be visited."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "asked by its webmaster"}]})

    reason: Annotated[Said, StringConstraints(max_length=500)] = Field(
        "by hand", description="It is shown wherever the domain is."
    )


class Refresh(Asked):
    """URLs to visit now, ahead of everything else, and with every pause."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"urls": ["https://example.com/"], "wait": 20}]}
    )

    urls: list[Said] = Field(min_length=1, max_length=MOST_URLS, description="They must be known to a crawl.")
    crawl: Said | None = Field(default=None, description="Which crawl's, if several know a URL.")
    wait: Annotated[float, Field(ge=0, le=300)] = Field(
        default=60.0,
        description="How many seconds somebody waits for what comes of it; whoever does not, asks for the handle.",
    )
    hold: bool = Field(
        default=True,
        description="Whether the answer comes when all is done or the time is over; false: at once, with the handle.",
    )


class Chosen(Asked):
    """Which dead letters: some by their numbers, or all."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ids": ["17", "18"]}, {"all": True}], "minProperties": 1}
    )

    ids: list[Said] | None = Field(default=None, min_length=1, max_length=MOST_LETTERS)
    all: bool = False

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.ids is not None) == self.all:
            raise ValueError("name the letters by their ids, or say all")
        return self


def _seconds(name: str, value: float | str | None) -> float | None:
    if not isinstance(value, str):
        return None if value is None else float(value)
    try:
        return parse_duration(value)
    except SettingsError as error:
        raise UsageError(f"{name}: {error}") from None


def _bytes(name: str, value: int | str | None) -> int | None:
    if not isinstance(value, str):
        return value
    try:
        return parse_size(value)
    except SettingsError as error:
        raise UsageError(f"{name}: {error}") from None
