"""Robots: may we, by which line, and how slowly."""

import json
import re
from pathlib import Path
from typing import Any

import protego
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from crawler.core import robots
from crawler.core.robots import (
    ALLOW_ALL,
    DENY_ALL,
    MAX_STAR_BYTES,
    Ruling,
    parse,
    product_token,
)
from crawler.core.robots_lines import MAX_ROBOTS_BYTES
from tests.effort import Effort

US = "faircrawl"
GOOGLE = json.loads((Path(__file__).parent.parent / "corpus" / "google_robots.json").read_text())

# RFC 9309 section 2.2.2 has unreserved characters decoded before comparing; Google compares them as they are.
RFC_INSTEAD = ("/foo/bar/%62%61%7A", "http://foo.bar/foo/bar/baz")


def unfold(text: str) -> str:
    """Write out the runs that the corpus abbreviates."""
    return re.sub(r"<(.)\*(\d+)>", lambda run: run[1] * int(run[2]), text)


def google_assertions() -> list[Any]:
    """Each assertion of Google's as one case."""
    found = []
    for case in GOOGLE["cases"]:
        for allowed, urls in ((True, case["allowed"]), (False, case["refused"])):
            for url in urls:
                name = f"{case['test']}-{case['agent']}-{url}"[:90]
                found.append(
                    pytest.param(unfold(case["robots"]), case["agent"], unfold(url), allowed, id=name)
                )
    return found


def everybody(*lines: str) -> robots.Rules:
    """The rules of one group for everybody."""
    return parse("\n".join(["User-agent: *", *lines]).encode(), US)


# Google's own tests


def test_google_corpus_is_whole() -> None:
    """The corpus holds Google's 141 allowed-or-not assertions; the 142nd is about a token (see below)."""
    assert len(google_assertions()) == 141


@pytest.mark.parametrize(("body", "agent", "url", "allowed"), google_assertions())
def test_google_assertion(body: str, agent: str, url: str, allowed: bool) -> None:  # noqa: FBT001 - a column of the table
    """What Google's parser answers we answer too, but for the one place where RFC 9309 says otherwise."""
    rule, unescaped = RFC_INSTEAD
    expected = allowed != (rule in body and url == unescaped)
    path = re.sub(r"^https?://[^/]*", "", url) or "/"

    assert parse(body.encode(), agent).allows(path) is expected


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ("Foobot", True),
        ("Foobot-Bar", True),
        ("Foo_Bar", True),
        ("", False),
        ("ツ", False),
        ("Foobot*", False),
        (" Foobot ", False),
        ("Foobot/2.1", False),
        ("Foobot Bar", False),
    ],
)
def test_google_valid_token(value: str, valid: bool) -> None:  # noqa: FBT001 - a column of the table
    """A user agent is its own product token exactly where Google finds it fit to obey."""
    assert (product_token(value) == value.lower() != "") is valid


@pytest.mark.parametrize(
    ("raw", "escaped"),
    [
        ("http://www.example.com", "http://www.example.com"),
        ("/a/b/c", "/a/b/c"),
        ("á", "%C3%A1"),
        ("%aa", "%AA"),
    ],
)
def test_google_escapes(raw: str, escaped: str) -> None:
    """Patterns are escaped as Google escapes them."""
    assert robots._pattern(raw.encode()) == escaped


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "end"])
def test_google_line_numbers(end: str, last: str) -> None:
    """Lines are counted alike for all line ends, with or without a last one."""
    body = end.join(["User-Agent: foo", "Allow: /some/path", "User-Agent: bar", "", "", "Disallow: /"])
    body += end if last else ""

    assert parse(body.encode(), "bar").ruling("/x").line_number == 6


def test_google_mixed_line_ends() -> None:
    """One file may mix line ends."""
    body = b"User-Agent: foo\nAllow: /some/path\r\nUser-Agent: bar\n\r\n\nDisallow: /"

    assert parse(body, "bar").ruling("/x").line_number == 6


