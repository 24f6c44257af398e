"""One GET: no redirects, no cookies, no surprises. Every ending is an `Answer`.

    get ──► port ──► connection ──► headers ──┬─ 2xx, type accepted: the body, decoded and counted ──► ok
                                              └─ else: drained if small, so that the connection lives on

1. Whatever a site does is an outcome; only our own mistakes and lacks are raised.
2. The body is never larger than its cap, nor is anything on the way to it.
3. A request is sent a second time only when an idle connection turned out to be dead: not one byte came back.
4. Cancelling closes the connection and leaves nothing behind.
"""

import re
import time
from http.client import responses
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from crawler.adapters.attempt import ATTEMPT, Attempt, Failure, Limits, Watch
from crawler.adapters.bodies import Bodies, broken
from crawler.adapters.connecting import Connector, Resolves, tls_context
from crawler.adapters.decoding import ACCEPT_ENCODING
from crawler.core.model import Answer, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from crawler.adapters.attempt import Claim
    from crawler.adapters.proxying import Proxy
    from crawler.core.addresses import AddressPolicy

ACCEPT: Final = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
# No Accept-Language: without it a site gives what it would give anybody, and the page its links mean.

DRAINED_SECONDS: Final = 2.0
"""What an unwanted body may cost to keep its connection: a new one costs about as much."""
READ_SIZE: Final = 64 * 1024
MAX_HEADER_FIELDS: Final = 1000

_BY_STATUS: Final = MappingProxyType(
    {
        **dict.fromkeys(range(200, 300), Outcome.OK),
        **dict.fromkeys((301, 302, 303, 307, 308), Outcome.REDIRECT),
        304: Outcome.NOT_MODIFIED,
        **dict.fromkeys((404, 410), Outcome.GONE),
        **dict.fromkeys((429, 503), Outcome.THROTTLED),
    }
)
_BARE_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
"""The URL standard keeps a % that begins no escape; many servers answer it with 400, and all know %25."""
_HOST: Final = re.compile(r"[!-$&-~]+")
"""A canonical host is ASCII without escapes. Who else reads one, such as a proxy, might find an address in it."""
_PLAIN: Final = 200
_BODILESS: Final = frozenset({204, 205})


