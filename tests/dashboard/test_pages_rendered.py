"""Pages as text: what strangers wrote does no harm, whoever cannot see or point can use them, and nothing comes from elsewhere."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import html

from crawler.core.errors import UsageError
from crawler.core.model import Outcome
from crawler.core.robots import parse, product_token
from crawler.dashboard import charts, pages, rendering, stranger, views, webmasters
from crawler.dashboard.families import FAMILIES, FAMILY, WAITING, family_counts
from crawler.dashboard.models import Cost, Point, Series
from crawler.settings import Settings
from tests.dashboard.made import HOSTILE, HOSTILE_URL, NOW, SCRIPT_URL, contexts, empty, overview, series

ROOT: Final = Path(rendering.__file__).parent
USUAL: Final = contexts("A title", "https://example.com/a?b=1&c=2")
NASTY: Final = contexts(HOSTILE, HOSTILE_URL)
SCRIPTED: Final = contexts("x", SCRIPT_URL)
EMPTY: Final = empty()
ALIKE: Final = {"active": "overview", "live": "/live/overview", "signed_in": False, "PAGES": views.PAGES}
APART: Final = {
    "bot.html": webmasters.told(Settings(contact="https://example.com/bot")),
    "login.html": {"next": "/crawls?a=b", "wrong": "that is not the token"},
    "trouble.html": {
        "status": 404,
        "title": "Not here",
        "sentence": HOSTILE,
        "advice": "",
        "way": ("To the overview", "/"),
    },
}
ALL: Final = [
    *((f"{kind}-{name}", name, context) for kind, many in (("usual", USUAL), ("nasty", NASTY), ("script", SCRIPTED), ("empty", EMPTY))
      for name, context in many.items()),
    *((name, name, context) for name, context in APART.items()),
]  # fmt: skip
DARK: Final = 1
HIDDEN: Final = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u2028\u2029\x00-\x08\x0b-\x1f\x7f]")


def page(name: str, context: dict[str, Any]) -> Any:
    """A page, as a browser reads it."""
    return html.document_fromstring(rendering.page(name, {**ALIKE, **context}, now=NOW))


each = pytest.mark.parametrize(("name", "context"), [one[1:] for one in ALL], ids=[one[0] for one in ALL])


@each
def test_nothing_of_a_stranger_becomes_markup(name: str, context: dict[str, Any]) -> None:
    """No page has a script but ours, an event handler, a style of its own, or a link that runs or leaves by accident."""
    tree = page(name, context)

    assert [one.get("src", "").partition("?")[0] for one in tree.iter("script")] == ["/static/dashboard.js"]
    assert not tree.xpath(
        "//style | //iframe | //object | //embed | //base | //img | //link[@rel!='icon' and @rel!='stylesheet']"
    )
    assert not tree.xpath("//@*[starts-with(name(), 'on') or name() = 'style' or name() = 'srcdoc']")
    for link in tree.iter("a"):
        address = link.get("href", "")
        assert address.startswith(("/", "#", "https://", "http://", "mailto:")), address[:80]
        if address.startswith("http"):
            assert {"noopener", "noreferrer"} <= set(link.get("rel", "").split())
    assert "49" not in tree.xpath("string(//h1)")  # of {{7*7}}


@each
def test_no_mark_of_a_stranger_turns_the_writing_round(name: str, context: dict[str, Any]) -> None:
    """No page holds a mark that changes the direction, or a control character."""
    assert not HIDDEN.search(rendering.page(name, {**ALIKE, **context}, now=NOW))


@each
def test_a_page_can_be_used_without_seeing_or_pointing(name: str, context: dict[str, Any]) -> None:
    """Each page has a language, a title, one h1, landmarks, a way past the bar, labels, names of buttons and tables with heads."""
    tree = page(name, context)

    assert tree.get("lang") == "en"
    assert tree.findtext(".//title").strip()
    assert len(tree.xpath("//h1")) == 1
    assert len(tree.xpath("//main")) == len(tree.xpath("//header")) == 1
    assert tree.xpath("//body/*[1][self::a][@href='#main']")
    ids = tree.xpath("//@id")
    assert len(ids) == len(set(ids))
    named = set(tree.xpath("//label/@for"))
    for control in tree.xpath("//input[@type!='hidden' or not(@type)] | //select | //textarea"):
        assert control.get("id") in named, html.tostring(control)
    for button in tree.xpath("//button"):
        assert button.get("aria-label") or button.text_content().strip()
    for link in tree.xpath("//a"):
        assert link.get("aria-label") or link.text_content().strip()
    for reference in tree.xpath("//@aria-labelledby | //@aria-describedby"):
        assert set(reference.split()) <= set(ids)
    for table in tree.xpath("//table"):
        assert table.xpath(".//th[@scope='col']")
    for picture in tree.xpath("//*[local-name()='svg']"):
        nested = picture.xpath("ancestor::*[local-name()='svg']")
        named_here = picture.get("aria-label") or picture.get("aria-labelledby")
        assert nested or picture.get("aria-hidden") == "true" or (picture.get("role") == "img" and named_here)
    levels = [int(one.tag[1]) for one in tree.xpath("//h1 | //h2 | //h3")]
    assert all(after - before <= 1 for before, after in pairwise(levels) if before)


@each
def test_every_button_calls_something_that_there_is(name: str, context: dict[str, Any]) -> None:
    """What buttons and forms call are calls of the API."""
    known = re.compile(
        r"(POST /api/crawls(/[^/]+/(pause|resume|cancel|seeds))?|(PATCH|DELETE) /api/crawls/[^/]+|PATCH /api/domains/[^/]+"
        r"|POST /api/domains/[^/]+/(block|unblock)|POST /api/refresh|POST /api/dead-letters/(retry|drop))"
    )

    assert all(known.fullmatch(call) for call in page(name, context).xpath("//@data-call"))


@pytest.mark.parametrize("name", [name for name in USUAL if views.VIEWS[name.removesuffix(".html")].pace])
def test_regions_are_those_of_the_page(name: str) -> None:
    """Each live region has its place in the page, and the same models give the same text."""
    places = page(name, USUAL[name]).xpath("//@data-region")
    regions = rendering.regions(name, USUAL[name])

    assert sorted(places) == sorted(regions)
    assert regions == rendering.regions(name, USUAL[name])


def test_the_full_text_of_a_long_title_can_be_reached() -> None:
    """A title of 10,000 characters is cut, and the whole of it stands behind a click."""
    tree = page("url.html", {**USUAL["url.html"], "pages": [NASTY["url.html"]["pages"][0]]})
    details = tree.xpath("//dt[text()='Title']/following-sibling::dd/details")

    assert len(details[0].find("summary").text_content()) < 400
    assert "A" * 10_000 in details[0].text_content()


def test_what_is_queued_is_linked_whatever_its_outcome() -> None:
    """URLs that are due may have been visited before: the link to them asks for no outcome."""
    links = page("domains.html", USUAL["domains.html"]).xpath(
        "//section[@aria-labelledby='queued']//td/a/@href"
    )

    assert links
    assert all(link.startswith("/search?domain=") and "outcome" not in link for link in links)


@pytest.mark.parametrize(
    ("errors", "since", "said"),
    [
        (0, None, "None, as far as attempts are kept."),
        (0, NOW, "before that, it has too many attempts to look through."),
        (2, NOW, "before that, it has too many attempts to look through."),
        (2, None, ""),
    ],
)
def test_how_far_back_errors_were_looked_for_is_said(errors: int, since: datetime | None, said: str) -> None:
    """A domain without errors is told to have none only where all its attempts were looked through."""
    usual = USUAL["domain.html"]
    it = usual["it"].model_copy(update={"errors": usual["it"].errors[:errors], "errors_since": since})
    section = page("domain.html", {**usual, "it": it}).xpath("//section[@aria-labelledby='errors']")[0]

    assert len(section.xpath(".//tbody/tr")) == errors
    assert " ".join(section.xpath("string(.//p)").split()).endswith(said)
    assert ("None" in section.text_content()) == (not errors)


def test_trouble_leads_to_where_it_is_mended() -> None:
    """Jobs lead to the timetable, wrong clocks and whoever is silent to the workers; what costs is a process."""
    it = overview(
        job_trouble=["the clock of h is 12 s behind", "minutes is late"],
        silent=1,
        silent_schedulers=2,
        cost=Cost(per_million_pages=1.5, unit="EUR", workers=4, price=0.05),
    )
    tree = page("overview.html", {**USUAL["overview.html"], "it": it})
    troubles = [
        (one.xpath("string(span)"), one.xpath("string(a/@href)"), one.xpath("string(a)"))
        for one in tree.xpath("//ul[@class='troubles']/li")
    ]

    assert troubles == [
        ("silent", "/workers", "1 worker has"),
        ("silent", "/workers#schedulers", "2 schedulers have"),
        ("clock", "/workers", "the clock of h is 12 s behind"),
        ("job", "/schedule", "minutes is late"),
    ]
    assert "A worker process and hour" in tree.text_content()


def test_an_empty_crawler_says_what_to_do() -> None:
    """Each page without anything to show has a sentence instead."""
    for name, context in EMPTY.items():
        tree = page(name, context)

        assert tree.xpath("//*[@class='empty']") or name == "url.html", name


@given(st.text(st.characters(exclude_categories=["Cs", "Cn"])))
def test_words_are_the_text(text: str) -> None:
    """Whatever a stranger writes, its visible letters are shown as they are, and no other mark gets out."""
    shown = str(stranger.words(text))
    bare = re.sub(r"<span class=\"unseen\"[^>]*>[^<]*</span>", "", shown)

    assert "".join(html.fromstring(f"<p>{bare}</p>").text_content().split()) == "".join(
        stranger.plain(text).split()
    )
    assert not HIDDEN.search(shown)


@pytest.mark.parametrize(
    "text",
    ["javascript:alert(1)", "data:text/html,x", "//example.com/", "http:", "https://a\u202eb/", "", None],
)
def test_only_the_web_is_linked(text: str | None) -> None:
    """A link to elsewhere is made of a whole http or https URL without hidden marks, or not at all."""
    assert stranger.web_address(text) is None
    assert stranger.outside(text) == ""


def test_a_name_is_one_step_of_an_address() -> None:
    """Names with slashes, dots and percents stay one step; what is not asked for is left out of an address."""
    assert rendering.place("crawls", "a/b c%") == "/crawls/a%2Fb%20c%25"
    assert rendering.place("domains", "..") == "/domains/%2E%2E"
    assert rendering.link("/search", crawl="a&b", domain=None) == "/search?crawl=a%26b"


# ---- colours


def colours() -> dict[str, tuple[str, str]]:
    """The pairs of the sheet: light, dark."""
    sheet = (ROOT / "static" / "dashboard.css").read_text()
    return {
        name: (light, dark)
        for name, light, dark in re.findall(r"--([a-z-]+): light-dark\((#\w{6}), (#\w{6})\)", sheet)
    }


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


TEXTS: Final = [
    *((ink, ground) for ink in ("ink", "dim", "link") for ground in ("ground", "card", "well", "calm-ground", "warn-ground", "bad-ground")),
    ("bad", "card"), ("bad", "bad-ground"), ("warn", "card"), ("warn", "warn-ground"), ("on-accent", "accent"), ("card", "bad"),
]  # fmt: skip
SHAPES: Final = [
    *((family.key, "card") for family in FAMILIES if family is not WAITING), ("accent", "card"), ("accent", "ground"), ("edge", "card"),
]  # fmt: skip


@pytest.mark.parametrize("mode", [0, DARK], ids=["light", "dark"])
def test_contrast_is_enough(mode: int) -> None:
    """Text has a contrast of 4.5 to what it stands on, shapes that mean something 3 (WCAG 2.2, 1.4.3 and 1.4.11)."""
    sheet = colours()
    poor = [
        (one, other, round(found, 2))
        for pairs, least in ((TEXTS, 4.5), (SHAPES, 3.0))
        for one, other in pairs
        if (found := contrast(sheet[one][mode], sheet[other][mode])) < least
    ]

    assert poor == []


def test_nothing_comes_from_elsewhere() -> None:
    """Neither the sheet nor the script names another origin, and the templates none but in links."""
    sheet, script = ((ROOT / "static" / name).read_text() for name in ("dashboard.css", "dashboard.js"))

    assert not re.search(r"@import|url\(|//[a-z]", sheet)
    assert not re.search(r"https?:|eval|innerHTML(?! = html)|document\.write", script)


# ---- charts


def test_every_outcome_has_a_family() -> None:
    """No outcome is forgotten, and none that nobody knows is lost."""
    assert set(FAMILY) == {*Outcome, ""}
    assert sum(family_counts({"ok": 2, "another": 1}).values()) == 3


@given(st.floats(1e-6, 1e12))
def test_an_axis_ends_at_a_round_number_not_far_above(value: float) -> None:
    """The end of an axis is at or above the value, and at most two and a half times it."""
    end = charts.nice(value)

    assert value * (1 - 1e-6) <= end <= 2.5 * value


COUNTS: Final = st.dictionaries(st.sampled_from(list(Outcome)), st.integers(0, 10**9), max_size=6)


@given(st.lists(COUNTS, max_size=70))
def test_bars_stay_in_their_chart(counts: list[dict[str, int]]) -> None:
    """Whatever was counted, each bar lies in its plot, one beside the other, and the words tell the sum."""
    points = [
        Point(at=NOW + timedelta(minutes=n), outcomes={str(k): v for k, v in one.items()}, bytes=0, ms=0)
        for n, one in enumerate(counts)
    ]
    it = Series(since=NOW, until=NOW + timedelta(minutes=len(points)), step=60, points=points)
    drawn = html.fragment_fromstring(str(charts.outcomes_over_time(it, "a")))
    whole = sum(sum(one.values()) for one in counts)
    rects = [one for one in drawn.iter("rect") if one.get("class") != "hit"]

    assert all(
        float(one.get("y")) >= -0.01 and float(one.get("y")) + float(one.get("height")) <= 100.02
        for one in rects
    )
    assert all(float(one.get("x")) + float(one.get("width")) <= max(1, len(points)) for one in rects)
    assert (f"{whole:,} attempts" if whole else "Nothing was fetched") in drawn.text_content()


def test_a_chart_as_a_table_has_the_same_sums() -> None:
    """The table beside a chart counts what the chart shows."""
    it = series()
    by_rows = [sum(column) for column in zip(*(counts for _, counts in charts.table(it)), strict=True)]
    shown = dict(charts.legend(it))

    assert by_rows == [shown.get(family, 0) for family in FAMILIES if family is not WAITING]


def test_small_parts_are_still_seen() -> None:
    """A share that is not nothing is not drawn as nothing, and one above the whole stays in its bar."""
    assert 'width="1.0"' in charts.share_bar(1, 10_000, "good")
    assert 'width="0.0"' in charts.share_bar(0, 10, "good")
    assert 'width="100.0"' in charts.share_bar(20, 10, "good")


# ---- what is asked, what is told


def test_times_of_a_form_are_utc() -> None:
    """A time without a zone is UTC, one with a zone is taken as it is, also with its plus as a space; anything else is told."""
    there = datetime(2026, 11, 21, 20, 44, tzinfo=UTC)

    assert views.moment("2026-11-21T20:44") == views.moment("2026-11-21T21:44:00 01:00") == there
    assert views.moment("") is None
    with pytest.raises(UsageError, match="is no time"):
        views.moment("yesterday")


@pytest.mark.parametrize(
    "agent", ["", "examplebot/2.0 (+https://example.com/bot)", "My-Bot_x", "Nutch (me@example.com)"]
)
def test_what_a_webmaster_is_told_is_what_is_obeyed(agent: str) -> None:
    """The token of /bot is what robots.txt is read for, and the user agent there is the one in force."""
    settings = Settings(user_agent=agent, contact="https://example.org/about")
    tree = page("bot.html", webmasters.told(settings))
    token = tree.xpath("string(//*[@id='token'])")
    stopping = [
        one.text_content() for one in tree.iter("pre") if "Disallow: /" in one.text_content().splitlines()
    ]
    rules = parse(stopping[0].encode(), product_token(settings.user_agent))

    assert tree.xpath("string(//*[@id='agent'])") == settings.user_agent
    assert token.lower() == product_token(settings.user_agent)
    assert not rules.allows("/anything")
    assert ("https://example.com/bot" in tree.text_content()) == ("https://example.com/bot" in agent)
    assert "https://example.org/about" in tree.text_content()


def test_webmasters_are_told_of_all_names() -> None:
    """Where several names are in force each is told once, what stands there for robots.txt keeps out all, and requests at once are told."""
    agents = ["One-Bot/1.0 (+https://one.example/bot)", "one-bot/2.0", "Two/1.0 (+https://two.example/)"]
    manners = webmasters.Manners(agents, 0.25, 3)
    tree = page("bot.html", webmasters.told(Settings(contact="https://one.example/bot"), manners))
    text = " ".join(tree.text_content().replace("\u00a0", " ").split())
    stopping = next(
        one.text_content() for one in tree.iter("pre") if one.text_content().endswith("Disallow: /")
    )

    assert tree.xpath("string(//*[@id='agent'])").splitlines() == agents
    assert [one for one in stopping.splitlines() if "User-agent" in one] == [
        "User-agent: One-Bot",
        "User-agent: Two",
    ]
    assert not any(parse(stopping.encode(), product_token(one)).allows("/x") for one in agents)
    assert "up to 3 requests to your domain open at once, and after each answer waits 0.25 s" in text
    assert tree.xpath("//a/@href[starts-with(., 'https://one.example') or starts-with(., 'https://two.example')]") == [
        "https://one.example/bot", "https://two.example/"]  # fmt: skip
    assert "at once" not in page("bot.html", webmasters.told(Settings())).text_content()


def test_a_mail_address_is_a_mail_link() -> None:
    """A contact that is an address is written to; without any, the page says so."""
    tree = page("bot.html", webmasters.told(Settings(contact="crawl@example.com")))
    nobody = page("bot.html", webmasters.told(Settings()))

    assert tree.xpath("//a[@href='mailto:crawl@example.com']")
    assert "has named no address" in nobody.text_content()


@pytest.mark.parametrize("status", [401, 404, 503, 500, 422, 418, 299])
def test_trouble_has_a_page(status: int) -> None:
    """Whatever went wrong, there is a page with one sentence and a way on."""
    answer = pages.trouble_page(status, "The database cannot be reached.")
    tree = html.document_fromstring(bytes(answer.body))

    assert answer.status_code == status
    assert "The database cannot be reached." in tree.text_content()
    assert tree.xpath("//main//a[@href]")