@pytest.mark.parametrize("bom", [b"\xef\xbb\xbf", b"\xef\xbb", b"\xef"])
def test_google_byte_order_mark(bom: bytes) -> None:
    """A byte order mark, even a begun one, is skipped."""
    assert not parse(bom + b"User-Agent: foo\nDisallow: /\n", "foo").allows("/x")


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\x11\xbfUser-Agent: foo\nDisallow: /AnyValue\n",
        b"User-Agent: foo\n\xef\xbb\xbfDisallow: /AnyValue\n",
    ],
)
def test_google_misplaced_byte_order_mark(body: bytes) -> None:
    """A broken mark, or one in the middle of the file, spoils its line and no more."""
    assert parse(body, "foo").allows("/AnyValue")


@pytest.mark.parametrize(
    "body",
    [
        b"User-Agent: foo\nAllow: /some/path\nUser-Agent: bar\n\n\nSitemap: http://foo.bar/sitemap.xml\n",
        b"Sitemap: http://foo.bar/sitemap.xml\nUser-Agent: foo\nAllow: /some/path\nUser-Agent: bar\n\n\n",
    ],
)
def test_google_sitemap_anywhere(body: bytes) -> None:
    """A sitemap line may stand anywhere in the file."""
    assert parse(body, US).sitemaps == ("http://foo.bar/sitemap.xml",)


# Groups and fields


def test_group_needs_the_whole_token() -> None:
    """A group for ``fair`` or ``faircrawler`` is not for ``faircrawl``."""
    body = b"User-agent: fair\nDisallow: /\n\nUser-agent: faircrawler\nDisallow: /\n"

    assert parse(body, US).ruling("/x") == Ruling(allowed=True, line=None, line_number=None, group=None)


def test_groups_of_one_token_are_merged() -> None:
    """Two groups for us count as one, and the group for everybody as none."""
    ours = b"User-agent: FairCrawl\nDisallow: /a\n"
    more = b"User-agent: faircrawl/2\nDisallow: /b\n"
    rules = parse(ours + b"User-agent: *\nDisallow: /c\n" + more, US)

    assert [rules.allows(path) for path in ("/a", "/b", "/c")] == [False, False, True]
    assert rules.group == "User-agent: FairCrawl, User-agent: faircrawl/2"


def test_groups_share_rules() -> None:
    """Rules after several user-agent lines are for all of them, once."""
    body = b"User-agent: a\nUser-agent: *\nUser-agent: faircrawl\nUser-agent: faircrawl\nDisallow: /x\n"

    assert [parse(body, token).allows("/x") for token in ("a", "b", US)] == [False, False, False]


def test_empty_group_for_us_allows_everything() -> None:
    """A group that names us and forbids nothing keeps the group for everybody off."""
    assert parse(b"User-agent: *\nDisallow: /\n\nUser-agent: faircrawl\nDisallow:\n", US).allows("/x")


def test_star_with_a_remark_is_everybody() -> None:
    """``User-agent: * bots`` is everybody, ``*bot`` is nobody we know."""
    assert not parse(b"User-agent: * bots\nDisallow: /\n", US).allows("/x")
    assert parse(b"User-agent: *bot\nDisallow: /\n", US).allows("/x")


@pytest.mark.parametrize("line", ["Crawl-delay: 10", "Request-rate: 1/10", "crawl delay: soon"])
def test_a_delay_ends_the_user_agent_lines(line: str) -> None:
    """Who slows everybody down and shuts out a bad bot has not shut out everybody."""
    body = f"User-agent: *\n{line}\n\nUser-agent: badbot\nDisallow: /\n".encode()

    assert parse(body, US).allows("/x")
    assert not parse(body, "badbot").allows("/x")


@pytest.mark.parametrize(
    "line", ["Sitemap: /s.xml", "Host: example.org", "Clean-param: a", "words of a person"]
)
def test_other_lines_do_not_end_a_group(line: str) -> None:
    """A line that is no rule never ends a group (RFC 9309 section 2.2.4)."""
    body = f"User-agent: faircrawl\n{line}\nUser-agent: other\n{line}\nDisallow: /x\n".encode()

    assert not parse(body, US).allows("/x")


@pytest.mark.parametrize(
    "lines",
    [
        "Useragent: faircrawl\nDissallow: /x",
        "User agent: faircrawl\nDissalow: /x",
        "user agent faircrawl\nDisalow: /x",
        "USER-AGENT : faircrawl\nDiasllow : /x",
        "User-agents: faircrawl\nDisallowed: /x",
        "User-agent:faircrawl\nDisallaw:/x",
        "\tUser-agent\tfaircrawl # us\n  disallow\t /x # not this",
    ],
)
def test_common_misspellings(lines: str) -> None:
    """What webmasters mistype, and Google understands, is understood."""
    assert not parse(lines.encode(), US).allows("/x")


