"""What a turn has still to visit, and in which order.

    turn, add ──► in line ──take──► in a slot's hands ──done──►
    hasten ──► wished ──take──► before all that is in line; what a slot holds and has not asked for yet gives way

1. What somebody waits for (due before 1971) comes before everything else.
2. A URL that is hastened replaces what the turn has of it: it is asked for once, in its new form.
3. A wish that is heard of again is no new wish; each has a `due_at` of its own, by which it is known.
"""

from collections import deque
from collections.abc import Collection, Iterable
from typing import Final

from crawler.core.turns import TurnUrl

WISHED: Final = 365 * 86400 * 10**6
"""The `TurnUrl.due_at` of what somebody waits for lies before this, 1971: so it is the first of its domain."""


def is_wished(url: TurnUrl) -> bool:
    """Whether somebody waits for it."""
    return url.due_at < WISHED


class Agenda:
    """The URLs of one turn that are still to be visited."""

    def __init__(self, urls: Iterable[TurnUrl]) -> None:
        self._line: deque[TurnUrl] = deque()
        self._wished: deque[TurnUrl] = deque()
        self._known: set[tuple[int, bytes]] = set()
        self.add(urls)
        self._begun: dict[tuple[int, bytes], int] = {}
        self._in_hands: set[tuple[int, bytes]] = set()
        self._replaced: set[tuple[int, bytes]] = set()

    def add(self, urls: Iterable[TurnUrl]) -> None:
        """These are to be visited too."""
        for url in urls:
            self._known.add(_key(url))
            (self._wished if is_wished(url) else self._line).append(url)

    def unknown(self, urls: Iterable[TurnUrl]) -> list[TurnUrl]:
        """Those of the URLs that the turn never had."""
        return [url for url in urls if _key(url) not in self._known]

    @property
    def known(self) -> int:
        """How many URLs the turn has had, with those that are still to be visited."""
        return len(self._known)

    def __len__(self) -> int:
        return len(self._wished) + len(self._line)

    def __repr__(self) -> str:
        return f"<Agenda of {len(self._wished)} wished, {len(self._line)} in line>"

    @property
    def waits(self) -> bool:
        """Whether something is wished that no slot has taken yet."""
        return bool(self._wished)

    @property
    def hurries(self) -> bool:
        """Whether somebody waits for something of the turn, which may be in a slot's hands."""
        return self.waits or bool(self._in_hands)

    def clear(self) -> None:
        """Nothing more is visited in this turn."""
        self._line.clear()
        self._wished.clear()

    def take(self) -> TurnUrl | None:
        """The next one; None: there is none."""
        if self._wished:
            url = self._wished.popleft()
            self._begun[_key(url)] = url.due_at
            self._in_hands.add(_key(url))
            return url
        while self._line:
            url = self._line.popleft()
            if _key(url) not in self._replaced:
                return url
        return None

    def gives_way(self, url: TurnUrl) -> bool:
        """Whether a slot that was to ask for *url* now shall take another one: then it is back in line, or was replaced."""
        if is_wished(url):
            return False
        if _key(url) in self._replaced:
            return True
        if self._wished:
            self._line.appendleft(url)
            return True
        return False

    def done(self, url: TurnUrl) -> None:
        """A slot has nothing more to do with it."""
        if is_wished(url):
            self._in_hands.discard(_key(url))

    def hasten(self, urls: Collection[TurnUrl]) -> int:
        """Somebody waits for these: how many of the wishes the turn did not know."""
        waiting = {_key(url): url.due_at for url in self._wished}
        new = [
            url
            for url in urls
            if url.due_at > max(waiting.get(_key(url), -1), self._begun.get(_key(url), -1))
        ]
        keys = set(map(_key, new))
        self._known |= keys
        self._wished = deque(url for url in self._wished if _key(url) not in keys)
        self._wished.extend(new)
        self._replaced |= keys
        return len(new)


def _key(url: TurnUrl) -> tuple[int, bytes]:
    return url.crawl_id, url.url_hash
