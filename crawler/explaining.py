"""Everything that decides about a URL, in sentences: what `crawl why` says.

    URL ──► crawls, their scope ──► robots.txt ──► the domain and its pace ──► visits so far ──► refresh rule ──► the next one

1. Only what is stored is told: nobody is asked anything.
2. What would happen to a URL that was never seen is decided by the same code as for a link.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from crawler.adapters.crawls import Crawls
from crawler.adapters.origins import known_origins
from crawler.adapters.postgres import Database
from crawler.announcing import UNREAD, reads_sitemaps
from crawler.core.model import Crawl, CrawlState, UrlKind
from crawler.core.politeness import Pace, pace
from crawler.core.robots import product_token
from crawler.core.robots_record import RobotsRecord, effective, needs_fetch
from crawler.core.scope import UNIT, KeySet, Scope, candidate_keys, scope_key
from crawler.core.simhash import ALIKE
from crawler.core.urls import domain_id, domain_of, origin_of, path_of, url_hash
from crawler.endings import budget_words, final_words, meaning, patience_words, sitemap_meaning
from crawler.phrases import at, count, relative, span
from crawler.revisiting import how_next, last_change, ready_at, sitemap_read
from crawler.settings import Settings

MOST_SEEDS: Final = 1000
"""Seeds of the domain among which the one is sought that brought the URL into scope."""
MOST_VISITS: Final = 10
PARTS: Final = ("known", "scope", "robots", "domain", "visits", "outcome", "refresh", "next")
"""Of `Reasons`, in the order in which they are told."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One of the things that decide, in words and for a program."""

    words: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reasons:
    """What one crawl makes of the URL."""

    crawl: Crawl
    known: Verdict
    scope: Verdict
    robots: Verdict
    domain: Verdict
    visits: Verdict
    outcome: Verdict
    refresh: Verdict
    next: Verdict


async def reasons(database: Database, settings: Settings, url: str, crawl: Crawl) -> Reasons:
    """What decides about a canonical URL in a crawl."""
    domain = domain_of(url)
    number, digest = domain_id(domain), url_hash(url)
    now = await database.ask("select now()")
    row = next(
        (r for r in await database.fetch("find_url", number, digest) if r["crawl_id"] == crawl.crawl_id), None
    )
    keys = KeySet(await Crawls(database).keys(crawl.crawl_id))
    seeds = await database.fetch("seeds_of_domain", number, crawl.crawl_id, MOST_SEEDS)
    asked_of = number, origin_of(url)
    record = (await known_origins(database, [asked_of])).get(asked_of)
    token = product_token(crawl.user_agent or settings.user_agent)
    fetches = await database.fetch("url_fetches", number, digest, crawl.crawl_id, MOST_VISITS)
    budget = await database.row("domain_budget", number, crawl.crawl_id)
    is_sitemap = row is not None and row["kind"] == UrlKind.SITEMAP
    if is_sitemap:
        kept = await database.row("sitemap_known", number, crawl.crawl_id, digest)
    else:
        kept = await database.row("page_likeness", number, crawl.crawl_id, digest, ALIKE)
    retiming = bool(await database.value("retiming", crawl.crawl_id))
    asked = row is not None and bool(fetches) and fetches[0]["outcome"] == row["outcome"]
    status = fetches[0]["status"] if asked else None
    standing = await database.row("find_domain", number)
    scope = (
        _sitemap_scope(crawl)
        if is_sitemap
        else _scope(url, crawl, row, keys, [seed["url"] for seed in seeds])
    )
    robots = _robots(url, record, token, now)
    if domain in crawl.owned_domains:
        words = f"ignored: {domain} is the operator's own (--ignore-robots --i-own {domain})"
        robots, record = Verdict(words, {"allowed": True, "reason": words}), None
    delay = None if record is None else effective(record, now, token).rules.crawl_delay
    return Reasons(
        crawl,
        _known(row, now),
        scope,
        robots,
        _domain(
            domain, standing, _pace(crawl, standing, settings, delay), crawl.max_pages_per_domain, budget
        ),
        _visits(row, fetches, now),
        _outcome(row, status, kept, now),
        Verdict(*how_next(crawl.refresh, row, kept, budget, now, retiming=retiming)),
        _expected(crawl, scope, robots) if row is None else _next(crawl, row, status, now),
    )