def test_a_colon_in_the_value_is_none_after_the_name() -> None:
    """A line without its colon may have one in its value."""
    rules = everybody("Disallow /a:b", "Site-map https://example.org/s.xml", "Sitemap:", "Sitemaps: /s2.xml")

    assert not rules.allows("/a:b")
    assert rules.sitemaps == ("https://example.org/s.xml", "/s2.xml")


def test_html_is_no_robots_txt() -> None:
    """A page served in its place has no rules."""
    body = (
        b"<!DOCTYPE html><html><head><title>Disallow: /</title></head>\n<p>Allow us: be polite</p>\n</html>"
    )

    assert parse(body, US).digest == ALLOW_ALL.digest


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "latin-1"])
def test_other_encodings(encoding: str) -> None:
    """Files saved in UTF-16, or with NULs strewn in, are still obeyed."""
    assert not parse("User-agent: *\r\nDisallow: /x\r\n".encode(encoding), US).allows("/x")


def test_a_line_cut_at_the_cap_is_dropped() -> None:
    """Of a file over 500 KiB the whole lines count, and what the cap cut through does not."""
    head = b"User-agent: *\nDisallow: /a\n"
    filler = head.ljust(MAX_ROBOTS_BYTES - len("Disallow: /x") - 1, b"#") + b"\n"
    rules = parse(filler + b"Disallow: /x/private\n", US)

    assert [rules.allows(path) for path in ("/a", "/x")] == [False, True]
    assert not parse(filler + b"Disallow: /x\nDisallow: /b\n", US).allows("/x")
    assert parse(filler + b"Disallow: /x\nDisallow: /b\n", US).allows("/b")
    assert parse(b"#" * MAX_ROBOTS_BYTES, US).digest == ALLOW_ALL.digest


# Rulings


def test_ruling_names_line_and_group() -> None:
    """A ruling quotes the deciding line with its number, and the user-agent line that made it ours."""
    body = b"# hello\nUser-agent: *\nDisallow: /private/ # no\nAllow: /private/open\n"
    rules = parse(body, US)

    assert rules.ruling("/private/x") == Ruling(
        allowed=False, line="Disallow: /private/", line_number=3, group="User-agent: *"
    )
    assert rules.ruling("/private/open") == Ruling(
        allowed=True, line="Allow: /private/open", line_number=4, group="User-agent: *"
    )
    assert rules.ruling("/") == Ruling(allowed=True, line=None, line_number=None, group="User-agent: *")


def test_robots_txt_itself_is_allowed() -> None:
    """No rule forbids to read the rules."""
    assert DENY_ALL.allows("/robots.txt")
    assert DENY_ALL.ruling("/robots.txt").allowed
    assert DENY_ALL.ruling("/x") == Ruling(allowed=False, line=None, line_number=None, group=None)


@pytest.mark.parametrize(
    ("rule", "path", "covered"),
    [
        ("/caf%c3%a9", "/caf%C3%A9", True),
        ("/café", "/caf%c3%a9", True),
        ("/%70rivate", "/private", True),
        ("/private", "/%70rivate", True),
        ("/a%2Fb", "/a/b", False),
        ("/a%2fb", "/a%2Fb", True),
        ("/file-%2A.html", "/file-*.html", True),
        ("/file-%2A.html", "/file-x.html", False),
        ("/file-*.html", "/file-%2A.html", True),
        ("/price%24", "/price$s", True),
        ("/price%24", "/price", False),
        ("/price$", "/price$", False),
        ("/a$b", "/a$b", True),
        ("/a$*", "/a$x", True),
        ("/a b", "/a%20b", True),
        ("/?q='x'|{y}", "/?q=%27x%27|{y}", True),
        ("/100%", "/100%", True),
        ("/100%zz", "/100%zz", True),
        ("private/", "/private/", False),
        ("*", "/x", True),
        ("*.pdf", "/x.pdf?y", True),
        ("$", "/", False),
        ("/a*$", "/ab", True),
        ("/a*b*c$", "/a1b2c", True),
        ("/a*b*c$", "/a1b2c3", False),
        ("/a*bb$", "/abb", True),
        ("/a*ab$", "/ab", False),
        ("/a**b", "/axb", True),
    ],
)
def test_patterns(rule: str, path: str, covered: bool) -> None:  # noqa: FBT001 - a column of the table
    """Escapes, ``*`` and ``$`` mean what RFC 9309 sections 2.2.2 and 2.2.3 say."""
    assert everybody(f"Disallow: {rule}").allows(path) is not covered


