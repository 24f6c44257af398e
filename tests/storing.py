"""Stored pages for the tests of what leaves the database: written as a worker would leave them, but many at once and without a crawl."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from crawler.adapters.crawls import Crawls, Limits, Wish
from crawler.adapters.postgres import Database
from crawler.adapters.zstd import pack
from crawler.core.model import Crawl, ScopeKind
from crawler.core.urls import domain_id, domain_of, url_hash

BEGIN: Final = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)
_PAGE: Final = (
    "insert into pages (domain_id, crawl_id, url_hash, first_at, fetched_at, changed_at, outcome, status, headers, directives,"
    " content_type, charset, title, length, digest, fields) values"
    " ($1, $2, $3, $4, $4, case when $5 = 'ok' then $4::timestamptz end, $5, 200,"
    " $6::text::jsonb, $7, $8, 'utf-8', $9, $10, $11, $12::text::jsonb) on conflict (domain_id, crawl_id, url_hash) do update set"
    " fetched_at = excluded.fetched_at, changed_at = excluded.changed_at, outcome = excluded.outcome, title = excluded.title,"
    " digest = excluded.digest"
)
_FETCH: Final = "insert into fetches (at, domain_id, crawl_id, url_hash, outcome, worker) values ($1, $2, $3, $4, $5, 'w')"


@dataclass(frozen=True)
class Stored:
    """A page to store."""

    url: str
    at: datetime = BEGIN
    outcome: str = "ok"
    content_type: str | None = "text/html"
    body: str | None = "<title>{url}</title><p>words of {url}"
    fields: Mapping[str, Any] | None = None
    directives: Sequence[str] = ()
    links: Sequence[str] | None = None
    headers: Sequence[tuple[str, str]] = field(
        default=(("Content-Type", "text/html"), ("Set-Cookie", "a"), ("set-cookie", "b"))
    )

    @property
    def bytes(self) -> bytes | None:
        """Its body."""
        return None if self.body is None else self.body.format(url=self.url).encode()


def numbered(many: int, domain: str = "a.example", **more: Any) -> list[Stored]:
    """So many pages of a domain, a second from one to the next."""
    return [Stored(f"https://{domain}/{n:06}", BEGIN + timedelta(seconds=n), **more) for n in range(many)]


async def crawl_of(database: Database, name: str = "test", **limits: Any) -> Crawl:
    """A crawl."""
    crawl, _ = await Crawls(database).create_or_change(Wish(name, ScopeKind.ANY, limits=Limits(**limits)))
    return crawl


async def store(database: Database, crawl: Crawl, pages: Iterable[Stored]) -> None:
    """Have them stored, in one transaction."""
    async with database.connection() as connection, connection.transaction():
        await put(connection, crawl, pages)


async def put(connection: Any, crawl: Crawl, pages: Iterable[Stored]) -> None:
    """Store them as part of somebody's transaction."""
    pages = list(pages)
    names = {domain_of(page.url) for page in pages}
    key = {page.url: (domain_id(domain_of(page.url)), crawl.crawl_id, url_hash(page.url)) for page in pages}
    bodies = {sha256(page.bytes).digest(): page.bytes for page in pages if page.bytes is not None}
    await connection.executemany(
        "insert into domains (domain_id, name) values ($1, $2) on conflict do nothing",
        [(domain_id(name), name) for name in names],
    )
    await connection.executemany(
        "insert into urls (domain_id, crawl_id, url_hash, url) values ($1, $2, $3, $4) on conflict do nothing",
        [(*key[page.url], page.url) for page in pages],
    )
    await connection.executemany(
        "insert into bodies (digest, size, data) values ($1, $2, $3) on conflict do nothing",
        [(digest, len(body), pack(body)) for digest, body in bodies.items()],
    )
    await connection.executemany(_PAGE, [_row(page, key[page.url]) for page in pages])
    await connection.executemany(_FETCH, [(page.at, *key[page.url], page.outcome) for page in pages])
    await connection.executemany(
        "insert into links (domain_id, crawl_id, url_hash, fetched_at, n, targets) values ($1, $2, $3, $4, $5, $6)",
        [
            (
                *key[page.url],
                page.at,
                len(page.links),
                pack("".join(f"{url}\n" for url in page.links).encode()),
            )
            for page in pages
            if page.links is not None
        ],
    )


async def seen_again(connection: Any, crawl: Crawl, url: str, at: datetime) -> None:
    """The page is as it was, by a visit at that time: what record_unchanged and record_fetches write."""
    key = domain_id(domain_of(url)), crawl.crawl_id, url_hash(url)
    await connection.execute(
        "update pages set fetched_at = $4 where domain_id = $1 and crawl_id = $2 and url_hash = $3", *key, at
    )
    await connection.execute(_FETCH, at, *key, "not_modified")


def _row(page: Stored, key: tuple[int, int, bytes]) -> tuple[object, ...]:
    body = page.bytes
    return (
        *key, page.at, page.outcome, json.dumps(page.headers), list(page.directives), page.content_type, f"title of {page.url}",
        None if body is None else len(body), None if body is None else sha256(body).digest(),
        None if page.fields is None else json.dumps(page.fields),
    )  # fmt: skip
