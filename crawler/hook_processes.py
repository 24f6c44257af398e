"""The hook processes of a worker: as many as there are cores, started when the first page comes.

    a page to be stored ──► a free process ──► hook ──answer──► next hook ──answer──► fields, more links, or a refusal
                               │ dead, or silent for longer than a hook may take
                               └──► killed; another process goes on with the next hook, without the fields of this one

1. A hook that fails, in whatever way, costs its own fields on one page: that page is kept, and every other.
2. The loop, its leases and its pauses wait for no hook: only the pages do that have been fetched.
3. Cancelled, `hear` leaves no process at work behind; `close` leaves none at all.
4. What fails is counted each time, and told as critical once in five minutes for each hook: what it is, and nothing that a page said.
5. A hook that hangs or dies on page after page of a domain is left out there for a while (`crawler.hook_rests`): others need the processes.
"""

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, Self

import msgspec
import structlog

from crawler.alerts import Alerts, Trouble
from crawler.core.directives import NO_FOLLOW
from crawler.core.errors import UsageError
from crawler.core.links import MAX_LINKS
from crawler.core.metrics import HOOK_ENDS
from crawler.core.model import Outcome, Past
from crawler.core.said import BY_HOOK
from crawler.core.turns import TurnUrl
from crawler.core.urls import domain_of
from crawler.crawlbook import KnownCrawl
from crawler.hook_process import Answer, Call, Hello, Ready
from crawler.hook_rests import EVERYWHERE, REST, STRIKES, Rests
from crawler.hooking import hooks_of, shown
from crawler.ledger import compared
from crawler.reading import Read
from crawler.servant import DiedError, LateError, Servant, Servants
from crawler.settings import Settings

log: Final = structlog.get_logger()

LOADING: Final = 120.0
"""Seconds for loading all hooks: a large model may have to be read."""
PATIENCE: Final = 0.5
"""Seconds more than a hook may take: one that is asynchronous ends itself, and its process lives on."""
GONE_WRONG: Final = {
    "raised": "has raised",
    "slow": "took too long",
    "died": "ended its process",
    "wrong": "said what cannot be kept",
}
STRIKING: Final = frozenset({"slow", "died"})
"""What costs a process, or holds it up."""


class _NotLoadedError(Exception):
    """No process has loaded the hooks: none was slow or died on a page. ``__cause__`` says how."""


