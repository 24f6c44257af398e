"""What is missing or wrong on this machine, and with what it needs: measured, and judged by plain functions.

    settings ──► data folder or database ──► what it says of itself ──► RabbitMQ ──► name servers ──► this machine's limits

1. Nothing is made or changed: where no database is yet, it is only seen whether one could be made.
2. A finding says what is wrong and what to do; only what prevents crawling is WRONG.
3. No finding shows a password.
"""

from crawler.checking_broker import broker
from crawler.checking_database import database
from crawler.checking_machine import data_place, machine
from crawler.findings import Finding, Level
from crawler.hook_processes import Hooks
from crawler.opening import data_folder, has_cluster
from crawler.settings import Settings


async def check(settings: Settings) -> list[Finding]:
    """Look at everything, in order."""
    findings = [Finding("settings", Level.OK, "valid; `crawl settings` shows them"), user_agent(settings)]
    folder = data_folder(settings)
    if folder is not None:
        findings += data_place(folder, settings)
    if folder is None or has_cluster(folder):
        findings += await database(settings)
    return [*findings, *await broker(settings), *await machine(settings), *await hooks(settings)]


async def hooks(settings: Settings) -> list[Finding]:
    """Can the hooks that this machine's workers would call be loaded? Without any, there is nothing to say."""
    there = Hooks.of(settings)
    if not there.names:
        return []
    faults = await there.faults()
    if not faults:
        return [Finding("hooks", Level.OK, f"{', '.join(there.names)} can be loaded")]
    return [Finding("hooks", Level.WRONG, f"{name} cannot be loaded: {fault}") for name, fault in faults]


def user_agent(settings: Settings) -> Finding:
    """Can a webmaster reach us? On many machines a worker does not begin without."""
    if settings.contact or "@" in settings.user_agent or "://" in settings.user_agent:
        return Finding("user agent", Level.OK, settings.user_agent)
    text = f"{settings.user_agent} names no contact: set CRAWL_CONTACT to a URL or an e-mail address"
    if settings.database_url is None:
        return Finding("user agent", Level.NOTE, text)
    return Finding("user agent", Level.WRONG, f"{text}, without which `crawl worker` does not begin")
