"""What of a text may leave the house."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.masking import LONGEST, masked, secrets_of, summary

LETTERS = st.characters(codec="ascii", categories=["L", "N"]) | st.sampled_from("!$%&*+,-.:=?@^_~#/;")
PASSWORDS = st.text(LETTERS, min_size=6, max_size=20).filter(lambda text: len(set(text)) > 3)
SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"cannot connect to postgresql://crawl:{SECRET}@db:5432/crawl",
        f"cannot connect to postgres://db/crawl?user=crawl&password={SECRET}",
        f"cannot connect to postgresql://db/crawl?sslkey={SECRET}&application_name=x",
        f"amqp://guest:{SECRET}@mq/crawl?x=y is not reachable",
        f"amqps://mq/crawl?cafile=/etc/{SECRET}.pem",
        f"https://{SECRET}@sentry.example.com/42",
        f"https://key:{SECRET}@o1.ingest.sentry.io/42",
        f"GET http://user:{SECRET}@site.test/ failed",
        f"connect to user:{SECRET}@proxy.test:3128",
        f"host=db user=crawl password={SECRET} dbname=crawl",
        f"host=db password='{SECRET} with spaces' dbname=crawl",
        f"Authorization: Basic {SECRET}",
        f"{{'Authorization': 'Bearer {SECRET}'}}",
        f"('Cookie', 'sid={SECRET}; theme=dark')",
        f"(b'Set-Cookie', b'sid={SECRET}; Path=/')",
        f"set-cookie: sid={SECRET}; HttpOnly",
        f"Proxy-Authorization: Digest username={SECRET}",
        f"X-Sentry-Auth: Sentry sentry_key={SECRET}",
        f"API_TOKEN={SECRET}",
        f'{{"api_token": "{SECRET}"}}',
        f"bearer {SECRET}",
    ],
)
def test_what_looks_like_a_secret_goes(text: str) -> None:
    """A password, a key, a cookie and the query of a database's address are hidden wherever they stand."""
    assert SECRET not in masked(text)


@given(PASSWORDS, st.sampled_from(["postgresql", "amqp", "http", "https"]))
def test_known_secrets_go(password: str, scheme: str) -> None:
    """The password of an address that we know is nowhere in a text, however it is quoted there."""
    address = f"{scheme}://crawl:{quote(password, safe='')}@host/name"
    secrets = secrets_of(address)
    text = f'tried {address}, "{password}" and {password!r}; in vain'

    assert password not in masked(text, secrets)
    assert address not in masked(text, secrets)


@pytest.mark.parametrize(
    "text",
    [
        "the database cannot be reached: [Errno 111] Connect call failed ('127.0.0.1', 5432)",
        "RabbitMQ at mq:5672 cannot be reached: no answer within 10 s",
        "AttributeError: 'NoneType' object has no attribute 'answer'",
        "https://example.com/a/b?c=d took 12:30:01",
    ],
)
def test_the_rest_stays(text: str) -> None:
    """What holds no secret is told as it is."""
    assert masked(summary(text)) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "invalid literal for int() with base 10: '<html>secret page'",
            "invalid literal for int() with base 10: '…'",
        ),
        ("b'sid=0f3a; x' is no header", "'…' is no header"),
        ("null value violates\nDETAIL:  Failing row contains (1, <html>)", "null value violates"),
        ("'NoneType' object has no attribute 'answer'", "'NoneType' object has no attribute 'answer'"),
    ],
)
def test_what_an_exception_quotes(text: str, told: str) -> None:
    """Of an exception's text the first line is told, and of what it quotes only plain names."""
    assert summary(text) == told


@given(st.text())
def test_never_long(text: str) -> None:
    """What is told of an exception is one line of at most 300 characters, masked or not."""
    told = summary(text)

    assert len(told) <= LONGEST
    assert len(told.splitlines()) <= 1
    assert masked(told) == masked(masked(told))
