"""Every request through an HTTP proxy: a tiny real one, which writes down what it is asked for."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from crawler.adapters.attempt import Limits
from crawler.adapters.dns import DnsError
from crawler.adapters.proxying import Proxy, ProxyError
from crawler.adapters.web import Web
from crawler.core.addresses import AddressPolicy
from crawler.core.model import Answer, Outcome
from tests.adapters.servers import LOOPBACK, Site, response

pytest_plugins = ["tests.adapters.loops"]
BOTH_LOOPS = True

PASSWORD = "Basic bWU6czpjcmV0"
"""me:s:cret."""


class Nobody:
    """A resolver that knows no name: the proxy resolves."""

    async def resolve(self, host: str) -> Any:
        """Nothing."""
        raise DnsError(f"{host} was asked for here")


@dataclass
class TinyProxy:
    """Leads every name to one port of this machine."""

    to: int
    wants: str | None = None
    refuses: str | None = None
    asked: list[str] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: a tunnel, or requests in absolute form, one after the other."""
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                line, *headers = head.rstrip("\r\n").split("\r\n")
                method, target, _ = line.split(" ")
                self.asked.append(f"{method} {target}")
                given = dict(header.split(": ", 1) for header in headers).get("Proxy-Authorization")
                if self.wants and given != self.wants:
                    writer.write(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
                elif self.refuses:
                    writer.write(f"HTTP/1.1 {self.refuses}\r\nContent-Length: 0\r\n\r\n".encode())
                elif method == "CONNECT":
                    await self._tunnel(reader, writer)
                    return
                else:
                    await self._ask(head, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    async def _ask(self, head: str, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection(LOOPBACK, self.to)
        outer.write(head.encode("latin-1"))
        answer = await inner.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        writer.write(answer + await inner.readexactly(length))
        outer.transport.abort()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection(LOOPBACK, self.to)
        writer.write(b"HTTP/1.1 200 Through\r\n\r\n")

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        try:
            await asyncio.gather(pump(reader, outer), pump(inner, writer))
        finally:
            outer.transport.abort()


@asynccontextmanager
async def proxied(
    proxy: TinyProxy, *, credentials: str = "", policy: AddressPolicy | None = None, **options: Any
) -> AsyncIterator[Web]:
    """A `Web` behind a proxy at work."""
    tasks: set[asyncio.Task[None]] = set()

    def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(welcome, LOOPBACK, 0)
    proxy.port = server.sockets[0].getsockname()[1]
    web = Web(
        resolver=Nobody(),
        policy=policy or AddressPolicy(),
        limits=Limits(),
        user_agent="faircrawl-test/1",
        max_connections=10,
        proxy=Proxy.of(f"http://{credentials}{LOOPBACK}:{proxy.port}"),
        **options,
    )
    try:
        yield web
    finally:
        await web.close()
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the transports say good-bye in the next round


def anything(_content_type: str | None) -> bool:
    """Every type is wanted."""
    return True


async def get(web: Web, url: str) -> Answer:
    """What one GET brings."""
    return await web.get(url, accept_type=anything)


async def test_http_in_full() -> None:
    """An http URL is asked of the proxy in full, with no name resolved here, over one connection; the site's address is not known."""
    async with Site(response(b"hello")) as site:
        proxy = TinyProxy(site.port)
        async with proxied(proxy) as web:
            answers = [await get(web, f"http://site.test/%C3%BC?{n}") for n in range(2)]

    assert [answer.body for answer in answers] == [b"hello"] * 2
    assert proxy.asked == [f"GET http://site.test/%C3%BC?{n}" for n in range(2)]
    assert b"Host: site.test\r\n" in site.requests[0]
    assert answers[0].address is None


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that nobody knows but this test."""
    return trustme.CA()


async def test_https_through_a_tunnel(authority: trustme.CA, tmp_path: Path) -> None:
    """An https URL goes through a tunnel to the site's own certificate; the proxy sees only the name, and the connection is kept."""
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("site.test").configure_cert(context)
    async with Site(response(b"hello"), tls=context) as site:
        proxy = TinyProxy(site.port)
        async with proxied(proxy, tls_ca_file=ca_file) as web:
            answers = [await get(web, f"https://site.test/{n}") for n in range(2)]
            wrong = await get(web, "https://other.test/")

    assert [answer.body for answer in answers] == [b"hello"] * 2
    assert proxy.asked == ["CONNECT site.test:443", "CONNECT other.test:443"]
    assert wrong.outcome is Outcome.TLS_ERROR


async def test_private_literals() -> None:
    """A URL with a private address in it is refused also behind a proxy; a name that may lead to one is the proxy's business."""
    async with Site(response(b"hello")) as site:
        proxy = TinyProxy(site.port)
        async with proxied(proxy) as web:
            urls = ("http://127.0.0.1/", "https://10.0.0.1/", "http://[::1]/")
            refused = [(await get(web, url)).outcome for url in urls]
            named = await get(web, "http://intranet.test/")

    assert refused == [Outcome.ADDRESS_REFUSED] * 3
    assert proxy.asked == ["GET http://intranet.test/"]
    assert named.outcome is Outcome.OK


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_password(authority: trustme.CA, scheme: str) -> None:
    """A proxy's password goes to the proxy; a missing one is our own lack, not the site's fault, and says what to do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("site.test").configure_cert(context)
    async with Site(response(b"hello"), tls=context if scheme == "https" else None) as site:
        proxy = TinyProxy(site.port, wants=PASSWORD)
        async with proxied(proxy, tls_verify=False) as web:
            with pytest.raises(ProxyError, match="wants a password: write --proxy http://user:password@"):
                await get(web, f"{scheme}://site.test/")
        async with proxied(proxy, credentials="me:s%3Acret@", tls_verify=False) as web:
            answer = await get(web, f"{scheme}://site.test/")

    assert answer.outcome is Outcome.OK
    assert "Proxy-Authorization" not in dict(answer.request_headers)


async def test_what_the_proxy_cannot_reach() -> None:
    """A site that the proxy cannot reach is a connect error in the proxy's own words."""
    proxy = TinyProxy(0, refuses="502 Bad Gateway")
    async with proxied(proxy) as web:
        answer = await get(web, "https://gone.test/")

    assert (answer.outcome, answer.detail) == (Outcome.CONNECT_ERROR, "the proxy answered 502 Bad Gateway")


async def test_no_proxy_there() -> None:
    """A proxy that is not there is our own lack, whichever site was asked for."""
    proxy = TinyProxy(0)
    async with proxied(proxy) as web:
        pass
    web = Web(
        resolver=Nobody(), policy=AddressPolicy(), limits=Limits(), user_agent="x", max_connections=10,
        proxy=Proxy.of(f"http://{LOOPBACK}:{proxy.port}"),
    )  # fmt: skip
    with pytest.raises(ProxyError, match="cannot be reached"):
        await get(web, "http://site.test/")
    await web.close()