class Hooks:
    """Calls the hooks of a worker.

    Args:
        hooks: what they are called in the settings.
        seconds: of the wall, for each hook and page.
        memory: bytes of data that a process may have.
        most: processes at once.
        loading: seconds for loading all of them.
        alerts: who is told what fails.
    """

    def __init__(
        self,
        hooks: tuple[str, ...],
        *,
        seconds: float,
        memory: int,
        most: int,
        loading: float = LOADING,
        alerts: Alerts | None = None,
    ) -> None:
        self.names = tuple(shown(hook) for hook in hooks)
        """What people call them."""
        self._hello = Hello(hooks, tuple(sys.path), memory, seconds, loading)
        self._alerts = alerts or Alerts()
        self._room = asyncio.Semaphore(most)
        self._servants = Servants(self._start)
        self._rests = Rests()
        self.calls = Counter[tuple[str, str]](
            {(name, ended): 0 for name in self.names for ended in HOOK_ENDS}
        )
        """By hook, and how they ended."""
        self.seconds = Counter[str](dict.fromkeys(self.names, 0.0))
        """Of the wall, by hook."""
        self.cpu_seconds = 0.0
        """Of the calls that were answered."""

    @classmethod
    def of(cls, settings: Settings, alerts: Alerts | None = None) -> Self:
        """The hooks of a worker with these settings; there may be none."""
        most = settings.hook_processes or max(1, (os.cpu_count() or 1) // settings.processes)
        return cls(
            hooks_of(settings),
            seconds=settings.hook_timeout,
            memory=settings.hook_memory,
            most=most,
            alerts=alerts,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(self.names)}: {self._servants!r}>"

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes there are now."""
        return self._servants.pids

    async def hear(self, seen: Read, item: TurnUrl, known: KnownCrawl, past: Past) -> Read:
        """What was read, with what the hooks say of it. What is no page, or is not to be stored anew, is no business of theirs.

        Raises:
            OSError: no process could be started.
        """
        if seen.page is None or compared(seen, past)[0] is not Outcome.OK:
            return seen
        page, answer = seen.page, seen.answer
        call = Call(
            hooks=(),
            url=item.url,
            crawl=known.crawl.name,
            depth=item.depth,
            status=answer.status,
            headers=answer.headers,
            content_type=page.media_type,
            charset=page.charset,
            title=page.title,
            language=page.language,
            directives=page.directives,
            links=page.links,
            digest=(seen.digest or b"").hex(),
            fields=b"",
        )
        answers = await self._ask(call, answer.body)
        for name, one in answers:
            if one.ended == "refused":
                detail = f"{BY_HOOK}{name}: {one.reason}"
                return Read(replace(answer, outcome=Outcome.SCOPE_REFUSED, body=b"", detail=detail))
        fields, links = (
            _together(one for _, one in answers),
            [link for _, one in answers for link in one.links],
        )
        if links and not NO_FOLLOW & set(page.directives):
            links = list(dict.fromkeys(links))[:MAX_LINKS]
            page = replace(page, links=tuple(dict.fromkeys((*page.links[: MAX_LINKS - len(links)], *links))))
        return replace(seen, page=page, fields=fields)

    async def faults(self) -> list[tuple[str, str]]:
        """Load them once, and say which cannot be: the hook, and why."""
        try:
            servant, ready = await self._started()
        except LateError:
            return [(", ".join(self.names), f"loading takes longer than {self._hello.seconds_to_load:.0f} s")]
        except DiedError:
            return [(", ".join(self.names), "loading ends the process")]
        except OSError as error:
            return [(", ".join(self.names), f"no process can be started: {error}")]
        await servant.kill()
        return [(name, fault) for name, fault in zip(self.names, ready.faults, strict=True) if fault]

    async def close(self) -> None:
        """End all processes, also those at work."""
        await self._servants.close()

    async def _ask(self, call: Call, body: bytes) -> list[tuple[str, Answer]]:
        """Call all hooks, but those that are left out on this domain, and those behind one that refuses."""
        domain, now, rest = domain_of(call.url), time.monotonic(), list[int]()
        for number, name in enumerate(self.names):
            if self._rests.rests(name, domain, now):
                self.calls[name, "left_out"] += 1
            else:
                rest.append(number)
        if not rest:  # nor is a free process waited for
            return []
        async with self._room:
            return await self._ask_them(rest, call, body)

    async def _ask_them(self, rest: list[int], call: Call, body: bytes) -> list[tuple[str, Answer]]:
        said = list[tuple[str, Answer]]()
        while rest:
            began = time.monotonic()
            try:
                async with self._servants.one() as servant:
                    so_far = _together(one for _, one in said)
                    going_on = msgspec.structs.replace(
                        call, hooks=tuple(rest), fields=(so_far or "").encode()
                    )
                    servant.tell(msgspec.msgpack.encode(going_on), body)
                    while rest:
                        began = time.monotonic()
                        answer = await self._answer(servant)
                        said.append((self.names[rest.pop(0)], answer))
                        self._note(*said[-1], call.url)
                        if answer.ended == "refused":
                            rest.clear()
                        if answer.last:
                            break
                        servant.fit = not rest
            except _NotLoadedError as error:
                for number in rest:
                    self._unloaded(self.names[number], isinstance(error.__cause__, LateError), call.url)
                break
            except DiedError as error:
                ended = "slow" if isinstance(error, LateError) else "died"
                answer = Answer(ended, seconds=time.monotonic() - began)
                said.append((self.names[rest.pop(0)], answer))
                self._note(*said[-1], call.url)
        return said

    async def _answer(self, servant: Servant) -> Answer:
        said, _ = await servant.hear(self._hello.seconds + PATIENCE)
        try:
            return msgspec.msgpack.decode(said, type=Answer)
        except msgspec.DecodeError:
            raise DiedError from None

    async def _start(self) -> Servant:
        try:
            return (await self._started())[0]
        except DiedError as error:
            raise _NotLoadedError from error

    async def _started(self) -> tuple[Servant, Ready]:
        """A process that has loaded the hooks. Raises DiedError."""
        servant = await Servant.start("crawler.hook_process", stderr=None, apart=True)
        servant.tell(msgspec.msgpack.encode(self._hello))
        try:
            said, _ = await servant.hear(self._hello.seconds_to_load)
            try:
                ready = msgspec.msgpack.decode(said, type=Ready)
            except msgspec.DecodeError:
                raise DiedError from None
            servant.fit = True
            return servant, ready
        finally:
            if not servant.fit:
                await servant.kill()

    def _note(self, name: str, answer: Answer, url: str) -> None:
        """Count it, and tell what went wrong."""
        self.calls[name, answer.ended] += 1
        self.seconds[name] += answer.seconds  # type: ignore[assignment]  # as above
        self.cpu_seconds += answer.cpu_seconds
        domain = domain_of(url)
        if answer.ended not in STRIKING:
            self._rests.answered(name, domain)
        if (wrong := GONE_WRONG.get(answer.ended)) is None:
            return
        after = f"after {answer.seconds:.1f} s"
        trace = {"trace": answer.trace} if answer.trace else {}
        log.info(
            "hook.failed", hook=name, ended=answer.ended, reason=answer.reason or after, url=url, **trace
        )
        # What its exception says may quote the page: only the line above has it.
        what = answer.place or ("see hook.failed, at the log level info" if answer.reason else after)
        self._tell(name, f"{wrong}: {what}", domain)
        if answer.ended in STRIKING:
            self._strike(name, domain)

    def _unloaded(self, name: str, late: bool, url: str) -> None:  # noqa: FBT001 - one of two ends
        """A process that would have called it for this page did not come to that: it is at once left out if loading takes too long."""
        self.calls[name, "slow" if late else "died"] += 1
        how = (
            f"loading takes longer than {self._hello.seconds_to_load:.0f} s"
            if late
            else "loading ends the process"
        )
        log.info("hook.failed", hook=name, ended="slow" if late else "died", reason=how, url=url)
        self._tell(name, how, domain_of(url))
        self._strike(name, EVERYWHERE, STRIKES if late else 1.0)

    def _strike(self, name: str, domain: str, strikes: float = 1.0) -> None:
        if self._rests.struck(name, domain, time.monotonic(), strikes):
            log.info("hook.rested", hook=name, domain=domain or None, seconds=REST)
            where = f"on {domain}" if domain else "everywhere"
            self._tell(
                name, f"hangs or dies {where}, and is left out there for {REST:.0f} s", domain, "left out "
            )

    def _tell(self, name: str, what: str, domain: str, kind: str = "") -> None:
        tags: dict[str, Any] = {"domain": domain} if domain else {}
        self._alerts.critical(Trouble.HOOK, f"{name} {what}", of=f"{kind}{name}", hook=name, **tags)


async def refuse_hooks(settings: Settings) -> None:
    """Tell a person at once that a hook cannot be loaded. Raises UsageError: a line for each."""
    hooks = Hooks.of(settings)
    if hooks.names and (faults := await hooks.faults()):
        raise UsageError("\n".join(f"the hook {name} cannot be loaded: {fault}" for name, fault in faults))


def _together(answers: Iterable[Answer]) -> str | None:
    """Their fields as one JSON object: of the same name, the last one's. None: they said nothing."""
    packed = [answer.fields for answer in answers if answer.fields]
    if len(packed) < 2:  # noqa: PLR2004 - nothing to be put together
        return packed[0].decode() if packed else None
    fields: dict[str, msgspec.Raw] = {}
    for one in packed:
        fields |= msgspec.json.decode(one, type=dict[str, msgspec.Raw])
    return msgspec.json.encode(fields).decode()
