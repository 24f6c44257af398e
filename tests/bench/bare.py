"""What can be had at best: aiohttp as it comes, that asks for pages, reads them and throws them away.

    URLs on standard input ──► so many domains at once, the pages of each in order ──► {"pages": ..., "seconds": ..., "cpu": ...}

One session, one TLS context, one event loop (uvloop); connections are kept while a domain is asked. No robots.txt, nothing read out of
a page, nothing stored.
"""

import argparse
import asyncio
import itertools
import json
import os
import ssl
import sys
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

import aiohttp
import uvloop
from aiohttp.resolver import AsyncResolver

from tests.bench.running import waited


async def fetch(urls: Iterable[str], authority: str, names: str, at_once: int) -> int:
    """Ask for all of them: how many were answered with 200."""
    context = ssl.create_default_context(cafile=authority)
    resolver = AsyncResolver(nameservers=[names])
    domains = [list(some) for _, some in itertools.groupby(urls, lambda url: urlsplit(url).netloc)]
    domains.reverse()
    done = 0

    async def visit(session: aiohttp.ClientSession) -> None:
        nonlocal done
        while domains:
            for url in domains.pop():
                async with session.get(url) as response:
                    await response.read()
                    done += response.status == 200

    connector = aiohttp.TCPConnector(limit=0, resolver=resolver, ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(visit(session))
    return done


def main() -> None:
    """Read what was given, fetch, and say what it has cost."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bare", description=__doc__.splitlines()[0])
    parser.add_argument("--authority", required=True, help="the certificate to trust")
    parser.add_argument("--dns", required=True, help="the name server, as IP:PORT")
    parser.add_argument("--concurrency", type=int, default=200, help="domains at once")
    given = parser.parse_args()
    urls = sys.stdin.read().split()
    before, in_vain, began = os.times(), waited(), time.monotonic()
    pages = uvloop.run(fetch(urls, given.authority, given.dns, given.concurrency))
    took, after, in_vain = time.monotonic() - began, os.times(), waited() - in_vain
    cpu = after.user + after.system - before.user - before.system
    sys.stdout.write(json.dumps({"pages": pages, "seconds": took, "cpu": cpu, "waited": in_vain}))


if __name__ == "__main__":
    main()
