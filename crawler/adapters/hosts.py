"""What this machine knows about names by itself: its hosts file, its name servers, its routes."""

import contextlib
import os
import socket
from pathlib import Path
from typing import Final

RESOLV_CONF: Final = Path("/etc/resolv.conf")
HOSTS_FILE: Final = Path("/etc/hosts")
DNS_PORT: Final = 53


class HostsFile:
    """The hosts file as a dictionary, read again when it has changed."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._names: dict[str, tuple[str, ...]] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._path} {len(self._names)} names>"

    def addresses(self, name: str) -> tuple[str, ...]:
        """Return what the file says of `name` (lower case, no dot at its end), IPv4 first."""
        if self._path is None:
            return ()
        try:
            stat = os.stat(self._path)  # noqa: PTH116 - half the time, for every new connection
        except OSError:
            self._stamp, self._names = None, {}
            return ()
        stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if stamp != self._stamp:
            self._names = _parse_hosts(self._path)
            self._stamp = stamp
        return self._names.get(name, ())


def _parse_hosts(path: Path) -> dict[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    with contextlib.suppress(OSError):
        for line in path.read_text("utf-8", "replace").splitlines():
            address, *aliases = line.partition("#")[0].split() or [""]
            if not _is_address(address):
                continue
            for alias in aliases:
                name = alias.rstrip(".").lower()
                if address not in names.get(name, ()):
                    names[name] = (*names.get(name, ()), address)
    return {name: tuple(sorted(found, key=lambda address: ":" in address)) for name, found in names.items()}


def _is_address(text: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError):
            socket.inet_pton(family, text)
            return True
    return False


def system_servers(path: Path = RESOLV_CONF) -> list[tuple[str, int]]:
    """Name servers of this machine, as resolv.conf names them; the local one if it names none."""
    servers: list[tuple[str, int]] = []
    with contextlib.suppress(OSError):
        for line in path.read_text("utf-8", "replace").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver" and _is_address(words[1].partition("%")[0]):
                servers.append((words[1], DNS_PORT))
    return servers or [("127.0.0.1", DNS_PORT)]


def has_ipv6() -> bool:
    """Whether this machine has a route to the IPv6 internet. Nothing is sent to find out."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.connect(("2001:4860:4860::8888", DNS_PORT))
        return True
    return False
