"""Everything that may be read over the API, from a dashboard over a small crawled web."""

import json

import pytest

from crawler.core.headers import MASK
from crawler.demo.language import answer_of
from tests.dashboard.conftest import HOSTILE, Served

pytestmark = pytest.mark.xdist_group("dashboard")  # they share what is costly to make


def test_every_crawl_is_listed(served: Served) -> None:
    """A crawl is told with its state, its counts and its URLs by outcome."""
    found = {one["name"]: one for one in served.get("/api/crawls").json()}["news"]

    assert found["state"] == "left"
    assert found["outcomes"]["ok"] == found["pages"] >= 18
    assert found["outcomes"]["gone"] == 2
    assert found["limits"]["keep-versions"] == "3"


def test_one_crawl_is_told_in_full(served: Served) -> None:
    """A crawl is told with its seeds and the domains that were slow or failed."""
    found = served.get("/api/crawls/news").json()

    assert len(found["seeds"]) == 5
    assert found["failing"][0]["domain"] in {"fails.test", "news.test"}
    assert {one["domain"] for one in found["slowest"]} >= {"slow.test"}
    assert found["rate"]["seconds"] <= 60


def test_a_page_is_looked_up_by_its_url(served: Served) -> None:
    """What is stored of a URL is told, its headers and the type of its body among it."""
    (found,) = served.get("/api/pages", url=served.web.url("news.test")).json()

    assert (found["crawl"], found["outcome"], found["status"]) == ("news", "ok", 200)
    assert found["title"] == "Front page"
    assert found["has_body"]
    assert dict(found["request_headers"])["User-Agent"].startswith("faircrawl/")


def test_a_cookie_of_a_site_is_not_shown(served: Served) -> None:
    """That a site set a cookie is told; the cookie is not, neither by the API nor on the page."""
    url = served.web.url("news.test", "/data.json")
    (found,) = served.get("/api/pages", url=url).json()

    assert dict(found["headers"])["Set-Cookie"] == MASK
    assert "hunter2" not in served.get("/url", url=url).text


def test_a_hostile_title_is_told_as_it_is(served: Served) -> None:
    """JSON carries a stranger's words whole, in valid UTF-8."""
    answer = served.get("/api/pages", url=served.web.url("hostile.test"))
    (found,) = json.loads(answer.content.decode("utf-8"))

    assert found["title"].startswith(HOSTILE[:40])
    assert answer.headers["content-type"] == "application/json"


def test_a_url_that_was_not_stored_is_told_with_the_reason(served: Served) -> None:
    """What robots.txt forbids is 404, with a line that says so."""
    answer = served.get("/api/pages", url=served.web.url("news.test", "/private/x"))

    assert answer.status_code == 404
    assert "robots_refused" in answer.json()["detail"]


def test_what_is_no_url_is_said_to_be_none(served: Served) -> None:
    """A text that is no URL is 422, with what to write instead."""
    answer = served.get("/api/pages", url="not a url")

    assert answer.status_code == 422
    assert (
        answer.json()["detail"] == "'not a url' is not a URL: give one that starts with http:// or https://"
    )


@pytest.mark.parametrize(
    ("host", "path", "sent_as", "ending"),
    [
        ("hostile.test", "/script", "application/octet-stream", "html"),
        ("news.test", "/plain.txt", "text/plain; charset=utf-8", "txt"),
        ("news.test", "/data.json", "application/json", "json"),
    ],
)
def test_a_body_can_run_nothing(served: Served, host: str, path: str, sent_as: str, ending: str) -> None:
    """A stored body is sent to be saved, sandboxed, and never as HTML; its bytes are those of the site."""
    answer = served.get("/api/pages/body", url=served.web.url(host, path))

    assert answer.content == answer_of(served.web.sites[host], path).body
    assert answer.headers["content-type"] == sent_as
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="{host}-')
    assert answer.headers["content-disposition"].endswith(f'.{ending}"')


def test_a_body_that_is_not_kept_is_not_there(served: Served) -> None:
    """A page that answered 404 has no body, and neither has a version that never was."""
    gone = served.get("/api/pages/body", url=served.web.url("news.test", "/gone"))
    older = served.get("/api/pages/body", url=served.web.url("news.test"), version=1)

    assert gone.status_code == 404
    assert older.status_code == 422
    assert "no earlier version is kept" in older.json()["detail"]


def test_the_attempts_on_a_url_are_told(served: Served) -> None:
    """The timeline has each attempt, with its outcome and who made it."""
    (found,) = served.get("/api/pages/timeline", url=served.web.url("news.test", "/gone")).json()

    assert (found["outcome"], found["status"], found["crawl"]) == ("gone", 404, "news")
    assert found["worker"]


