"""The kinds of value a setting may have: what a person writes in, a checked value out.

    "5m", "300", 300 ──► accept ──► 300.0 ──► show ──► "5m"

1. What `accept` returns, it accepts again: the command line hands over values that were read already.
2. What `show` returns, `accept` understands.
3. What does not fit raises SettingsError: the value, what is expected, an example. Nothing else is raised.
"""

import ipaddress
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias
from urllib.parse import SplitResult, urlsplit

from crawler.core import amounts
from crawler.core.addresses import parse_networks
from crawler.core.amounts import SECONDS
from crawler.core.errors import SettingsError

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
NameServer: TypeAlias = tuple[str, int]
"""The IP address and the port of a DNS server."""

BYTES: Final[Mapping[str, float]] = {
    "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
}  # fmt: skip
BOOLEANS: Final[Mapping[str, bool]] = {
    "true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
DNS_PORT: Final = 53
LAST_PORT: Final = 65535
LONGEST: Final = 3650 * 86400.0
LARGEST: Final = 1 << 50
MOST_AT_AN_ADDRESS: Final = 1_000_000
LONGEST_AGENT: Final = 512
"""A site that takes no longer one refuses the whole request."""

SERVER: Final = re.compile(r"\[([^\]]*)\](?::([0-9]{1,5}))?|([^:]*):([0-9]{1,5})", re.ASCII)
AGENT: Final = re.compile(r"[A-Za-z_-]+(?:/[!-~]+)?(?: [ -~\xa1-\xff]*)?")
"""RFC 9309 section 2.2.1 allows a product token letters, ``_`` and ``-``."""
CONTACT: Final = re.compile(r"https?://[^\s()/]+[^\s()]*|(?:mailto:)?[^\s()@:/]+@[^\s()@:/]+")

show_duration: Final = amounts.show_duration
"""The shortest way to write that duration: ``10m``, ``1.5s``."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a setting may be: how it is read and shown, and what to tell whoever wrote it wrong."""

    expected: str
    example: str
    read: Callable[[Any], Any]
    """Returns the value, or raises ValueError, with a reason if there is more to say than `expected`."""
    show: Callable[[Any], str] = str
    unit: str = ""
    """What a bare number counts: seconds, bytes, or nothing."""

    def accept(self, value: object) -> Any:
        """The checked value. Raises SettingsError."""
        try:
            return self.read(value)
        except (ValueError, TypeError) as error:
            raise SettingsError(f"{_quoted(value)} {self.refusal(str(error))}") from None

    def refusal(self, reason: str = "") -> str:
        """What is said behind a value that does not fit."""
        return f"is not {self.expected}{f' ({reason})' if reason else ''}, for example {self.example}"


def parse_duration(text: str) -> float:
    """Seconds, from ``30s``, ``5m``, ``2h``, ``7d``, ``1.5s`` or bare seconds. Raises SettingsError."""
    return float(duration().accept(text))


def parse_size(text: str) -> int:
    """Bytes, from ``10MiB``, ``64KiB``, ``1MB`` or bare bytes. Raises SettingsError."""
    return int(size().accept(text))


def show_size(count: int) -> str:
    """The shortest way to write that number of bytes exactly: ``10MiB``, ``1000``."""
    unit = next((u for u in ("GiB", "MiB", "KiB") if count and count % BYTES[u.lower()] == 0), "")
    return f"{count // int(BYTES[unit.lower() or 'b'])}{unit}"


def duration(least: float = 0, most: float = LONGEST) -> Kind:
    """Seconds, as a float, within these bounds."""

    def read(value: object) -> float:
        return float(_within(round(_amount(value, SECONDS, "s"), 6), least, most))

    bounds = f" from {show_duration(float(least))} to {show_duration(float(most))}" if most < LONGEST else ""
    expected = f"a duration{bounds} (seconds, or a number with ms, s, m, h or d)"
    return Kind(expected, "30s", read, show_duration, "seconds")


def size(least: int = 0, most: int = LARGEST) -> Kind:
    """Bytes, as an int, within these bounds."""

    def read(value: object) -> int:
        amount = _within(_amount(value, BYTES, "b"), least, most)
        return int(amount) if amount == int(amount) else _refuse("a byte cannot be split")

    bounds = f" from {show_size(least)} to {show_size(most)}" if most < LARGEST else ""
    expected = f"a size{bounds} (bytes, or a number with KiB, MiB, GiB, kB, MB or GB)"
    return Kind(expected, "10MiB", read, show_size, "bytes")


def whole(least: int, most: int, example: int) -> Kind:
    """A whole number within these bounds."""

    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value.strip(), re.ASCII):
            value = int(value)
        return (
            value
            if isinstance(value, int) and type(value) is not bool and least <= value <= most
            else _refuse()
        )

    return Kind(f"a whole number from {least} to {most}", str(example), read)


