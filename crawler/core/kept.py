"""Answers kept for as long as they hold, and for emergencies a while longer (RFC 8767).

    keep ──► fresh ──its time is over──► stale ──an hour later──► gone
                                          │ ▲
                            believe ──────┘ └─ half a minute later

1. What is fresh is never called stale, and what is stale is told only to who asks for that.
2. An answer is believed no longer than `MAX_STALE` after its time is over, however often that is put off.
3. There are never more than `size` answers: the one not asked for longest goes first.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

STALE_TTL: Final = 30.0
"""Seconds for which a stale answer is believed before the question is asked again (RFC 8767 section 4)."""
MAX_STALE: Final = 3600.0
"""Seconds after its end for which an answer may still serve. RFC 8767 allows days; but an address that its owner gave up may be
somebody else's within hours, who did not ask for this crawl."""

_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class _Kept(Generic[_Answer]):
    answer: _Answer
    held_until: float
    """By what its giver said."""
    believed_until: float


class KeptAnswers(Generic[_Answer]):
    """Answers by name. Times are seconds of a monotonic clock."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[str, _Kept[_Answer]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, name: str, answer: _Answer, ttl: float, now: float) -> None:
        """Believe this for *ttl* seconds."""
        self._kept[name] = _Kept(answer, now + ttl, now + ttl)
        self._kept.move_to_end(name)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def fresh(self, name: str, now: float) -> tuple[_Answer, float] | None:
        """What is believed, and for how many seconds more; None: ask."""
        one = self._kept.get(name)
        if one is None or one.believed_until <= now:
            return None
        self._kept.move_to_end(name)
        return one.answer, one.believed_until - now

    def stale(self, name: str, now: float) -> _Answer | None:
        """What held until not long ago; None: there is nothing to fall back on."""
        one = self._kept.get(name)
        return one.answer if one is not None and one.held_until <= now < one.held_until + MAX_STALE else None

    def believe(self, name: str, now: float) -> float:
        """Believe a stale answer for a little longer: for how many seconds."""
        one = self._kept[name]
        one.believed_until = min(now + STALE_TTL, one.held_until + MAX_STALE)
        return one.believed_until - now
