"""What PostgreSQL remembers of the robots.txt of origins: many of them in one statement."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from crawler.adapters.postgres import Database, Session, columns
from crawler.core.content import clean
from crawler.core.robots_record import RobotsRecord

Key = tuple[int, str]
"""Domain and origin."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking for a robots.txt."""

    domain_id: int
    record: RobotsRecord
    sitemaps: tuple[str, ...]
    """Canonical."""
    wished: bool
    """Whether somebody wished for it before it was asked for."""


async def known_origins(database: Database, keys: Sequence[Key]) -> Mapping[Key, RobotsRecord]:
    """The records of these origins; what is not known is missing."""
    numbers, origins = columns(keys, 2)
    rows = await database.fetch("robots_get", numbers, origins)
    records = {row["origin"]: RobotsRecord(**row) for row in rows}
    return {key: records[key[1]] for key in keys if key[1] in records}


async def forgotten(session: Session, domain_ids: Sequence[int]) -> set[int]:
    """Those of these domains of which nothing is written any more. The first statement of its transaction."""
    await session.fetch("record_hold")
    return {row["domain_id"] for row in await session.fetch("record_erased", [], sorted(set(domain_ids)))}


async def put_origins(session: Session, asked: Sequence[Asked]) -> Mapping[Key, datetime]:
    """Write down what came, each origin at most once: when each expires."""
    expires: dict[Key, datetime] = {}
    for wished in {one.wished for one in asked}:
        rows = [_row(one) for one in asked if one.wished is wished]
        for row in await session.fetch("robots_put", *columns(rows, 10), wished):
            expires[row["domain_id"], row["origin"]] = row["expires_at"]
    return expires


def _row(asked: Asked) -> tuple[object, ...]:
    record = asked.record
    return (
        asked.domain_id, record.origin, record.status, record.body, record.good_at, record.fetched_at, record.expires_at,
        record.failures, clean(record.detail), json.dumps(asked.sitemaps),
    )  # fmt: skip
