"""No request reaches a private address, however it is led there: each attack in a world where every address would answer.

The same spellings and names are let loose once more from here, where loopback is all there is to reach.
"""

from typing import Any

import pytest

from crawler.adapters.dns import Resolver
from crawler.core.addresses import AddressPolicy
from crawler.core.model import Outcome
from crawler.core.urls import canonical
from crawler.demo.names import NameServer
from tests.adapters import anyip
from tests.adapters.anyip import PUBLIC, REBINDS, Row
from tests.adapters.attacks import HOME_NAMES, LOOPBACK, NONSENSE, OTHERS, PRIVATE
from tests.adapters.browsing import anything, browser
from tests.adapters.servers import Site, response

SPELLED = (*LOOPBACK, *OTHERS, *(f"[{one}]" if ":" in one else one for one in PRIVATE))


@pytest.fixture(scope="module")
def world() -> dict[str, dict[str, Row]]:
    """What came of every attack: by its kind, then by what it was made with."""
    if not anyip.possible():
        pytest.skip("no network namespace of our own can be made here")
    rows: dict[str, dict[str, Row]] = {}
    for row in anyip.attack():
        rows.setdefault(row[0], {})[row[1]] = row[2:]
    return rows


def harmed(rows: dict[str, Row]) -> dict[str, Row]:
    """What reached anybody, was not refused, or says nothing about why."""
    return {
        what: row for what, row in rows.items() if row[0] != Outcome.ADDRESS_REFUSED or not row[1] or row[2]
    }


@pytest.mark.parametrize(
    "kind", ["link", "redirect", "https", "link through a proxy", "https through a proxy"]
)
def test_no_spelling_reaches_a_private_address(world: dict[str, Any], kind: str) -> None:
    """Each spelling of a private address is refused with a reason, and nobody is connected to, not even a proxy."""
    rows = {what: row for what, row in world[kind].items() if what in SPELLED}

    assert harmed(rows) == {}
    assert set(rows) == set(SPELLED)


@pytest.mark.parametrize("kind", ["as it comes", "as it comes through a proxy"])
def test_no_spelling_as_it_comes(world: dict[str, Any], kind: str) -> None:
    """A spelling that was not brought into its canonical form first leads nowhere either, and no proxy is asked what it means."""
    rows = {what: row for what, row in world[kind].items() if what in SPELLED}

    assert harmed(rows) == {}
    assert set(rows) == set(SPELLED)


def test_what_is_no_address_reaches_nobody_private(world: dict[str, Any]) -> None:
    """Nonsense that other parsers may take for an address is no URL, no name, or the public host in front of it."""
    rows = {what: row for kind in ("link", "redirect", "https") for what, row in world[kind].items()}
    reached = {what: row[2] for what, row in rows.items() if what in NONSENSE and row[2]}

    assert {address for addresses in reached.values() for address in addresses} <= {
        *PUBLIC,
        "93.184.215.14 port 80",
    }


@pytest.mark.parametrize("kind", ["name", "alias", "hosts file"])
def test_no_name_leads_to_a_private_address(world: dict[str, Any], kind: str) -> None:
    """A name that leads to a private address, by DNS, through an alias or in the hosts file, is refused."""
    assert harmed(world[kind]) == {}
    assert set(world[kind]) == set(PRIVATE)


def test_names_of_this_machine(world: dict[str, Any]) -> None:
    """Localhost is refused in every spelling."""
    assert harmed(world["home"]) == {}
    assert set(world["home"]) == set(HOME_NAMES)


def test_of_a_mixed_answer_only_the_public_is_used(world: dict[str, Any]) -> None:
    """Of a name with public and private addresses only a public one is connected to."""
    rows = {tuple(row[2]) for row in world["mixed name"].values()}

    assert rows <= {(PUBLIC[0],), (PUBLIC[1],)}
    assert {row[0] for row in world["mixed name"].values()} == {Outcome.OK}


def test_private_is_no_second_choice(world: dict[str, Any]) -> None:
    """When nobody is at the public address of a name, its private one is not tried instead."""
    rows = world["mixed name with nobody at the public one"].values()

    assert {(row[0], tuple(row[2])) for row in rows} == {(Outcome.CONNECT_ERROR, ())}


def test_rebinding(world: dict[str, Any]) -> None:
    """A name that was public and is private at the next request is refused then."""
    before = world["before rebinding"]

    assert {(row[0], *row[2]) for row in before.values()} == {(Outcome.OK, PUBLIC[0])}
    assert harmed(world["rebinding"]) == {}
    assert set(world["rebinding"]) == set(REBINDS)


def test_the_public_is_reached(world: dict[str, Any]) -> None:
    """The canary does see who comes to a public address: it is not deaf."""
    assert {what: (row[0], row[2]) for what, row in world["public"].items()} == {
        address: (Outcome.OK, [address]) for address in PUBLIC
    }


@pytest.mark.parametrize("kind", ["port", "redirect to port"])
def test_ports(world: dict[str, Any], kind: str) -> None:
    """Of ports, 80 and those above 1023 are connected to, but not those that browsers block."""
    outcomes = {what: row[0] for what, row in world[kind].items()}
    ok, refused = Outcome.OK, Outcome.ADDRESS_REFUSED

    assert outcomes == {
        "22": refused, "25": refused, "80": ok, "3306": ok, "6000": refused, "6667": refused, "8000": ok, "10080": refused,
    }  # fmt: skip
    assert not any(row[2] for row in world[kind].values() if row[0] == refused)


@pytest.mark.parametrize("kind", ["allowed", "allowed by name"])
def test_allowing_opens_exactly_that(world: dict[str, Any], kind: str) -> None:
    """A network allowed by name is reached, and neither its neighbours nor other spellings of its addresses are."""
    rows = world[kind]
    opened = {what: row[2] for what, row in rows.items() if row[0] == Outcome.OK}

    assert opened == {"10.1.2.3": ["10.1.2.3"], "::1": ["::1"]}
    assert harmed({what: row for what, row in rows.items() if what not in opened}) == {}


@pytest.mark.parametrize("spelling", [*LOOPBACK, *OTHERS])
async def test_no_spelling_reaches_loopback(spelling: str) -> None:
    """On this machine, too, each spelling is refused without a connection."""
    async with (
        Site(response(), address="0.0.0.0") as canary,
        browser(policy=AddressPolicy()) as web,
    ):
        url = canonical(f"http://{spelling}:{canary.port}/")
        assert url is not None
        answer = await web.get(url, accept_type=anything)

        assert answer.outcome is Outcome.ADDRESS_REFUSED
        assert answer.detail
        assert canary.connections == 0


async def test_an_ipv6_answer_that_is_ipv4() -> None:
    """A name whose IPv6 address is 127.0.0.1 in other words is refused, and the canary there sees nobody."""
    async with Site(response()) as canary, NameServer({"evil.test": ["::ffff:7f00:1"]}) as server:
        resolver = Resolver(servers=[server.where], hosts_file=None, ipv6=True)
        async with browser(policy=AddressPolicy(), resolver=resolver) as web:
            answer = await web.get(canary.url(host="evil.test"), accept_type=anything)
        await resolver.close()

        assert answer.outcome is Outcome.ADDRESS_REFUSED
        assert "IPv4-mapped loopback" in answer.detail
        assert canary.connections == 0
