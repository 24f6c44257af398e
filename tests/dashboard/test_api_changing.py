"""What may be changed over the API: crawls, seeds, domains, refreshes, dead letters. Each test has crawls and domains of its own."""

import asyncio
import time
from typing import Any

import pytest

from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue
from crawler.core.turns import VERSION, Turn, TurnUrl, encode
from crawler.core.urls import domain_id, url_hash
from tests.dashboard.conftest import Served, until

pytestmark = pytest.mark.xdist_group("dashboard")  # they share what is costly to make


def made(served: Served, name: str, *urls: str, **options: Any) -> dict[str, Any]:
    """A crawl that nobody works on."""
    answer = served.send(
        "POST", "/api/crawls", {"name": name, "urls": urls or [f"https://{name}.test/"], **options}
    )
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def said(served: Served, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """The status, and the line of what went wrong."""
    answer = served.send(method, path, body)
    return answer.status_code, str(answer.json()["detail"])


def test_a_crawl_is_made_with_its_limits(served: Served) -> None:
    """What may be said to `crawl seed` may be said here, and is told as `crawl set` tells it; secrets are masked."""
    answer = made(
        served,
        "made",
        "https://made.test/",
        "https://made.test/",
        "nonsense",
        "http://10.0.0.1/",
        max_pages=5,
        max_depth=0,
        delay="2s",
        max_bytes="1MiB",
        per_domain=2,
        types=["application/pdf", "image/*"],
        headers=["Accept-Language: en", "Authorization: Bearer secret"],
        refresh="7d",
        sitemaps=False,
        include=["/x"],
        scope="host",
    )

    assert answer["crawl"]["limits"] == {
        "max-pages": "5",
        "max-bytes": "1MiB",
        "delay": "2s",
        "per-domain": "2",
        "types": "application/pdf,image/*",
        "refresh": "7d",
        "sitemaps": "false",
        "header": "Accept-Language: en; Authorization: ********",
    }
    assert "secret" not in str(answer)
    assert (answer["created"], answer["lines"], answer["new"], answer["known"], answer["bad"]) == (
        True,
        4,
        1,
        1,
        2,
    )
    assert len(answer["notes"]) == 2
    assert answer["crawl"]["scope"] == "host"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"name": "news", "urls": ["https://a.test/"]}, 409, "there is a crawl news"),
        ({"name": "-", "urls": ["https://a.test/"]}, 422, "a crawl's name is at most"),
        ({"name": "x", "urls": ["nonsense"]}, 422, "no seed is left"),
        (
            {"name": "x", "urls": ["https://a.test/"], "maxpages": 3},
            422,
            "maxpages: there is no such field: /docs lists them",
        ),
        ({"name": "x", "urls": []}, 422, "urls: "),
        ({"name": "x", "urls": ["https://a.test/"] * 10_001}, 422, "urls: "),
        ({"name": "x", "urls": ["https://a.test/"], "include": ["("]}, 422, "("),
        ({"name": "x", "urls": ["https://a.test/"], "refresh": "now and then"}, 422, "now and then"),
        ({"name": "x", "urls": ["https://a.test/"], "delay": "long"}, 422, "delay: "),
        ({"name": "x", "urls": ["https://a.test/"], "max_pages": "5"}, 422, "max_pages: "),
        ({"name": "x", "urls": ["https://a.test/"], "max_page": 5}, 422, "max_page: "),
        (
            {"name": "x", "urls": ["https://a.test/"], "headers": ["Host: b"]},
            422,
            "the header Host cannot be set",
        ),
        ({"name": "x", "urls": ["https://a.test/"], "types": ["nonsense"]}, 422, "nonsense is none"),
        ({"name": "x", "urls": ["https://a.test/"], "ignore_robots": True}, 422, "i_own"),
        (
            {"name": "x", "urls": ["https://a.test/"], "ignore_robots": True, "i_own": ["b.test"]},
            422,
            "a.test",
        ),
        ({"name": "x", "urls": ["https://a.test/"], "user_agent": "\ud800"}, 422, "user_agent: "),
        *(
            ({"name": "x", "urls": ["https://a.test/"], "user_agent": agent}, 422, "user_agent: ")
            for agent in ("bot\r\nHost: b", "\xe9", "b" * 4000, "bot\x7f", "b\u202et", "1 2")
        ),
        *(
            ({"name": "x", "urls": ["https://a.test/"], field: value}, 422, f"{field}: ")
            for field, value in (("max_depth", 2**31), ("max_pages_per_domain", 2**31))
        ),
        ({"name": "x", "urls": ["https://a.test/"], "max_bytes": 2**53}, 422, "max_bytes: "),
        ({"name": "x", "urls": ["https://a.test/"], "exclude": ["(" * 99 + ")" * 99]}, 422, "simpler"),
        ({"name": "x\0", "urls": ["https://a.test/"]}, 422, "name: a text has no NUL"),
        ([], 422, ""),
    ],
)
def test_a_crawl_that_cannot_be_made(served: Served, body: Any, status: int, words: str) -> None:
    """Whatever is wrong with a crawl is told in one line, and nothing is made."""
    found, line = said(served, "POST", "/api/crawls", body)

    assert found == status
    assert words in line
    assert "\n" not in line
    assert "x" not in {one["name"] for one in served.get("/api/crawls").json()}


