"""How a domain is treated during one turn, and what is known of it in the end.

    crawls, robots.txt, by hand ──► pace            answers, failures, 429 and 503 ──► Release

1. The pace is the slowest that anybody asks for; it may become slower during the turn.
2. A site that wants rest gets it: the whole domain waits.
"""

import random
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from crawler.adapters.domains import ByHand
from crawler.adapters.frontier import Accepted
from crawler.core.model import Answer, Outcome, Release
from crawler.core.politeness import Pace, pace, retry_after, throttle_wait
from crawler.core.turns import Turn
from crawler.crawlbook import CrawlBook
from crawler.equipment import Manners


class Conduct:
    """The pace of one turn, and the notes it makes about its domain."""

    def __init__(self, turn: Turn, accepted: Accepted, manners: Manners, crawls: CrawlBook) -> None:
        self._turn = turn
        self._accepted = accepted
        self._manners = manners
        self._crawls = crawls
        self._crawl_ids = {item.crawl_id for item in turn.urls}
        self._robots_delay: float | None = None
        self._waits_for = ""
        self._answers = self._failures = 0
        self._address: str | None = None
        self.wait = 0.0
        """Seconds that the domain wants to be left alone."""
        self.pace = self._new_pace()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._turn.domain}: {self.pace}>"

    @property
    def turn(self) -> int:
        """The number under which the domain is held."""
        return self._accepted.turn

    @property
    def after_loss(self) -> bool:
        """Whether the turn before was lost: nobody knows when its last request was."""
        return bool(self._accepted.lost)

    @property
    def blocked(self) -> bool:
        """Whether the domain may not be visited at all."""
        return self._accepted.blocked is not None

    @property
    def crawl_ids(self) -> frozenset[int]:
        """The crawls that the turn is for."""
        return frozenset(self._crawl_ids)

    def serve(self, crawl_ids: Iterable[int]) -> None:
        """It is for these crawls too, as they are known now."""
        self._crawl_ids |= set(crawl_ids)
        self.pace = self._new_pace()

    def heed(self, by_hand: ByHand) -> None:
        """Somebody has set the pace by hand."""
        self._accepted = replace(
            self._accepted, delay_by_hand=by_hand.delay, concurrency_by_hand=by_hand.concurrency
        )
        self.pace = self._new_pace()

    def slow_down(self, delay: float | None) -> None:
        """robots.txt asks for so many seconds between requests; the longest of its wishes counts."""
        if delay is not None and delay > (self._robots_delay or 0):
            self._robots_delay = delay
            self.pace = self._new_pace()

    def pause(self) -> float:
        """Seconds between an answer and the next request; after a lost turn not less than the pause given before."""
        return max(self.pace.delay, self._accepted.delay) if self.after_loss else self.pace.delay

    def note(self, answer: Answer) -> None:
        """The domain has answered, or has not."""
        if answer.status is not None:
            self._answers += 1
            self._address = answer.address or self._address
        else:
            self._failures += 1

    def throttled(self, answer: Answer) -> bool:
        """Whether the site wants rest: then the whole domain waits, and the turn is over."""
        if answer.outcome is not Outcome.THROTTLED:
            return False
        asked = retry_after(answer.retry_after, datetime.now(UTC))
        row = self._accepted.throttled + 1
        jitter = random.random()  # noqa: S311 - spreads retries, keeps no secret
        wait = throttle_wait(retry_after=asked, throttled_in_a_row=row, jitter=jitter)
        if wait >= self.wait:
            self.wait = wait
            said = "" if asked is None else f", Retry-After {asked:.0f} s"
            self._waits_for = f"status {answer.status}{said}"
        return True

    def release(self, ready_at: Iterable[float]) -> Release:
        """What is known of the domain now; *ready_at*: when the pauses of its slots are over, of `time.monotonic`."""
        accepted = self._accepted
        asked = self._answers + self._failures > 0
        throttled = accepted.throttled + 1 if self.wait else 0 if self._answers else accepted.throttled
        return Release(
            domain_id=self._turn.domain_id,
            domain=self._turn.domain,
            turn=accepted.turn,
            rest_until=max([time.monotonic() + self.wait, *ready_at]),
            delay=self.pace.delay,
            failures=0 if self._answers else accepted.failures + asked,
            throttled=throttled,
            waits_for=self._waits_for,
            visited=asked,
            address=self._address,
        )

    def _new_pace(self) -> Pace:
        manners, accepted = self._manners, self._accepted
        known = (self._crawls.serves(crawl_id) for crawl_id in self._crawl_ids)
        crawls = [each.crawl for each in known if each is not None]
        return pace(
            setting_delay=manners.delay,
            crawl_delays=[crawl.delay for crawl in crawls],
            by_hand=accepted.delay_by_hand,
            robots_delay=self._robots_delay,
            max_crawl_delay=manners.max_crawl_delay,
            per_domain=min((crawl.per_domain or manners.per_domain for crawl in crawls), default=1),
            by_hand_slots=accepted.concurrency_by_hand,
        )
