"""Who may do what: a token, and a browser's session that was made from it.

    a program   Authorization: Bearer TOKEN ───────────────────────────┐
    a browser   /login, once ──► cookie: expiry.nonce.signature ───────┴──► may change things, from our own pages only

1. Neither the token nor a cookie is compared but in constant time.
2. A cookie says nothing of the token: it is signed with a key made from it, so that a new token ends every session.
3. What a browser sends by itself proves nothing: with a cookie, a change must come from a page of ours (Origin, Sec-Fetch-Site).
4. A wrong token is answered late, one at a time for each address; of many at once the rest are turned away.
   The right token and a session are let in whatever others send: behind a reverse proxy all have one address.
   So how many can be tried is bounded by what the machine can answer, and nothing but the token's length keeps it from being guessed.
"""

import asyncio
import hmac
import ipaddress
import re
import secrets
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Final

LASTS: Final = 7 * 86_400
"""Seconds of a session."""
LATE: Final = 0.5
"""Seconds that a wrong token waits for its answer."""
MOST_WAITING: Final = 20
"""Wrong tokens of one address that wait for their answer; one more is told at once to come later."""
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN: Final = frozenset({"/bot", "/healthz", "/readyz", "/metrics", "/login", "/favicon.ico"})
"""What everybody may see, wherever we listen."""
HOST: Final = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::[0-9]*)?")
OPEN_BELOW: Final = "/static/"


class Proof(Enum):
    """What somebody showed."""

    NOTHING = "nothing"
    WRONG = "a wrong token"
    EXPIRED = "a session that is over"
    TOKEN = "the token"  # noqa: S105 - what it is, not one
    SESSION = "a session"


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(24)


@dataclass(slots=True)
class Guard:
    """Who may do what here."""

    token: str = field(repr=False)
    here: bool
    """Whether we listen on the loopback alone: then reading needs nothing, and only its names are answered."""
    port: int
    late: float = LATE
    _waiting: Counter[str] = field(default_factory=Counter)
    _lines: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    @property
    def cookie(self) -> str:
        """The name of the cookie: browsers share cookies between the ports of a machine."""
        return f"faircrawl-{self.port}"

    def is_token(self, text: str) -> bool:
        """Whether this is the token."""
        # Digests, because compare_digest tells the length of what it compares.
        return hmac.compare_digest(
            sha256(text.encode("utf-8", "replace")).digest(), sha256(self.token.encode()).digest()
        )

    def session(self, now: float) -> str:
        """A new session. *now*: seconds since 1970."""
        bare = f"{int(now) + LASTS}.{secrets.token_urlsafe(12)}"
        return f"{bare}.{self._sign(bare)}"

    def is_session(self, text: str, now: float) -> bool:
        """Whether we made this session, and it lasts."""
        bare, _, signature = text.rpartition(".")
        ours = hmac.compare_digest(signature.encode("utf-8", "replace"), self._sign(bare).encode())
        return ours and int(bare.partition(".")[0]) > now

    def proof(self, headers: Mapping[str, str], cookies: Mapping[str, str], now: float) -> Proof:
        """What these headers show. A token counts before a cookie."""
        given = headers.get("authorization")
        if given is not None:
            scheme, _, text = given.partition(" ")
            right = scheme.lower() == "bearer" and self.is_token(text.strip())
            return Proof.TOKEN if right else Proof.WRONG
        session = cookies.get(self.cookie)
        if session is None:
            return Proof.NOTHING
        return Proof.SESSION if self.is_session(session, now) else Proof.EXPIRED

    def needs_proof(self, method: str, path: str) -> bool:
        """Whether this may be asked for only with a token or a session."""
        if path == "/login":
            return False
        if method not in SAFE:
            return True
        return not (self.here or path in OPEN or path.startswith(OPEN_BELOW))

    def answers_to(self, host: str) -> bool:
        """Whether the header Host names us. On the loopback a name that leads here from elsewhere does not (DNS rebinding)."""
        return not self.here or is_loopback(host_alone(host))

    def intruded(self, headers: Mapping[str, str]) -> bool:
        """Whether a page of another site has its visitor's browser ask us: on the loopback that is no visitor of ours.

        A link that leads here is followed.
        """
        foreign = headers.get("sec-fetch-site") in {"cross-site", "same-site"}
        return self.here and foreign and headers.get("sec-fetch-mode") != "navigate"

    def crowded(self, address: str) -> bool:
        """Whether too many wrong tokens of this address wait for their answer."""
        return self._waiting[address] >= MOST_WAITING

    async def punish(self, address: str) -> None:
        """Let a wrong token wait for its answer, behind all others of its address."""
        self._waiting[address] += 1
        try:
            async with self._lines[address]:
                await asyncio.sleep(self.late)
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address], self._lines[address]

    def _sign(self, bare: str) -> str:
        key = hmac.digest(self.token.encode(), b"faircrawl: a session", "sha256")
        return hmac.digest(key, bare.encode("utf-8", "replace"), "sha256").hex()


def from_own_page(headers: Mapping[str, str]) -> bool:
    """Whether a page of ours sent this: the browser says so, and no page can make it say otherwise."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != "same-origin":
        return False
    if origin is None:
        return site is not None
    scheme, found, host = origin.partition("://")
    return bool(found) and scheme in {"http", "https"} and host.lower() == headers.get("host", "").lower()


def host_alone(text: str) -> str:
    """The host of ``host:port`` or ``[::1]:port``; empty: that is no host (RFC 9110 section 7.2)."""
    found = HOST.fullmatch(text)
    return "" if found is None else found[1] or found[2]


def is_loopback(host: str) -> bool:
    """Whether this name or address means this machine alone."""
    name = host.rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def local_path(text: str | None) -> str:
    """Where to go after a login: a path of ours, whatever somebody put into the link."""
    if not text or not text.startswith("/") or text[1:2] in {"/", "\\"} or any(sign < " " for sign in text):
        return "/"
    return text
