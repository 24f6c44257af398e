"""What an answer says, without holding up the others.

Answer ──OK──► small: read here, at once ──────────────┬──► Read: page, digest, compressed body
            └► heavy, or we are busy: in a process ────┤
                                                        └──► no parser could: decode_error
Sitemaps and feeds are always read in a parser process.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from crawler.core.content import UnreadableError
from crawler.core.model import Answer, Outcome, Page
from crawler.core.sitemaps import Sitemap
from crawler.parsers import Parsers
from crawler.parsing import Job, Parsed, ParsedSitemap, SitemapJob, parse

UNREADABLE: Final = "no parser can read it within its time and memory"
NO_SITEMAP: Final = "this is not a sitemap"
FAULT: Final = "the parser met a fault of ours, which was reported"


@dataclass(frozen=True, slots=True)
class Read:
    """An answer, read."""

    answer: Answer
    page: Page | None = None
    digest: bytes | None = None
    compressed: bytes | None = None
    fields: str | None = None
    """What hooks say of it, as in `Visit`."""


@dataclass(frozen=True, slots=True)
class ReadSitemap:
    """An answer, read as a sitemap or a feed."""

    answer: Answer
    sitemap: Sitemap | None = None
    """None: there is none, and the answer's outcome says why."""
    digest: bytes | None = None
    """SHA-256 of the body, content encodings removed."""


class Reader:
    """Reads answers: a page that no parser survives, or that meets a fault of ours, costs itself and nothing else.

    Args:
        parsers: for what is heavy.
        report: is told of a fault of ours, and of the URL that provoked it.
        near_duplicates: whether the SimHash of each page is wanted.
    """

    def __init__(
        self, parsers: Parsers, report: Callable[[Exception, str], None], *, near_duplicates: bool = True
    ) -> None:
        self._parsers = parsers
        self._report = report
        self._near_duplicates = near_duplicates

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._parsers!r}>"

    async def read(
        self, answer: Answer, url: str, *, parser: str, types: frozenset[str] = frozenset()
    ) -> Read:
        """Read an answer. One that is not OK, or turns out to be of a type we do not store (*types*: besides the usual), has no page."""
        if answer.outcome is not Outcome.OK:
            return Read(answer)
        job = Job(
            body=answer.body,
            url=url,
            content_type=answer.content_type,
            headers=answer.headers,
            parser=parser,
            types=types,
            near_duplicates=self._near_duplicates,
        )
        detail = UNREADABLE
        try:
            parsed = await self._parsers.read(job) if self._parsers.wants(job) else parse(job)
        except UnreadableError:
            parsed = None
        except OSError:  # no parser process could be started: our lack, and no fault of the page
            raise
        except Exception as error:  # noqa: BLE001 - here a fault of ours would take the crawl of a whole domain with it
            self._report(error, url)
            parsed, detail = None, FAULT
        return _read(answer, parsed, detail)

    async def sitemap(self, answer: Answer, url: str) -> ReadSitemap:
        """Read an answer as a sitemap or a feed, whatever type it says it has.

        One that is not OK stays as it is. One that is no sitemap is refused by its type, so that it is not asked for
        again and again; one that cannot be read within its time and memory is a decode_error.
        """
        if answer.outcome is not Outcome.OK:
            return ReadSitemap(answer)
        detail = UNREADABLE
        try:
            parsed = await self._parsers.read_sitemap(SitemapJob(answer.body, url, datetime.now(UTC)))
        except OSError:  # no parser process could be started: our lack, and no fault of the sitemap
            raise
        except Exception as error:  # noqa: BLE001 - as above
            self._report(error, url)
            parsed, detail = None, FAULT
        return _read_sitemap(answer, parsed, detail)


def _read_sitemap(answer: Answer, parsed: ParsedSitemap | None, detail: str) -> ReadSitemap:
    if parsed is None:
        return ReadSitemap(replace(answer, outcome=Outcome.DECODE_ERROR, body=b"", detail=detail))
    if parsed.sitemap.form is None:
        detail = f"{NO_SITEMAP}: {parsed.sitemap.detail}"
        return ReadSitemap(replace(answer, outcome=Outcome.TYPE_REFUSED, body=b"", detail=detail))
    return ReadSitemap(answer, parsed.sitemap, parsed.digest)


def _read(answer: Answer, parsed: Parsed | None, detail: str) -> Read:
    if parsed is None:
        return Read(replace(answer, outcome=Outcome.DECODE_ERROR, body=b"", detail=detail))
    if parsed.compressed is None:
        detail = f"its bytes are {parsed.page.media_type}"
        return Read(replace(answer, outcome=Outcome.TYPE_REFUSED, body=b"", detail=detail))
    return Read(answer, parsed.page, parsed.digest, parsed.compressed)
