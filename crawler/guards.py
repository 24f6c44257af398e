"""File descriptors: as many as the machine gives us, and never more connections than those hold."""

import resource
from typing import Final

RESERVED: Final = 64
"""Descriptors for everything that is no fetch: database, name servers, files, logs."""
LEAST: Final = 8


def raise_open_files(most: int | None = None) -> int:
    """Raise the soft limit to the hard one (or to *most*): how many descriptors this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = hard if hard != resource.RLIM_INFINITY else 1 << 20
    wanted = ceiling if most is None else min(most, ceiling)
    if wanted != soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def connections_within(open_files: int) -> int:
    """How many connections to sites may be open at once, busy and idle together."""
    return max(LEAST, min(open_files - RESERVED, open_files * 3 // 4))
