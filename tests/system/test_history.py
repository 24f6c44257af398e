"""A page's history by the real program: what counts as a change, what is kept of it, and what is told of that."""

import asyncio
import itertools
import json
import os
import pty
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from crawler.adapters.postgres import Database
from crawler.demo.language import Reply, page, status, text
from crawler.demo.server import Web, serving
from tests.forking import crawled
from tests.making import row, rows

HOST: Final = "shop.test"
SETTINGS: Final = {
    "ALLOW_NETS": "127.0.0.0/8",
    "RUN_PATIENCE": "0",
    "DELAY": "0",
    "CONTACT": "mailto:test@example.com",
}
HOSTILE: Final = "\x1b[2J\u202ebackwards\u2066"


def times() -> Iterator[str]:
    """Another time at each visit."""
    return (
        f"2026-11-{day:02} {hour:02}:17:42" for day in itertools.cycle(range(1, 29)) for hour in (3, 9, 22)
    )


@dataclass(slots=True)
class Shop:
    """A page with a price, which shows the time at each visit, also in its source."""

    lamp: str = "EUR 12.50"
    is_gone: bool = False
    clock: Iterator[str] = field(default_factory=times)

    def __call__(self, _path: str) -> Reply:
        """The page as it is now."""
        now = next(self.clock)
        body = f"<p>The lamp costs {self.lamp}. It is red.</p><p>Made {now}</p><!-- {now} -->"
        return Reply(status=410) if self.is_gone else page(f"Lamps from {self.lamp}", "/tagged", body=body)


class Tagged:
    """A page with a tag: 200 the first time, 304 ever after, with another header each time."""

    def __init__(self) -> None:
        self._asked = itertools.count()

    def __call__(self, _path: str) -> Reply:
        """The page, or that it is the same."""
        number = next(self._asked)
        if number:
            return status(304, etag='"one"', x_asked=str(number))
        reply = page("Tagged", body="<p>always the same</p>")
        return Reply(reply.body, headers={"ETag": '"one"', "X-Asked": "0"}, title=reply.title)


@dataclass(slots=True)
class Place:
    """A shop on a web of its own, and `crawl` on a database of the test's own."""

    web: Web
    shop: Shop
    database: Database
    hosts: Path
    """A hosts file that knows the web's names."""

    def url(self, path: str = "/") -> str:
        """The URL of a page of the shop."""
        return self.web.url(HOST, path)

    async def start(self, *words: str, stdout: int = asyncio.subprocess.PIPE) -> asyncio.subprocess.Process:
        """Start a command, and do not wait."""
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "crawler", *words, "--database", self.database.dsn, env=self._environment(),
            stdout=stdout, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("CRAWL_")}
        ours = {**SETTINGS, "HOSTS_FILE": str(self.hosts)}
        return own | {f"CRAWL_{name}": value for name, value in ours.items()}

    async def say(self, *words: str, code: int = 0) -> str:
        """Run a command to its end: what it printed, on either channel if it failed as expected."""
        done = await crawled(*words, "--database", self.database.dsn, env=self._environment())
        out, err = done.stdout, done.stderr
        assert done.returncode == code, f"{words}: {done.returncode}\n{out.decode()}\n{err.decode()}"
        return (out if not code else out + err).decode()

    async def look(self, *words: str) -> Any:
        """What a command says to a program."""
        return json.loads(await self.say(*words, "--json"))

    async def visit(self, *options: str) -> None:
        """Visit everything; what was visited before as if its time had come."""
        await self.database.script(
            "update urls set due_at = now() where outcome is not null;"
            "update domains set due_at = now(), ready_at = '-infinity', holder = null"
        )
        await self.say("run", self.url(), "--quiet", "--refresh", "7d", *options)

    async def page(self, path: str = "/") -> Any:
        """What is kept of a page."""
        sql = "select p.*, u.outcome as visited from pages p join urls u using (domain_id, crawl_id, url_hash) where u.url = $1"
        return await row(self.database, sql, self.url(path))


@pytest.fixture
async def place(database: Database, tmp_path: Path) -> AsyncIterator[Place]:
    """A shop, never visited."""
    shop = Shop()
    with serving({HOST: {"/": shop, "/tagged": Tagged()}}) as web:
        yield Place(web, shop, database, web.hosts_file(tmp_path))


