# ruff: noqa: INP001 - no package: it is put into the image by itself
"""Whether the program in this container answers at /healthz: exit status 0 or 1, for HEALTHCHECK.

    healthz.py [PORT]       without one: CRAWL_METRICS_PORT

It is started every few seconds in every container, so it imports next to nothing: 20 ms of a processor.
"""

import os
import socket
import sys
from typing import Final

PATIENCE: Final = 4.0
"""Seconds for an answer: less than the timeout of HEALTHCHECK, so that the reason is told."""


def complaint(port: int) -> str:
    """What is wrong with the answer of this port; empty: nothing."""
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = connection.recv(64)
    except OSError as error:
        return f"nothing answers at port {port}: {error}"
    status = answer.split(b"\r\n", 1)[0].decode("latin-1")
    return "" if status.split(" ")[1:2] == ["200"] else f"port {port} says {status!r}"


if __name__ == "__main__":
    wrong = complaint(int(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CRAWL_METRICS_PORT") or 9100))
    if wrong:
        sys.exit(wrong)
