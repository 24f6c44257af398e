"""The pause of a slot: a whole one after each answer, and a little more after one that we have cut off."""

import asyncio

import pytest

from crawler.core.model import Outcome
from crawler.pacing import NOTICE, Slot


def after(outcome: Outcome) -> float:
    """Seconds from the end of a request until the next may begin."""
    slot = Slot(0, None, delay=lambda: 10.0, stopped=asyncio.Event())
    with slot.request():
        pass
    ended = slot.ready_at
    slot.ended(outcome)
    return slot.ready_at - ended + 10.0


@pytest.mark.parametrize(
    ("outcome", "pause"),
    [
        (Outcome.OK, 10.0),
        (Outcome.GONE, 10.0),
        (Outcome.CONNECT_ERROR, 10.0),
        (Outcome.TOO_LARGE, 10.0 + NOTICE),
        (Outcome.TOO_SLOW, 10.0 + NOTICE),
        (Outcome.TYPE_REFUSED, 10.0 + NOTICE),
        (Outcome.TIMEOUT, 10.0 + NOTICE),
    ],
)
def test_a_site_hears_later_that_we_hung_up(outcome: Outcome, pause: float) -> None:
    """After an answer that we have cut off, the site has a moment to notice before its pause begins."""
    assert after(outcome) == pytest.approx(pause)