def test_limits_are_changed_and_taken_away(served: Served) -> None:
    """PATCH sets what it names, null takes it away, and the rest stays."""
    made(served, "limits", max_pages=5, delay=1.5)
    answer = served.send(
        "PATCH",
        "/api/crawls/limits",
        {"max_pages": None, "max_depth": 3, "types": ["text/css"], "headers": ["A: b"]},
    )
    again = served.send("PATCH", "/api/crawls/limits", {})
    limits: dict[str, str] = answer.json()["limits"]

    assert answer.status_code == 200
    assert "max-pages" not in limits
    assert (limits["max-depth"], limits["delay"], limits["types"], limits["header"]) == (
        "3",
        "1.5s",
        "text/css",
        "A: b",
    )
    assert again.json()["limits"] == limits
    assert said(served, "PATCH", "/api/crawls/limits", {"refresh": "x"})[0] == 422
    assert said(served, "PATCH", "/api/crawls/limits", {"scope": "any"})[0] == 422
    assert said(served, "PATCH", "/api/crawls/nobody", {"max_pages": 1})[0] == 404


def test_more_seeds_go_to_a_crawl_that_exists(served: Served) -> None:
    """Seeds are added to a crawl; those it has are told as known."""
    made(served, "seeds")
    answer = served.send(
        "POST", "/api/crawls/seeds/seeds", {"urls": ["https://seeds.test/", "https://more.test/"]}
    )

    assert answer.status_code == 200
    assert (answer.json()["created"], answer.json()["new"], answer.json()["known"]) == (False, 1, 1)
    assert said(served, "POST", "/api/crawls/nobody/seeds", {"urls": ["https://a.test/"]})[0] == 404


def test_a_crawl_is_paused_resumed_and_cancelled(served: Served) -> None:
    """Each takes effect once, says so, and is refused where the state does not allow it."""
    made(served, "steered")
    done = [
        served.send("POST", f"/api/crawls/steered/{verb}").json()
        for verb in ("pause", "pause", "resume", "resume", "cancel", "cancel")
    ]

    assert [(one["state"], one["changed"]) for one in done] == [
        ("paused", True),
        ("paused", False),
        ("running", True),
        ("running", False),
        ("cancelled", True),
        ("cancelled", False),
    ]
    assert said(served, "POST", "/api/crawls/steered/pause") == (
        409,
        "the crawl steered is cancelled: there is nothing to pause",
    )
    assert said(served, "POST", "/api/crawls/steered/seeds", {"urls": ["https://steered.test/2"]})[0] == 409
    assert said(served, "POST", "/api/crawls/nobody/pause")[0] == 404


def test_a_crawl_is_deleted_after_the_answer(served: Served) -> None:
    """DELETE answers at once with 202, and the crawl is gone a moment later; a second one finds nothing."""
    made(served, "deleted")
    answer = served.send("DELETE", "/api/crawls/deleted")
    until(lambda: served.get("/api/crawls/deleted").status_code == 404, "the crawl is still there")

    assert answer.status_code == 202
    assert answer.json() == {"crawl": "deleted", "state": "deleting"}
    assert said(served, "DELETE", "/api/crawls/deleted")[0] == 404


