"""What of a text may leave the house: no password, no key, no cookie, and nothing that a site said.

1. `masked` hides rather too much than too little: what only looks like a secret goes too.
2. What an exception says may quote what a site sent, and PostgreSQL's DETAIL a whole row: `summary` keeps the first line, and
   of what is quoted only plain names and addresses.
"""

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

MASK: Final = "********"
SHORTEST: Final = 6
"""Characters: a shorter secret is hidden where it stands in an address, not wherever its letters do."""
LONGEST: Final = 300
"""Characters of an exception's text."""

_SECRETS: Final = "password|passwd|passphrase|passfile|secret|token|api_?key|session_?id|sentry_key|pwd"
_QUIET: Final = r"[^\s'\"<>]"
_RULES: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        # Up to the last @, because an unescaped password may hold any character.
        (rf"(\b[a-z][a-z0-9+.-]*://){_QUIET}*@", rf"\1{MASK}@"),
        (rf"(\b(?:postgres(?:ql)?|amqps?)://[^\s?'\"<>]*\?){_QUIET}+", rf"\1{MASK}"),
        (r"(?<![\w/])[\w.+-]+:[^\s@/'\"]+@(?=[\w\[])", f"{MASK}@"),
        # The whole rest of the line: a cookie has spaces in it.
        (
            r"\b((?:(?:proxy|x-sentry)-)?auth(?:orization)?|(?:set-)?cookie2?|x-api-key|x-auth-token)(['\"]?\s*[:=,]).*",
            rf"\1\2 {MASK}",
        ),
        (r"\b(bearer|basic|digest|negotiate)\s+[a-z0-9+/=._~-]{8,}", rf"\1 {MASK}"),
        # A value that is quoted may have spaces.
        (rf"(\w*(?:{_SECRETS})['\"]?\s*[=:]\s*)(?:'[^']*'|\"[^\"]*\"|[^\s&,;'\"]+)", rf"\1{MASK}"),
    )
)
_QUOTED: Final = re.compile(r"b?'((?:[^'\\]|\\.)*)'|b?\"((?:[^\"\\]|\\.)*)\"")
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z_.]{0,40}\d{0,2}|\d{1,3}(?:\.\d{1,3}){3}|")
"""A name in a program, an IPv4 address, or nothing."""


def mask(secret: str) -> str:
    """A URL without its passwords; of anything else, nothing."""
    if "://" not in secret:
        return MASK
    secret = re.sub(r"^(https?://)[^:@/]+@", rf"\1{MASK}@", secret)  # a key without a password: a Sentry DSN
    # Up to the last @, because an unescaped password may hold any character: rather hide too much.
    bare = re.sub(r"(://[^:@/?]*):.*@", rf"\1:{MASK}@", secret)
    return re.sub(r"((?:password|passphrase|token|secret)=)[^&]*", rf"\1{MASK}", bare, flags=re.IGNORECASE)


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without these secrets, and without whatever looks like one."""
    text = without(text, secrets)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def without(text: str, secrets: Iterable[str]) -> str:
    """The text without these secrets, however they are quoted in it."""
    for form in _forms(frozenset(secrets)):
        text = text.replace(form, MASK)
    return text


@lru_cache(8)
def _forms(secrets: frozenset[str]) -> tuple[str, ...]:
    """How these secrets may be written: as they are, in a literal of Python or JSON, in a URL; the longest first."""
    found = set()
    for secret in secrets:
        if len(secret) >= SHORTEST:
            bare = secret.replace("\\", "\\\\")
            found |= {secret, bare, bare.replace("'", "\\'"), bare.replace('"', '\\"'), ascii(secret)[1:-1]}
            found |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
            found |= {
                write(secret, safe, errors="replace") for write in (quote, quote_plus) for safe in ("", "/")
            }
    return tuple(sorted(found, key=len, reverse=True))


def secrets_of(address: str) -> frozenset[str]:
    """What is secret in the address of a server, or in a token, as it stands there and as it is meant."""
    try:
        parts = urlsplit(address)
        query = parse_qsl(parts.query)
        # The key of a Sentry DSN stands where others have the user; a user with a password, or of a database, is no secret.
        key = parts.username or "" if parts.scheme in {"http", "https"} else ""
        password = parts.password if parts.password is not None else key
    except ValueError:
        return frozenset({address})
    found = {password, *(value for name, value in query if _RULES[-1][0].match(f"{name}=x"))}
    return frozenset({address, *found, *map(unquote, found)} - {""})


def summary(text: str) -> str:
    """The first line of what an exception says, without what it quotes from elsewhere."""
    line = next(iter(text.splitlines()), "")
    line = _QUOTED.sub(_name_alone, line)
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _name_alone(found: re.Match[str]) -> str:
    inner = found[1] if found[1] is not None else found[2] or ""
    return found[0] if _PLAIN.fullmatch(inner) else "'…'"
