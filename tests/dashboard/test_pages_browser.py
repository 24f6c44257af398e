"""The dashboard in a real Chromium, while a crawl runs."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from crawler.demo.server import Web
from tests.broker import free_port
from tests.chromium import NoChromiumError
from tests.dashboard.browsing import browsing, watching
from tests.dashboard.conftest import TOKEN, Served, environment, program

pytestmark = pytest.mark.xdist_group("dashboard")
expect.set_options(timeout=20_000)
OVERFLOW: Final = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
NUMBER: Final = "(element) => Number(element.textContent.replaceAll(',', ''))"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The Chromium of these tests. Not of the session: while Playwright is there, its loop runs, and pytest can run no other."""
    try:
        with browsing() as browser:
            yield browser
    except NoChromiumError as error:
        pytest.exit(str(error), returncode=1)


def every_page(served: Served, crawl: str, host: str) -> list[str]:
    """Each page there is, of things that there are."""
    url = served.web.url(host)
    return [
        "/", "/crawls", f"/crawls/{crawl}", "/domains", f"/domains/{host}", f"/url?url={quote(url, safe='')}", "/url", "/search",
        f"/search?crawl={crawl}&outcome=ok", "/workers", "/schedule", "/errors", "/bot", "/login",
    ]  # fmt: skip


def count(page: Page, selector: str) -> int:
    """The number that stands there."""
    return int(page.eval_on_selector(selector, NUMBER))


def test_numbers_move_and_a_crawl_is_paused_by_keyboard_and_resumed(busy: Served, browser: Browser) -> None:
    """While a crawl runs its numbers move without reloading; Tab and Enter pause it, and resume it; nothing goes wrong meanwhile."""
    with watching(browser, busy.url, token=TOKEN) as window:
        page = window.page
        window.go("/")
        window.live()
        page.evaluate("window.notReloaded = true")
        page.wait_for_function("Number(document.getElementById('pages-rate').textContent) > 0")
        window.go("/crawls/slow")
        window.live()
        page.evaluate("window.notReloaded = true")
        before = count(page, "#pages")
        page.wait_for_function(
            "(n) => Number(document.getElementById('pages').textContent.replaceAll(',', '')) > n", arg=before
        )
        tab_to(page, "Pause")
        page.keyboard.press("Enter")
        expect(page.locator("#answer")).to_contain_text("It pauses")
        expect(page.locator(".head .state")).to_have_text("paused")
        assert (
            page.evaluate("document.activeElement.textContent") == "Resume"
        )  # the focus stayed where it was
        assert busy.get("/api/crawls/slow").json()["crawl"]["state"] == "paused"
        page.keyboard.press("Enter")
        expect(page.locator(".head .state")).to_have_text("running")
        assert page.evaluate("window.notReloaded")

    assert window.wrong == []


def tab_to(page: Page, words: str) -> None:
    """Press Tab until the focus is on that button; it is seen there."""
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    for _ in range(30):
        if page.evaluate("document.activeElement.textContent").strip() == words:
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no Tab leads to {words}")


def test_what_cannot_be_undone_is_asked_twice(busy: Served, browser: Browser) -> None:
    """A crawl is made with the form, is deleted only after a question, and Escape leaves it; an error is told in one line, in place."""
    with watching(browser, busy.url, token=TOKEN) as window:
        page = window.page
        window.go("/crawls")
        page.fill("#name", "of a form")
        page.fill("#seeds", f"{busy.web.url('news.test')}1\n\n")
        page.click("#new-limits summary")
        page.fill("#limit-max_pages", "many")
        page.get_by_role("button", name="Begin").click()
        expect(page.locator("#answer[data-kind=bad]")).to_contain_text("max_pages")
        page.fill("#limit-max_pages", "1")
        page.get_by_role("button", name="Begin").click()
        page.wait_for_url("**/crawls/of%20a%20form")
        page.select_option("#limit", "delay")
        page.fill("#value", "3s")
        page.get_by_role("button", name="Set").click()
        expect(page.locator("[data-region=limits]")).to_contain_text("3s")
        page.get_by_role("button", name="Delete").click()
        expect(page.get_by_role("dialog")).to_contain_text("cannot be undone")
        page.keyboard.press("Escape")
        assert busy.get("/api/crawls/of a form").status_code == 200
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Delete for ever").click()
        expect(page.locator("#answer[data-kind=good]")).to_contain_text("being deleted")

    assert [
        one for one in window.wrong if "422" not in one
    ] == []  # Chromium tells of each answer that is an error