async def test_what_counts_as_a_change(place: Place) -> None:
    """A page that shows another time at each visit is visited and does not change; another price is a change; 304 moves only a date."""
    await place.visit("--keep-versions", "3")
    first, tagged = await place.page(), await place.page("/tagged")
    await place.visit()
    second, again = await place.page(), await place.page("/tagged")
    none_kept = await rows(place.database, "select * from versions")
    place.shop.lamp = "EUR 13.50"
    await place.visit()
    third, kept = await place.page(), await row(place.database, "select * from versions")

    assert place.web.asked().count("/") == 3
    assert first["fetched_at"] < second["fetched_at"] < third["fetched_at"]
    assert first["first_at"] == first["changed_at"] == second["changed_at"] == third["first_at"]
    assert (second["digest"] != first["digest"], second["text_digest"]) == (True, first["text_digest"])
    assert none_kept == []
    assert third["changed_at"] == third["fetched_at"]
    assert (kept["digest"], kept["title"], kept["fetched_at"]) == (
        second["digest"], "Lamps from EUR 12.50", second["fetched_at"],
    )  # fmt: skip
    assert again["visited"] == "not_modified"
    assert again["fetched_at"] > tagged["fetched_at"]
    stays = (
        "first_at",
        "changed_at",
        "outcome",
        "status",
        "headers",
        "title",
        "digest",
        "text_digest",
        "etag",
        "length",
    )
    assert {name: again[name] for name in stays} == {name: tagged[name] for name in stays}


async def test_versions(place: Place) -> None:
    """Earlier versions are listed and shown, each with its own text and headers; no more are kept than was asked for."""
    for price in ("1", "2", "3", "4"):
        place.shop.lamp = f"EUR {price}.00"
        await place.visit("--keep-versions", "2")
    listed = await place.look("show", place.url(), "--versions")
    told = await place.say("show", place.url(), "--versions")
    texts = [await place.say("show", place.url(), "--version", f"{n}", "--text") for n in range(3)]
    one = await place.look("show", place.url(), "--version", "1", "--body")
    shown = await place.say("show", place.url(), "--version", "2")
    missing = await place.say("show", place.url(), "--version", "3", code=2)

    assert [(each["version"], each["title"]) for each in listed] == [
        (0, "Lamps from EUR 4.00"), (1, "Lamps from EUR 3.00"), (2, "Lamps from EUR 2.00"),
    ]  # fmt: skip
    assert [each["seen_until"] for each in listed] == sorted(
        (each["seen_until"] for each in listed), reverse=True
    )
    assert [line.split()[:1] for line in told.splitlines()[2:]] == [["0"], ["1"], ["2"]]
    assert [f"EUR {price}.00" in body for price, body in zip("432", texts, strict=True)] == [True] * 3
    assert (one["version"], one["digest"], "EUR 3.00" in one["body"]) == (1, listed[1]["digest"], True)
    assert one["headers"]
    assert "seen until" in shown
    assert "only versions 1 to 2 are kept" in missing


async def test_diff(place: Place) -> None:
    """What changed is told sentence by sentence, between any two versions, of the text or the source; the exit status is 0."""
    await place.visit("--keep-versions", "2")
    alone = await place.say("diff", place.url())
    place.shop.lamp = "EUR 13.50"
    await place.visit()
    told = await place.say("diff", place.url())
    found = await place.look("diff", place.url())
    source = await place.look("diff", place.url(), "--source")
    backwards = await place.look("diff", place.url(), "--from", "0", "--to", "1")
    missing = await place.say("diff", place.url(), "--from", "2", code=2)
    same = await place.say("diff", place.url(), "--from", "1", "--to", "1", code=2)

    assert "There is one version: it has not changed since it was first seen" in alone
    assert "`crawl set shop.test keep-versions=3`" in alone
    assert [line for line in told.splitlines() if "lamp costs" in line or "red" in line] == [
        "-The lamp costs EUR 12.50.",
        "+The lamp costs EUR 13.50.",
        " It is red.",
    ]
    assert "Lamps from EUR 12.50 -> Lamps from EUR 13.50" in told
    assert "\x1b" not in told
    assert (found["added"], found["removed"], found["left_out"], found["same"]) == (2, 2, 0, None)
    assert (found["from"]["version"], found["to"]["version"]) == (1, 0)
    lines = [line for hunk in source["hunks"] for line in hunk["lines"]]
    assert any(line.startswith("+<!-- 2026") for line in lines)
    assert "+The lamp costs EUR 12.50." in backwards["hunks"][0]["lines"]
    assert "only version 1 is kept" in missing
    assert "are the same version" in same


async def test_diff_of_what_was_not_kept(place: Place) -> None:
    """Of a page that changed while no versions were kept, that is told, with the command that keeps them from now on."""
    await place.visit()
    place.shop.lamp = "EUR 13.50"
    await place.visit()
    told = await place.say("diff", place.url())
    found = await place.look("diff", place.url())
    listed = await place.say("show", place.url(), "--versions")

    assert "what it was before is not kept (it changed " in told
    assert "`crawl set shop.test keep-versions=3`" in told
    assert (found["from"], found["hunks"]) == (None, [])
    assert "No earlier version is kept" in listed