def test_index_page_allows_its_folder() -> None:
    """As with Google, who allows a folder's index page allows the folder's own URL."""
    rules = everybody("Disallow: /", "Allow: /a/index.html", "Disallow: /b/", "Allow: index.html")

    assert [rules.allows(path) for path in ("/a/", "/a/x", "/b/")] == [True, False, False]


def test_tie_is_allowed_whatever_the_order() -> None:
    """Of two equal patterns the allow counts, first or last, and the first line of equals is quoted."""
    assert everybody("Allow: /*x", "Disallow: /*x", "Allow: /*x").ruling("/x").line_number == 2
    assert everybody("Disallow: /*x", "Allow: /*x").allows("/x")
    assert everybody("Disallow: /x$", "Allow: /x$").allows("/x")


PATHS = st.lists(st.sampled_from([*"ab/$*", "%25", "%C3%A9"]), max_size=12).map(
    lambda path: "/" + "".join(path)
)
PATTERNS = st.text("ab/*$", max_size=8).map(lambda text: "/" + text)
RULES = st.lists(st.tuples(st.sampled_from(["Allow", "Disallow"]), PATTERNS), max_size=8)


def slowly(rules: list[tuple[str, str]], path: str) -> bool:
    """RFC 9309 as one would write it down: every rule a regular expression, the longest counts."""
    best = (-1, True)
    for name, pattern in rules:
        body = pattern.removesuffix("$")
        quoted = "*".join(part.replace("$", "%24") for part in body.split("*"))
        size = len(quoted) + (body != pattern)
        regex = ".*".join(re.escape(part) for part in quoted.split("*"))
        regex += r"\Z" if body != pattern else ""
        if re.match(regex, path.replace("$", "%24").replace("*", "%2A")):
            best = max(best, (size, name == "Allow"))
    return best[1]


@given(RULES, PATHS)
def test_rulings_are_those_of_a_slow_reading(rules: list[tuple[str, str]], path: str) -> None:
    """The fast matcher finds what regular expressions over all rules find."""
    assert everybody(*(f"{name}: {pattern}" for name, pattern in rules)).allows(path) is slowly(rules, path)


PLAIN_PATTERNS = st.text("ab/*", max_size=8).map(lambda text: "/a" + text)
PLAIN_RULES = st.lists(st.tuples(st.sampled_from(["Allow", "Disallow"]), PLAIN_PATTERNS), max_size=8)


@given(PLAIN_RULES, st.text("ab/", max_size=12))
def test_rulings_are_those_of_protego(rules: list[tuple[str, str]], rest: str) -> None:
    """Where protego has no ways of its own (``$``), it rules as we do."""
    body = "\n".join(["User-agent: *", *(f"{name}: {pattern}" for name, pattern in rules)])
    path = f"/a{rest}"
    expected = protego.Protego.parse(body).can_fetch(f"https://example.org{path}", US)

    assert parse(body.encode(), US).allows(path) is expected


@given(RULES, PATHS)
def test_ruling_and_allows_agree(rules: list[tuple[str, str]], path: str) -> None:
    """``crawl why`` tells what the crawl does."""
    ours = everybody(*(f"{name}: {pattern}" for name, pattern in rules))

    assert ours.ruling(path).allowed is ours.allows(path)


@given(st.text("ab/%01234567cCdD$*é ", max_size=20))
def test_one_spelling_is_stable(text: str) -> None:
    """What is spelt right stays so."""
    once = robots._one_spelling(text)
    # "%2%35" would become "%25" and so on: URLs do not hold a bare per cent sign before an escape.
    assume(not re.search(r"%(?![0-9A-Fa-f]{2})", text))

    assert robots._one_spelling(once) == once


