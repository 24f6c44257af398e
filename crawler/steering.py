"""A crawl is paused, cancelled and resumed by hand: what its state allows."""

from crawler.adapters.crawls import Crawls
from crawler.core.errors import StateError
from crawler.core.model import Crawl, CrawlState
from crawler.opening import Opened
from crawler.phrases import seen


async def pause(crawls: Crawls, crawl: Crawl) -> bool:
    """Hand out none of its URLs until it is resumed; False: it was paused already. Raises StateError: there is nothing to pause."""
    return await _bring(crawls, crawl, CrawlState.PAUSED, "pause", changed=await crawls.pause(crawl.crawl_id))


async def cancel(crawls: Crawls, crawl: Crawl) -> bool:
    """End it; False: it was cancelled already. Raises StateError: there is nothing to cancel."""
    return await _bring(
        crawls, crawl, CrawlState.CANCELLED, "cancel", changed=await crawls.cancel(crawl.crawl_id)
    )


async def resume(crawls: Crawls, crawl: Crawl) -> bool:
    """Let it go on; False: it is running already. Raises StateError: there is nothing to resume."""
    changed = await crawls.resume(crawl.crawl_id)
    state, named = await _state(crawls, crawl), seen(crawl.name)
    if crawl.deleting:
        raise StateError(f"the crawl {named} is being deleted: it cannot be resumed")
    if state is not CrawlState.RUNNING:
        hint = "; run it again with more to do" if state is CrawlState.FINISHED else ""
        raise StateError(f"the crawl {named} is {state or 'deleted'}: there is nothing to resume{hint}")
    return changed


async def refuse_stopped(place: Opened, name: str) -> None:
    """What was stopped by hand goes on by hand.

    Raises:
        StateError: the crawl of that name is paused, was cancelled, or is being deleted.
    """
    crawl = await Crawls(place.database).by_name(name)
    if crawl is None or crawl.is_left or crawl.state not in (CrawlState.PAUSED, CrawlState.CANCELLED):
        return
    named, option = seen(name), place.option
    if crawl.deleting:
        raise StateError(
            f"the crawl {named} is being deleted: `crawl delete {named}{option} --yes` goes on with that"
        )
    if crawl.state is CrawlState.PAUSED:
        raise StateError(f"the crawl {named} is paused: `crawl resume {named}{option}`, then run it again")
    raise StateError(
        f"the crawl {named} was cancelled: `crawl resume {named}{option}` takes that back, "
        f"`crawl delete {named}{option}` makes room for a new one"
    )


async def _bring(crawls: Crawls, crawl: Crawl, wanted: CrawlState, verb: str, *, changed: bool) -> bool:
    """Whether that *changed* it; if it is not as *wanted* now, it could not be."""
    state = await _state(crawls, crawl)
    if state is not wanted:
        raise StateError(f"the crawl {seen(crawl.name)} is {state or 'deleted'}: there is nothing to {verb}")
    return changed


async def _state(crawls: Crawls, crawl: Crawl) -> CrawlState | None:
    """As it is now; None: it is gone."""
    now = await crawls.by_id(crawl.crawl_id)
    return None if now is None else now.state