async def test_diff_of_what_is_gone(place: Place) -> None:
    """A page that is gone has lost all its lines, and says so; its last version can still be shown."""
    await place.visit("--keep-versions", "1")
    place.shop.is_gone = True
    await place.visit()
    told = await place.say("diff", place.url())
    body = await place.say("show", place.url(), "--version", "1", "--text")

    assert "gone (410)" in told
    assert "-The lamp costs EUR 12.50." in told
    assert "+" not in "".join(line[:1] for line in told.splitlines())
    assert "The lamp costs EUR 12.50." in body


async def test_only_the_source_differs(place: Place) -> None:
    """Of a page without text another source is another version: --source shows what differs."""
    sites = dict(place.web.sites[HOST])
    place.web.sites = {HOST: sites}
    for picture in ("red", "blue"):
        sites["/"] = page("A lamp", body=f"<img src={picture}.png>")
        await place.visit("--keep-versions", "1")
    told = await place.say("diff", place.url())
    found = await place.look("diff", place.url())
    source = await place.look("diff", place.url(), "--source")

    assert "in bytes, but not in the visible text: --source compares the source" in told
    assert (found["same"], found["hunks"], source["same"]) == ("lines", [], None)
    assert source["hunks"][0]["lines"][-2:] == ["-<img src=red.png>", "+<img src=blue.png>"]


async def test_hostile_text(place: Place) -> None:
    """What a page says moves no cursor and turns no writing round, on a terminal, where lines are coloured, and elsewhere."""
    await place.visit("--keep-versions", "1")
    place.shop.lamp = HOSTILE
    await place.visit()
    piped = await place.say("diff", place.url())
    ours, theirs = pty.openpty()
    process = await place.start("diff", place.url(), stdout=theirs)
    os.close(theirs)
    shown = await asyncio.to_thread(all_of, ours)
    await process.wait()

    assert "backwards" in piped
    assert not set(HOSTILE[:1] + "\u202e\u2066") & set(piped)
    assert "\x1b[31m-The lamp costs EUR 12.50." in shown
    assert "\x1b[32m+" in shown
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown


def all_of(terminal: int) -> str:
    """All that is written to a terminal, until whoever writes has gone."""
    said = b""
    try:
        while piece := os.read(terminal, 65536):
            said += piece
    except OSError:  # how Linux says so
        pass
    os.close(terminal)
    return said.decode()


async def test_why(place: Place) -> None:
    """`crawl why` tells the rule, how it came to the next visit, and when the page last changed."""
    await place.visit()
    await place.visit()
    every = (await place.look("why", place.url()))["crawls"][0]
    await place.say("set", HOST, "refresh=adaptive")
    adaptive = (await place.look("why", place.url("/tagged")))["crawls"][0]
    listed = await place.say("list")
    told = await place.say("status")

    assert every["refresh"]["words"] == "every 7 d after the last visit"
    assert "it has said the same since it was first stored" in every["outcome"]["words"]
    assert adaptive["refresh"]["words"].startswith("adaptive: what changes is looked at sooner")
    assert adaptive["outcome"]["words"].startswith("it has not changed since it was kept")
    assert "adaptive" in listed
    assert "adaptive: what changes is looked at sooner, what does not later" in told


async def test_a_sitemap_is_no_page(place: Place) -> None:
    """A sitemap is told from a page by `why` and `show`, and is in no export."""
    sites = dict(place.web.sites[HOST])
    place.web.sites = {HOST: sites}
    sites["/robots.txt"] = text(f"Sitemap: {place.url('/map.xml')}\n")
    sites["/map.xml"] = Reply(
        f"<urlset><url><loc>{place.url('/tagged')}</loc><changefreq>weekly</changefreq></url></urlset>".encode(),
        headers={"Content-Type": "application/xml"},
    )
    await place.visit()
    why = (await place.look("why", place.url("/map.xml")))["crawls"][0]
    page_why = (await place.look("why", place.url("/tagged")))["crawls"][0]
    show = await place.say("show", place.url("/map.xml"), code=1)
    pages = [json.loads(line) for line in (await place.say("export", HOST)).splitlines()]

    assert why["known"]["words"].startswith("it is a sitemap or a feed, and no page")
    assert "of the form urlset and names 1 URL, of which 1 went to the frontier" in why["outcome"]["words"]
    assert why["scope"]["allowed"] is True
    assert "a sitemap says that it changes every 7 d" in page_why["refresh"]["words"]
    assert "is a sitemap or a feed, of which no page is stored" in show
    assert {one["url"] for one in pages} == {place.url(), place.url("/tagged")}
    assert all(one["first_at"] == one["changed_at"] == one["fetched_at"] for one in pages)
