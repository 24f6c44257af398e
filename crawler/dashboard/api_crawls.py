"""The API: crawls."""

from typing import Final

from fastapi import APIRouter, Response

from crawler.adapters.crawls import Crawls
from crawler.core.errors import StateError
from crawler.core.model import CrawlState
from crawler.dashboard import crawl_facts, sowing
from crawler.dashboard.asked import Answers, AtDesk, AtErrands, Changes, MoreSeeds, NamePath, NewCrawl
from crawler.dashboard.deeds import Deleting, Seeded, Steered
from crawler.dashboard.models import CrawlFull, CrawlShort, Trouble
from crawler.naming import crawl_named
from crawler.phrases import seen
from crawler.steering import cancel, pause, resume
from crawler.wishes import changed

router = APIRouter(prefix="/crawls", tags=["crawls"])
NOT_THERE: Final[Answers] = {404: {"model": Trouble, "description": "There is no crawl of that name."}}
NOT_NOW: Final[Answers] = {409: {"model": Trouble, "description": "Its state does not allow it."}}


@router.get("", summary="List the crawls")
async def list_crawls(desk: AtDesk) -> list[CrawlShort]:
    """Every crawl in short, the oldest first: its state, its limits, and its URLs by outcome."""
    return await crawl_facts.crawls(desk)


@router.post(
    "",
    summary="Make a crawl",
    status_code=201,
    responses={409: {"model": Trouble, "description": "There is a crawl of that name."}},
)
async def make_crawl(desk: AtDesk, response: Response, wanted: NewCrawl) -> Seeded:
    """Make a crawl with its seeds: `crawl worker` fetches, here or on other machines.

    The options are those of `crawl seed`, with the same checks. Seeds that are no URLs, or that this crawl does not take,
    are passed over and counted; the first of them are told in `notes`. Without a single good one nothing is made.
    """
    made = await sowing.make_crawl(desk, wanted)
    response.status_code = 201
    return made


@router.get("/{name}", summary="Show a crawl", responses=NOT_THERE)
async def show_crawl(desk: AtDesk, name: NamePath) -> CrawlFull:
    """One crawl in full: its speed in the last minute, its first seeds, its slowest and most failing domains, and what it waits for."""
    return await crawl_facts.crawl_full(desk, name)


@router.patch("/{name}", summary="Change the limits of a crawl", responses={**NOT_THERE, **NOT_NOW})
async def change_crawl(desk: AtDesk, name: NamePath, wanted: Changes) -> CrawlShort:
    """Change what the body names, running or not, as `crawl set` does; null takes a limit away.

    What a limit had stopped goes on when it is raised.
    """
    crawls = Crawls(desk.database)
    crawl = await crawl_named(crawls, name)
    if crawl.deleting:
        raise StateError(f"the crawl {seen(name)} is being deleted")
    if pairs := list(wanted.pairs()):
        await crawls.change(crawl, changed(crawl, pairs, await crawls.seed_domains(crawl.crawl_id)))
        await crawls.start(crawl.crawl_id)
    return await crawl_facts.crawl_short(desk, name)


@router.delete("/{name}", summary="Delete a crawl", status_code=202, responses=NOT_THERE)
async def delete_crawl(errands: AtErrands, desk: AtDesk, name: NamePath) -> Deleting:
    """Remove a crawl, and all that is only its. A running one is cancelled first.

    It takes a while and goes on after the answer: until it is done, the crawl's state is `deleting`.
    Cut short, by the end of the dashboard or by an error, it is taken up by the dashboard that runs then, within a minute.
    It can be asked for again too.
    """
    crawl = await crawl_named(Crawls(desk.database), name)
    await desk.database.fetch("crawl_delete_begin", crawl.crawl_id)
    errands.delete(crawl.crawl_id)
    return Deleting(crawl=crawl.name)


@router.post("/{name}/seeds", summary="Give a crawl more seeds", responses={**NOT_THERE, **NOT_NOW})
async def add_seeds(desk: AtDesk, name: NamePath, wanted: MoreSeeds) -> Seeded:
    """Put more seeds on the frontier of a crawl that exists; one that had finished goes on."""
    return await sowing.more_seeds(desk, name, wanted.urls)


@router.post("/{name}/pause", summary="Pause a crawl", responses={**NOT_THERE, **NOT_NOW})
async def pause_crawl(desk: AtDesk, name: NamePath) -> Steered:
    """Open requests end, and none begins until it is resumed. Other crawls go on, also on the same domains."""
    crawls = Crawls(desk.database)
    done = await pause(crawls, await crawl_named(crawls, name))
    return Steered(crawl=name, state=CrawlState.PAUSED, changed=done)


@router.post("/{name}/resume", summary="Resume a crawl", responses={**NOT_THERE, **NOT_NOW})
async def resume_crawl(desk: AtDesk, name: NamePath) -> Steered:
    """Let a crawl that was paused or cancelled go on where it was."""
    crawls = Crawls(desk.database)
    done = await resume(crawls, await crawl_named(crawls, name))
    return Steered(crawl=name, state=CrawlState.RUNNING, changed=done)


@router.post("/{name}/cancel", summary="Cancel a crawl", responses={**NOT_THERE, **NOT_NOW})
async def cancel_crawl(desk: AtDesk, name: NamePath) -> Steered:
    """End it, whatever is left to do: open requests end, and none begins. Its pages stay; resuming takes it back."""
    crawls = Crawls(desk.database)
    done = await cancel(crawls, await crawl_named(crawls, name))
    return Steered(crawl=name, state=CrawlState.CANCELLED, changed=done)
