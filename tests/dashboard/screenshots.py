"""The pictures of the dashboard in docs/images, taken of one that runs.

crawl run URL... --name docs &
    crawl dashboard &
    python -m tests.dashboard.screenshots http://127.0.0.1:8080 ──► docs/images/dashboard-*.png, each below 150 kB
"""

import sys
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote, urlencode

import httpx
from playwright.sync_api import Browser, ViewportSize

from tests.dashboard.browsing import browsing

IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
MOST: Final = 150_000
"""Bytes of a picture."""
TALLEST: Final = (1180, 1080, 980, 880, 780, 680)
"""Pixels: what is below is cut off, and more of it until the picture is small enough."""
WINDOWS: Final = {"wide": {"width": 1200, "height": 700}, "phone": {"width": 360, "height": 700}}


def asked(origin: str, path: str, **query: str) -> Any:
    """What the API says."""
    return httpx.get(f"{origin}/api{path}", params=query, timeout=30).raise_for_status().json()


def paths(origin: str) -> dict[str, str]:
    """A page of each kind, of things that there are: the largest crawl that runs, a domain that fails, a page with a title."""
    crawl = max(asked(origin, "/crawls"), key=lambda one: (one["state"] == "running", one["pages"]))["name"]
    failing = asked(origin, f"/crawls/{quote(crawl, safe='')}")["failing"]
    found = asked(origin, "/pages/search", crawl=crawl, outcome="ok")["pages"]
    page = next((one for one in found if one["title"]), found[0])
    return {
        "overview": "/",
        "crawl": f"/crawls/{quote(crawl, safe='')}",
        "domains": "/domains",
        "domain": f"/domains/{quote(failing[0]['domain'] if failing else page['domain'], safe='')}",
        "url": f"/url?{urlencode({'url': page['url']})}",
        "workers": "/workers",
        "schedule": "/schedule",
        "errors": "/errors",
        "search": f"/search?{urlencode({'crawl': crawl, 'outcome': 'ok'})}",
        "bot": "/bot",
    }


def take(
    browser: Browser, origin: str, name: str, path: str, *, window: str = "wide", dark: bool = False
) -> Path:
    """One picture."""
    file = IMAGES / f"dashboard-{name}.png"
    context = browser.new_context(
        viewport=cast("ViewportSize", WINDOWS[window]),
        color_scheme="dark" if dark else "light",
        timezone_id="UTC",
        locale="en-GB",
    )
    try:
        page = context.new_page()
        page.goto(origin + path)
        if page.query_selector("#pulse"):
            page.wait_for_selector("#pulse[data-state=live]")
        whole = page.evaluate("document.documentElement.scrollHeight")
        for tallest in TALLEST:
            clip: Any = {"x": 0, "y": 0, "width": WINDOWS[window]["width"], "height": min(whole, tallest)}
            page.screenshot(path=file, full_page=True, clip=clip)
            if file.stat().st_size <= MOST:
                return file
    finally:
        context.close()
    raise SystemExit(f"{file.name} has {file.stat().st_size:,} bytes: more than {MOST:,}")


def main(origin: str) -> None:
    """All of them."""
    chosen = paths(origin)
    with browsing() as browser:
        made = [take(browser, origin, name, path) for name, path in chosen.items()]
        made.append(take(browser, origin, "overview-dark", "/", dark=True))
        made.append(take(browser, origin, "overview-phone", "/", window="phone"))
    for file in made:
        sys.stdout.write(f"{file.relative_to(IMAGES.parents[1])}: {file.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