def test_why_tells_what_decides(served: Served) -> None:
    """Every part that decides about a URL is told, in order; the robots rule that forbids it is quoted."""
    found = served.get("/api/why", url=served.web.url("news.test", "/private/x")).json()
    parts = {one["part"]: one for one in found["crawls"][0]["reasons"]}

    assert found["known"]
    assert list(parts) == ["known", "scope", "robots", "domain", "visits", "outcome", "refresh", "next"]
    assert "/private/" in parts["robots"]["words"]


def test_why_of_a_crawl_that_is_not_there(served: Served) -> None:
    """A crawl that nobody knows is 404, and those that there are are named."""
    answer = served.get("/api/why", url=served.web.url("news.test"), crawl="nobody")

    assert answer.status_code == 404
    assert "news" in answer.json()["detail"]


def test_the_timetable_is_told(served: Served) -> None:
    """Jobs of every scheduler and of the leader are there, and the rule of each crawl."""
    found = served.get("/api/schedule").json()

    assert {"dispatch", "refresh"} <= {one["name"] for one in found["jobs"]}
    assert ("news", "off") in {(one["crawl"], one["rule"]) for one in found["crawls"]}


def test_stats_are_told_in_steps(served: Served) -> None:
    """The attempts of the last hour are in steps of a minute; together they are those that there were."""
    found = served.get("/api/stats").json()

    assert found["step"] == 60
    assert sum(one["outcomes"].get("gone", 0) for one in found["points"]) >= 1


@pytest.mark.parametrize(
    "moment", ["0", "2026-01-01", "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "now"]
)
def test_a_moment_needs_its_zone(served: Served, moment: str) -> None:
    """A moment without a zone, or that is none, is 422."""
    assert served.get("/api/stats", since=moment).status_code == 422


def test_the_rest_is_there(served: Served) -> None:
    """Overview, workers, domains, errors, search and dead letters answer."""
    overview = served.get("/api/overview").json()
    errors = served.get("/api/errors", crawl="news", outcome="http_error").json()
    domain = served.get("/api/domains/fails.test").json()

    assert overview["limiting"]["what"]
    assert {one["status"] for one in errors} == {500}
    assert domain["domain"] == "fails.test"
    for path in (
        "/api/workers",
        "/api/domains",
        "/api/dead-letters",
        "/api/pages/search?crawl=news&domain=news.test",
    ):
        assert served.get(path).status_code == 200, path


def test_pages_are_searched(served: Served) -> None:
    """Pages are found by crawl, domain and outcome, a few at a time until there are no more."""
    found: list[str] = []
    asked: dict[str, object] = {"crawl": "news", "domain": "news.test", "outcome": "ok", "limit": 5}
    for _ in range(10):
        answer = served.get("/api/pages/search", **asked).json()
        found += [one["url"] for one in answer["pages"]]
        if answer["next"] is None:
            break
        asked["after"] = answer["next"]

    assert len(found) == len(set(found)) >= 13
    assert served.get("/api/pages/search", outcome="nonsense").status_code == 422
    assert served.get("/api/pages/search", outcome="unvisited").status_code == 200


def test_a_name_may_hold_anything(served: Served) -> None:
    """Names that hold a NUL, half a character or a mark that turns the writing round are refused or not found, in valid UTF-8."""
    for name in ("%00", "%ff", "%ed%a0%80", "%E2%80%AE", "a%2Fb", "%F0%9F%A6%94" * 200):
        for path in (
            f"/api/crawls/{name}",
            f"/api/domains/{name}",
            f"/api/refresh/{name}",
            f"/api/pages?url=http://{name}/",
        ):
            answer = served.client.get(served.url + path)

            assert answer.status_code in {404, 422}, path
            assert "\n" not in json.loads(answer.content.decode("utf-8"))["detail"]


def test_health_is_told(served: Served) -> None:
    """/healthz, /readyz and /metrics answer without a token."""
    ready = served.get("/readyz")

    assert served.get("/healthz").text.strip() == "ok"
    assert (ready.status_code, ready.json()["database"]) == (200, "ok")
    assert "crawl_crawls{" in served.get("/metrics").text


def test_docs_need_nothing_from_elsewhere(served: Served) -> None:
    """The page that shows the document names nothing but files of ours, and they are there."""
    page = served.get("/docs").text
    files = ["/static/docs/swagger-ui.css", "/static/docs/swagger-ui-bundle.js", "/static/docs/begin.js"]

    assert "http" not in page.replace("http-equiv", "")
    for file in files:
        assert file in page
        assert served.get(file).status_code == 200


def test_the_document_says_something_of_every_route(served: Served) -> None:
    """Each operation has a summary, a description, a model for its answer, and its troubles; only changes need the token."""
    document = served.get("/openapi.json").json()
    operations = [
        (path, verb, told) for path, verbs in document["paths"].items() for verb, told in verbs.items()
    ]

    assert len(operations) >= 29
    for path, verb, told in operations:
        assert told["summary"], path
        assert told["description"], path
        assert path.startswith("/api/")
        assert {"422", "503"} <= told["responses"].keys()
        assert ("security" in told) == (verb != "get"), path
