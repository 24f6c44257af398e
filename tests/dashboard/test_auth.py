"""Who may do what: every refusal, by the real program."""

import http.client
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest

from crawler.dashboard.auth import LASTS, Guard, Proof, from_own_page, local_path
from tests.dashboard.conftest import TOKEN, Served, dashboard, environment

pytestmark = pytest.mark.xdist_group("dashboard")  # they share what is costly to make

OWN: Final = {"Sec-Fetch-Site": "same-origin"}
PAUSE: Final = "/api/crawls/nobody/pause"
OPEN: Final = ("/bot", "/healthz", "/readyz", "/metrics", "/static/dashboard.css", "/login")


@pytest.fixture(scope="session")
def elsewhere(crawled: str, hosts: Path) -> Iterator[str]:
    """A dashboard that anybody could reach: where it is for us."""
    settings = environment(crawled, hosts, API_TOKEN=TOKEN)
    with dashboard(settings, "--host", "0.0.0.0") as (url, _):
        yield f"http://127.0.0.1:{urlsplit(url).port}"


def refused(answer: httpx.Response) -> int:
    """The status of an answer that says no in one line."""
    assert set(answer.json()) == {"detail"}
    assert "\n" not in answer.json()["detail"]
    return answer.status_code


def session(served: Served) -> dict[str, str]:
    """The cookie of who signed in."""
    answer = served.client.post(f"{served.url}/login", data={"token": TOKEN})
    served.client.cookies.clear()
    assert answer.status_code == 303, answer.text
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


def changes(served: Served) -> list[tuple[str, str]]:
    """Every call that changes something, as the document has them."""
    paths = served.get("/openapi.json").json()["paths"]
    return [(verb.upper(), path) for path, verbs in paths.items() for verb in verbs if verb != "get"]


def test_every_change_needs_the_token(served: Served) -> None:
    """Without the token no call changes anything, whatever its path and its body; nor does it say whether the thing is there."""
    found = changes(served)

    assert len(found) >= 13
    for verb, path in [*found, ("POST", "/logout"), ("PUT", "/nowhere"), ("DELETE", "/")]:
        answer = served.client.request(verb, served.url + path.format(name="news", handle="x"), content=b"{}")
        assert refused(answer) == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer", "Basic YTpi", "Bearer a-token-of-the-test", ""])
def test_a_wrong_token_is_refused_late(served: Served, header: str) -> None:
    """A wrong token is answered with 401, after a while."""
    began = time.monotonic()
    answer = served.client.post(served.url + PAUSE, headers={"Authorization": header})

    assert refused(answer) == 401
    assert time.monotonic() - began >= 0.45


def test_the_right_token_is_answered_at_once(served: Served) -> None:
    """Who has the token is let in: that the crawl is not there is another matter. The scheme may be written as one likes."""
    for scheme in ("Bearer", "bearer"):
        assert (
            refused(served.client.post(served.url + PAUSE, headers={"Authorization": f"{scheme} {TOKEN}"}))
            == 404
        )


def test_a_session_changes_things_from_our_own_pages(served: Served) -> None:
    """A cookie is taken with an Origin, or a Sec-Fetch-Site, of our own."""
    cookie = session(served)
    for own in (OWN, {"Origin": served.url}, {**OWN, "Origin": served.url}):
        assert refused(served.client.post(served.url + PAUSE, headers={**cookie, **own})) == 404


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.test"},
    ],
)
def test_a_session_changes_nothing_from_elsewhere(served: Served, headers: dict[str, str]) -> None:
    """What another page makes a browser send is refused, and what says nothing of where it comes from."""
    assert refused(served.client.post(served.url + PAUSE, headers={**session(served), **headers})) == 403


def test_a_cookie_tells_nothing_and_cannot_be_made(served: Served) -> None:
    """The cookie is for this site and its programs alone, does not hold the token, and no change of it is taken."""
    answer = served.client.post(f"{served.url}/login", data={"token": TOKEN})
    served.client.cookies.clear()
    name, _, value = answer.headers["set-cookie"].partition(";")[0].partition("=")
    words = {word.strip().lower() for word in answer.headers["set-cookie"].split(";")[1:]}

    assert {"httponly", "samesite=strict", "path=/"} <= words
    assert TOKEN not in answer.headers["set-cookie"]
    for forged in (
        value[:-1] + ("0" if value[-1] != "0" else "1"),
        "9" + value,
        "..",
        value.rpartition(".")[0],
        "é",
    ):
        headers = {b"Cookie": f"{name}={forged}".encode(), b"Sec-Fetch-Site": b"same-origin"}
        assert refused(served.client.post(served.url + PAUSE, headers=headers)) == 401


