"""The API: domains."""

from typing import Final

from fastapi import APIRouter

from crawler.adapters.domains import Domains, Tuning
from crawler.core.urls import domain_named
from crawler.dashboard import domain_facts
from crawler.dashboard.asked import Answers, AtDesk, Block, DomainPath, Pace
from crawler.dashboard.deeds import Blocked
from crawler.dashboard.models import DomainFull, DomainTops, Trouble

router = APIRouter(prefix="/domains", tags=["domains"])
NOT_KNOWN: Final[Answers] = {404: {"model": Trouble, "description": "Nothing is known of that domain."}}


@router.get("", summary="List the domains to look at")
async def tops(desk: AtDesk) -> DomainTops:
    """The slowest and the most failing domains of late, and those of which most is waiting."""
    return await domain_facts.domain_tops(desk)


@router.get("/{name}", summary="Show a domain", responses=NOT_KNOWN)
async def show(desk: AtDesk, name: DomainPath) -> DomainFull:
    """Its state, its pause, its robots.txt, what each crawl has of it, and what went wrong last."""
    return await domain_facts.domain_full(desk, domain_named(name))


@router.patch("/{name}", summary="Set the pace of a domain", responses=NOT_KNOWN)
async def tune(desk: AtDesk, name: DomainPath, wanted: Pace) -> DomainFull:
    """It reaches turns at work before their next request, and replaces what settings and crawls say, in both directions.

    The crawl-delay of a robots.txt still counts. A domain that was never seen may be set too.
    """
    domain = domain_named(name)
    given = wanted.model_fields_set
    tuning = Tuning(
        delay=(wanted.seconds(),) if "delay" in given else None,
        concurrency=(wanted.per_domain,) if "per_domain" in given else None,
    )
    if tuning != Tuning():
        await Domains(desk.database).tune(domain, tuning)
    return await domain_facts.domain_full(desk, domain)


@router.post("/{name}/block", summary="Block a domain")
async def block(desk: AtDesk, name: DomainPath, wanted: Block) -> Blocked:
    """Visit it no more, also if it was never seen. It reaches turns at work before their next request."""
    domain = domain_named(name)
    new = await Domains(desk.database).block([domain], wanted.reason)
    return Blocked(domain=domain, blocked=wanted.reason, changed=bool(new))


@router.post("/{name}/unblock", summary="Unblock a domain")
async def unblock(desk: AtDesk, name: DomainPath) -> Blocked:
    """Visit it again. A domain that is not blocked stays so."""
    domain = domain_named(name)
    changed = await Domains(desk.database).unblock(domain)
    return Blocked(domain=domain, blocked=None, changed=changed)
