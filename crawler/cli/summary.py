"""How a run ended, for people and for programs."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from crawler.core.model import CrawlState
from crawler.crawling import Summary
from crawler.phrases import count, size, span


def as_dict(summary: Summary, place: str) -> dict[str, Any]:
    """The summary as JSON has it. Times are seconds, sizes bytes."""
    return {
        "crawl": summary.crawl.name,
        "state": summary.crawl.state.value,
        "interrupted": summary.interrupted,
        "pages": summary.pages,
        "requests": summary.requests,
        "seconds": round(summary.seconds, 3),
        "pages_per_second": round(_rate(summary), 1),
        "bytes": summary.wire_bytes,
        "cpu_seconds": round(summary.cpu_seconds, 3),
        "outcomes": outcomes(summary.totals),
        "waiting": [
            {"domain": row["name"], "urls": row["urls"], "next_at": row["next_at"].isoformat() if row["next_at"] else None,
             "outcome": row["outcome"], "why": row["blocked"] or row["waits_for"]}
            for row in _waiting(summary)
        ],
        "buried": summary.buried,
        "data": place,
    }  # fmt: skip


def as_text(summary: Summary, place: str, option: str) -> str:
    """The summary as a person reads it, with what to do next."""
    name = summary.crawl.name
    counts = outcomes(summary.totals)
    stored = counts.get("ok", 0) + counts.get("not_modified", 0)
    lines = [f"{_headline(summary)}: {count(stored, 'page')} stored in crawl {name}"]
    if summary.requests:
        lines.append(
            f"  this run   {count(summary.pages, 'new page')}, {count(summary.requests, 'request')}, "
            f"{size(summary.wire_bytes)} in {summary.seconds:.1f} s: {_pace(summary)}"
        )
    lines.append(
        "  outcomes   "
        + (", ".join(f"{n:,} {outcome or 'not visited'}" for outcome, n in counts.items()) or "none")
    )
    waiting = () if summary.interrupted else _waiting(summary)
    lines += [
        f"  waiting    {count(row['urls'], 'URL')} of {row['name']}, {_when(row)}" for row in waiting[:3]
    ]
    if len(waiting) > len(waiting[:3]):
        lines.append("  waiting    and more: see `crawl status`")
    if summary.buried:
        lines.append(
            f"  buried     {count(summary.buried, 'URL')} whose visits killed every worker: `crawl dead list{option}` tells more"
        )
    if not summary.seeds_stored and not summary.interrupted:
        lines += [_failed_seed(row) for row in summary.seeds_failed]
    lines.append(f"  data       {place}")
    again = (
        "the same command goes on"
        if summary.interrupted or waiting
        else f"crawl resume {name}{option}"
        if summary.crawl.state in (CrawlState.PAUSED, CrawlState.CANCELLED)
        else f"`crawl why {summary.seeds_failed[0]['url']}{option}` tells more"
        if not stored and summary.seeds_failed
        else f"crawl export {name}{option} -o {name}.jsonl"
    )
    lines.append(f"  next       {again}")
    return "\n".join(lines)


def _waiting(summary: Summary) -> Sequence[Any]:
    """What still waits, by domain. What a crawl with a full budget has left does not wait: it is over."""
    return summary.waiting if summary.crawl.state is CrawlState.RUNNING else ()


def _failed_seed(row: Any) -> str:
    why = f": {row['detail']}" if row["detail"] else ""
    return f"  no seed    {row['url']}: {row['outcome'] or 'not visited'}{why}"


def outcomes(totals: Any) -> dict[str, int]:
    """URLs by outcome; '' is: none yet."""
    return {row["outcome"]: row["urls"] for row in totals if row["urls"]}


def _rate(summary: Summary) -> float:
    return summary.pages / summary.seconds if summary.seconds else 0.0


def _pace(summary: Summary) -> str:
    """How fast it went; a run that only looked again has no new pages to count."""
    if summary.pages or not summary.seconds:
        return f"{_rate(summary):.1f} pages/s"
    return f"{summary.requests / summary.seconds:.1f} requests/s"


def _headline(summary: Summary) -> str:
    if summary.interrupted:
        return "interrupted"
    if summary.crawl.state is CrawlState.FINISHED:
        return "done"
    if not summary.requests and not summary.new_seeds:
        return "nothing to do now"
    return "done for now" if summary.crawl.state is CrawlState.RUNNING else summary.crawl.state.value


def _when(row: Any) -> str:
    why = row["blocked"] or row["waits_for"] or row["outcome"] or ""
    if row["next_at"] is None:
        return f"blocked: {why}"
    seconds = (row["next_at"] - datetime.now(UTC)).total_seconds()
    return f"next in {span(max(0.0, seconds))}" + (f" ({why})" if why else "")