def test_a_session_ends() -> None:
    """A session is over after its time, and when the token is another; the token is known whatever its letters."""
    guard = Guard("secret", here=True, port=1)
    cookie = {guard.cookie: guard.session(1000.0)}

    assert guard.proof({}, cookie, 1000.0 + LASTS - 1) is Proof.SESSION
    assert guard.proof({}, cookie, 1000.0 + LASTS + 1) is Proof.EXPIRED
    assert Guard("other", here=True, port=1).proof({}, cookie, 1000.0) is Proof.EXPIRED
    assert guard.proof({"authorization": "Bearer \u00e9"}, cookie, 1000.0) is Proof.WRONG


def test_the_form_leads_back(served: Served) -> None:
    """Signing in leads to where one wanted to go, and never to another site; a wrong token gets the form again."""
    there = served.client.post(f"{served.url}/login", data={"token": TOKEN, "next": "/crawls?x=1"})
    away = served.client.post(f"{served.url}/login", data={"token": TOKEN, "next": "//evil.test/"})
    wrong = served.client.post(f"{served.url}/login", data={"token": "wrong", "next": "/"})
    linked = served.client.get(f"{served.url}/login", params={"token": TOKEN})
    served.client.cookies.clear()

    assert there.headers["location"] == "/crawls?x=1"
    assert away.headers["location"] == "/"
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    assert (linked.status_code, linked.headers["location"]) == (303, "/")
    assert linked.headers["referrer-policy"] == "no-referrer"


def test_only_local_paths_are_gone_to() -> None:
    """A path that a browser could take for another site is none of ours."""
    found = [local_path(one) for one in (None, "", "x", "//x", "/\\x", "/\tx", "http://x", "/x//y")]

    assert found == ["/"] * 7 + ["/x//y"]


def test_a_page_of_ours_is_known() -> None:
    """An Origin must name our host and port, in any case of letters, and over HTTP."""
    host = {"host": "LocalHost:8080"}

    assert from_own_page({**host, "origin": "http://localhost:8080"})
    assert from_own_page({**host, "origin": "https://localhost:8080"})
    assert not from_own_page({**host, "origin": "ftp://localhost:8080"})
    assert not from_own_page({**host, "origin": "localhost:8080"})
    assert not from_own_page({"origin": "http://localhost:8080"})
    assert not from_own_page({**host, "origin": "http://localhost:8080", "sec-fetch-site": "same-site"})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.test", 421),
        ("10.0.0.1:80", 421),
        ("", 421),
        ("localhost", 200),
        ("x.localhost:1", 421),
        ("[::1", 421),
        ("[::1]evil.test", 421),
        ("[127.0.0.1]", 200),
        ("127.9.9.9", 200),
        ("[::1]:80", 200),
    ],
)
def test_a_foreign_name_for_this_machine_is_not_answered(served: Served, host: str, status: int) -> None:
    """On the loopback only its own names are answered, so that no name of a stranger's can lead a browser here."""
    assert served.client.get(f"{served.url}/api/crawls", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("cross-site", "no-cors", 403),
        ("same-site", "cors", 403),
        ("cross-site", "navigate", 200),
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
    ],
)
def test_a_page_of_another_site_makes_no_browser_ask_us(
    served: Served, site: str, mode: str, status: int
) -> None:
    """What another site's page asks in its visitor's name, an image or a stream, is refused; a link that leads here is followed."""
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
    for path in ("/api/crawls", "/", "/bot"):
        assert served.client.get(served.url + path, headers=headers).status_code == status, path


def test_who_only_looks_whether_we_live_may_ask_for_heads(served: Served) -> None:
    """What balancers ask for answers HEAD as it does GET, without a body."""
    for path in ("/healthz", "/readyz", "/metrics", "/bot"):
        answer = served.client.head(served.url + path)
        assert (answer.status_code, answer.content) == (200, b""), path


@pytest.mark.parametrize(
    "path", ["/crawls/%00", "/errors?crawl=%00", "/search?crawl=%00", "/live/crawl?name=%00"]
)
def test_a_page_of_an_impossible_name_is_refused(served: Served, path: str) -> None:
    """A name that no crawl can have, for the database has no room for it, is told as wrong, and no fault of ours."""
    assert served.client.get(served.url + path).status_code == 422
    assert served.client.get(f"{served.url}/crawls/{'x' * 9000}").status_code == 422