class Web:
    """Fetches; make it inside a running event loop, and close it.

    Args:
        resolver: turns names into addresses, e.g. `crawler.adapters.dns.Resolver`; not closed here.
        policy: which addresses may be connected to.
        limits: what one request may cost.
        user_agent: sent unless a request has its own.
        max_connections: open ones, busy and idle together.
        tls_verify: whether certificates must be good.
        tls_ca_file: authorities to trust besides the system's.
        proxy: through which every request goes. It resolves the names: only an address in the URL itself is still checked here.
    """

    def __init__(
        self,
        *,
        resolver: Resolves,
        policy: "AddressPolicy",
        limits: Limits,
        user_agent: str,
        max_connections: int,
        tls_verify: bool = True,
        tls_ca_file: "Path | None" = None,
        proxy: "Proxy | None" = None,
    ) -> None:
        self._limits = limits
        self._policy = policy
        self._headers = (
            ("User-Agent", user_agent),
            ("Accept", ACCEPT),
            ("Accept-Encoding", ACCEPT_ENCODING),
            ("Connection", "keep-alive"),
        )
        self._connector = Connector(
            resolver=resolver,
            policy=policy,
            context=tls_context(verify=tls_verify, ca_file=tls_ca_file),
            max_connections=max_connections,
            max_headers=limits.max_headers,
            connect_timeout=limits.connect_timeout,
            tls_timeout=limits.tls_timeout,
            proxy=proxy,
        )
        self._proxy = proxy
        self._bodies = Bodies()
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            # All deadlines are kept by `Watch` and by the connector: aiohttp's would be further timers.
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
            trust_env=False,
            read_bufsize=READ_SIZE,
            max_line_size=limits.max_headers,
            max_field_size=limits.max_headers,
            max_headers=MAX_HEADER_FIELDS,
        )
        # aiohttp would also repeat what a server on a new connection chose not to answer: see law 3.
        self._session._retry_connection = False  # noqa: SLF001 - there is no argument for it

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._connector!r}>"

    async def get(
        self,
        url: str,
        *,
        accept_type: "Callable[[str | None], bool]",
        headers: "Sequence[tuple[str, str]]" = (),
        user_agent: str | None = None,
        max_body: int | None = None,
        truncate: bool = False,
        total_timeout: float | None = None,
        keep_body_on_error: bool = False,
        deadline: "Callable[[], float] | None" = None,
        claim: "Claim | None" = None,
    ) -> Answer:
        """Make one GET request.

        Args:
            url: absolute and canonical; sent as it is, but for a bare %.
            accept_type: whether a body with this Content-Type header (None: none sent) is wanted.
            headers: sent besides our own, or instead of those with the same name.
            user_agent: instead of the usual one.
            max_body: bytes, decoded; instead of the limit.
            truncate: a longer body is cut there, and is OK.
            total_timeout: seconds, instead of the limit.
            keep_body_on_error: the body of a 4xx or 5xx is kept too, cut at the cap.
            deadline: of the loop's clock: give up then, whatever the limits say. Asked again when it has come, for it may have moved.
            claim: to room, should the body be large.

        Raises:
            SocketsExhaustedError: this machine can open no more connections.
        """
        began = time.monotonic()
        cap = self._limits.max_body if max_body is None else max_body
        target, host, refusal = _target(url)
        refusal = refusal or self._policy.port_refusal(target.port or 0)
        attempt = Attempt(began, self._request_headers(host, headers, user_agent))
        if refusal is None and self._proxy is not None:
            refusal = self._policy.literal_refusal((target.host_subcomponent or "").rstrip("."))
        if refusal is not None:
            return attempt.answer(Outcome.ADDRESS_REFUSED, refusal)
        total = self._limits.total_timeout if total_timeout is None else total_timeout
        until, word = began + total, f"not done within {total:g} s"
        attempt.until = until
        if deadline is not None:
            attempt.deadline = deadline
        token = ATTEMPT.set(attempt)
        try:
            with Watch(attempt, self._limits, until, word) as watch:
                return await self._exchange(
                    target,
                    attempt,
                    watch,
                    accept_type,
                    cap,
                    truncate=truncate,
                    keep=keep_body_on_error,
                    claim=claim,
                )
        except Failure as failure:
            # What the status says stands, even if the rest of an unwanted body would not come.
            outcome, detail = attempt.decided or (failure.outcome, failure.detail)
            return attempt.answer(outcome, detail)
        finally:
            ATTEMPT.reset(token)

    async def forget(self, domain: str) -> None:
        """Close the idle connections to a domain (a name or an IP literal) and to the hosts below it."""
        self._connector.forget(domain)

    async def close(self) -> None:
        """Close every connection. Requests still under way end with an error of their own."""
        await self._session.close()

    def _request_headers(
        self, host: str, headers: "Sequence[tuple[str, str]]", user_agent: str | None
    ) -> tuple[tuple[str, str], ...]:
        """All the headers, in the order in which they are sent."""
        if user_agent is not None:
            headers = (("User-Agent", user_agent), *headers)
        if not headers:
            return (("Host", host), *self._headers)
        given = {name.lower() for name, _ in headers}
        own = (pair for pair in (("Host", host), *self._headers) if pair[0].lower() not in given)
        return (*own, *headers)

    async def _exchange(
        self,
        target: URL,
        attempt: Attempt,
        watch: Watch,
        accept_type: "Callable[[str | None], bool]",
        cap: int,
        *,
        truncate: bool,
        keep: bool,
        claim: "Claim | None",
    ) -> Answer:
        response = await self._ask(target, attempt)
        try:
            version = response.version or aiohttp.HttpVersion11
            protocol = f"HTTP/{version.major}.{version.minor}"
            size = attempt.read_head(response.status, protocol, response.raw_headers)
            if size > self._limits.max_headers:
                raise Failure(Outcome.PROTOCOL_ERROR, "the headers are too large")
            if self._proxy is not None:
                self._proxy.check(response.status)
            outcome, detail = _by_status(response.status, attempt.redirect_to)
            if outcome is Outcome.OK and response.status not in _BODILESS:
                if not accept_type(attempt.content_type):
                    return attempt.answer(Outcome.TYPE_REFUSED, attempt.content_type or "no content type")
                body, cut = await self._bodies.read(
                    response.content, attempt, cap, truncate=truncate, claim=claim
                )
                return attempt.answer(outcome, cut or detail, body)
            attempt.decided = outcome, detail
            if keep and outcome in (Outcome.GONE, Outcome.THROTTLED, Outcome.HTTP_ERROR):
                body, _ = await self._bodies.read(response.content, attempt, cap, truncate=True)
                return attempt.answer(outcome, detail, body)
            if not response.content.is_eof():
                watch.hurry(DRAINED_SECONDS)
                await self._bodies.drain(response.content, attempt)
            return attempt.answer(outcome, detail)
        finally:
            response.close()  # if the body was read to its end, the connection has left already

    async def _ask(self, target: URL, attempt: Attempt) -> aiohttp.ClientResponse:
        """Send the request and wait for the headers, on a new connection if an idle one was dead."""
        # A tunnel for https is the connector's business: aiohttp's own would not be timed.
        proxy = self._proxy if target.scheme == "http" else None
        headers = attempt.request_headers if proxy is None else (*attempt.request_headers, *proxy.headers())
        via = None if proxy is None else URL(proxy.url)
        try:
            return await self._session.get(target, headers=headers, allow_redirects=False, proxy=via)
        except aiohttp.ClientConnectionError as error:
            if attempt.reused and not attempt.received and not attempt.fresh:
                attempt.fresh = True
                return await self._ask(target, attempt)
            raise broken(error) from None
        except aiohttp.ClientError as error:
            raise broken(error) from None
        except (
            ValueError
        ) as error:  # a header that cannot be one: of this crawl, and no reason to stop the others
            if attempt.received:
                raise
            raise Failure(
                Outcome.PROTOCOL_ERROR, f"our own request could not be written: {error}"[:200]
            ) from None


def _target(url: str) -> tuple[URL, str, str | None]:
    """Return the URL as aiohttp wants it, what the Host header says, and why it is not to be asked for.

    An unspeakable URL is refused rather than raised: it may have come from a link, and must not stop a turn.
    """
    try:
        target = URL(_BARE_PERCENT.sub("%25", url), encoded=True)
        port, host = target.port, target.host_port_subcomponent
    except ValueError as error:
        return URL(), "", f"not a URL that can be asked for: {error}"
    if target.scheme not in ("http", "https") or port is None or not host or not _HOST.fullmatch(host):
        return target, "", "not an http or https URL"
    return target, host, None


def _by_status(status: int, location: str | None) -> tuple[Outcome, str]:
    outcome = _BY_STATUS.get(status, Outcome.HTTP_ERROR)
    detail = f"{status} {responses.get(status, '')}".rstrip() if status != _PLAIN else ""
    if outcome is Outcome.REDIRECT and not location:
        return Outcome.HTTP_ERROR, f"{detail} without a target"
    return outcome, detail
