"""The page at /docs in a real Chromium."""

import pytest

from tests.dashboard.browsing import browsing, watching
from tests.dashboard.conftest import Served

pytestmark = pytest.mark.xdist_group("dashboard")  # they share what is costly to make


def test_the_api_is_read_and_tried_in_a_browser(served: Served) -> None:
    """The page lists every operation, one can be tried there, nothing is asked of another origin, and no policy is broken."""
    with browsing() as browser, watching(browser, served.url) as watched:
        watched.go("/docs")
        watched.page.wait_for_selector(".opblock")
        listed = watched.page.locator(".opblock").count()
        block = watched.page.locator("[id$=list_crawls_api_crawls_get]")
        block.locator(".opblock-summary").click()
        block.locator(".try-out__btn").click()
        block.locator(".execute").click()
        answer = block.locator(".live-responses-table .highlight-code").first.inner_text()
        wrong = list(watched.wrong)

    paths = served.get("/openapi.json").json()["paths"]
    assert listed == sum(len(verbs) for verbs in paths.values())
    assert '"name": "news"' in answer
    assert wrong == []
