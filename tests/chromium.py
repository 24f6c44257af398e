"""A Chromium to look at pages with: found, or installed.

CRAWL_TEST_CHROMIUM ──► chromium, chromium-browser, google-chrome on the PATH ──► apt-get install (root on Debian)
                    ──► playwright install chromium ──► the session ends, with one line
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS: Final = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--mute-audio")
"""Without a sandbox, because root has none; what it shows is ours."""
PATIENCE: Final = 900.0
"""Seconds for an installation."""


class NoChromiumError(Exception):
    """There is no Chromium to test with."""


def chromium() -> str:
    """The program. Raises NoChromiumError."""
    named = os.environ.get("CRAWL_TEST_CHROMIUM")
    if named:
        if not os.access(named, os.X_OK):
            raise NoChromiumError(f"CRAWL_TEST_CHROMIUM ({named}) is no program: mend it, or unset it")
        return named
    # Two testers cannot install it at once.
    with (Path(tempfile.gettempdir()) / "faircrawl-tests-chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = on_path() or bundled() or installed() or downloaded()
    if found is None:
        raise NoChromiumError(
            "no Chromium to test with: none on the PATH, and neither apt-get as root nor `playwright install chromium` gave one;"
            " install chromium, or name it in CRAWL_TEST_CHROMIUM"
        )
    return found


def on_path() -> str | None:
    """One of this machine."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def bundled() -> str | None:
    """The one that Playwright has downloaded before."""
    with sync_playwright() as playwright:
        path = Path(playwright.chromium.executable_path)
    return str(path) if path.is_file() else None


def installed() -> str | None:
    """As root on Debian, its package."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        if not _done(["apt-get", "-qq", *command]):
            return None
    return on_path()


def downloaded() -> str | None:
    """Playwright's own."""
    return bundled() if _done([sys.executable, "-m", "playwright", "install", "chromium"]) else None


def _done(command: list[str]) -> bool:
    try:
        done = subprocess.run(
            command, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
    except (subprocess.TimeoutExpired, OSError):
        return False
    return done.returncode == 0
