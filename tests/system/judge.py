"""What many machines may not do, whatever befalls them: lose a page, hurry a domain, ask again for what was not cut off.

The web's own log is the witness, with the tables; what the workers say of themselves counts only where they admit a loss.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

from crawler.core.urls import domain_of
from crawler.demo.language import Site
from crawler.demo.server import Request, hurried
from tests.making import rows
from tests.system.machines import DELAY, Cut, Machines

LOST: Final = re.compile(r"turn\.lost +domain=(\S+)")
LONGEST_TURN: Final = 21
"""Requests of a turn: a second of pauses, and robots.txt."""


async def judge(hall: Machines, name: str, sites: Mapping[str, Site]) -> None:
    """Of this crawl of all pages of the sites nothing is lost, nobody was hurried, and only what was cut off was asked for again."""
    crawl_id = hall.crawls[name]
    stored = await rows(
        hall.database,
        "select u.url, u.outcome, p.outcome as kept from urls u left join pages p using (domain_id, crawl_id, url_hash)"
        " where crawl_id = $1",
        crawl_id,
    )
    counted = await rows(
        hall.database,
        "select outcome, sum(urls)::int as urls from crawl_counts where crawl_id = $1 group by 1 having sum(urls) <> 0",
        crawl_id,
    )
    held = await rows(hall.database, "select name, holder from domains where holder <> 'queue'")
    async with hall.queue() as queue:
        dead = await queue.dead_count()
    log = [one for one in hall.web.log if one.host in sites]
    wanted = {
        hall.web.url(host, path) for host, site in sites.items() for path in site if path != "/robots.txt"
    }

    assert [tuple(row) for row in stored if (row["outcome"], row["kept"]) != ("ok", "ok")] == []
    assert {row["url"] for row in stored} == wanted
    assert {row["outcome"]: row["urls"] for row in counted} == {"ok": len(wanted)}
    assert hurried(log, DELAY, _domain) == []
    assert repeated(log) - allowed(hall, log) == Counter(), told(hall, log)
    assert dead == 0
    assert held == []


def told(hall: Machines, log: list[Request]) -> str:
    """Of domains with more repeats than are admitted: every request, the turns that were cut off, and what workers said."""
    lines = []
    for domain in repeated(log) - allowed(hall, log):
        lines += [
            f"{one.began:.2f} {one.path} {one.headers['user-agent']}" for one in log if one.host == domain
        ]
        lines += [
            f"cut: {cut.machine.name} {cut.since:.2f} {cut.until:.2f}"
            for cut in hall.cuts
            if cut.domain == domain
        ]
        for machine in (*hall.alive, *hall.dead):
            lines += [f"{machine.name}: {line}" for line in machine.said.splitlines() if domain in line]
    return "\n".join(lines)


def repeated(log: list[Request]) -> Counter[str]:
    """Requests that were made again, by domain."""
    again = Counter[str]()
    for (host, _), times in Counter((one.host, one.path) for one in log).items():
        again[host] += times - 1
    return again


def allowed(hall: Machines, log: list[Request]) -> Counter[str]:
    """Requests that may have been made again, by domain: those of the turns that were cut off."""
    may = Counter[str]()
    for cut in hall.cuts:
        may[cut.domain] += sum(_belongs(one, cut) for one in log)
    taken_down = Counter((cut.machine.name, cut.domain) for cut in hall.cuts)
    # A worker that loses a turn because it could not renew its lease in time says so.
    for machine in (*hall.alive, *hall.dead):
        for name, times in Counter(LOST.findall(machine.said)).items():
            made = sum(one.host == name and machine.mark in one.headers["user-agent"] for one in log)
            may[name] += min(made, LONGEST_TURN * max(0, times - taken_down[machine.name, name]))
    # Between the last look at the clock and the system call that sends there is nothing but a moment: a frozen one sends on waking.
    for name in {cut.machine.name for cut in hall.cuts if cut.anywhere}:
        cuts = [cut for cut in hall.cuts if cut.machine.name == name]
        late = [one for one in log if any(_was_late(one, cut) for cut in cuts)]
        may.update(one.host for one in sorted(late, key=lambda one: one.began)[:1])
    return may


def _belongs(one: Request, cut: Cut) -> bool:
    return (
        one.host == cut.domain
        and cut.since < one.began < cut.until
        and cut.machine.mark in one.headers["user-agent"]
    )


def _was_late(one: Request, cut: Cut) -> bool:
    return one.host == cut.domain and one.began > cut.until and cut.machine.mark in one.headers["user-agent"]


def _domain(host: str) -> str:
    return domain_of(f"http://{host}/")