def word(*words: str) -> Kind:
    """One of these words."""
    return Kind(f"one of {', '.join(words)}", words[0], lambda value: value if value in words else _refuse())


def items(kind: Callable[[Any], Any], expected: str, example: str, show: Callable[[Any], str] = str) -> Kind:
    """A list: comma-separated in a text, or an array; each item once, in order."""

    def read(value: object) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(kind(item) for item in _split(value)))

    return Kind(expected, example, read, lambda values: ",".join(map(show, values)))


def _split(value: object) -> Iterable[object]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, Sequence):
        _refuse()
    return [part for item in value for part in (_split(item) if isinstance(item, str) else [item])]


def _amount(value: object, units: Mapping[str, float], bare: str) -> float:
    """A number without unit, or a text with or without one, as seconds or bytes."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value if math.isfinite(value) else _refuse()
    found = amounts.amount(value, units, bare) if isinstance(value, str) else None
    return _refuse() if found is None else found


def _within(amount: float, least: float, most: float) -> float:
    return amount if least <= amount <= most else _refuse()


def _quoted(value: object) -> str:
    text = f'"{value}"' if isinstance(value, (str, Path)) else str(value)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _refuse(reason: str = "") -> NoReturn:
    raise ValueError(reason)


def _text(value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    return text if text and text.isprintable() else _refuse()


def _agent(value: object) -> str:
    text = _text(value)
    if len(text) > LONGEST_AGENT:
        _refuse(f"longer than {LONGEST_AGENT} characters")
    return text if AGENT.fullmatch(text) else _refuse()


def _contact(value: object) -> str:
    text = _text(value)
    return text if text.isascii() and CONTACT.fullmatch(text) else _refuse()


def _flag(value: object) -> bool:
    known = value if isinstance(value, bool) else BOOLEANS.get(str(value).strip().lower())
    return _refuse() if known is None else known


def _path(value: object) -> Path:
    text = str(value).strip() if isinstance(value, (str, Path)) else ""
    return Path(text).expanduser() if text and "\0" not in text else _refuse()


def _file(value: object) -> Path:
    path = _path(value)
    return path if path.exists() and not path.is_dir() else _refuse("there is none")


def _folder(value: object) -> Path:
    path = _path(value)
    return path if path.is_dir() else _refuse("there is none")


def _database(value: object) -> str:
    text = _text(value)
    parts = _split_url(text)
    if parts.scheme not in {"postgres", "postgresql"} or parts.netloc.count("@") > 1:
        _refuse()
    for place in parts.netloc.rpartition("@")[2].split(","):  # it may name several servers
        _server(f"server://{place or 'localhost'}", "server")
    return text


def _split_url(text: str) -> SplitResult:
    """The parts of a URL. A password with / ? or # in it makes others of them than were meant: half of it would be a port."""
    parts = urlsplit(text)
    return _refuse() if "@" in parts.path + parts.fragment + parts.query.partition("=")[0] else parts


def _server(text: str, *schemes: str) -> SplitResult:
    """The parts of a URL that names a server."""
    parts = _split_url(text)
    try:
        good = parts.scheme in schemes and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        _refuse("the port is no number")
    return parts if good else _refuse()


def _broker(value: object) -> str:
    text = _text(value)
    parts = _server(text, "amqp", "amqps")
    return text if parts.path.count("/") <= 1 and not parts.fragment else _refuse()


def _sentry(value: object) -> str:
    text = _text(value)
    parts = _server(text, "http", "https")
    number = re.fullmatch("[0-9]{1,20}", parts.path.rpartition("/")[2], re.ASCII)
    return text if number and parts.username and not parts.query + parts.fragment else _refuse()


def _prefix(value: object) -> str:
    text = _text(value)
    return text if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}", text) else _refuse()


