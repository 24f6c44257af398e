"""The API: pages, by URL and by search; what decides about a URL; its body."""

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Response

from crawler.core.model import Outcome
from crawler.dashboard import page_facts, search
from crawler.dashboard.asked import Answers, AtDesk, CrawlQuery, Moment, Said, Text, UrlQuery
from crawler.dashboard.models import Attempt, PageFull, PageList, Trouble, Why

router = APIRouter(tags=["pages"])
NOT_STORED: Final[Answers] = {
    404: {"model": Trouble, "description": "Nothing is stored of it; the line says why."}
}
NO_CRAWL: Final[Answers] = {404: {"model": Trouble, "description": "There is no such crawl, or domain."}}
SANDBOX = "sandbox; default-src 'none'"


@router.get("/pages", summary="Look up a URL", responses=NOT_STORED)
async def look_up(desk: AtDesk, url: UrlQuery) -> list[PageFull]:
    """What each crawl has stored of a URL: the last visit with its headers, and which earlier versions are kept."""
    return await page_facts.pages_of(desk, url)


@router.get("/pages/search", summary="Search pages", responses=NO_CRAWL)
async def search_pages(  # noqa: PLR0917 - FastAPI names them
    desk: AtDesk,
    crawl: CrawlQuery = None,
    domain: Annotated[Said | None, Query(description="Of this domain.", examples=["example.com"])] = None,
    outcome: Annotated[
        Outcome | Literal["unvisited"] | None,
        Query(description="That ended so.", examples=["ok"]),
    ] = None,
    since: Annotated[Moment | None, Query(description="Last fetched at or after.")] = None,
    until: Annotated[Moment | None, Query(description="Last fetched before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="At most so many.")] = 50,
    after: Annotated[Text | None, Query(description="`next` of the page before.")] = None,
) -> PageList:
    """Pages by crawl, domain, outcome and time. `next` is what to give as `after` for more."""
    return await search.pages(
        desk,
        crawl=crawl,
        domain=domain,
        outcome=None if outcome is None else str(outcome),
        since=since,
        until=until,
        limit=limit,
        after=after,
    )


@router.get(
    "/pages/body",
    summary="Download a stored body",
    response_class=Response,
    responses={
        200: {
            "description": "The bytes as they were stored, to be saved: never as anything that a browser would run.",
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                "text/plain": {"schema": {"type": "string"}},
            },
        },
        **NOT_STORED,
    },
)
async def download(
    desk: AtDesk,
    url: UrlQuery,
    crawl: CrawlQuery = None,
    version: Annotated[int, Query(ge=0, le=1000, description="How many changes ago; 0: as it is.")] = 0,
) -> Response:
    """The body of a page, as it is or was. The crawl must be named if several have the URL."""
    found = await page_facts.body(desk, url, crawl, version)
    headers = {
        "Content-Security-Policy": SANDBOX,
        "Content-Disposition": f'attachment; filename="{found.file}"',
    }
    return Response(found.data, headers=headers, media_type=found.sent_as)


@router.get("/pages/timeline", summary="List the attempts on a URL")
async def timeline(desk: AtDesk, url: UrlQuery) -> list[Attempt]:
    """The last hundred attempts, of all crawls, the youngest first. They are kept for a month, unless the settings say otherwise."""
    return await page_facts.attempts(desk, url)


@router.get(
    "/why",
    summary="Tell what decides about a URL",
    responses=NO_CRAWL,
)
async def why(desk: AtDesk, url: UrlQuery, crawl: CrawlQuery = None) -> Why:
    """Scope, robots.txt, its domain, its visits, the refresh rule and the next one, for each crawl that knows the URL.

    If none does: what each crawl would make of it. Nothing is asked of the site.
    """
    return await page_facts.why(desk, url, crawl)
