"""Which hooks are left out, and where: one that hangs or dies on page after page of a domain would hold every hook process.

    called ──slow, died──► a strike ──the third──► left out on that domain for five minutes ──► called again, one strike before the end
           └──answered──► a twentieth of a strike is forgiven

1. What goes wrong on one domain costs no page of another.
2. What fails on a page now and then, on fewer than one in twenty-one, is not left out for that: its strikes do not add up.
3. Memory is bounded: of so many domains, those that struck longest ago are forgotten.
"""

from collections import OrderedDict
from typing import Final

STRIKES: Final = 3.0
FORGIVEN: Final = 1 / 20
"""Of a strike, by each call that is answered."""
REST: Final = 300.0
"""Seconds for which a hook is left out."""
MOST: Final = 10_000
"""Domains and hooks that are remembered."""
EVERYWHERE: Final = ""
"""Instead of a domain: what fails is not any page."""


class Rests:
    """Strikes of hooks by domain. Times are seconds of any clock that only goes forward."""

    def __init__(self) -> None:
        self._strikes = OrderedDict[tuple[str, str], float]()
        self._until: dict[tuple[str, str], float] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self._strikes)} strike, {len(self._until)} left out>"

    def rests(self, hook: str, domain: str, now: float) -> bool:
        """Whether it is to be left out there."""
        return any(now < self._until.get((hook, where), now) for where in (domain, EVERYWHERE))

    def answered(self, hook: str, domain: str) -> None:
        """It was called and has answered, whatever."""
        for key in ((hook, domain), (hook, EVERYWHERE)):
            if key in self._strikes:
                self._strikes[key] -= FORGIVEN
                if self._strikes[key] <= 0:
                    self._forget(key)

    def struck(self, hook: str, domain: str, now: float, strikes: float = 1.0) -> bool:
        """It was slow, or died: whether it is left out there from now on, which it was not before."""
        if self.rests(hook, domain, now):  # a page that was on its way
            return False
        key = hook, domain
        self._strikes[key] = self._strikes.get(key, 0.0) + strikes
        self._strikes.move_to_end(key)
        if len(self._strikes) > MOST:
            self._forget(next(iter(self._strikes)))
        if self._strikes[key] < STRIKES:
            return False
        self._strikes[key] = STRIKES - 1
        self._until[key] = now + REST
        return True

    def _forget(self, key: tuple[str, str]) -> None:
        del self._strikes[key]
        self._until.pop(key, None)
