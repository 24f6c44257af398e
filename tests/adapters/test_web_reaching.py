"""One GET, and the way to the server: names, addresses, ports, TLS."""

import asyncio
import socket
import ssl
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import pytest
import trustme

from crawler.adapters.connecting import SocketsExhaustedError
from crawler.adapters.dns import DnsError, Resolution, Resolver
from crawler.core.addresses import AddressPolicy
from crawler.core.model import Outcome
from tests.adapters.browsing import (
    Names,
    anything,
    brief,
    browser,
)
from tests.adapters.servers import LOOPBACK, NXDOMAIN, NameServer, Site, response

pytest_plugins = ["tests.adapters.loops"]
BOTH_LOOPS = True


async def test_nobody_listens() -> None:
    """A refused connection is a connect error."""
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        url = f"http://{LOOPBACK}:{taken.getsockname()[1]}/"
        async with browser() as web:
            answer = await web.get(url, accept_type=anything)

    assert brief(answer) == (Outcome.CONNECT_ERROR, "connection refused")
    assert answer.address is None


async def test_another_address_is_tried() -> None:
    """When one address of a name refuses, the next one is used."""
    async with Site(response()) as site, browser(resolver=Names("127.0.0.9", LOOPBACK)) as web:
        answer = await web.get(site.url(host="site.test"), accept_type=anything)

    assert (answer.outcome, answer.address) == (Outcome.OK, LOOPBACK)


async def test_our_own_lack_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """When this machine can open no more sockets, that is no outcome of the site's."""

    def exhausted(*_: Any) -> socket.socket:
        raise OSError(24, "Too many open files")

    async with browser() as web:
        monkeypatch.setattr(web._connector, "_gate", exhausted)
        with pytest.raises(SocketsExhaustedError, match="ulimit"):
            await web.get(f"http://{LOOPBACK}:8080/", accept_type=anything)


@pytest.mark.parametrize(("records", "detail"), [(NXDOMAIN, "no such name"), ([], "the name has no address")])
async def test_no_address(records: Any, detail: str) -> None:
    """A name without an address is a DNS error that says why."""
    async with NameServer({"site.test": records}) as server:
        resolver = Resolver(servers=[server.where], hosts_file=None)
        async with browser(resolver=resolver) as web:
            answer = await web.get("http://site.test/", accept_type=anything)
        await resolver.close()

    assert brief(answer) == (Outcome.DNS_ERROR, detail)
    assert [name for name, _ in answer.phases] == ["dns"]


STRICT: Final = AddressPolicy()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
        "0.0.0.0",
        "127.1",
    ],
)
async def test_private_literals(host: str) -> None:
    """A literal that is not public is refused without asking DNS or making a socket."""
    names = Names("192.0.2.1")
    async with browser(policy=STRICT, resolver=names) as web:
        answer = await web.get(f"http://{host}:8080/", accept_type=anything)

    assert answer.outcome is Outcome.ADDRESS_REFUSED
    assert answer.detail
    assert names.asked == []


async def test_a_name_of_a_private_address() -> None:
    """A name that leads to private addresses alone is refused, and says where it led."""
    async with Site(response()) as site, browser(policy=STRICT, resolver=Names(LOOPBACK, "10.1.2.3")) as web:
        answer = await web.get(site.url(host="site.test"), accept_type=anything)

    assert brief(answer) == (Outcome.ADDRESS_REFUSED, "127.0.0.1: loopback, 10.1.2.3: private")
    assert site.connections == 0


async def test_private_addresses_among_others() -> None:
    """Of the addresses of a name only those allowed are connected to."""
    only = AddressPolicy(allowed=(ip_network("127.0.0.2/32"),))
    async with (
        Site(response()) as private,
        Site(response(), address="127.0.0.2", port=private.port) as allowed,
        browser(policy=only, resolver=Names(LOOPBACK, "127.0.0.2")) as web,
    ):
        answer = await web.get(private.url(host="site.test"), accept_type=anything)

    assert (answer.outcome, answer.address) == (Outcome.OK, "127.0.0.2")
    assert (private.connections, allowed.connections) == (0, 1)


async def test_a_rebinding_name() -> None:
    """A name that turns private after its first answer gains nothing by it."""
    only = AddressPolicy(allowed=(ip_network("127.0.0.2/32"),))
    names = Names("127.0.0.2")
    async with (
        Site(response(headers=["Connection: close"]), address="127.0.0.2") as site,
        Site(response(b"secret"), port=site.port) as private,
        browser(policy=only, resolver=names) as web,
    ):
        first = await web.get(site.url(host="evil.test"), accept_type=anything)
        names.addresses = (LOOPBACK,)
        second = await web.get(site.url(host="evil.test"), accept_type=anything)

    assert (first.outcome, second.outcome) == (Outcome.OK, Outcome.ADDRESS_REFUSED)
    assert private.connections == 0


