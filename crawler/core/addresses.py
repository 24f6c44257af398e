"""Which addresses may be connected to.

A crawler follows links that strangers wrote, so a link must not lead it into the network it stands in.

1. Public is what is left over: an address is refused unless it is IPv4 outside the table below,
   or IPv6 global unicast (2000::/3) outside the table. A new special range in the rest of IPv6
   is refused before anybody has heard of it.
2. Forms of IPv6 that carry an IPv4 address (mapped, translated, NAT64, 6to4, Teredo) are refused
   *whatever* they carry: no site is published that way, and each is a way around a filter for IPv4.
3. What is no address is refused.

The table follows the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and its
successors) and adds multicast and the addresses at which clouds hand out credentials. It is not
``ipaddress.is_global``, whose answers differ between patch releases of Python (a test compares).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from crawler.core import open_ports
from crawler.core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
"""All of IPv6 that IANA has given out for the public internet so far (RFC 4291 section 2.4)."""

SPECIAL: Final[tuple[tuple[Network, str], ...]] = tuple(
    sorted(
        (
            (ip_network(text), reason)
            for text, reason in (
                ("0.0.0.0/8", "unspecified"),  # RFC 791: "this network"; Linux takes 0.0.0.0 for loopback
                ("10.0.0.0/8", "private"),  # RFC 1918
                ("100.64.0.0/10", "carrier-grade NAT"),  # RFC 6598
                ("100.100.100.200/32", "cloud metadata"),  # Alibaba Cloud
                ("127.0.0.0/8", "loopback"),  # RFC 1122
                ("168.63.129.16/32", "cloud metadata"),  # Azure; looks public and is not
                ("169.254.0.0/16", "link-local"),  # RFC 3927
                ("169.254.169.254/32", "cloud metadata"),  # AWS, Google Cloud, Azure, OpenStack and others
                ("169.254.170.2/32", "cloud metadata"),  # AWS containers
                ("172.16.0.0/12", "private"),  # RFC 1918
                ("192.0.0.0/24", "reserved"),  # RFC 6890: protocol assignments
                ("192.0.0.192/32", "cloud metadata"),  # Oracle Cloud
                ("192.0.2.0/24", "documentation"),  # RFC 5737
                ("192.88.99.0/24", "6to4"),  # RFC 7526: relays, no longer in use
                ("192.168.0.0/16", "private"),  # RFC 1918
                ("198.18.0.0/15", "benchmarking"),  # RFC 2544
                ("198.51.100.0/24", "documentation"),  # RFC 5737
                ("203.0.113.0/24", "documentation"),  # RFC 5737
                ("224.0.0.0/4", "multicast"),  # RFC 5771
                ("240.0.0.0/4", "reserved"),  # RFC 1112
                ("255.255.255.255/32", "broadcast"),  # RFC 919
                ("::/128", "unspecified"),  # RFC 4291
                ("::1/128", "loopback"),  # RFC 4291
                ("::/96", "IPv4-compatible"),  # RFC 4291, deprecated
                ("::ffff:0:0/96", "IPv4-mapped"),  # RFC 4291
                ("::ffff:0:0:0/96", "IPv4-translated"),  # RFC 2765
                ("64:ff9b::/96", "NAT64"),  # RFC 6052
                ("64:ff9b:1::/48", "NAT64"),  # RFC 8215
                ("100::/64", "discard-only"),  # RFC 6666
                ("100:0:0:1::/64", "reserved"),  # RFC 9780: dummy prefix
                ("2001::/23", "reserved"),  # RFC 2928: protocol assignments
                ("2001::/32", "Teredo"),  # RFC 4380
                ("2001:2::/48", "benchmarking"),  # RFC 5180
                ("2001:db8::/32", "documentation"),  # RFC 3849
                ("2002::/16", "6to4"),  # RFC 3056
                ("3fff::/20", "documentation"),  # RFC 9637
                ("5f00::/16", "reserved"),  # RFC 9602: segment routing
                ("fc00::/7", "private"),  # RFC 4193: unique local
                ("fd00:ec2::254/128", "cloud metadata"),  # AWS
                ("fd20:ce::254/128", "cloud metadata"),  # Google Cloud
                ("fe80::/10", "link-local"),  # RFC 4291
                ("fec0::/10", "site-local"),  # RFC 3879, deprecated
                ("ff00::/8", "multicast"),  # RFC 4291
            )
        ),
        key=lambda row: -row[0].prefixlen,
    )
)
"""Networks that are not the public web and why, the most specific first."""


_ENDS_IN_A_NUMBER: Final = re.compile(r"(?:.*\.)?(?:\d+|0[xX][0-9A-Fa-f]*)\.?", re.DOTALL)
"""URL Standard, "ends in a number": then it is an IPv4 address or nothing. ``\\d`` takes full-width digits too."""


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What may be connected to: every public address and the networks in ``allowed``, at the ports in ``ports``.

    ``allowed`` opens exactly the networks it names, by the address as it will be connected to.
    To name 127.0.0.0/8 does not open ::ffff:127.0.0.1, 64:ff9b::7f00:1 or 2002:7f00:1::, which the
    operating system may route elsewhere; who wants ``::ffff:127.0.0.0/104`` names that too.
    An address with a scope id (``fe80::1%eth0``) is refused even then: it leads each machine elsewhere.
    """

    allowed: tuple[Network, ...] = ()
    ports: open_ports.Ports = open_ports.DEFAULT

    def port_refusal(self, port: int) -> str | None:
        """Why nothing may be connected to at this port, in a short phrase; None: it may be."""
        return open_ports.refusal(port, self.ports)

    def refusal(self, address: str) -> str | None:
        """Why nothing may be connected to at this address, in a short phrase; None: it may be."""
        reason = _special(address)
        if reason is None or (self.allowed and self._opens(address)):
            return None
        return reason

    def literal_refusal(self, host: str) -> str | None:
        """As `refusal`, for the host of a canonical URL. None for a name: ask again when it is resolved."""
        address = literal(host)
        return None if address is None else self.refusal(address)

    def _opens(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return "%" not in address and any(parsed in network for network in self.allowed)


def parse_networks(texts: "Iterable[str]") -> tuple[Network, ...]:
    """The networks that a person named, such as ``10.1.0.0/16``, ``fd00::/8`` or one address.

    Raises:
        SettingsError: a text is no network, or has bits set beyond its prefix (it may mean something else).
    """
    return tuple(_network(text.strip()) for text in texts)


def literal(host: str) -> str | None:
    """What is meant as an address, if a host is one (brackets removed); None for a name.

    In a canonical URL it is an address. In any other it may be a spelling that we do not read (``0x7f.1``): then the policy
    refuses it as none, and nobody else, such as a proxy, is asked what it means.
    """
    if host.startswith("["):
        return host[1:-1]
    return host if _ENDS_IN_A_NUMBER.fullmatch(host) else None


def _network(text: str) -> Network:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or "%" in text:
        raise SettingsError(
            f"{text!r} is not a network: write one such as 10.1.0.0/16, fd00::/8 or 127.0.0.1"
        )
    if ip_address(text.partition("/")[0]) != network.network_address:
        raise SettingsError(f"{text!r} is an address inside a network: write {network} if that is meant")
    return network


@lru_cache(maxsize=65_536)
def _special(text: str) -> str | None:
    """Why the address is not one of the public web, before anything is allowed by name."""
    try:
        address = ip_address(text)
    except ValueError:
        return "not an address"
    if "%" in text:
        return "scope id"
    return _reason(address)


def _reason(address: Address) -> str | None:
    reason = next((reason for network, reason in SPECIAL if address in network), None)
    if isinstance(address, IPv4Address):
        return reason
    if address.ipv4_mapped is not None:
        inner = _reason(address.ipv4_mapped)
        return f"{reason} {inner}" if inner else reason
    if reason is None and address not in GLOBAL_UNICAST:
        return "reserved"
    return reason