def test_a_page_is_asked_for_at_once(busy: Served, browser: Browser) -> None:
    """The button on the page of a URL has it visited ahead of all others, and says so."""
    with watching(browser, busy.url, token=TOKEN) as window:
        page = window.page
        window.go(f"/url?url={quote(busy.web.url('lazy.test'), safe='')}")
        page.get_by_role("button", name="Refresh now").click()
        expect(page.locator("#answer[data-kind=good]")).to_contain_text("ahead of all others")

    assert window.wrong == []


def test_who_has_not_logged_in_is_led_to_the_form_and_back(served: Served, browser: Browser) -> None:
    """A button without a session leads to the login; a wrong token is told there; the right one leads back, and works."""
    with watching(browser, served.url) as window:
        page = window.page
        window.go("/domains/fails.test")
        page.fill("#reason", "its webmaster asked")
        page.get_by_role("button", name="Block", exact=True).click()
        page.get_by_role("button", name="Block it").click()
        page.wait_for_url("**/login?next=*")
        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("not the token")
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_url("**/domains/fails.test")
        page.fill("#delay", "2.5")
        page.get_by_role("button", name="Set").click()
        expect(page.locator("[data-region=pace]")).to_contain_text("2.5 s by hand")
        page.fill("#delay", "")
        page.get_by_role("button", name="Set").click()
        expect(page.locator("[data-region=pace]")).not_to_contain_text("2.5 s by hand")

    assert [one for one in window.wrong if "401" not in one] == []


def test_a_session_that_is_over_leads_to_the_form(served: Served, browser: Browser) -> None:
    """Where everything needs a session, a page whose session has ended asks for the token, instead of waiting for ever."""
    with watching(browser, served.url) as window:
        window.page.route(
            "**/live/**", lambda route: route.fulfill(status=401, json={"detail": "the session is over"})
        )
        window.go("/workers")
        window.page.wait_for_url("**/login?next=%2Fworkers")


def test_search_finds_and_a_hostile_title_does_no_harm(served: Served, browser: Browser) -> None:
    """The search finds a page by domain and outcome; a title with a script, a turning mark and no end is shown, and that is all."""
    with watching(browser, served.url) as window:
        page = window.page
        window.go("/search")
        page.fill("#s-domain", "hostile.test")
        page.select_option("#s-outcome", "ok")
        page.get_by_role("button", name="Search").click()
        expect(page.locator("tbody tr")).to_have_count(2)
        expect(page.locator("tbody")).to_contain_text("<script>alert(1)</script>")
        expect(page.locator("tbody .unseen").first).to_have_text("U+202E")
        page.get_by_role("link", name=served.web.url("hostile.test"), exact=True).click()
        page.wait_for_url("**/url?*")
        window.live()
        summary = page.locator("dt:has-text('Title') + dd summary")
        expect(summary).to_contain_text("all 1,000 characters")
        summary.click()
        page.wait_for_timeout(100)
        assert len(page.locator("dt:has-text('Title') + dd details > bdi").inner_text()) >= 1_000
        assert page.evaluate(OVERFLOW) <= 0
        assert "ran" not in page.title()
        page.fill("#find", "hostile.test")
        page.keyboard.press("Enter")
        page.wait_for_url("**/domains/hostile.test")

    assert window.wrong == []


@pytest.mark.parametrize(("phone", "colours"), [(False, "light"), (True, "dark")])
def test_every_page_fits_and_is_quiet(
    served: Served, busy: Served, browser: Browser, *, phone: bool, colours: Any
) -> None:
    """No page is wider than its window, says anything on the console, throws, or asks anything of another origin."""
    grounds = set()
    for where, crawl, host in ((served, "news", "hostile.test"), (busy, "slow", "news.test")):
        with watching(browser, where.url, phone=phone, colours=colours) as window:
            for path in every_page(where, crawl, host):
                window.go(path)
                wide = window.page.evaluate(OVERFLOW)
                grounds.add(window.page.evaluate("getComputedStyle(document.body).backgroundColor"))

                assert wide <= 0, f"{path}: {wide} pixels too wide"
        assert window.wrong == [], window.wrong
    assert grounds == {"rgb(14, 18, 22)" if colours == "dark" else "rgb(245, 246, 248)"}


