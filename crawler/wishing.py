"""The crawl that somebody asks for: the wish that options make, and how it is granted."""

from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final

from crawler.adapters.crawls import Crawls, Limits, Wish
from crawler.adapters.hosts import HostsFile
from crawler.core.addresses import AddressPolicy
from crawler.core.errors import SettingsError, UsageError
from crawler.core.headers import Header, is_secret, parse_headers
from crawler.core.model import Crawl, CrawlState, ScopeKind
from crawler.core.refresh_rule import ADAPTIVE, parse_rule
from crawler.core.scope import Scope
from crawler.core.urls import domain_named, domain_of
from crawler.opening import Opened
from crawler.phrases import seen
from crawler.seeding import Teller
from crawler.seeds import Seeds, Sieve, excluded, gather, refuse_name, refuse_private
from crawler.settings import Settings
from crawler.steering import refuse_stopped
from crawler.wishes import KEYS, TYPES, refuse_strangers

MOST_TRUSTED: Final = 1000
"""Domains that a secret header is sent to: every worker looks through them for every request."""
SAID_BY: Final[Mapping[str, str]] = {"trusted_domains": "headers", "owned_domains": "i_own"}
"""Which option speaks of a limit that has another name."""

CHECKED: Final = (
    "max_pages",
    "max_depth",
    "max_pages_per_domain",
    "max_bytes",
    "delay",
    "per_domain",
    "user_agent",
    "parser",
    "keep_versions",
)
"""What has to be of the kind that `crawl set` wants, whoever asks. The other options are checked where they are read."""


def refuse_unclear(given: Mapping[str, Any], *may_not_be_empty: str) -> None:
    """What is wrong with the options whatever the seeds are, told before anything is done.

    Raises:
        UsageError: an option has no value, or none that can be used.
    """
    for option in ("user_agent", *may_not_be_empty):
        if given.get(option) == "":
            raise UsageError(f"--{option.replace('_', '-')} is empty: give it a value, or leave it out")
    for option in CHECKED:
        _checked(given, option)
    if given["refresh"] is not None:
        parse_rule(given["refresh"])
    Scope.of(Crawl(0, "", CrawlState.RUNNING, 0, ScopeKind.ANY, given["include"], given["exclude"]), ())


def seeds_asked(urls: Sequence[str], given: Mapping[str, Any]) -> Seeds:
    """The seeds of a run, from its arguments and its file, without what it excludes.

    Raises:
        UsageError: there is none, or an option cannot be used whatever they are.
    """
    seeds = gather(urls, given["file"])
    refuse_unclear(given, "name", "dns", "proxy")
    return excluded(seeds, given["exclude"])


def wish_by(seeds: Seeds, given: Mapping[str, Any], settings: Settings) -> Wish:
    """The crawl that a run asks for, named after its first seed unless it has a name.

    Raises:
        UsageError: a seed is at an address that is not allowed, or an option does not fit the seeds.
    """
    # A proxy resolves the names, so our hosts file says nothing of them.
    hosts = HostsFile(settings.hosts_file if settings.proxy is None else None)
    refuse_private(seeds.urls, AddressPolicy(settings.allow_nets), hosts)
    name = refuse_name(given["name"] or domain_of(seeds.urls[0]))
    return wish_of(given, name, seeds.domains, settings)


def wish_of(
    given: Mapping[str, Any],
    name: str,
    domains: Collection[str],
    settings: Settings,
    *,
    more: bool = False,
) -> Wish:
    """The crawl that was asked for. *domains*: those of its seeds; *more*: and others, that are not known yet.

    Raises:
        UsageError: an option does not fit the seeds.
    """
    scope = ScopeKind(given["scope"])
    most = _checked(given, "max_pages_per_domain")
    if most is None:  # a crawl of one domain is meant to have all of it
        single = len(domains) == 1 and not more and scope is not ScopeKind.ANY
        most = 0 if single else settings.max_pages_per_domain
    headers = parse_headers(given["headers"])
    return Wish(
        name=name,
        scope=scope,
        include=given["include"],
        exclude=given["exclude"],
        limits=Limits(
            max_pages=_checked(given, "max_pages") or None,
            max_depth=_checked(given, "max_depth") or None,
            max_pages_per_domain=most or None,
            delay=_checked(given, "delay"),
            per_domain=_checked(given, "per_domain"),
            user_agent=_checked(given, "user_agent"),
            parser=_checked(given, "parser"),
            max_bytes=_checked(given, "max_bytes") or None,
            types=TYPES.accept(given["types"] or ()),
            headers=headers,
            trusted_domains=_trusted(headers, domains, more=more),
            owned_domains=owned_by(given, domains),
            refresh=None if given["refresh"] is None else parse_rule(given["refresh"]).text,
            sitemaps=given["sitemaps"],
            keep_versions=_checked(given, "keep_versions"),
            keep_links=given["keep_links"],
            search=given["search"],
        ),
    )