def test_a_domain_is_slowed_and_freed(served: Served) -> None:
    """The pace of a domain is set by hand and taken away again; what is left out stays."""
    paced = served.send("PATCH", "/api/domains/www.paced.test", {"delay": "10s", "per_domain": 2}).json()
    freed = served.send("PATCH", "/api/domains/paced.test", {"per_domain": None}).json()

    assert (paced["domain"], paced["delay_by_hand"], paced["per_domain_by_hand"]) == ("paced.test", 10.0, 2)
    assert (freed["delay_by_hand"], freed["per_domain_by_hand"]) == (10.0, None)
    assert said(served, "PATCH", "/api/domains/paced.test", {"delay": "never"})[0] == 422
    assert said(served, "PATCH", "/api/domains/paced.test", {"per_domain": 0})[0] == 422
    assert said(served, "PATCH", "/api/domains/..", {"delay": 1})[0] == 404


def test_a_domain_is_blocked_and_unblocked(served: Served) -> None:
    """A block holds for a domain that nobody has seen, says why, and goes again."""
    blocked = served.send(
        "POST", "/api/domains/blocked.test/block", {"reason": "asked by its webmaster"}
    ).json()
    shown = served.get("/api/domains/blocked.test").json()
    again = served.send("POST", "/api/domains/blocked.test/unblock").json()

    assert (blocked["blocked"], blocked["changed"]) == ("asked by its webmaster", True)
    assert shown["blocked"] == "asked by its webmaster"
    assert again == {"domain": "blocked.test", "blocked": None, "changed": True}
    assert not served.send("POST", "/api/domains/blocked.test/unblock").json()["changed"]
    assert said(served, "POST", "/api/domains/blocked.test/block", {"reason": ""})[0] == 422


def test_a_refresh_that_nobody_works_on(served: Served) -> None:
    """Without a worker the answer says so when the time is over; the handle tells the same."""
    url = served.web.url("news.test", "/plain.txt")
    answer = served.send("POST", "/api/refresh", {"urls": [url, "https://nobody.test/"], "wait": 0.2})
    told = answer.json()
    again = served.get(f"/api/refresh/{told['handle']}").json()
    words = {one["url"]: one["words"] for one in told["urls"]}

    assert answer.status_code == 200
    assert not told["done"]
    assert "no worker is at work" in words[url] or "within" in words[url]
    assert "nothing is known of https://nobody.test/" in words["https://nobody.test/"]
    assert again == told
    assert said(served, "POST", "/api/refresh", {"urls": ["nonsense"]})[0] == 422
    assert served.get("/api/refresh/nobody").status_code == 404


def test_a_refresh_is_visited(busy: Served) -> None:
    """A URL that somebody waits for is visited while a crawl goes on; without holding, the handle tells when it is done."""
    url = busy.web.url("news.test", "/plain.txt")
    until(lambda: busy.get("/api/pages", url=url).status_code == 200, "it was never visited")
    at_once = busy.send("POST", "/api/refresh", {"urls": [url], "hold": False}).json()
    until(lambda: busy.get(f"/api/refresh/{at_once['handle']}").json()["done"], "it is not refreshed")
    (one,) = busy.get(f"/api/refresh/{at_once['handle']}").json()["urls"]

    assert not at_once["done"]
    assert one["facts"]["outcome"] in {"ok", "not_modified"}
    assert len(busy.get("/api/pages/timeline", url=url).json()) >= 2


def test_a_crawl_that_runs_is_paused(busy: Served) -> None:
    """A worker stops asking for a crawl's pages when it is paused here, and goes on when it is resumed."""
    before = busy.get("/api/crawls/slow").json()["crawl"]["requests"]
    until(lambda: busy.get("/api/crawls/slow").json()["crawl"]["requests"] > before, "it does not run")
    busy.send("POST", "/api/crawls/slow/pause")
    until(lambda: busy.get("/api/overview").json()["visiting"] == 0, "it is still visiting")
    resumed = busy.send("POST", "/api/crawls/slow/resume").json()
    still = busy.get("/api/crawls/slow").json()["crawl"]["requests"]
    until(lambda: busy.get("/api/crawls/slow").json()["crawl"]["requests"] > still, "it does not go on")

    assert resumed["changed"]
    assert busy.get("/api/overview").json()["workers"] == 1


