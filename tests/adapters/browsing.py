"""A `Web` that visits the servers of this folder."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from typing import Any, Final

from crawler.adapters.attempt import Limits
from crawler.adapters.dns import Resolution
from crawler.adapters.web import Web
from crawler.core.addresses import AddressPolicy
from crawler.core.model import Answer, Outcome
from tests.adapters.servers import LOOPBACK, Reply, Site, Visitor, response

PAGE: Final = b"<p>hello"


TEXT: Final = b"All work and no play makes Jack a dull boy.\n" * 5_000


HOME: Final = AddressPolicy(allowed=(ip_network("127.0.0.0/8"), ip_network("::1")))


class Names:
    """A resolver that knows what it is told, or all names as loopback."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses or (LOOPBACK,)
        self.asked: list[str] = []

    async def resolve(self, host: str) -> Resolution:
        """Whatever the name, the same addresses."""
        self.asked.append(host)
        return Resolution(self.addresses, 60)


@contextlib.asynccontextmanager
async def browser(
    *, resolver: Any = None, policy: Any = HOME, max_connections: int = 100, **options: Any
) -> AsyncIterator[Web]:
    """A `Web` with these limits; whatever it left open makes the test fail."""
    limits = {name: options.pop(name) for name in list(options) if name in Limits.__slots__}
    web = Web(
        resolver=resolver or Names(),
        policy=policy,
        limits=Limits(**limits),
        user_agent="faircrawl-test/1",
        max_connections=max_connections,
        **options,
    )
    try:
        yield web
        assert not web._connector._acquired, "a connection was not given back"
    finally:
        await web.close()


def anything(_content_type: str | None) -> bool:
    """Every type is wanted."""
    return True


def html_only(content_type: str | None) -> bool:
    """Only HTML is wanted."""
    return (content_type or "").startswith("text/html")


async def fetch(reply: Reply, *, web: Any = None, path: str = "/", **options: Any) -> Answer:
    """What one GET brings from a site with that reply."""
    options.setdefault("accept_type", anything)
    async with Site(reply) as site, browser(**(web or {})) as made:
        return await made.get(site.url(path), **options)


def brief(answer: Answer) -> tuple[Outcome, str]:
    """Outcome and detail."""
    return answer.outcome, answer.detail


def trickle(start: bytes, drop: bytes, every: float) -> Callable[[Visitor], Any]:
    """Reply with `start`, and then a drop every so many seconds for ever."""

    async def reply(visitor: Visitor) -> None:
        await visitor.say(start)
        with contextlib.suppress(ConnectionError):
            while True:
                await visitor.say(drop)
                await asyncio.sleep(every)

    return reply


def stall(start: bytes) -> Callable[[Visitor], Any]:
    """Reply with `start`, and no more."""

    async def reply(visitor: Visitor) -> bool:
        await visitor.say(start)
        await visitor.gone()
        return False

    return reply


SILENT: Final = stall(b"")


STALLED: Final = stall(response(b"abc", length=100))
