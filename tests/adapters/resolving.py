"""A resolver of the tests' own, and why a name cannot be resolved."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from crawler.adapters.dns import DnsError, Resolver
from crawler.demo.names import NameServer


@asynccontextmanager
async def resolver(*servers: NameServer | tuple[str, int], **options: Any) -> AsyncIterator[Resolver]:
    """A resolver that asks these servers and knows no hosts file. IPv6 addresses are asked for with ``ipv6=True`` alone."""
    addresses = [server.where if isinstance(server, NameServer) else server for server in servers]
    made = Resolver(servers=addresses, **{"hosts_file": None, "ipv6": False, "timeout": 1.5} | options)
    try:
        yield made
    finally:
        await made.close()


async def why_not(made: Resolver, name: str) -> str:
    """Why the name cannot be resolved."""
    with pytest.raises(DnsError) as caught:
        await made.resolve(name)
    return str(caught.value)