def extended(wish: Wish, crawl: Crawl, asked: Container[str]) -> Wish:
    """The wish for more of a crawl that exists: what was not asked for stays as it is."""
    changes = {
        field.name: getattr(wish.limits, field.name)
        for field in fields(Limits)
        if SAID_BY.get(field.name, field.name) in asked
    }
    return replace(
        wish,
        scope=wish.scope if "scope" in asked else crawl.scope,
        include=wish.include if "include" in asked else crawl.include,
        exclude=wish.exclude if "exclude" in asked else crawl.exclude,
        limits=replace(Limits.of(crawl), **changes),
    )


class Making:
    """The crawl that is asked for: made, or extended, when its first seeds are known."""

    def __init__(
        self,
        place: Opened,
        settings: Settings,
        given: Mapping[str, Any],
        asked: frozenset[str],
        teller: Teller,
    ) -> None:
        self._place = place
        self._crawls = Crawls(place.database)
        self._settings = settings
        self._given = given
        self._asked = asked
        self._teller = teller

    async def outline(self) -> Wish:
        """What is asked for, as far as it does not hang on the seeds.

        Raises:
            UsageError: the crawl exists with another scope.
            StateError: it was cancelled, or is being deleted.
        """
        wish = wish_of(self._given, self._given["name"], (), self._settings)
        crawl = await self._crawls.by_name(wish.name)
        if crawl is None:
            return wish
        if crawl.state is CrawlState.CANCELLED:
            await refuse_stopped(self._place, crawl.name)
        for option in ("scope", "include", "exclude"):
            there = getattr(crawl, option)
            if option in self._asked and getattr(wish, option) != there:
                words = str(there) if option == "scope" else " ".join(there) or "none"
                raise UsageError(
                    f"the crawl {seen(crawl.name)} exists with another --{option} ({words}): "
                    f"leave --{option} out to extend it, or give the new one another name"
                )
        return extended(wish, crawl, self._asked)

    async def make(self, domains: Collection[str], all_known: bool) -> tuple[Crawl, bool]:  # noqa: FBT001 - as `seed` calls it
        """Make or change the crawl, for seeds of these domains; True: it is new. From now on it belongs to whoever works."""
        name = self._given["name"]
        crawl = await self._crawls.by_name(name)
        if crawl is not None and not {"headers", "i_own"}.isdisjoint(self._asked):
            domains = {*domains, *await self._crawls.seed_domains(crawl.crawl_id)}
        wish = wish_of(self._given, name, domains, self._settings, more=not all_known)
        if crawl is None and wish.limits.refresh is None:
            wish = replace(wish, limits=replace(wish.limits, refresh=ADAPTIVE))
        if crawl is not None:
            self._warn(crawl, domains)
            wish = extended(wish, crawl, self._asked)
        made, is_new = await self._crawls.create_or_change(wish)
        if made.is_left:
            await self._crawls.resume(made.crawl_id)
        await self._place.database.fetch("crawl_adopt", made.crawl_id)
        return made, is_new

    def _warn(self, crawl: Crawl, domains: Collection[str]) -> None:
        secret = next((name for name, _ in crawl.headers if is_secret(name)), None)
        if (
            secret is not None
            and "headers" not in self._asked
            and not set(domains) <= {*crawl.trusted_domains}
        ):
            self._teller.say(
                f"warning: the crawl's header {secret} is not sent to the domains of the new seeds: give it again, with --header"
            )


def sieve_of(outline: Wish, settings: Settings) -> Sieve:
    """What the crawl that is asked for does not take of its seeds."""
    return Sieve(
        outline.scope,
        AddressPolicy(settings.allow_nets),
        HostsFile(settings.hosts_file),
        exclude=outline.exclude,
        owned=outline.limits.owned_domains,
    )


def owned_by(given: Mapping[str, Any], domains: Collection[str]) -> tuple[str, ...]:
    """The domains whose robots.txt is ignored. *domains*: those of the seeds.

    Raises:
        UsageError: robots.txt is to be ignored for somebody else's.
    """
    owned = tuple(sorted({domain_named(text) for text in given["i_own"]}))
    if owned and not given["ignore_robots"]:
        raise UsageError("--i-own only says for whom --ignore-robots holds: give both, or neither")
    if given["ignore_robots"]:
        refuse_strangers(owned or ("",), domains)
    return owned


def _checked(given: Mapping[str, Any], option: str) -> Any:
    """What an option says, as its kind has it. Raises UsageError: it is not of that kind."""
    if (value := given[option]) is None:
        return None
    try:
        return KEYS[option.replace("_", "-")].kind.accept(value)
    except SettingsError as error:
        raise UsageError(f"{option}: {error}") from None


def _trusted(headers: Sequence[Header], domains: Collection[str], *, more: bool) -> tuple[str, ...]:
    secret = next((name for name, _ in headers if is_secret(name)), None)
    if secret is None:
        return ()
    if more or len(domains) > MOST_TRUSTED:
        raise UsageError(
            f"the header {secret} holds a secret, which is sent to the seeds' domains only: "
            f"give it with the seeds of at most {MOST_TRUSTED:,} domains"
        )
    return tuple(sorted(domains))