async def test_the_last_gate() -> None:
    """An address is looked at again when its socket is made: nothing in between can slip one in."""

    class Wavering:
        asked = 0

        def refusal(self, _address: str) -> str | None:
            self.asked += 1
            return None if self.asked == 1 else "changed"

        def port_refusal(self, _port: int) -> str | None:
            return None

    async with Site(response()) as site, browser(policy=Wavering()) as web:
        answer = await web.get(site.url(), accept_type=anything)

    assert brief(answer) == (Outcome.ADDRESS_REFUSED, "127.0.0.1: changed")
    assert site.connections == 0


@pytest.mark.parametrize("port", [0, 22, 25, 81, 1023])
async def test_ports(port: int) -> None:
    """Ports below 1024 other than 80 and 443 are refused."""
    async with browser() as web:
        answer = await web.get(f"http://{LOOPBACK}:{port}/", accept_type=anything)

    refused = f"port {port} is not one of the ports that may be connected to"
    assert brief(answer) == (Outcome.ADDRESS_REFUSED, refused)


@pytest.mark.parametrize(
    "url", ["ftp://site.test/", "/path", "http://", "http://site.test:99999/", "http://["]
)
async def test_unspeakable_urls(url: str) -> None:
    """What is no URL that can be asked for is refused, and stops nothing."""
    async with browser() as web:
        answer = await web.get(url, accept_type=anything)

    assert answer.outcome is Outcome.ADDRESS_REFUSED
    assert "URL" in answer.detail


async def test_localhost_is_refused() -> None:
    """The name localhost leads home, where nobody is let in."""
    resolver = Resolver(servers=[(LOOPBACK, 9)], hosts_file=None)
    async with browser(policy=STRICT, resolver=resolver) as web:
        answer = await web.get("http://localhost:8080/", accept_type=anything)
    await resolver.close()

    assert answer.outcome is Outcome.ADDRESS_REFUSED


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that nobody knows but this test."""
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    """The authority's certificate, for TLS_CA_FILE."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def certified(authority: trustme.CA, *names: str, **options: Any) -> ssl.SSLContext:
    """What a server of these names needs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **options).configure_cert(context)
    return context


async def test_tls(authority: trustme.CA, ca_file: Path) -> None:
    """A certificate of a known authority is good, by name and by address, and connections are kept; the handshake is timed apart."""
    tls = certified(authority, "site.test", LOOPBACK)
    async with Site(response(), tls=tls) as site, browser(tls_ca_file=ca_file) as web:
        answers = [
            await web.get(site.url(host=host), accept_type=anything)
            for host in ("site.test", "site.test", "site.test.", LOOPBACK)
        ]

    assert [answer.outcome for answer in answers] == [Outcome.OK] * 4
    assert site.connections == 3
    assert [name for name, _ in answers[0].phases] == ["dns", "connect", "tls", "first_byte", "body"]
    assert [name for name, _ in answers[1].phases] == ["first_byte", "body"]
    assert all(seconds >= 0 for answer in answers for _, seconds in answer.phases)


@pytest.mark.parametrize(
    ("name", "trusted", "detail"),
    [
        ("other.test", ["ours"], "certificate: Hostname mismatch, certificate is not valid for 'site.test'."),
        ("site.test", [], "certificate: unable to get local issuer certificate"),
    ],
)
async def test_bad_certificates(
    authority: trustme.CA, ca_file: Path, name: str, trusted: list[str], detail: str
) -> None:
    """A certificate that is not good is a TLS error that says why, unless certificates do not matter."""
    async with Site(response(), tls=certified(authority, name)) as site:
        async with browser(tls_ca_file=ca_file if trusted else None) as web:
            strict = await web.get(site.url(host="site.test"), accept_type=anything)
        async with browser(tls_verify=False) as web:
            lax = await web.get(site.url(host="site.test"), accept_type=anything)

    assert brief(strict) == (Outcome.TLS_ERROR, detail)
    assert lax.outcome is Outcome.OK


async def test_tls_to_a_plain_server() -> None:
    """A server that does not speak TLS is a TLS error."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, LOOPBACK, 0)
    async with server, browser() as web:
        port = server.sockets[0].getsockname()[1]
        answer = await web.get(f"https://{LOOPBACK}:{port}/", accept_type=anything)

    assert answer.outcome is Outcome.TLS_ERROR
    assert "\n" not in answer.detail


async def test_a_name_no_certificate_could_hold() -> None:
    """A host name that TLS cannot express is a TLS error."""
    async with Site(response()) as site, browser() as web:
        answer = await web.get(f"https://{'a' * 64}.test:{site.port}/", accept_type=anything)
        await site.left.get() if site.connections else None

    assert answer.outcome is Outcome.TLS_ERROR


async def test_dns_errors_are_values() -> None:
    """Whatever a resolver says, it is a DNS error."""

    class Broken:
        async def resolve(self, host: str) -> Resolution:
            raise DnsError(f"{host} is unknown")

    async with browser(resolver=Broken()) as web:
        answer = await web.get("http://site.test/", accept_type=anything)

    assert brief(answer) == (Outcome.DNS_ERROR, "site.test is unknown")
