"""The nouns of the crawler, and the outcomes.

Everything here is a value: frozen, comparable, without behaviour that would need a clock or a socket.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime


class Outcome(StrEnum):
    """How a fetch ended. What a site does is a value, never an exception (design, section 7)."""

    OK = "ok"
    NOT_MODIFIED = "not_modified"
    REDIRECT = "redirect"
    GONE = "gone"
    HTTP_ERROR = "http_error"
    THROTTLED = "throttled"
    ROBOTS_REFUSED = "robots_refused"
    SCOPE_REFUSED = "scope_refused"
    ADDRESS_REFUSED = "address_refused"
    TYPE_REFUSED = "type_refused"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    DNS_ERROR = "dns_error"
    CONNECT_ERROR = "connect_error"
    TLS_ERROR = "tls_error"
    TIMEOUT = "timeout"
    PROTOCOL_ERROR = "protocol_error"
    DECODE_ERROR = "decode_error"


REFUSED: Final = frozenset(
    {Outcome.ROBOTS_REFUSED, Outcome.SCOPE_REFUSED, Outcome.ADDRESS_REFUSED, Outcome.TYPE_REFUSED}
)
"""We chose not to fetch (or not to read on)."""


class CrawlState(StrEnum):
    """What a crawl is doing. Only URLs of a running crawl are due."""

    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"


class UrlKind(StrEnum):
    """What a URL of the frontier is asked for."""

    PAGE = "page"
    SITEMAP = "sitemap"
    """A sitemap, an index of them, or a feed: what it names goes to the frontier, and nothing of it is stored."""


class ScopeKind(StrEnum):
    """Which links a crawl follows, measured from its seeds."""

    PAGE = "page"
    PREFIX = "prefix"
    HOST = "host"
    DOMAIN = "domain"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one GET brought, or how it failed. No redirect was followed.

    Times are seconds of the caller's monotonic clock (the event loop's), sizes are bytes.
    """

    outcome: Outcome
    """By status and by what went wrong: OK only when the whole body was read and decoded."""
    started: float
    ended: float
    """When the last byte was read, or the request was given up: a pause is counted from here."""
    detail: str = ""
    """One short phrase for a person, e.g. ``"no byte for 20 s"``; empty for a plain 200."""
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """As received, in order; names keep their spelling."""
    request_headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    """Decoded (content encodings removed), never longer than the cap. Empty unless OK."""
    wire_bytes: int = 0
    """How many bytes of body came over the wire (still encoded), read so far."""
    redirect_to: str | None = None
    """The ``Location`` as sent, for 301, 302, 303, 307 and 308; not resolved."""
    retry_after: str | None = None
    """The ``Retry-After`` header as sent."""
    content_type: str | None = None
    """The ``Content-Type`` header as sent."""
    address: str | None = None
    """The IP address that was connected to."""
    protocol: str | None = None
    """``"HTTP/1.1"`` and the like."""
    phases: tuple[tuple[str, float], ...] = ()
    """Seconds spent, by name: ``dns``, ``connect``, ``tls``, ``first_byte``, ``body``; those that happened."""

    @property
    def seconds(self) -> float:
        """How long the request took, in seconds."""
        return self.ended - self.started

    def header(self, name: str) -> str | None:
        """The first header of that name (any case), or None."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


LEFT: Final = "left"
"""Whoever attended the crawl has ended: it is paused until it is run again."""


@dataclass(frozen=True, slots=True)
class Crawl:
    """A named job: scope, limits, refresh rule. A limit of None or 0 means: none."""

    crawl_id: int
    name: str
    state: CrawlState
    version: int
    """Grows with every change, so that a worker knows its copy is old."""
    scope: ScopeKind
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    max_pages: int | None = None
    max_depth: int | None = None
    max_pages_per_domain: int | None = None
    delay: float | None = None
    """Seconds between requests to a domain, instead of the setting DELAY."""
    per_domain: int | None = None
    user_agent: str | None = None
    refresh: str = "off"
    """The rule of `crawler.core.refresh_rule`, as text."""
    sitemaps: bool = True
    """Whether sitemaps and feeds are read."""
    keep_versions: int = 0
    """How many earlier bodies of a page are kept."""
    keep_links: bool = False
    """Whether what its pages link to is kept."""
    search: bool = False
    """Whether upkeep reads its pages for `crawl search`."""
    parser: str | None = None
    """The HTML parser, instead of the setting PARSER."""
    attendant: str | None = None
    """The run that looks after it; `LEFT` when that has ended, None when it belongs to whoever works."""
    max_bytes: int | None = None
    """Over the wire."""
    types: tuple[str, ...] = ()
    """Media types stored besides the usual ones: ``application/pdf``, ``image/*``."""
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with every request for a page; those with secrets only to `trusted_domains`."""
    trusted_domains: tuple[str, ...] = ()
    owned_domains: tuple[str, ...] = ()
    """The operator's own: their robots.txt is ignored."""
    deleting: bool = False
    """It is being deleted: nothing is written for it any more."""

    @property
    def is_left(self) -> bool:
        """Paused only because the run that attended it has ended: running it again lets it go on."""
        return self.state is CrawlState.PAUSED and self.attendant == LEFT


@dataclass(frozen=True, slots=True)
class Page:
    """What parsing a body told: links and facts. All text is free of NUL and lone surrogates."""

    media_type: str
    """Without parameters, lower case: ``text/html``."""
    charset: str | None = None
    """The WHATWG name of the encoding the text was read in, lower case; None for what is not text."""
    title: str | None = None
    language: str | None = None
    """A BCP 47 tag, declared or (failing that) None."""
    directives: tuple[str, ...] = ()
    """Robots directives of the page, meta and header together: sorted, lower case, e.g. ``("nofollow", "noindex")``."""
    links: tuple[str, ...] = ()
    """Canonical, unique, in document order, without those marked nofollow; at most 5,000."""
    text_digest: bytes | None = None
    """128-bit BLAKE2b of the visible text (without white space, each time folded to one sign), None for what has none."""
    gist: int | None = None
    """What it says, but for digits and its own address (`crawler.core.gist`); None: nothing."""
    simhash: int | None = None
    """64-bit SimHash of the visible text (`crawler.core.simhash`), signed; None: too little text, or not asked for."""
    feeds: tuple[str, ...] = ()
    """Of RSS and Atom, that the page names as its alternates: canonical, unique, at most 10; none if it says nofollow."""


@dataclass(frozen=True, slots=True)
class FoundLink:
    """A URL that a page, a redirect or a person named: to be put on the frontier."""

    domain: str
    domain_id: int
    crawl_id: int
    url_hash: bytes
    url: str
    depth: int
    hops: int = 0
    seed: bool = False
    found_domain_id: int | None = None
    found_hash: bytes | None = None
    kind: UrlKind = UrlKind.PAGE
    priority: float | None = None
    """0..1, as a sitemap says."""
    lastmod: "datetime | None" = None
    """When it changed last, as a sitemap says."""
    changefreq: float | None = None
    """Seconds between its changes, as a sitemap says."""


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of a URL from before a visit. All None: nothing was kept of it."""

    fetched_at: "datetime | None" = None
    """When what was kept was last seen so."""
    etag: str | None = None
    last_modified: str | None = None
    """Both as sent, for conditional requests."""
    digest: bytes | None = None
    text_digest: bytes | None = None
    period: float | None = None
    """Seconds between its changes, as estimated so far."""
    lastmod: "datetime | None" = None
    changefreq: float | None = None
    """Both as in `FoundLink`."""

    @property
    def is_promised(self) -> bool:
        """Whether a sitemap says that the page has changed since it was fetched."""
        return self.lastmod is not None and self.fetched_at is not None and self.lastmod > self.fetched_at


UNKNOWN: Final = Past()


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a visit means for its URL: the next visit, and whether anything is still open."""

    due_in: float | None
    """Seconds from now to the next visit; None: never again (unless armed again)."""
    open: bool
    """True while no final outcome is known: what keeps a crawl from being finished."""
    attempts: int
    """Failures in a row, this one included; 0 after a success."""
    outcome: Outcome
    detail: str = ""
    revisit: float | None = None
    """The interval that was decided, in seconds; None: none was."""
    period: float | None = None
    """Seconds between its changes, as now estimated; None: this visit says nothing of it."""
    due_at: "datetime | None" = None
    """The time on the clock that `due_in` stands for, where the rule has one; None: there is none."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit to one URL, as the recorder writes it down."""

    domain_id: int
    crawl_id: int
    url_hash: bytes
    url: str
    taken: int
    """``due_at`` as the turn handed it out, in microseconds since the epoch: what settling compares with."""
    previous: str | None
    """The URL's outcome before this visit."""
    depth: int
    settlement: Settlement
    at: "datetime"
    answer: Answer | None = None
    """None when nothing was asked of the site (refused beforehand, or condemned with its host)."""
    page: Page | None = None
    redirect_url: str | None = None
    """The redirect's target, canonical."""
    digest: bytes | None = None
    """256-bit BLAKE2b of the body, when it is kept."""
    compressed: bytes | None = None
    """The body, zstd."""
    links: tuple[FoundLink, ...] = field(default=())
    kind: UrlKind = UrlKind.PAGE
    past: Past = UNKNOWN
    changed: bool | None = None
    """Whether it says something else than before; None: nothing was known of it, or nothing came."""
    sitemap: "SitemapRead | None" = None
    """What was read, of a sitemap."""
    size: int = 0
    """Bytes of the body. The body itself is not kept here: a visit may have to wait for the database."""
    rule: str | None = None
    """The refresh rule by which the next visit was decided; None: by none."""
    fields: str | None = None
    """What hooks said of the page: a JSON object without NUL or lone surrogates; None: nothing."""
    targets: tuple[int, bytes] | None = None
    """What it links to, if that is kept: how many, and their URLs, a line each, zstd; no bytes: it is no page, and what was kept goes."""


@dataclass(frozen=True, slots=True)
class SitemapRead:
    """What is kept of a visit to a sitemap."""

    form: str
    """``urlset``, ``index``, ``rss``, ``atom`` or ``text``."""
    urls: int
    """That it names."""
    taken: int
    """Of these, those that it may name and that are in scope."""
    detail: str = ""
    """Why not all of it could be read."""


@dataclass(frozen=True, slots=True)
class Release:
    """What is known of a domain when its holder lets go of it."""

    domain_id: int
    domain: str
    turn: int
    rest_until: float
    """By the worker's own clock (`time.monotonic`): the last answer and a whole pause."""
    delay: float
    """The pause it is given, in seconds."""
    failures: int = 0
    throttled: int = 0
    waits_for: str = ""
    visited: bool = False
    address: str | None = None
