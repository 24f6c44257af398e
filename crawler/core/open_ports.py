"""Which ports may be connected to: a link can name any, and a mail server obeys what an HTTP request holds.

1. Only what is in `allowed` is open.
2. A range does not open a port at which browsers do not speak HTTP either; naming that port by itself does.
"""

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Ports: TypeAlias = tuple[tuple[int, int], ...]
"""The first and the last port of each range, both in it."""

DEFAULT: Final[Ports] = ((80, 80), (443, 443), (1024, 65535))

BLOCKED: Final["Mapping[int, str]"] = MappingProxyType(
    {
        1719: "H.323", 1720: "H.323", 1723: "PPTP", 2049: "NFS", 3659: "Apple SASL", 4045: "NFS locks", 4190: "Sieve",
        5060: "SIP", 5061: "SIP", 6000: "X11", 6566: "SANE", 6665: "IRC", 6666: "IRC", 6667: "IRC", 6668: "IRC",
        6669: "IRC", 6679: "IRC", 6697: "IRC", 10080: "Amanda",
    }
)  # fmt: skip
"""Fetch Standard, "port blocking": its ports above 1023. No browser opens a page there, so no site is lost, and what listens there
reads line by line whatever it is sent. (Those below are closed anyway.)"""


def refusal(port: int, allowed: Ports) -> str | None:
    """Why nothing may be connected to at this port; None: it may be."""
    if (port, port) in allowed:
        return None
    if not any(first <= port <= last for first, last in allowed):
        return f"port {port} is not one of the ports that may be connected to"
    if port in BLOCKED:
        return f"port {port} is for {BLOCKED[port]}, and closed to browsers too"
    return None
