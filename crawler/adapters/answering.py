"""A small web server of our own, in the process that it tells of: who measures us asks here, and nobody else.

1. Only GET and HEAD, only the paths that it was given; everything else is 404 or 405.
2. What goes wrong in an answer is that answer's: a 500, and a line in the log.
3. Who listens there already is told in one line.
"""

import contextlib
import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import structlog
from aiohttp import web

from crawler.core.errors import FaircrawlError

log: Final = structlog.get_logger()

IDLE: Final = 30.0
"""Seconds for which a connection without a request is kept."""
LEAVING: Final = 1.0
"""Seconds that an answer under way has when we end."""


class ListenError(FaircrawlError):
    """Nobody can be answered there."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200


Answers: TypeAlias = Callable[[str], Awaitable[Reply]]
"""Given the Accept header."""


@contextlib.asynccontextmanager
async def answering(host: str, port: int, paths: Mapping[str, Answers]) -> AsyncIterator[str]:
    """Answer on this address while the body runs: the URL to ask. Port 0: any free one.

    Raises:
        ListenError: another has the port, or the address is not ours.
    """
    application = web.Application(client_max_size=1)
    for path, answers in paths.items():
        application.router.add_get(path, _handler(answers))
    runner = web.AppRunner(
        application, access_log=None, logger=_logger(), keepalive_timeout=IDLE, shutdown_timeout=LEAVING
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            where = f"{_bracketed(host)}:{port}"
            raise ListenError(f"cannot listen on {where} for metrics: {_reason(error)}") from None
        address = runner.addresses[0]
        yield f"http://{_bracketed(address[0])}:{address[1]}"
    finally:
        await runner.cleanup()


def _handler(answers: Answers) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        reply = await answers(request.headers.get("Accept", ""))
        headers = {
            "Content-Type": reply.content_type,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        return web.Response(body=reply.body, status=reply.status, headers=headers)

    return handle


class _Told(logging.Handler):
    """What aiohttp says of an answer that failed, as an event of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        log.error("answer.failed", reason=record.getMessage(), exc_info=record.exc_info)


def _logger() -> logging.Logger:
    logger = logging.getLogger("crawler.answering")
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    logger.handlers = [_Told()]
    return logger


def _reason(error: OSError) -> str:
    """Of an error of the loop's, which names the address too, the words of the system."""
    match error.errno:
        case errno.EADDRINUSE:
            return "another program has this port: choose another with CRAWL_METRICS_PORT (0: any free one)"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        case errno.EACCES:
            return "a port below 1024 needs rights that we do not have"
    return error.strerror or str(error)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