def _known(row: Any, now: datetime) -> Verdict:
    if row is None:
        return Verdict("this crawl has never seen it, neither as a seed nor as a link", {"known": False})
    source = row["found_url"]
    if row["kind"] == UrlKind.SITEMAP:
        words = "it is a sitemap or a feed, and no page: " + (
            f"the index {source} names it" if row["depth"] else f"it was found with {source or 'robots.txt'}"
        )
    elif row["seed"]:
        words = "it is a seed: it was asked for by name"
        if source:
            words = f"it is what a seed, {source}, redirects to: it counts as a seed itself"
    elif row["found_hash"] is None:
        words = "it was imported, as visited elsewhere (`crawl import --seen`)"
    else:
        by = "a redirect of" if row["hops"] else "a link on"
        words = f"it was found as {by} {source or 'a page that is no longer known'}"
        words += f", {count(row['depth'], 'link')} from a seed"
    facts = {
        "known": True, "kind": row["kind"], "seed": row["seed"], "found_on": source, "found_at": row["found_at"].isoformat(),
        "depth": row["depth"], "hops": row["hops"],
    }  # fmt: skip
    return Verdict(f"{words} ({at(row['found_at'], now)})", facts)


def _scope(url: str, crawl: Crawl, row: Any, keys: Collection[int], seeds: Sequence[str]) -> Verdict:
    """The rule, and where it comes from. For a URL never seen: were it a link of a seed."""
    rule = f"--scope {crawl.scope}"
    seed = row is not None and row["seed"]
    depth = 0 if seed else 1 if row is None else row["depth"]
    refusal = Scope.of(crawl, keys).refusal(url, depth)
    near = next(
        (one for one in seeds if scope_key(crawl.scope, one) in set(candidate_keys(crawl.scope, url))), None
    )
    facts = {"allowed": refusal is None, "rule": rule, "refusal": refusal, "because_of": near}
    if refusal is not None:
        return Verdict(f"refused: {refusal} (a rule of crawl {crawl.name}, which has {rule})", facts)
    if seed:
        return Verdict("allowed: a seed is always in scope unless --exclude names it", facts)
    unit = UNIT[crawl.scope](url)
    why = f"{unit} is the {crawl.scope} of {near or 'a seed'}" if unit else "every link is followed"
    if crawl.scope == "prefix":
        why = f"it lies below the folder of {near or 'a seed'}"
    narrowed = "".join(f", and --include {one}" for one in crawl.include)
    return Verdict(f"allowed by {rule}: {why}{narrowed}", facts)


def _sitemap_scope(crawl: Crawl) -> Verdict:
    refusal = None if reads_sitemaps(crawl) else UNREAD
    words = "allowed: sitemaps are read, and what they name is followed if it is in scope"
    facts = {
        "allowed": refusal is None,
        "rule": f"--scope {crawl.scope}",
        "refusal": refusal,
        "because_of": None,
    }
    return Verdict(words if refusal is None else f"refused: {refusal}", facts)


