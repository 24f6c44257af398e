"""The knobs: read once, at the door, and doubted. Where they are given is told in `crawler.sources`.

1. A `Settings` that exists is sound: its fields were checked together.
2. Nothing below the door reads the environment; `core` gets values, never `Settings`.
3. The word ``none`` takes back an optional setting.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from crawler import __version__
from crawler.contradictions import ContradictionError, contradictions, doubts
from crawler.core.errors import SettingsError
from crawler.core.masking import MASK, mask, secrets_of
from crawler.core.open_ports import DEFAULT as DEFAULT_PORTS
from crawler.core.open_ports import Ports
from crawler.hooking import HOOKS
from crawler.kinds import (
    AGENT_NAME,
    BROKER,
    CROWDS,
    DATABASE,
    FILE,
    FLAG,
    FOLDER,
    MOST_AT_AN_ADDRESS,
    NAME_SERVERS,
    NETWORKS,
    PATH,
    PORTS,
    PROXY,
    QUEUE_PREFIX,
    REACHABLE,
    SENTRY,
    Kind,
    NameServer,
    Network,
    duration,
    parse_duration,
    parse_size,
    size,
    whole,
    word,
)
from crawler.kinds_looking import LISTEN, PRICE, TOKEN, Price
from crawler.sources import Given, gather, oddities

__all__ = ["Loaded", "Row", "Settings", "describe", "load", "mask", "parse_duration", "parse_size"]

RENEWALS: Final = 4
"""A lease is renewed every quarter of its length: three renewals may fail before it ends."""


def knob(default: object, kind: Kind, about: str, *, secret: bool = False) -> Any:
    """A field of `Settings`."""
    metadata = {"kind": kind, "help": about, "secret": secret}
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What may be set, in base units: seconds and bytes. Raises SettingsError when fields contradict."""

    database_url: str | None = knob(
        None, DATABASE, "Where PostgreSQL is; none: an embedded one in the data folder.", secret=True
    )
    data: Path | None = knob(None, PATH, "The folder of the embedded database; none: the user's data folder.")
    postgres_bin: Path | None = knob(
        None, FOLDER, "The folder of PostgreSQL's programs for the embedded database; none: find them."
    )
    amqp_url: str | None = knob(
        None,
        BROKER,
        "Where RabbitMQ is, which carries the turns; none: PostgreSQL carries them.",
        secret=True,
    )
    amqp_prefix: str = knob(
        "crawl",
        QUEUE_PREFIX,
        "What the queues' names begin with: crawl.turns, crawl.turns.urgent, crawl.dead.",
    )
    user_agent: str = knob(
        "", AGENT_NAME, "What we call ourselves; its first word is the name that robots.txt is read for."
    )
    contact: str | None = knob(
        None, REACHABLE, "A URL or e-mail address where a webmaster reaches you; part of the user agent."
    )
    domains_at_once: int = knob(200, whole(1, 100_000, 200), "How many domains one process visits at once.")
    per_domain: int = knob(1, whole(1, 64, 2), "How many requests to one domain may be open at once.")
    delay: float = knob(1.0, duration(), "How long a domain is left alone after an answer.")
    max_crawl_delay: float = knob(
        600.0, duration(), "How much of a longer crawl-delay in robots.txt is obeyed."
    )
    per_address: int = knob(
        50,
        whole(0, MOST_AT_AN_ADDRESS, 50),
        "How many domains at one address may be visited at once, by all workers together; 0: no limit.",
    )
    per_address_nets: tuple[tuple[Network, int], ...] = knob(
        (),
        CROWDS,
        "Networks with another per_address, as CIDR=N; while neither is given, allow_nets have no limit.",
    )
    turn_seconds: float = knob(60.0, duration(1, 86400), "How long one turn of a domain may take.")
    work_lease: float = knob(
        60.0, duration(4, 86400), "How long a turn at work is safe from others; renewed every quarter of it."
    )
    queue_lease: float = knob(
        600.0, duration(4, 7 * 86400), "How long a turn may wait in the queue before it is handed out again."
    )
    grace: float = knob(30.0, duration(0, 86400), "How long open requests may take to end when told to stop.")
    dns_servers: tuple[NameServer, ...] = knob(
        (), NAME_SERVERS, "The DNS servers to ask; none: those of the system."
    )
    dns_timeout: float = knob(5.0, duration(0.1, 3600), "How long to wait for a DNS server's answer.")
    hosts_file: Path | None = knob(
        Path("/etc/hosts"), PATH, "The hosts file that is asked before DNS; none: DNS alone."
    )
    allow_nets: tuple[Network, ...] = knob(
        (), NETWORKS, "Private networks that may be fetched from; all others are refused."
    )
    ports: Ports = knob(
        DEFAULT_PORTS,
        PORTS,
        "The ports that may be connected to; one that browsers block (6000, 6667) only if named by itself.",
    )
    max_body: int = knob(10 << 20, size(1, 512 << 20), "The longest body that is kept, decoded.")
    max_headers: int = knob(64 << 10, size(1 << 10, 16 << 20), "The longest headers of an answer.")
    connect_timeout: float = knob(10.0, duration(0.1, 3600), "How long a TCP connection may take.")
    tls_timeout: float = knob(10.0, duration(0.1, 3600), "How long a TLS handshake may take.")
    first_byte_timeout: float = knob(20.0, duration(0.1, 3600), "How long an answer may take to begin.")
    read_timeout: float = knob(20.0, duration(0.1, 3600), "How long an answer may pause between bytes.")
    total_timeout: float = knob(60.0, duration(0.1, 86400), "How long one request may take from end to end.")
    min_bytes_per_second: int = knob(
        1 << 10, size(), "A body that comes slower than this over any 10 s is given up; 0: never."
    )
    max_open_files: int | None = knob(
        None, whole(64, 1 << 30, 4096), "How many descriptors a process may use; none: the hard limit."
    )
    max_memory: int | None = knob(
        None,
        size(1 << 20),
        "Memory of all processes of a command, above which new turns wait; none: 80 % of what there is.",
    )
    fetches_kept: float = knob(
        30 * 86400.0,
        duration(),
        "How long the record of each attempt is kept (`fetches`), in whole days; 0: for ever.",
    )
    sentry_dsn: str | None = knob(
        None, SENTRY, "Where what is critical is told; none: to the log alone.", secret=True
    )
    alert_after: float = knob(
        60.0,
        duration(0, 86400),
        "How long the database, RabbitMQ or free memory may be away before it is critical.",
    )
    max_pages_per_domain: int = knob(
        10_000, whole(0, 1 << 62, 10_000), "How many pages of one domain a crawl may store; 0: no limit."
    )
    proxy: str | None = knob(
        None,
        PROXY,
        "The HTTP proxy for every request, which resolves the names: what lies behind it is its business; none: direct.",
        secret=True,
    )
    tls_verify: bool = knob(default=True, kind=FLAG, about="Whether certificates are checked.")
    tls_ca_file: Path | None = knob(None, FILE, "Authorities to trust instead of the system's, as PEM.")
    run_patience: float = knob(
        300.0, duration(0, 86400), "How soon a retry must be due for `crawl run` to wait for it."
    )
    start_patience: float = knob(
        60.0,
        duration(0, 86400),
        "How long a service waits at its start for a database, its tables or RabbitMQ that are not there yet; 0: not at all.",
    )
    processes: int = knob(
        1, whole(1, 1024, 2), "How many processes `crawl run` or `crawl worker` fetches with."
    )
    api_token: str | None = knob(
        None, TOKEN, "What a program or a person must show to change anything with the API.", secret=True
    )
    metrics_port: int | None = knob(
        None,
        whole(0, 65535, 9100),
        "The port of /metrics, /healthz and /readyz; 0: any free one; none: none.",
    )
    metrics_host: str = knob("127.0.0.1", LISTEN, "The address or name that /metrics listens on.")
    worker_price: Price | None = knob(
        None,
        PRICE,
        "What one worker process costs an hour, with its share of the rest: for the cost of pages.",
    )
    log_format: str = knob("console", word("console", "json"), "How the log is written to stderr.")
    log_level: str = knob(
        "warning",
        word("debug", "info", "warning", "error"),
        "From where on it is written; --debug writes all of it.",
    )
    hooks: tuple[str, ...] = knob((), HOOKS, "Functions that are called with each page; docs/hooks.md.")
    hook_timeout: float = knob(10.0, duration(0.1, 3600), "How long a hook may take for a page.")
    hook_memory: int = knob(1 << 30, size(64 << 20), "Memory of a hook process.")
    hook_processes: int | None = knob(
        None, whole(1, 1024, 2), "Hook processes of a worker process; none: its share of the cores."
    )
    parser: str = knob("turbohtml", word("turbohtml", "html5lib"), "Which parser reads HTML.")
    near_duplicates: bool = knob(
        True,  # noqa: FBT003 - a default
        FLAG,
        "Whether pages that say nearly the same are known by it: for `crawl duplicates`, and in traps.",
    )

    def __post_init__(self) -> None:
        if not self.user_agent:
            about = f" (+{self.contact})" if self.contact else ""
            object.__setattr__(self, "user_agent", f"faircrawl/{__version__}{about}")
        found = tuple(contradictions(self))
        if found:
            raise ContradictionError(found)

    @property
    def product_token(self) -> str:
        """The name that robots.txt is read for (RFC 9309 section 2.2.1)."""
        return re.split(r"[/ ]", self.user_agent, maxsplit=1)[0]

    @property
    def renewal(self) -> float:
        """Seconds between renewals of a work lease."""
        return self.work_lease / RENEWALS


