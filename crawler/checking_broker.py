"""Whether RabbitMQ will do, where it carries the turns: what it says of itself, judged by plain functions."""

import asyncio
import re
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from crawler.core.errors import BrokerError
from crawler.findings import Finding, Level
from crawler.phrases import count, span
from crawler.settings import Settings, mask

if TYPE_CHECKING:
    from crawler.adapters.rabbit_facts import BrokerFacts
    from crawler.adapters.rabbit_wire import Place

OLDEST: Final = (3, 10)
"""The first whose quorum queues do all that is asked of them."""
PATIENCE: Final = 20.0
TOPIC: Final = "RabbitMQ"
NO_PERMISSION: Final = "ACCESS_REFUSED"
"""How the broker's words begin when that is what it means."""


async def broker(settings: Settings) -> list[Finding]:
    """What `crawl check` says of the broker: nothing, where none is named."""
    url = settings.amqp_url
    if url is None:
        return []
    from crawler.adapters.rabbit_facts import inspect  # noqa: PLC0415 - its library takes a while to import
    from crawler.adapters.rabbit_wire import Place  # noqa: PLC0415 - as above

    found = [Finding(TOPIC, Level.OK, f"{mask(url)} answers")]
    try:
        async with asyncio.timeout(PATIENCE):
            place = Place.of(url, settings.amqp_prefix)
            found += judge(await inspect(url, settings.amqp_prefix), place)
    except BrokerError as error:
        found = [Finding(TOPIC, Level.WRONG, str(error))]
    except TimeoutError:
        text = (
            f"{mask(url)} did not answer within {span(PATIENCE)}: see that it runs, and that --amqp is right"
        )
        found = [Finding(TOPIC, Level.WRONG, text)]
    if settings.database_url is None:
        text = "the database is embedded, so that only this machine can work on it: name a server with --database"
        found.append(Finding(TOPIC, Level.NOTE, text))
    return found


def judge(facts: "BrokerFacts", place: "Place") -> list[Finding]:
    """Is this a broker that we can work with?"""
    return [_version(facts), *_permissions(facts, place), *_queues(facts, place)]


def _version(facts: "BrokerFacts") -> Finding:
    said = f"version {facts.version}"
    if facts.product != "RabbitMQ":
        text = f"{facts.product} {facts.version} is no RabbitMQ: whether it keeps the promises of quorum queues is not known"
        return Finding(TOPIC, Level.WARNING, text)
    numbers = tuple(int(n) for n in re.findall(r"[0-9]+", facts.version)[:2])
    if numbers < OLDEST:
        return Finding(
            TOPIC, Level.WRONG, f"{said} is too old: upgrade it to {'.'.join(map(str, OLDEST))} or later"
        )
    return Finding(TOPIC, Level.OK, said)


def _permissions(facts: "BrokerFacts", place: "Place") -> Iterator[Finding]:
    may = {"configure": facts.may_configure, "write": facts.may_write, "read": facts.may_read}
    lacking = [name for name, granted in may.items() if not granted]
    if not lacking:
        yield Finding("permissions", Level.OK, "configure, write, read")
        return
    text = (
        f"{place.user} lacks {' and '.join(lacking)} on the virtual host {place.vhost}: {place.permission()}"
    )
    yield Finding("permissions", Level.WRONG, text)


def _queues(facts: "BrokerFacts", place: "Place") -> Iterator[Finding]:
    may_all = facts.may_configure and facts.may_write and facts.may_read
    for refusal in facts.refusals:
        if may_all or not refusal.startswith(NO_PERMISSION):  # else it is told of already
            yield Finding("queues", Level.WRONG, refusal + _what_to_do(refusal, place))
    there = {name: numbers for name, numbers in facts.queues.items() if numbers is not None}
    if not there and not facts.refusals:
        yield Finding(
            "queues", Level.OK, f"none of {place.prefix}.* is there yet: the first worker makes them"
        )
    for name, (messages, consumers) in there.items():
        if name == f"{place.prefix}.dead" and messages:
            text = f"{count(messages, 'dead letter')} in {name}: `crawl dead list` shows them"
            yield Finding("queues", Level.NOTE, text)
            continue
        yield Finding(
            "queues", Level.OK, f"{name}: {count(messages, 'message')}, {count(consumers, 'consumer')}"
        )


def _what_to_do(refusal: str, place: "Place") -> str:
    if refusal.startswith(NO_PERMISSION):
        return f": allow it ({place.permission()})"
    if "inequivalent arg" not in refusal:
        return ""
    queue = re.search(r"for queue '([^']+)'", refusal)
    command = shlex.join(["rabbitmqctl", "delete_queue", "-p", place.vhost, queue[1] if queue else "QUEUE"])
    return f": it was made with other properties; delete it when it is empty ({command}), or set another CRAWL_AMQP_PREFIX"