def test_colours_are_chosen_and_remembered(served: Served, browser: Browser) -> None:
    """The button goes from the system's colours to light to dark, says which it is, and the choice outlives the page."""
    with watching(browser, served.url) as window:
        page = window.page
        window.go("/bot")
        button = page.locator("#theme")
        expect(button).to_have_attribute("aria-label", "Colours: as the system")
        button.click()
        button.click()
        window.go("/workers")
        expect(page.locator("#theme")).to_have_attribute("aria-label", "Colours: dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 18, 22)"

    assert window.wrong == []


def test_a_page_can_be_read_without_scripts(served: Served, browser: Browser) -> None:
    """Without JavaScript a page shows its numbers, and says what does not work."""
    with watching(browser, served.url, scripts=False) as window:
        window.go("/crawls/news")

        assert "Without JavaScript" in window.page.inner_text("body")
        assert "Pages stored" in window.page.inner_text("main")
        assert window.wrong == []


def test_a_reader_keeps_what_is_open_and_chosen(busy: Served, browser: Browser) -> None:
    """What a reader has opened, typed and selected stays while the numbers beside it change."""
    with watching(browser, busy.url) as window:
        page = window.page
        window.go("/crawls/slow")
        window.live()
        page.wait_for_selector("#hour-table")
        page.click("#hour-table summary")
        page.fill("#more", "https://example.com/half a wo")
        before = count(page, "#pages")
        page.wait_for_function(
            "(n) => Number(document.getElementById('pages').textContent.replaceAll(',', '')) > n", arg=before
        )

        assert page.evaluate("document.getElementById('hour-table').open")
        assert page.input_value("#more") == "https://example.com/half a wo"
        assert page.evaluate("document.activeElement.id") == "more"


def test_a_lost_dashboard_is_told_and_found_again(crawled: str, hosts: Path, browser: Browser) -> None:
    """When the dashboard goes, the page says so aloud and greys what it shows; when it is back, it goes on by itself."""
    port, settings = free_port(), environment(crawled, hosts, API_TOKEN=TOKEN)
    with program(settings, "dashboard", "--port", str(port)) as running:
        url = running.address()
        with watching(browser, url) as window:
            page = window.page
            window.go("/")
            window.live()
            os.killpg(running.process.pid, signal.SIGKILL)
            running.process.wait()
            away = page.locator("#away")
            expect(away).to_contain_text("trying again", ignore_case=True)
            assert away.get_attribute("aria-live") == "polite"
            assert page.evaluate("document.documentElement.hasAttribute('data-away')")
            expect(page.locator("#pulse")).to_contain_text("old")
            with program(settings, "dashboard", "--port", str(port)) as again:
                again.address()
                window.live()
                expect(away).to_be_hidden()


def test_an_empty_crawler_welcomes(server: Any, hosts: Path, browser: Browser) -> None:
    """On the first day every page has a sentence that says what is not there, and how it comes."""
    name = server.clone()
    try:
        with program(environment(server.dsn(name), hosts), "dashboard", "--port", "0") as running:
            link = running.address()  # with a token that was made at the start
            with watching(browser, link.partition("/login")[0]) as window:
                page = window.page
                page.goto(link)
                expect(page.locator("main")).to_contain_text("There is no crawl yet.")
                for path in ("/crawls", "/domains", "/search", "/workers", "/schedule", "/errors"):
                    window.go(path)

                    assert page.locator(".empty").count(), path
                window.go("/crawls/nothing")
                expect(page.locator("h1")).to_have_text("That is not here")
                page.get_by_role("link", name="To the overview").click()
                expect(page.locator("h1")).to_have_text("Overview")
    finally:
        server.drop(name)

    assert [one for one in window.wrong if "404" not in one] == []


def test_webmasters_are_told_who_comes(served: Served, sites: Web, browser: Browser) -> None:
    """/bot names the user agent that the sites were asked with, and nothing of what is crawled."""
    with watching(browser, served.url) as window:
        window.go("/bot")
        text = window.page.inner_text("main")
        agent = window.page.inner_text("#agent")

    assert "https://crawler.test/" in text
    assert (
        agent
        == dict(served.get("/api/pages", url=sites.url("news.test")).json()[0]["request_headers"])[
            "User-Agent"
        ]
    )
    assert "news" not in text
