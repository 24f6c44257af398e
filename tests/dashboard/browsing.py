"""A browser that watches itself: whatever it says on its console, throws, or asks of another origin, is written down."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

from tests.chromium import FLAGS, chromium

WIDE = {"width": 1280, "height": 860}
PHONE = {"width": 360, "height": 740}


@contextlib.contextmanager
def browsing() -> Iterator[Browser]:
    """A Chromium."""
    program = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass(slots=True)
class Watched:
    """A page of a browser, and what it should not have done."""

    page: Page
    origin: str
    wrong: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        """Open a page of ours, and wait until it can be used."""
        self.page.goto(self.origin + path, wait_until="domcontentloaded")

    def live(self) -> None:
        """Wait until its live parts have come."""
        self.page.wait_for_selector("#pulse[data-state=live]", timeout=20_000)


@contextlib.contextmanager
def watching(
    browser: Browser, origin: str, *, token: str | None = None, phone: bool = False,
    colours: Literal["light", "dark"] = "light", scripts: bool = True,
) -> Iterator[Watched]:  # fmt: skip
    """A window of its own; with a *token* it is signed in."""
    context = browser.new_context(
        viewport=PHONE if phone else WIDE,  # type: ignore[arg-type]
        color_scheme=colours, java_script_enabled=scripts, has_touch=phone, timezone_id="UTC", locale="en-GB",
    )  # fmt: skip
    try:
        page = context.new_page()
        page.set_default_timeout(20_000)
        watched = Watched(page, origin)
        page.on(
            "console",
            lambda said: (
                watched.wrong.append(f"console: {said.text}") if said.type in {"error", "warning"} else None
            ),
        )
        page.on("pageerror", lambda error: watched.wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: watched.wrong.append(f"dialog: {dialog.message}"))
        context.on("request", lambda request: watched.wrong.extend(elsewhere(request.url, origin)))
        if token is not None:
            page.goto(f"{origin}/login?token={token}", wait_until="domcontentloaded")
        yield watched
    finally:
        context.close()


def elsewhere(url: str, origin: str) -> list[str]:
    """The URL, if it is of another origin."""
    parts: Any = urlsplit(url)
    return [] if f"{parts.scheme}://{parts.netloc}" == origin else [f"request: {url}"]
