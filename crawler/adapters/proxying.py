"""An HTTP proxy between us and every site: http is asked of it in full, https goes through a tunnel it opens.

The proxy resolves the names, so what lies behind it is its business. That it cannot be reached, or wants a password, is our own
lack: no site is to blame, and no URL's patience is spent on it.
"""

import asyncio
import os
import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import unquote, urlsplit

from crawler.adapters.attempt import Failure
from crawler.core.errors import FaircrawlError
from crawler.core.model import Outcome

if TYPE_CHECKING:
    import socket

PORT: Final = 80
WANTS_PASSWORD: Final = 407
THROUGH: Final = 200
MAX_ANSWER: Final = 64 * 1024
READ: Final = 4096
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})([ -~]{0,80})")


class ProxyError(FaircrawlError):
    """The proxy does not let us through."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy for every request."""

    host: str
    """A name, or an address without brackets."""
    port: int
    authorization: str | None = field(default=None, repr=False)
    """What Proxy-Authorization says."""

    @classmethod
    def of(cls, url: str) -> Self:
        """From ``http://user:password@host:port``, as the setting PROXY has it."""
        parts = urlsplit(url)
        secret = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
        authorization = None if parts.username is None else f"Basic {b64encode(secret).decode()}"
        return cls(parts.hostname or "", parts.port or PORT, authorization)

    @property
    def url(self) -> str:
        """Without the password."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def headers(self) -> tuple[tuple[str, str], ...]:
        """What a request to the proxy itself says besides."""
        return () if self.authorization is None else (("Proxy-Authorization", self.authorization),)

    def unreachable(self, why: object) -> ProxyError:
        """Nobody answers there."""
        return ProxyError(
            f"the proxy {self.url} cannot be reached ({why}): see that it runs, or leave --proxy out"
        )

    def check(self, status: int) -> None:
        """Raises ProxyError if that is the proxy's wish for a password, or for another one."""
        if status == WANTS_PASSWORD:
            wants = "refuses the password" if self.authorization else "wants a password"
            here = self.url.removeprefix("http://")
            raise ProxyError(f"the proxy {self.url} {wants}: write --proxy http://user:password@{here}")

    async def tunnel(self, connection: "socket.socket", target: str, timeout: float) -> None:  # noqa: ASYNC109  # of the network
        """Have the proxy connect us through to *target*, ``host:port`` (RFC 9110 section 9.3.6).

        Raises:
            Failure: it cannot, or takes longer than *timeout* seconds.
            ProxyError: it wants a password.
        """
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *(f"{n}: {v}" for n, v in self.headers())]
        loop, head = asyncio.get_running_loop(), b""
        try:
            async with asyncio.timeout(timeout):
                await loop.sock_sendall(connection, "".join(f"{line}\r\n" for line in [*lines, ""]).encode())
                while b"\r\n\r\n" not in head and len(head) < MAX_ANSWER:
                    if not (data := await loop.sock_recv(connection, READ)):
                        break
                    head += data
        except TimeoutError:
            raise Failure(Outcome.TIMEOUT, f"no answer from the proxy within {timeout:g} s") from None
        except OSError as error:
            said = os.strerror(error.errno).lower() if error.errno else str(error)
            raise Failure(Outcome.CONNECT_ERROR, f"{said} (the proxy)") from None
        found = _STATUS.match(head)
        status = int(found[1]) if found else 0
        self.check(status)
        if found is None or (status == THROUGH and not head.endswith(b"\r\n\r\n")):
            raise Failure(Outcome.CONNECT_ERROR, "the proxy's answer makes no sense")
        if status != THROUGH:
            raise Failure(Outcome.CONNECT_ERROR, f"the proxy answered {(found[1] + found[2]).decode()}")