RUBBISH = st.sampled_from(
    [
        b"User-agent: *\n",
        b"User-agent:faircrawl\r",
        b"\nDisallow: /",
        b"Allow",
        b":",
        b"*",
        b"$",
        b"%",
        b"Crawl-delay:",
    ]
)


@given(st.lists(st.binary(max_size=8) | RUBBISH, max_size=30).map(b"".join), PATHS)
@example(b"User-agent: *\nDisallow: \xff\xfe*$\nCrawl-delay: \xb2\nSitemap: \xff", "/")
def test_any_bytes_are_rules(body: bytes, path: str) -> None:
    """No bytes make the parser raise, and every path has a ruling."""
    rules = parse(body, US)

    assert rules.ruling(path).allowed is rules.allows(path)
    assert len(rules.digest) == 16


LINES = st.lists(
    st.sampled_from(
        [
            "User-agent: *",
            "User-agent: faircrawl",
            "User-agent: other",
            "Disallow: /",
            "Disallow: /a",
            "Disallow:",
            "Allow: /a/*b",
            "Allow: /b$",
            "Crawl-delay: 3",
            "Sitemap: /s.xml",
            "Unknown: line",
        ]
    ),
    max_size=12,
)


@given(LINES, st.data())
def test_looks_do_not_matter(lines: list[str], data: st.DataObject) -> None:
    """Comments, blank lines, line ends, white space and the case of names change no ruling and no digest."""
    plain = parse("\n".join(lines).encode(), US)
    text = ""
    for line in lines:
        name, colon, value = line.partition(":")
        name = data.draw(st.sampled_from([name, name.upper(), name.lower(), f"  {name} "]))
        ends = st.sampled_from(["\n", "\r", "\r\n", " # why\n", "\n\n", "\r\n# Disallow: /\r\n", "\t\r\r"])
        text += name + colon + value + data.draw(ends)
    dressed = parse(text.encode(), US)

    assert dressed.digest == plain.digest
    assert (dressed.crawl_delay, dressed.sitemaps) == (plain.crawl_delay, plain.sitemaps)
    for path in ("/", "/a", "/a/xb", "/b", "/bb"):
        assert dressed.allows(path) is plain.allows(path)


@given(RULES, RULES, PATHS)
def test_same_digest_same_rulings(
    one: list[tuple[str, str]], other: list[tuple[str, str]], path: str
) -> None:
    """While the digest stays, no ruling has changed: what is refused may rest."""
    first = everybody(*(f"{name}: {pattern}" for name, pattern in one))
    second = everybody(*(f"{name}: {pattern}" for name, pattern in other))

    assert first.digest != second.digest or first.allows(path) is second.allows(path)


def test_digest_is_of_our_rules() -> None:
    """The digest follows our rules, not other groups, delays, order or sitemaps."""
    base = parse(b"User-agent: *\nDisallow: /a\nDisallow: /b\n", US).digest

    assert (
        parse(
            b"Sitemap: /s\nUser-agent: x\nDisallow: /\nUser-agent: *\nDisallow: /b\nDisallow: /a", US
        ).digest
        == base
    )
    assert parse(b"User-agent: *\nDisallow: /a\nCrawl-delay: 9\nDisallow: /b\n", US).digest == base
    assert parse(b"User-agent: *\nDisallow: /a\n", US).digest != base
    assert parse(b"User-agent: *\nDisallow: /a\nAllow: /b\n", US).digest != base
    assert parse(b"", US).digest == ALLOW_ALL.digest != DENY_ALL.digest
    assert parse(b"User-agent: *\nDisallow: /\n", US).digest == DENY_ALL.digest


# Delays and names


@pytest.mark.parametrize(
    ("lines", "delay"),
    [
        (["Crawl-delay: 10"], 10.0),
        (["Crawl delay: 0.5"], 0.5),
        (["crawl-delay .5"], 0.5),
        (["Crawl-delay: 10 seconds"], 10.0),
        (["Crawl-delay: 0"], 0.0),
        (["Crawl-delay: 5", "Crawl-delay: 20", "Crawl-delay: 1"], 20.0),
        (["Crawl-delay: -1"], None),
        (["Crawl-delay: slow"], None),
        (["Crawl-delay:"], None),
        (["Request-rate: 1/10"], 10.0),
        (["Request-rate: 30/1m"], 2.0),
        (["Request-rate: 1/5 0600-0845"], 5.0),
        (["Request-rate: 0/5"], None),
        (["Request-rate: often"], None),
        (["Crawl-delay: 3", "Request-rate: 1/7"], 7.0),
        (["Disallow: /"], None),
    ],
)
def test_crawl_delay(lines: list[str], delay: float | None) -> None:
    """The slowest of what a group says about speed counts, and what is no number does not."""
    assert everybody(*lines).crawl_delay == delay


