"""What a visit means for its URL: the place where retry, revisit and robots meet.

1. A URL whose outcome will be tried again stays open; every other outcome is final.
2. `attempts` counts failures in a row: any success sets it to 0, any failure adds one.
3. What we refused ourselves is never due again by the clock, but for rules that could not be read.
4. What was given up is looked at again as the crawl's rule says; what is gone is not.
"""

from datetime import datetime
from typing import assert_never

from crawler.core.model import Outcome, Settlement
from crawler.core.retry import next_try


def settle(
    outcome: Outcome,
    *,
    status: int | None,
    attempts: int,
    jitter: float,
    revisit: float | None,
    period: float | None = None,
    due_at: datetime | None = None,
    detail: str = "",
    domain_wait: float = 0.0,
    robots_ask_in: float | None = None,
) -> Settlement:
    """Decide about a URL after a visit.

    Args:
        outcome: how the visit ended.
        status: of the answer, if one came.
        attempts: failures in a row before this visit.
        jitter: 0..1, to spread what failed together.
        revisit: seconds until the next visit by the crawl's rule, to a page that is well and to one that was given up; None: never.
        period: seconds between the page's changes, as now estimated.
        due_at: the time that `revisit` stands for, where the rule is one of times.
        detail: a short phrase for a person.
        domain_wait: seconds the whole domain waits, for ``throttled``.
        robots_ask_in: seconds until robots.txt is asked for again; None: its rules are known, and refuse.
    """
    match outcome:
        case Outcome.OK | Outcome.NOT_MODIFIED | Outcome.REDIRECT:
            return Settlement(
                revisit, open=False, attempts=0, outcome=outcome, detail=detail, revisit=revisit, period=period, due_at=due_at
            )  # fmt: skip
        case Outcome.ROBOTS_REFUSED:
            again = robots_ask_in is not None
            return Settlement(robots_ask_in, open=again, attempts=0, outcome=outcome, detail=detail)
        case Outcome.SCOPE_REFUSED | Outcome.ADDRESS_REFUSED | Outcome.TYPE_REFUSED:
            return Settlement(None, open=False, attempts=0, outcome=outcome, detail=detail)
        case (
            Outcome.GONE
            | Outcome.HTTP_ERROR
            | Outcome.THROTTLED
            | Outcome.TOO_LARGE
            | Outcome.TOO_SLOW
            | Outcome.DNS_ERROR
            | Outcome.CONNECT_ERROR
            | Outcome.TLS_ERROR
            | Outcome.TIMEOUT
            | Outcome.PROTOCOL_ERROR
            | Outcome.DECODE_ERROR
        ):
            wait = next_try(outcome, status, attempts + 1, jitter)
            due_in = None if wait is None else max(wait.total_seconds(), domain_wait)
            # One more look at what is gone is no doubt about the outcome: nothing waits for it.
            still_open = due_in is not None and outcome is not Outcome.GONE
            time = None
            if due_in is None and revisit is not None and outcome is not Outcome.GONE:
                due_in, time = max(revisit, domain_wait), None if domain_wait > revisit else due_at
            return Settlement(
                due_in, open=still_open, attempts=attempts + 1, outcome=outcome, detail=detail, due_at=time
            )
    assert_never(outcome)