def _robots(url: str, record: RobotsRecord | None, token: str, now: datetime) -> Verdict:
    where = f"{origin_of(url)}/robots.txt"
    if record is None or record.fetched_at is None:
        words = f"{where} has not been asked for yet; it is, before anything else of that origin"
        return Verdict(
            words, {"allowed": None, "url": where, "line": None, "line_number": None, "reason": words}
        )
    standing = effective(record, now, token)
    ruling = standing.rules.ruling(path_of(url))
    fetched = f"asked for {at(record.fetched_at, now)}"
    if record.expires_at is not None:
        again = "before the next page" if needs_fetch(record, now) else relative(record.expires_at, now)
        fetched += f"; asked for again {again}"
    if ruling.line is not None:
        says = "allowed" if ruling.allowed else "disallowed"
        words = (
            f'{says} by line {ruling.line_number} of {where}, "{ruling.line}", in the group "{ruling.group}"'
        )
    elif not ruling.allowed:
        words = f"disallowed: {standing.reason}"
    elif not record.body:
        empty = record.status is not None and record.status < 300  # noqa: PLR2004 - 2xx
        words = f"allowed: {where} {'is empty' if empty else record.detail}, so there are no rules"
    elif ruling.group is None:
        words = f"allowed: {where} says nothing to {token}, nor to everybody"
    else:
        words = f'allowed: no line of {where} in the group "{ruling.group}" matches'
    facts = {
        "allowed": ruling.allowed, "url": where, "line": ruling.line, "line_number": ruling.line_number,
        "group": ruling.group, "reason": standing.reason, "fetched_at": record.fetched_at.isoformat(),
        "status": record.status,
        "expires_at": None if record.expires_at is None else record.expires_at.isoformat(),
    }  # fmt: skip
    return Verdict(f"{words} ({fetched})", facts)


def _pace(crawl: Crawl, row: Any, settings: Settings, robots_delay: float | None) -> Pace:
    """How fast the crawl would visit the domain now, were no other crawl at it."""
    by_hand = None if row is None else row["delay_by_hand"]
    return pace(
        setting_delay=settings.delay,
        crawl_delays=[crawl.delay],
        by_hand=None if by_hand is None else by_hand.total_seconds(),
        robots_delay=robots_delay,
        max_crawl_delay=settings.max_crawl_delay,
        per_domain=crawl.per_domain or settings.per_domain,
        by_hand_slots=None if row is None else row["concurrency_by_hand"],
    )


def _domain(name: str, row: Any, pause: Pace, most: int | None, budget: Any) -> Verdict:
    words = [f"{name} is left alone for {span(pause.delay)} after each answer ({pause.cause})"]
    facts: dict[str, Any] = {
        "name": name,
        "delay": pause.delay,
        "delay_cause": pause.cause,
        "slots": pause.slots,
        "pages": 0,
    }
    words += budget_words(budget, most)
    if budget is not None:
        facts |= {name: budget[name] for name in ("pages", "fresh", "alike", "room")}
    if row is not None:
        words += _standing(row)
        facts |= {
            "blocked": row["blocked"], "holder": row["holder"], "failures": row["failures"],
            "throttled": row["throttled"], "waits_for": row["waits_for"],
            "ready_at": _finite(row["ready_at"]),
            "visited_at": None if row["visited_at"] is None else row["visited_at"].isoformat(),
            "address": None if row["address"] is None else str(row["address"]),
        }  # fmt: skip
    return Verdict("; ".join(words), facts)


def _standing(row: Any) -> list[str]:
    now, words = row["now"], []
    if row["blocked"] is not None:
        words.append(f"it is blocked: {row['blocked']}")
    if row["visited_at"] is not None:
        words.append(f"last visited {relative(row['visited_at'], now)}")
    if row["failures"]:
        words.append(f"nothing was answered in the last {count(row['failures'], 'turn')}")
    if row["holder"] == "queue":
        words.append("a turn of it is in the queue")
    elif row["holder"] is not None and ready_at(row) > now:
        words.append(f"worker {row['holder']} is visiting it")
    elif ready_at(row) > now:
        cause = f" ({row['waits_for']})" if row["waits_for"] else ""
        words.append(f"it rests, and bears a visit {relative(ready_at(row), now)}{cause}")
    return words


def _visits(row: Any, fetches: Sequence[Any], now: datetime) -> Verdict:
    told = [
        {name: one[name] for name in ("outcome", "status", "bytes", "ms", "detail")}
        | {"at": one["at"].isoformat()}
        for one in fetches
    ]
    own = {name: None if row is None else row[name] for name in ("outcome", "detail", "attempts")}
    facts: dict[str, Any] = own | {"fetches": told}
    lines = []
    if row is not None and row["outcome"] and not (fetches and fetches[0]["outcome"] == row["outcome"]):
        lines.append(f"{_ending(row['outcome'], None, row['detail'])}, without asking the site")
    for one in fetches:
        ending = _ending(one["outcome"], one["status"], one["detail"])
        lines.append(f"{at(one['at'], now)}: {ending} in {one['ms']:,} ms, {count(one['bytes'], 'byte')}")
    if row is not None and row["attempts"] > 1:
        lines.append(f"it has failed {count(row['attempts'], 'time')} in a row")
    return Verdict("\n".join(lines) or "none so far", facts)