def test_crawl_delay_is_of_our_group() -> None:
    """Another's delay is not ours."""
    assert parse(b"User-agent: other\nCrawl-delay: 10\nUser-agent: *\nDisallow: /x", US).crawl_delay is None


@pytest.mark.parametrize(
    ("user_agent", "token"),
    [
        ("faircrawl/1.0 (+https://example.org/bot)", "faircrawl"),
        ("MJ12bot/v1.4", "mj12bot"),
        ("Mozilla/5.0 (compatible; x)", "mozilla"),
        ("  My_Bot-x y", "my_bot-x"),
        ("(+https://example.org)", ""),
        ("", ""),
    ],
)
def test_product_token(user_agent: str, token: str) -> None:
    """The product token is the user agent's first word, up to the slash."""
    assert product_token(user_agent) == token


def test_nameless_crawler_is_everybody() -> None:
    """Without a product token only the group for everybody applies."""
    body = b"User-agent:\nUser-agent: /x\nDisallow: /a\nUser-agent: *\nDisallow: /b\n"

    assert [parse(body, "").allows(path) for path in ("/a", "/b")] == [True, False]


def test_repr_counts() -> None:
    """A person at the debugger sees whom the rules are for and how many there are."""
    rules = everybody("Disallow: /a", "Disallow: /b$", "Disallow: /*c", "Crawl-delay: 2")

    assert repr(rules) == "<Rules for User-agent: *: 3 patterns, delay 2.0>"


# Hostile files


def hostile(*patterns: bytes) -> bytes:
    """As much of these patterns as stays just within the budget for ``*``."""
    lines, size = [b"User-agent: *"], 0
    number = 0
    while True:
        pattern = patterns[number % len(patterns)] % number
        size += len(pattern)
        if size > MAX_STAR_BYTES:
            return b"\n".join(lines)
        lines.append(b"Disallow: " + pattern)
        number += 1


@pytest.mark.parametrize(
    "body",
    [
        b"User-agent: *\nDisallow: /*a*a*a*a*a*a*a*b\n",
        hostile(b"/" + b"*a" * 500 + b"*b%d"),
        hostile(b"/*bababa%daaaaaa"),
        hostile(b"/*" + b"a" * 60 + b"b%d" + b"a" * 60),
        hostile(b"/*" + b"a" * 500 + b"b%d" + b"a" * 500),
        b"User-agent: *\n" + b"\n".join(b"Disallow: /" + b"a" * size + b"b" for size in range(1000)),
    ],
    ids=["stars", "many stars", "short", "middling", "long", "lengths"],
)
def test_no_pattern_is_slow(body: bytes) -> None:
    """Patterns made to be slow, on a path made for them, are ruled on in milliseconds (200 allows for CI)."""
    rules = parse(body, US)
    path = "/" + "a" * 2047
    with Effort() as effort:
        allowed = rules.allows(path)

    assert allowed
    assert effort.spent < 0.2


def test_too_many_stars_are_read_on_the_side_of_the_site() -> None:
    """Beyond the budget a disallow reaches up to its first ``*``, says so, and an allow is not read."""
    pattern = "/{}/*" + "x" * 1000 + "{}"
    lines = [f"Disallow: {pattern.format('many', number)}" for number in range(40)]
    rules = everybody(*lines, "Disallow: /private/*.pdf$", "Allow: /private/*open", "Disallow: /b")
    ruling = rules.ruling("/private/open")

    assert not ruling.allowed
    assert ruling.line == "Disallow: /private/*.pdf$ [read up to its first *: too many]"
    assert [rules.allows(path) for path in ("/", "/b")] == [True, False]


def test_repeated_stars_are_counted_once() -> None:
    """The same pattern many times over spends the budget once."""
    assert everybody(*["Disallow: /*" + "x" * 1000] * 40).allows("/y")