FIELDS: Final[Mapping[str, dataclasses.Field[Any]]] = {f.name: f for f in dataclasses.fields(Settings)}


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, where each of them came from, and what seems odd about the sources."""

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...] = ()


Plain: TypeAlias = str | int | float | bool | list[str] | None


@dataclass(frozen=True, slots=True)
class Row:
    """A setting in force, to be shown: no secret is in it."""

    name: str
    value: str
    origin: str
    help: str
    unit: str
    raw: Plain
    """The value for a program: durations in seconds, sizes in bytes."""


def load(
    *,
    overrides: Mapping[str, object],
    environ: Mapping[str, str],
    config: Path | None = None,
    secrets_dir: Path = Path("/run/secrets"),
) -> Loaded:
    """Read every source and check the whole. An override of None, "" or () counts as not given.

    Raises:
        SettingsError: a line for each bad value: its name, where it came from, what it is, what is expected.
    """
    given = gather(FIELDS, overrides=overrides, environ=environ, config=config, secrets_dir=secrets_dir)
    values: dict[str, Any] = {}
    complaints: list[str] = []
    for one in given.values():
        try:
            values[one.name] = _read(one)
        except SettingsError as error:
            complaints.append(f"{one.name} from {one.origin}: {error}")
    if complaints:
        raise SettingsError("\n".join(complaints))
    if values.get("data") and values.get("database_url"):
        del values[_loser(given["data"], given["database_url"])]
    if not {"per_address", "per_address_nets"} & values.keys():  # a network of one's own is no hoster's
        values["per_address_nets"] = tuple((net, 0) for net in values.get("allow_nets", ()))
    origins = dict.fromkeys(FIELDS, "default") | {
        name: given[name].origin for name in values if name in given
    }
    try:
        settings = Settings(**values)
    except ContradictionError as error:
        lines = (f"{text} ({', '.join(f'{n}: {origins[n]}' for n in names)})" for names, text in error.found)
        raise SettingsError("\n".join(lines)) from None
    return Loaded(settings, origins, (*oddities(FIELDS, environ), *doubts(settings)))


def describe(loaded: Loaded) -> tuple[Row, ...]:
    """Every setting in force, in order, with its secrets masked."""
    return tuple(_row(name, field, loaded) for name, field in FIELDS.items())


def secrets_in(settings: Settings) -> frozenset[str]:
    """Every secret of these settings, as it stands there and as it is meant: what no log, error or event may show."""
    given = (getattr(settings, name) for name, field in FIELDS.items() if field.metadata["secret"])
    return frozenset().union(*(secrets_of(secret) for secret in given if secret is not None))


def _loser(here: Given, there: Given) -> str:
    """A database is embedded or it is not: which of two names does not count. Raises SettingsError."""
    if here.rank == there.rank:
        raise SettingsError(f"data ({here.origin}) and database_url ({there.origin}): give one of them")
    return min(here, there, key=lambda one: one.rank).name


def _read(one: Given) -> object:
    field = FIELDS[one.name]
    kind: Kind = field.metadata["kind"]
    word_none = isinstance(one.value, str) and one.value.strip().lower() == "none"
    if word_none and (field.default == () or "None" in str(field.type)):
        return () if field.default == () else None
    value = one.value
    if one.folder and kind in (PATH, FILE, FOLDER) and isinstance(value, str):
        value = one.folder / Path(value.strip()).expanduser()
    try:
        return kind.accept(value)
    except SettingsError:
        if field.metadata["secret"]:
            raise SettingsError(f"{MASK} {kind.refusal()}") from None
        raise


def _row(name: str, field: dataclasses.Field[Any], loaded: Loaded) -> Row:
    kind: Kind = field.metadata["kind"]
    value = getattr(loaded.settings, name)
    shown = "none" if value is None or value == () else kind.show(value)
    raw: Plain = value if isinstance(value, (int, float)) or value is None else shown
    if field.metadata["secret"] and value is not None:
        raw = shown = mask(shown)
    if isinstance(value, tuple):
        raw = kind.show(value).split(",") if value else []
    return Row(name, shown, loaded.origins[name], field.metadata["help"], kind.unit, raw)