def test_every_answer_says_what_a_browser_may_do(served: Served) -> None:
    """The headers are on every answer: what is found, what is not, what is refused, and what is a file."""
    for verb, path, held in [
        ("GET", "/", "no-store"),
        ("GET", "/api/crawls", "no-store"),
        ("GET", "/api/nowhere", "no-store"),
        ("POST", PAUSE, "no-store"),
        ("GET", "/static/dashboard.css", "no-cache"),
        ("GET", "/static/../app.py", "no-store"),
        ("GET", "/docs", "no-store"),
    ]:
        headers = served.client.request(verb, served.url + path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';"), path
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == held
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


def test_no_other_site_may_ask_before(served: Served) -> None:
    """A preflight of another site's page is not granted."""
    asked = {"Origin": "https://evil.test", "Access-Control-Request-Method": "POST"}
    answer = served.client.options(f"{served.url}/api/crawls", headers=asked)

    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def raw(served: Served, path: str, body: Any, **headers: str) -> tuple[int, str]:
    """Send a body as it is, chunked if it is a list: the status and the line."""
    place = urlsplit(served.url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
    try:
        connection.request(
            "POST", path, body, {**served.bearer, **headers}, encode_chunked=isinstance(body, list)
        )
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())["detail"]
    finally:
        connection.close()


def test_a_large_body_is_not_read(served: Served) -> None:
    """More than a MiB is refused by its announced length, and as it comes in pieces; a little less is looked at."""
    announced = raw(served, "/api/crawls", b"", **{"Content-Length": str((1 << 20) + 1)})
    chunked = raw(served, "/api/crawls", [b"x" * 65_536] * 17, **{"Transfer-Encoding": "chunked"})
    most = raw(served, "/api/crawls", [b" " * 65_536] * 16, **{"Transfer-Encoding": "chunked"})

    assert announced == chunked == (413, "a request has at most 1,048,576 bytes")
    assert most[0] in {400, 422}


def test_elsewhere_everything_needs_the_token(elsewhere: str, client: httpx.Client) -> None:
    """Bound to all addresses, only what is for everybody is open; a browser is led to the form, a program is told."""
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    for path in (
        "/api/crawls",
        "/",
        "/docs",
        "/openapi.json",
        "/crawls",
        "/live/overview",
        "/static",
        "/login/",
        "/nowhere",
    ):
        assert refused(client.get(elsewhere + path)) == 401, path
    for path in OPEN:
        assert client.get(elsewhere + path).status_code == 200, path
    led = client.get(f"{elsewhere}/crawls?a=b", headers={"Accept": "text/html"})

    assert (led.status_code, led.headers["location"]) == (303, "/login?next=/crawls%3Fa%3Db")
    assert client.get(f"{elsewhere}/api/crawls", headers=bearer).status_code == 200
    assert client.get(f"{elsewhere}/healthz", headers={"Host": "crawl.example.com"}).status_code == 200
    assert all("security" in told for verbs in client.get(f"{elsewhere}/openapi.json", headers=bearer).json()["paths"].values()
               for told in verbs.values())  # fmt: skip


def failed(settings: dict[str, str], *arguments: str) -> tuple[int, str]:
    """What a dashboard says that does not begin."""
    done = subprocess.run(
        [sys.executable, "-m", "crawler", "dashboard", *arguments],
        env=settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr


def test_what_anybody_could_reach_needs_a_token(crawled: str, hosts: Path) -> None:
    """Bound to anything but the loopback without a token it does not begin, and says in one line what to set."""
    status, line = failed(environment(crawled, hosts), "--host", "0.0.0.0")

    assert status == 2
    assert (
        line
        == "crawl: --host 0.0.0.0 can be reached from elsewhere: set CRAWL_API_TOKEN, which everybody must show then\n"
    )


def test_a_port_that_is_taken_is_said_to_be(served: Served, hosts: Path) -> None:
    """A second dashboard on the same port ends with one line, and so does one on an address of another machine."""
    settings = environment(served.database, hosts)
    port = str(urlsplit(served.url).port)
    taken = failed(settings, "--port", port)
    strange = failed(settings, "--host", "no.such.host.test")

    assert taken == (
        1,
        f"crawl: cannot listen on port {port} of 127.0.0.1 (Address already in use): name another with --port, or 0 for any free one\n",
    )
    assert strange[0] == 2
    assert strange[1].startswith("crawl: --host no.such.host.test is no address of this machine: ")
    assert strange[1].count("\n") == 1


def test_it_says_what_is_missing(tmp_path: Path) -> None:
    """Without the packages of the extra the command ends with one line that says what to install."""
    code = "import sys; sys.modules['fastapi'] = None; from crawler.cli import main; main(['dashboard', '--data', sys.argv[1]])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stderr) == (
        1,
        "crawl: the dashboard is not installed here: pip install 'faircrawl[dashboard]'\n",
    )


def test_a_token_is_made_where_none_is_set(crawled: str, hosts: Path, client: httpx.Client) -> None:
    """Without CRAWL_API_TOKEN the link that is printed signs in; SIGTERM ends it within two seconds with a stream open, and with 0."""
    with dashboard(environment(crawled, hosts)) as (link, running):
        url, token = re.fullmatch(r"(.*)/login\?token=([\w-]{32})", link).groups()  # type: ignore[union-attr]
        led = client.get(link)
        client.cookies.clear()
        changed = client.post(f"{url}{PAUSE}", headers={"Authorization": f"Bearer {token}"})
        with client.stream("GET", f"{url}/live/overview", headers={"Accept": "text/event-stream"}) as stream:
            first = next(stream.iter_raw())
            began = time.monotonic()
            running.process.send_signal(signal.SIGTERM)
            running.process.wait(10)
            took = time.monotonic() - began

    assert led.status_code == 303
    assert changed.status_code == 404
    assert first
    assert running.process.returncode == 0
    assert took < 3.0
