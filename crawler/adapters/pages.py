"""Step 3 of recording: what is kept of pages and sitemaps, and of what pages said before.

    visit ──► the same as before (304, or the same bytes) ──► only seen again
         ├──► something else ──► the page, and the earlier one among its versions
         └──► a sitemap ──► its own row: it is no page, and counts against no limit

1. Strictly newer visits replace older ones: recording a batch a second time writes and counts nothing.
2. What will be tried again leaves the last page as it is.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from crawler.adapters.postgres import Session, columns
from crawler.core.content import clean
from crawler.core.headers import masked
from crawler.core.model import Outcome, UrlKind, Visit
from crawler.core.simhash import ALIKE

SMALLINT: Final = 2**15 - 1

Newest = dict[tuple[int, int, bytes], Visit]


async def record_pages(
    session: Session, visits: Sequence[Visit], versions: Mapping[int, int]
) -> dict[tuple[int, int], int]:
    """Write down what the visits leave: newly stored pages by domain and crawl. *versions*: how many are kept, by crawl."""
    changed: Newest = {}
    seen_again: Newest = {}
    sitemaps: Newest = {}
    for visit in visits:
        key = visit.domain_id, visit.crawl_id, visit.url_hash
        if visit.kind is UrlKind.SITEMAP:
            sitemaps[key] = visit
        elif visit.settlement.outcome is Outcome.NOT_MODIFIED and visit.past.digest is not None:
            seen_again[key] = visit
        elif _leaves_page(visit):
            changed[key] = visit
    promised = await _promised(session, [*changed.values(), *seen_again.values()])
    if seen_again:
        await session.fetch("record_unchanged", *columns(map(_seen_row, seen_again.values()), 9))
    if sitemaps:
        await _sitemaps(session, sitemaps.values())
    new = await _changed(session, changed, versions) if changed else {}
    await _promises(session, promised)
    return new


async def _changed(
    session: Session, pages: Newest, versions: Mapping[int, int]
) -> dict[tuple[int, int], int]:
    old = [visit for visit in pages.values() if visit.crawl_id in versions and visit.past.digest is not None]
    if old:
        await session.fetch(
            "record_versions",
            *columns(
                (
                    (
                        v.domain_id,
                        v.crawl_id,
                        v.url_hash,
                        v.at,
                        v.digest,
                        versions[v.crawl_id],
                        _text_digest(v),
                    )
                    for v in old
                ),
                7,
            ),
        )
    targets = [
        (v.domain_id, v.crawl_id, v.url_hash, v.at, *v.targets)
        for v in pages.values()
        if v.targets is not None and v.targets[1]
    ]
    no_pages = [
        (v.domain_id, v.crawl_id, v.url_hash, v.at)
        for v in pages.values()
        if v.targets is not None and not v.targets[1]
    ]
    rows = await session.fetch("record_pages", *columns(map(_page_row, pages.values()), 25), ALIKE)
    if targets:
        await session.fetch("record_targets", *columns(targets, 6))
    if no_pages:
        await session.fetch("record_no_targets", *columns(no_pages, 4))
    if rows:
        await session.fetch("record_domain_pages", *columns(map(tuple, rows), 5))
    return {(row["domain_id"], row["crawl_id"]): row["n"] for row in rows}


async def _sitemaps(session: Session, visits: Iterable[Visit]) -> None:
    read, same = [], []
    for v in visits:
        if v.answer is None:
            continue
        etag, last_modified = _header(v.answer.header("etag")), _header(v.answer.header("last-modified"))
        if v.sitemap is not None:
            seen = v.sitemap
            read.append(
                (v.domain_id, v.crawl_id, v.url_hash, v.at, etag, last_modified, v.digest, seen.form, seen.urls, seen.taken,
                 clean(seen.detail))
            )  # fmt: skip
        elif v.settlement.outcome is Outcome.NOT_MODIFIED:
            same.append((v.domain_id, v.crawl_id, v.url_hash, v.at, etag, last_modified))
    if read:
        await session.fetch("record_sitemaps", *columns(read, 11))
    if same:
        await session.fetch("record_sitemaps_unchanged", *columns(same, 6))


async def _promised(session: Session, visits: Iterable[Visit]) -> list[Visit]:
    """The visits that show whether a sitemap kept its word, but for those that were written down before. Asked before they are now."""
    promised = {
        (v.domain_id, v.crawl_id, v.url_hash): v
        for v in visits
        if v.past.is_promised and v.changed is not None
    }
    if not promised:
        return []
    rows = await session.fetch("promises_open", *columns(((*key, v.at) for key, v in promised.items()), 4))
    return [promised[row["domain_id"], row["crawl_id"], row["url_hash"]] for row in rows]


async def _promises(session: Session, visits: Iterable[Visit]) -> None:
    promised, kept = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    for visit in visits:
        promised[visit.domain_id, visit.crawl_id] += 1
        kept[visit.domain_id, visit.crawl_id] += bool(visit.changed)
    if promised:
        rows = ((*key, n, kept[key]) for key, n in promised.items())
        await session.fetch("record_promises", *columns(rows, 4))


def _leaves_page(visit: Visit) -> bool:
    """A visit leaves a page when the site answered for good; what will be tried again leaves the last page as it is."""
    outcome = visit.settlement.outcome
    return visit.answer is not None and (
        outcome in (Outcome.OK, Outcome.REDIRECT, Outcome.GONE) or not visit.settlement.open
    )


def _text_digest(visit: Visit) -> bytes | None:
    return None if visit.page is None else visit.page.text_digest


def _seen_row(visit: Visit) -> tuple[object, ...]:
    answer = visit.answer
    if answer is None:
        raise AssertionError(visit.url)
    whole = answer.outcome is Outcome.OK
    return (
        visit.domain_id, visit.crawl_id, visit.url_hash, visit.at, answer.address, answer.protocol, _header(answer.header("etag")),
        _pairs(answer.headers) if whole else None, _header(answer.header("last-modified")),
    )  # fmt: skip


def _page_row(visit: Visit) -> tuple[object, ...]:
    answer, page = visit.answer, visit.page
    if answer is None:
        raise AssertionError(visit.url)
    kept = visit.digest is not None
    return (
        visit.domain_id, visit.crawl_id, visit.url_hash, visit.at, visit.settlement.outcome.value, small(answer.status),
        clean(visit.settlement.detail), answer.address, answer.protocol, _pairs(masked(answer.request_headers)), _pairs(answer.headers),
        ",".join(page.directives) if page else "", page.media_type if page else None, page.charset if page else None,
        page.title if page else None, page.language if page else None, visit.redirect_url,
        _header(answer.header("etag")), _header(answer.header("last-modified")),
        visit.size if kept else None, visit.digest, page.text_digest if page else None, page.gist if page else None, visit.fields,
        page.simhash if page else None,
    )  # fmt: skip


def small(number: int | None) -> int | None:
    """What fits the column: a number that does not would cost the whole batch."""
    return None if number is None else min(number, SMALLINT)


_NOT_STORABLE: Final = re.compile(r"\\u(?:0000|d[89a-f])")
"""A NUL or half of a surrogate pair as JSON writes it; also some that are none, which does no harm."""


def _pairs(headers: Sequence[tuple[str, str]]) -> str:
    text = json.dumps(headers)  # a list of pairs, and ASCII
    if _NOT_STORABLE.search(text) is None:
        return text
    return json.dumps([[clean(name), clean(value)] for name, value in headers])


def _header(value: str | None) -> str | None:
    return None if value is None else clean(value)
