"""How many domains at one address may be visited at once: a hoster of ten thousand sites is one machine too."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network


class CrowdLimits:
    """The limit of an address: that of the smallest network named which it lies in, else the general one. 0: no limit."""

    def __init__(self, per_address: int, nets: Sequence[tuple[Network, int]] = ()) -> None:
        self._per_address = per_address
        self._nets = sorted(nets, key=lambda net: -net[0].prefixlen)
        self.most = lru_cache(maxsize=10_000)(self._most)
        """Domains at once at this address."""

    def __repr__(self) -> str:
        return f"<CrowdLimits {self._per_address}, {len(self._nets)} networks>"

    def _most(self, address: str) -> int:
        ip = ip_address(address)
        # An address of IPv4 in the clothes of IPv6 (RFC 4291 section 2.5.5.2) is that of IPv4.
        ip = getattr(ip, "ipv4_mapped", None) or ip
        return next((most for net, most in self._nets if ip in net), self._per_address)