def _ending(outcome: str, status: int | None, detail: str) -> str:
    return outcome + (f" {status}" if status is not None else "") + (f" ({detail})" if detail else "")


def _outcome(row: Any, status: int | None, kept: Any, now: datetime) -> Verdict:
    """What its last outcome means, and since when the page says what it says."""
    if row is None:
        return Verdict("none, for it was never visited", {"alike": 0, "nearly": 0})
    if row["kind"] == UrlKind.SITEMAP:
        words, facts = sitemap_read(kept, now)
        return Verdict(f"{sitemap_meaning(row['outcome'], status, row['detail'])}; {words}", facts)
    changes, facts = last_change(kept, now)
    words = "; ".join([meaning(row["outcome"], status, row["detail"], kept), *changes])
    others = {name: 0 if kept is None else kept[name] for name in ("alike", "nearly")}
    return Verdict(words, {**others, **facts})


def _next(crawl: Crawl, row: Any, status: int | None, now: datetime) -> Verdict:
    """When the next visit of a known URL is, and what it hangs on."""
    due = row["due_at"]
    if due is None:
        return Verdict(f"never, {final_words(row, status, crawl.refresh)}", {"next_at": None})
    ready = max(due, ready_at(row))
    facts = {"next_at": ready.isoformat() if row["blocked"] is None else None}
    if row["blocked"] is not None:
        return Verdict(f"not while the domain is blocked ({row['blocked']})", {"next_at": None})
    if crawl.state is not CrawlState.RUNNING:
        until = "run again" if crawl.is_left or crawl.state is CrawlState.FINISHED else "resumed"
        if crawl.state is CrawlState.FINISHED and row["open"]:  # finished, and yet open: a budget is used up
            if crawl.max_pages:
                until += f" with more than --max-pages {crawl.max_pages}"
            elif crawl.max_bytes:
                until += " with more --max-bytes"
        stopped = "whose run has ended" if crawl.is_left else f"which is {crawl.state}"
        words = f"not before the crawl, {stopped}, is {until}"
        return Verdict(f"{words}; then {_when(ready, now)}", {"next_at": None})
    if row["holder"] is not None and ready_at(row) > now:
        return Verdict("now: its domain is queued or being visited", {"next_at": now.isoformat()})
    tries = patience_words(row["outcome"], status, row["attempts"]) if row["outcome"] else ""
    why = "the domain rests until then" if ready_at(row) > due else ""
    return Verdict(", ".join(filter(None, (_when(ready, now), ready > now and why, tries))), facts)


def _when(ready: datetime, now: datetime) -> str:
    return "as soon as a worker is free" if ready <= now else at(ready, now)


def _expected(crawl: Crawl, scope: Verdict, robots: Verdict) -> Verdict:
    """What would become of a URL that was never seen."""
    if not scope.facts["allowed"]:
        words = "a link to it would not be followed"
    elif crawl.max_depth:
        words = (
            f"a link to it would be followed, if it is at most {count(crawl.max_depth, 'link')} from a seed"
        )
    else:
        words = "a link to it would be followed"
    if scope.facts["allowed"] and robots.facts["allowed"] is False:
        words += ", and then refused for robots.txt"
    elif scope.facts["allowed"] and robots.facts["allowed"] is None:
        words += ", if robots.txt allows"
    return Verdict(words, {"next_at": None})


def _finite(moment: datetime) -> str | None:
    """ISO 8601; None for minus infinity, which asyncpg gives as the year 1."""
    return moment.isoformat() if moment.year > 1 else None
