"""How a command that works for long is told to stop."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Final

from crawler.cli import INTERRUPTED

LAST_WORD: Final = 3.0
"""Seconds that the second Ctrl-C leaves for writing down what was done."""


def heed_signals(stop: asyncio.Event, hurry: asyncio.Event, stopping: Callable[[], None]) -> None:
    """The first Ctrl-C or SIGTERM lets open requests end, the second cuts them; should even that take long, we are gone."""
    loop = asyncio.get_running_loop()

    def heed() -> None:
        if stop.is_set():
            hurry.set()
            loop.call_later(LAST_WORD, os._exit, INTERRUPTED)
        else:
            stop.set()
            stopping()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, heed)
