"""Session identifiers are dropped from canonical URLs, and nothing else is."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crawler.core.sessions import QUERY, SHORT_QUERY, Sure, may_hold_session, sessions_in, without_session
from crawler.core.urls import canonical

ID = "9682993c8daa2c5497996114facdc805"
names = st.sampled_from([*QUERY, *(name.upper() for name in QUERY), "ASPSESSIONIDQQABCD", "amp;PHPSESSID"])
identifiers = st.from_regex(r"[0-9a-f]{15}[a-f][0-9a-f]{15}[0-9]", fullmatch=True)
plain = st.from_regex(r"(id|page|q|x|inside|side|aside|lang)=[a-z0-9]{0,6}", fullmatch=True)
paths = st.lists(st.sampled_from(["a", "b.html", "(x)", ".", "..", ";v=1", "Foo_(bar)"]), max_size=4).map(
    "/".join
)


@pytest.mark.parametrize(
    ("written", "url"),
    [
        (f"http://h/?PHPSESSID={ID}", "http://h/"),
        (f"http://h/x?a=1&phpsessid={ID}&b=2", "http://h/x?a=1&b=2"),
        (f"http://h/x?a=1&amp;PHPSESSID={ID}", "http://h/x?a=1"),
        (f"http://h/x?sid={ID}#part", "http://h/x"),
        (f"http://h/showthread.php?s={ID}&t=5", "http://h/showthread.php?t=5"),
        ("http://h/x?SID=n0gr5mcrkotdnctk5ql1fs2u91", "http://h/x"),
        ("http://h/x?session=123e4567-e89b-12d3-a456-426614174000", "http://h/x"),
        ("http://h/x?ASPSESSIONIDQQABCDEF=KJHFDSAUZTREWQ&y", "http://h/x?y"),
        ("http://h/boo?CFID=1169580&CFTOKEN=48630702&dtstamp=22", "http://h/boo?dtstamp=22"),
        ("http://h/boo?CFID=3304324&CFTOKEN=57491900&jsessionid=a63098d96360$B0$D9$A", "http://h/boo"),
        ("http://h/shop;jsessionid=0A1B.node2/cart?id=7", "http://h/shop/cart?id=7"),
        ("http://h/shop;v=1;JSESSIONID=0A1B", "http://h/shop;v=1"),
        ("http://h/shop?id=7;jsessionid=0A1B", "http://h/shop?id=7"),
        ("http://h/a/..;jsessionid=1/b", "http://h/b"),
        ("http://h/(S(mwvbqymyemg5hjnnqjswh555))/page.aspx?id=7", "http://h/page.aspx?id=7"),
        ("http://h/app/(A(abcdefghij0123456789xyz-_)S(mwvbqymyemg5hjnnqjswh555))/p", "http://h/app/p"),
        ("http://h/(S(mwvbqymyemg5hjnnqjswh555))", "http://h/"),
        ("http://h/(4hqa0355lwshvk55jo3kvhb1)/page.aspx", "http://h/page.aspx"),
    ],
)
def test_dropped(written: str, url: str) -> None:
    """Each of the known forms of a session identifier is dropped, in the query and in the path."""
    assert url == canonical(written)
    assert sessions_in(written.partition("#")[0]) != ()


@pytest.mark.parametrize(
    "url",
    [
        "http://h/?inside=1",
        "http://h/?sid=5",
        "http://h/x?session=2024-fall-semester",
        "http://h/x?session_id=12345678901234567890",
        "http://h/x?sid=internationalization",
        "http://h/?s=crawling+the+web",
        "http://h/x?PHPSESSID=",
        "http://h/x?q=jsessionid%3D5&lang=en",
        "http://h/x?CFID=1169580&page=2",
        f"http://h/x?digest={ID}",
        f"http://h/x?basesid={ID}",
        "http://h/Mercury_(planet)?x",
        "http://h/(a)/(b)/x",
        "http://h/jsessionid=5",
        "http://h/x?C=M;O=A",
        "http://h/x?",
    ],
)
def test_kept(url: str) -> None:
    """What only looks like a session identifier stays."""
    assert url == canonical(url)
    assert sessions_in(url) == ()


@given(paths, st.lists(plain, max_size=4), st.data())
def test_only_the_identifier_goes(path: str, others: list[str], data: st.DataObject) -> None:
    """Wherever an identifier is put into a query, what is left is the URL without it, its parameters in their order."""
    name = data.draw(names)
    assume(QUERY.get(name.lower()) is not Sure.IN_PAIR)
    place = data.draw(st.integers(0, len(others)))
    piece = f"{name}={data.draw(identifiers)}"
    bare = "http://h/" + path + ("?" + "&".join(others) if others else "")
    full = f"http://h/{path}?{'&'.join([*others[:place], piece, *others[place:]])}"

    assert canonical(bare) == canonical(full)


@given(paths, st.lists(plain, max_size=4), st.data())
def test_idempotent(path: str, others: list[str], data: st.DataObject) -> None:
    """A canonical URL is its own canonical form, whatever was dropped from it, and nothing to drop is left in it."""
    junk = st.sampled_from(
        [
            ";jsessionid=1",
            "/(S(mwvbqymyemg5hjnnqjswh555))",
            "/..;jsessionid=x",
            "&sid=" + ID,
            "&CFID=1",
            "&CFTOKEN=2",
        ]
    )
    text = f"http://h/{path}" + "".join(data.draw(st.lists(junk, max_size=4))) + "?" + "&".join(others)
    text += "".join(data.draw(st.lists(junk, max_size=4)))
    url = canonical(text)

    assert url is not None
    assert url == canonical(url)
    assert sessions_in(url) == ()


bits = names | identifiers | plain | st.sampled_from(["=", "&", ";", "?", "/", "5", "abcdefgh", "12345678"])


@given(st.lists(bits, max_size=7).map("".join))
def test_the_first_look_misses_nothing(rest: str) -> None:
    """A query that the first look lets pass holds no identifier, and one that is too short holds none either."""
    url = f"http://h/?{rest}"
    assume(";jsess" not in url.lower() and (len(rest) < SHORT_QUERY or not may_hold_session(url)))

    assert url == without_session(url)


@given(st.lists(plain | names.map(lambda name: f"{name}=1"), min_size=1, max_size=5).map("&".join))
def test_sessions_in_names_what_is_dropped(query: str) -> None:
    """A URL is left as it is exactly if no session identifier is found in it."""
    url = f"http://h/x?{query}"

    assert (sessions_in(url) == ()) == (without_session(url) == url)
