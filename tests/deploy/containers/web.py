"""The small web of the test, in a container of its own: villages, each a domain, and a line for every request.

    VILLAGES names ──► http://village1.test:8000/ ... ──► {"host": ..., "path": ..., "began": ..., "ended": ..., "status": ...}

Times are the machine's (`time.monotonic`), which all containers share.
"""

import asyncio
import json
import signal
import time
from typing import Final

from crawler.demo.language import Site, answer_of, page, robots

PORT: Final = 8000
VILLAGES: Final = 9
HOUSES: Final = 29
"""Pages of a village, but for its first: at a second each, half a minute of crawling."""
LATE: Final = 0.05
"""Seconds before an answer."""


def host(number: int) -> str:
    """The name of a village."""
    return f"village{number}.test"


def village(number: int) -> Site:
    """A first page, and others in a ring with a shortcut; the last leads to where nobody may go."""
    ring = {f"/{n}": (f"/{n % HOUSES + 1}", f"/{n * 2 % HOUSES + 1}") for n in range(1, HOUSES + 1)}
    return {
        "/robots.txt": robots("/private/"),
        "/": page(f"village {number}", "/1", "/private/1"),
        **{path: page(f"village {number}, house {path[1:]}", *links) for path, links in ring.items()},
        "/private/*": page("private"),
    }


SITES: Final = {host(number): village(number) for number in range(1, VILLAGES + 1)}
PAGES: Final = VILLAGES * (HOUSES + 1)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection."""
    try:
        while (line := await reader.readline()).strip():
            began, path, named = time.monotonic(), line.split()[1].decode("latin-1"), ""
            while (header := await reader.readline()).strip():
                name, _, value = header.decode("latin-1").partition(":")
                named = value.strip().partition(":")[0] if name.lower() == "host" else named
            await asyncio.sleep(LATE)
            reply = answer_of(SITES.get(named, {}), path)
            kind = reply.headers.get("Content-Type", "text/html")
            head = f"HTTP/1.1 {reply.status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(reply.body)}\r\n\r\n"
            # Said before the answer leaves: whoever has read it finds it in the log.
            facts = {
                "host": named,
                "path": path,
                "began": began,
                "ended": time.monotonic(),
                "status": reply.status,
            }
            print(json.dumps(facts), flush=True)  # noqa: T201 - the container's log is what is read
            writer.write(head.encode() + reply.body)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main() -> None:
    """Until the container is stopped."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with await asyncio.start_server(serve, "0.0.0.0", PORT):
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