def _crowd(item: object) -> tuple[Network, int]:
    """How many turns at once for each address of a network: ``CIDR=N``, or one that was read already."""
    if isinstance(item, str):
        network, _, number = item.rpartition("=")
        if not re.fullmatch(r"[0-9]{1,6}", number.strip(), re.ASCII):
            _refuse("a number is missing")
        item = (network.strip(), int(number))
    match item:
        case (net, int(most)) if 0 <= most <= MOST_AT_AN_ADDRESS:
            return _network(net), most
    _refuse()


def _proxy(value: object) -> str:
    text = _text(value)
    parts = _split_url(text)
    if parts.scheme == "https":
        _refuse("the way to the proxy itself is plain HTTP; https sites are reached through it all the same")
    try:
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        _refuse("the port is no number")
    good = (
        parts.scheme == "http"
        and host
        and port
        and parts.path in ("", "/")
        and not parts.query + parts.fragment
    )
    return text.rstrip("/") if good else _refuse()


def _name_server(item: object) -> NameServer:
    if isinstance(item, str):
        found = SERVER.fullmatch(item)
        item = (
            (found[1] or found[3] or "", int(found[2] or found[4] or DNS_PORT)) if found else (item, DNS_PORT)
        )
    match item:
        case (str(host), int(port)) if 0 < port <= LAST_PORT:
            return str(ipaddress.ip_address(host)), port
    _refuse()


def _network(item: object) -> Network:
    """A network as text, or one that was read already."""
    if isinstance(item, str):
        return parse_networks([item])[0]
    return item if isinstance(item, Network) else _refuse()


def _port_range(item: object) -> tuple[int, int]:
    """``443``, ``1024-65535``, or a range that was read already."""
    ends = item
    if isinstance(item, str):
        found = re.fullmatch(r"([0-9]{1,5})(?: *- *([0-9]{1,5}))?", item, re.ASCII)
        ends = (int(found[1]), int(found[2] or found[1])) if found else None
    elif type(item) is int:
        ends = (item, item)
    match ends:
        case (int(first), int(last)) if 0 < first <= last <= LAST_PORT:
            return first, last
    _refuse(f"{item} is no port from 1 to {LAST_PORT}, nor a range of them")


def _show_ports(ports: tuple[int, int]) -> str:
    return f"{ports[0]}" if ports[0] == ports[1] else f"{ports[0]}-{ports[1]}"


def _show_server(server: NameServer) -> str:
    host = f"[{server[0]}]" if ":" in server[0] else server[0]
    return host if server[1] == DNS_PORT and ":" not in host else f"{host}:{server[1]}"


FLAG: Final = Kind("true or false", "true", _flag, lambda flag: "true" if flag else "false")
PATH: Final = Kind("a path", "/var/lib/crawl", _path)
FILE: Final = Kind("an existing file", "/etc/ssl/certs/ca-certificates.crt", _file)
FOLDER: Final = Kind("an existing folder", "/usr/lib/postgresql/17/bin", _folder)
_ESCAPED: Final = "with / ? # @ : % of the password as %XX"
DATABASE: Final = Kind(f"a PostgreSQL address, {_ESCAPED}", "postgresql://crawl@localhost/crawl", _database)
BROKER: Final = Kind(f"a RabbitMQ address, {_ESCAPED}", "amqp://crawl:password@localhost:5672/crawl", _broker)
SENTRY: Final = Kind("a Sentry DSN", "https://key@sentry.example.com/42", _sentry)
QUEUE_PREFIX: Final = Kind("the beginning of a queue's name (letters, digits, _ . : -)", "crawl", _prefix)
CROWDS: Final = items(
    _crowd, "a list of CIDR=TURNS", "203.0.113.0/24=500,127.0.0.0/8=0", lambda one: f"{one[0]}={one[1]}"
)
AGENT_NAME: Final = Kind(
    "a user agent in printable latin-1 that starts with a robots.txt product token (letters, _ and -)",
    "examplebot/1.0 (+https://example.com/bot)",
    _agent,
)
PROXY: Final = Kind("the address of an HTTP proxy", "http://user:password@proxy.example:3128", _proxy)
REACHABLE: Final = Kind("a URL or an e-mail address", "https://example.com/bot", _contact)
NAME_SERVERS: Final = items(_name_server, "a list of IP[:PORT]", "9.9.9.9,[2620:fe::fe]:53", _show_server)
NETWORKS: Final = items(_network, "a list of networks as CIDR", "10.0.0.0/8,fd00::/8")
PORTS: Final = items(_port_range, "a list of ports and ranges", "80,443,1024-65535", _show_ports)
