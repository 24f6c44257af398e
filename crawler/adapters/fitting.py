"""Which visits of a batch may be written: none of what is being erased, and no more pages than the budgets leave."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from crawler.adapters.postgres import Session, columns
from crawler.core.model import Outcome, Settlement, UrlKind, Visit

SPENT: Final = "the pages this crawl may store are used up (--max-pages)"


class OverBudgetError(Exception):
    """A crawl's budget does not hold the batch: roll back, cut, do it again."""

    def __init__(self, crawls: frozenset[int]) -> None:
        super().__init__()
        self.crawls = crawls
        """Those that were believed to have no budget."""


async def not_erased(session: Session, visits: Sequence[Visit]) -> Sequence[Visit]:
    """Only the visits of crawls that are not being deleted, to domains that are not forgotten (adapters/erasing)."""
    await session.fetch("record_hold")
    crawls, domains = {visit.crawl_id for visit in visits}, {visit.domain_id for visit in visits}
    erased = await session.fetch("record_erased", sorted(crawls), sorted(domains))
    if not erased:
        return visits
    crawls -= {row["crawl_id"] for row in erased}
    domains -= {row["domain_id"] for row in erased}
    return [visit for visit in visits if visit.crawl_id in crawls and visit.domain_id in domains]


async def spend(session: Session, stored: Mapping[int, int], limited: Sequence[int]) -> None:
    """Step 4: take newly stored pages from the budgets of the crawls that have one; raises OverBudgetError."""
    if limited:
        fits = await session.fetch("record_budget", limited, [stored[crawl] for crawl in limited])
        if len(fits) < len(limited):
            raise OverBudgetError(frozenset())
    if believed := sorted(stored.keys() - set(limited)):
        free = {row["crawl_id"] for row in await session.fetch("record_unlimited", believed)}
        if limits := frozenset(believed) - free:
            raise OverBudgetError(limits)


async def within_budget(session: Session, visits: Sequence[Visit], budgeted: frozenset[int]) -> list[Visit]:
    """Only the visits whose newly stored pages fit into what the crawls' budgets leave."""
    crawls = sorted({visit.crawl_id for visit in visits} & budgeted)
    left = dict.fromkeys(crawls, 0) | {  # a crawl that was deleted has none left
        row["crawl_id"]: 0 if row["state"] == "cancelled" else row["left"]
        for row in await session.fetch("budget_left", crawls)
    }
    keys = [(v.domain_id, v.crawl_id, v.url_hash) for v in visits if v.crawl_id in left]
    known = {tuple(row) for row in await session.fetch("pages_stored", *columns(keys, 3))}
    kept: list[Visit] = []
    for visit in visits:
        key = (visit.domain_id, visit.crawl_id, visit.url_hash)
        if (
            visit.settlement.outcome is Outcome.OK
            and visit.kind is UrlKind.PAGE
            and left.get(visit.crawl_id) is not None
            and key not in known
        ):
            if left[visit.crawl_id] < 1:
                if (
                    visit.previous is not None
                ):  # of one that had an outcome it stays due, and would be asked for again and again
                    kept.append(_spent(visit))
                continue
            left[visit.crawl_id] -= 1
            known.add(key)
        kept.append(visit)
    return kept


def _spent(visit: Visit) -> Visit:
    """The visit, of which nothing is stored: the budget is used up."""
    refused = Settlement(None, open=False, attempts=0, outcome=Outcome.SCOPE_REFUSED, detail=SPENT)
    return replace(
        visit,
        settlement=refused,
        page=None,
        digest=None,
        compressed=None,
        links=(),
        changed=None,
        fields=None,
        targets=None,
    )
