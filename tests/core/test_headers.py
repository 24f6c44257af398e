"""Headers of a person's own: which, to whom, and what is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.errors import UsageError
from crawler.core.headers import MASK, masked, parse_header, parse_headers, sent_to


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Host: x", "follows from the URL"), ("content-length: 5", "no body"), ("User-Agent: x", "--user-agent"),
        ("Connection: close", "kept by the crawler"), ("Accept-Encoding: br", "decoded"), ("no colon", "not the name"),
        (": value", "not the name"), ("Two words: x", "not the name"), ("X-A: a\r\nHost: b", "cannot have"),
        ("X-A: a\0", "cannot have"), ("X-A: \u2014", "cannot have"), ("X-A: " + "x" * 9000, "longer than"),
        ("Proxy-Authorization: x", "--proxy"), ("If-None-Match: x", "whole"),
    ],
)  # fmt: skip
def test_refused(text: str, reason: str) -> None:
    """What the crawler answers for itself, and what is no header, is refused with the reason."""
    with pytest.raises(UsageError, match=reason):
        parse_header(text)


def test_parsed() -> None:
    """A header is its name and its value, without the blanks around it; Cookie and Authorization are allowed."""
    found = parse_headers(
        ["Accept-Language:  en ", "Cookie: a=b; c=d", "Authorization: Basic eDp5", "X-Empty:"]
    )

    assert found == (
        ("Accept-Language", "en"),
        ("Cookie", "a=b; c=d"),
        ("Authorization", "Basic eDp5"),
        ("X-Empty", ""),
    )


def test_twice() -> None:
    """A name that stands twice is refused, whatever its case."""
    with pytest.raises(UsageError, match="twice"):
        parse_headers(["X-A: 1", "x-a: 2"])


SECRETS = (
    "Cookie",
    "Authorization",
    "X-Api-Key",
    "X-Auth-Token",
    "x-session-id",
    "X-Amz-Security-Token",
    "X-Key",
    "X-Access",
    "X-Access-Code",
    "X-Pass",
    "X-Passphrase",
    "X-Pwd",
    "X-JWT",
    "X-JWT-Assertion",
    "X-Bearer",
    "MyBearerThing",
    "X-Sig",
    "Sig",
    "X-Hub-Signature-256",
    "X-CSRF",
    "X-XSRF-Id",
    "DPoP",
    "X-Login",
    "X-UserLogin",
    "X-Vault-Namespace",
    "CF-Access-Client-Id",
    "CF-Access-Client-Secret",
)
HARMLESS = (
    "Accept",
    "Accept-Language",
    "Accept-Charset",
    "Access-Control-Request-Method",
    "X-Requested-With",
    "X-Forwarded-For",
    "X-Robots-Tag",
    "X-Compass",
    "X-Signal",
    "X-Design",
    "Referer",
    "From",
    "Origin",
    "DNT",
    "Cache-Control",
    "Pragma",
    "Via",
    "Upgrade-Insecure-Requests",
    "Sec-Fetch-Mode",
    "Content-Type",
    "Content-Security-Policy",
    "ETag",
)


@pytest.mark.parametrize("name", SECRETS)
def test_secrets(name: str) -> None:
    """A secret goes to the trusted domains alone, and is never shown."""
    headers = ((name, "secret"), ("Accept-Language", "en"))

    assert sent_to("mine.example", headers, ["mine.example"]) == headers
    assert sent_to("other.example", headers, ["mine.example"]) == (("Accept-Language", "en"),)
    assert masked(headers) == ((name, MASK), ("Accept-Language", "en"))


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless(name: str) -> None:
    """What everybody may know is sent to everybody, and shown."""
    headers = ((name, "en"),)

    assert sent_to("other.example", headers, ["mine.example"]) == headers
    assert masked(headers) == headers


@given(st.text())
def test_whatever_is_typed(text: str) -> None:
    """Whatever is typed is refused with a line, or is a header that cannot break out of its line."""
    try:
        name, value = parse_header(text)
    except UsageError:
        return

    assert not set("\r\n\0") & set(name + value)
    assert (name + value).encode("latin-1")