def turn_url(url: str) -> TurnUrl:
    """A URL of a crawl that there is not."""
    return TurnUrl(0, url_hash(url), url, 0, 0, 0, 0, seed=False, outcome=None)


def bury(dsn: str, *urls: str) -> list[str]:
    """Put turns among the dead letters, and something that is none: their numbers."""

    async def work() -> list[str]:
        async with await Database.open(dsn, size=2) as database:
            queue = PostgresQueue(database)
            bodies = [
                encode(Turn(VERSION, domain_id("dead.test"), "dead.test", 1, [turn_url(url)])) for url in urls
            ]
            known = {one.letter_id for one in await queue.dead_letters(100)}
            await queue.bury([*bodies, b"nonsense"], "of the tests")
            return [one.letter_id for one in await queue.dead_letters(100) if one.letter_id not in known]

    return asyncio.run(work())


def test_dead_letters_are_listed_retried_and_dropped(served: Served) -> None:
    """A letter is told with its URLs; a retry says what came of it and keeps what is no turn; dropping removes it."""
    turn, other, nonsense = bury(served.database, "https://dead.test/1", "https://dead.test/2")
    listed = {one["id"]: one for one in served.get("/api/dead-letters").json()}
    retried = served.send("POST", "/api/dead-letters/retry", {"ids": [turn, nonsense]}).json()
    missing = said(served, "POST", "/api/dead-letters/drop", {"ids": [other, "0"]})
    dropped = served.send("POST", "/api/dead-letters/drop", {"ids": [nonsense]}).json()
    rest = served.send("POST", "/api/dead-letters/retry", {"all": True}).json()

    assert listed[turn] | {"buried_at": None} == {
        "id": turn,
        "kind": "turn",
        "buried_at": None,
        "reason": "of the tests",
        "domain": "dead.test",
        "urls": ["https://dead.test/1"],
        "count": 1,
    }
    assert listed[nonsense]["kind"] == "no turn"
    assert {one["id"]: one["retry"] for one in retried} == {turn: "erased", nonsense: "refused"}
    assert missing[0] == 404
    assert dropped == {"dropped": 1}
    assert [one["id"] for one in rest] == [other]
    assert served.get("/api/dead-letters").json() == []
    unclear: tuple[dict[str, Any], ...] = ({}, {"ids": []}, {"ids": ["1"], "all": True}, {"all": False})
    for body in unclear:
        assert said(served, "POST", "/api/dead-letters/drop", body)[0] == 422


def test_a_crawl_has_the_user_agent_as_it_was_checked(served: Served) -> None:
    """A user agent is kept without the blanks around it, which no header can have."""
    answer = made(served, "called", user_agent=" examplebot/1.0 (+https://example.com/bot)\r\n")

    assert answer["crawl"]["limits"]["user-agent"] == "examplebot/1.0 (+https://example.com/bot)"


def test_the_largest_limits(served: Served) -> None:
    """The largest numbers that the database can count are taken, by POST and by PATCH; one more is refused by both."""
    most = {"max_depth": 2**31 - 1, "max_pages_per_domain": 2**31 - 1}
    made(served, "largest", **most)

    assert said(served, "PATCH", "/api/crawls/largest", {"max_depth": 2**31})[0] == 422
    assert served.send("PATCH", "/api/crawls/largest", most).status_code == 200


def test_a_slow_expression_does_not_stop_the_dashboard(served: Served) -> None:
    """With an --exclude that would take years for a URL, `why` says so, and others are answered meanwhile."""
    made(served, "hostile-pattern", exclude=["(a+)+$"])
    url = "https://hostile-pattern.test/" + "a" * 1000 + "!"
    began = time.monotonic()
    told = served.get("/api/why", url=url, crawl="hostile-pattern").json()

    assert time.monotonic() - began < 5
    reasons = {one["part"]: one for one in told["crawls"][0]["reasons"]}
    assert reasons["scope"]["facts"]["refusal"] == "--exclude (a+)+$ takes too long for this URL"
    assert "takes too long" in reasons["scope"]["words"]
