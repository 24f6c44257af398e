"""`crawl run`: a whole crawl in one process tree."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import uvloop

from crawler.adapters.crawls import Limits, Wish
from crawler.adapters.domains import Domains
from crawler.adapters.hosts import HostsFile
from crawler.cli import FAILED, INTERRUPTED, Door
from crawler.cli.options import DURATION, SIZE, queue_options, settings_from
from crawler.cli.steering import refuse_stopped
from crawler.cli.stopping import heed_signals
from crawler.cli.summary import as_dict, as_text
from crawler.cli.telling import telling
from crawler.core.addresses import AddressPolicy
from crawler.core.headers import parse_headers
from crawler.core.model import Crawl, CrawlState, ScopeKind
from crawler.core.scope import Scope
from crawler.core.urls import domain_id, domain_named, domain_of
from crawler.crawling import Summary, crawl
from crawler.exporting import export_to, refuse_unwritable
from crawler.opening import Opened, opened
from crawler.phrases import seen
from crawler.seeds import Seeds, excluded, gather, refuse_name, refuse_private
from crawler.settings import Settings
from crawler.telemetry import configure
from crawler.wishes import MOST, TYPES, refuse_strangers


def _scope_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What `run` says of the crawl."""
    for option in reversed(
        [
            click.option("--name", help="The crawl's name. [default: the first seed's domain]"),
            click.option("--scope", type=click.Choice([kind.value for kind in ScopeKind]), default="domain", show_default=True,
                         help="Which links to follow, measured from the seeds."),
            click.option("--include", multiple=True, metavar="REGEX", help="Follow only links that match; may be repeated."),
            click.option("--exclude", multiple=True, metavar="REGEX", help="Do not follow links that match; may be repeated."),
            click.option("--max-pages", type=click.IntRange(0, 2**62), help="Store at most so many pages; 0: no limit."),
            click.option("--max-depth", type=click.IntRange(0, MOST), help="Follow at most so many links from a seed; 0: no limit."),
            click.option("--max-pages-per-domain", type=click.IntRange(0, MOST),
                         help="Store at most so many pages of one domain; 0: no limit. [default: 10000, and none for one domain]"),
            click.option("--delay", type=DURATION, help="Pause after each answer of a domain. [default: 1s]"),
            click.option("--per-domain", type=click.IntRange(1, 64), help="Requests to one domain at once. [default: 1]"),
            click.option("--user-agent", help="What the crawler calls itself."),
            click.option("--max-bytes", type=SIZE, metavar="SIZE",
                         help="Stop when so much has come over the wire; 0: no limit."),
            click.option("--types", metavar="MIME,...", help="Store these media types too, such as application/pdf,image/*"),
            click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'",
                         help="Send this with every request for a page; may be repeated. Secrets go to the seeds' domains only."),
            click.option("--ignore-robots", is_flag=True, help="Do as if there were no robots.txt: own sites only, see --i-own."),
            click.option("--i-own", multiple=True, metavar="DOMAIN",
                         help="This domain is yours: --ignore-robots holds for it; may be repeated."),
            click.option("--parser", type=click.Choice(["turbohtml", "html5lib"]), help="Which parser reads HTML."),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


@click.command("run")
@click.argument("urls", nargs=-1, metavar="URL...")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Read more seeds, one a line.",
)
@_scope_options
@click.option(
    "--concurrency", type=click.IntRange(1), help="Domains at once, in each process. [default: 200]"
)
@click.option("--processes", type=click.IntRange(1, 1024), help="Processes to fetch with. [default: 1]")
@click.option("--dns", metavar="IP[:PORT],...", help="DNS servers to ask. [default: the system's]")
@click.option(
    "--allow-net",
    multiple=True,
    metavar="CIDR",
    help="A private network that may be fetched from; may be repeated.",
)
@click.option(
    "--proxy", metavar="URL", help="An HTTP proxy for every request, such as http://user:password@host:3128"
)
@click.option(
    "--max-time", type=DURATION, help="End this run after so long; the same command goes on. [default: none]"
)
@click.option(
    "--export",
    "export_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the pages to FILE as JSON lines in the end.",
)
@click.option("--quiet", "-q", is_flag=True, help="Show no progress, only the summary.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@queue_options
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> int:
    """Crawl from these URLs, politely, until nothing is left to do, and store every page.

    Run again, it goes on where it was, or does nothing if all is done.

    \b
    Example:
      crawl run https://example.com/
      crawl run https://example.com/ --max-pages 1000 --delay 2s --export pages.jsonl
    """  # noqa: D301  # \b tells click to keep the lines
    if given["as_json"] and str(given["export_file"]) == "-":
        raise click.UsageError(
            "--json and --export - both write to standard output: give --export a file", ctx
        )
    door = ctx.find_object(Door)
    configure(debug=door is not None and door.debug)
    if given["export_file"] is not None:
        refuse_unwritable(given["export_file"])
    seeds = gather(given["urls"], given["file"])
    for option in ("name", "user_agent", "dns", "proxy"):
        if given.get(option) == "":
            raise click.UsageError(
                f"--{option.replace('_', '-')} is empty: give it a value, or leave it out", ctx
            )
    # Compiled now, so that a bad expression is refused before anything is done with it.
    Scope.of(Crawl(0, "", CrawlState.RUNNING, 0, ScopeKind.ANY, given["include"], given["exclude"]), ())
    seeds = excluded(seeds, given["exclude"])
    for line in seeds.bad[:3]:
        click.echo(f"crawl: skipped: {seen(line)}", err=True)
    if len(seeds.bad) > len(seeds.bad[:3]):
        click.echo(f"crawl: skipped: {len(seeds.bad)} seeds in all", err=True)
    settings = settings_from(
        ctx,
        domains_at_once=given["concurrency"],
        processes=given["processes"],
        dns_servers=given["dns"],
        allow_nets=",".join(given["allow_net"]) or None,
        user_agent=given["user_agent"],
        proxy=given["proxy"],
    ).settings
    # A proxy resolves the names, so our hosts file says nothing of them.
    hosts = HostsFile(settings.hosts_file if settings.proxy is None else None)
    refuse_private(seeds.urls, AddressPolicy(settings.allow_nets), hosts)
    wish = _wish(given, seeds, settings)
    return uvloop.run(
        _run(
            settings,
            wish,
            seeds,
            max_time=given["max_time"],
            as_json=given["as_json"],
            quiet=given["quiet"],
            export_file=given["export_file"],
        )
    )


def _wish(given: dict[str, Any], seeds: Seeds, settings: Settings) -> Wish:
    scope = ScopeKind(given["scope"])
    name = refuse_name(given["name"] or domain_of(seeds.urls[0]))
    most = given["max_pages_per_domain"]
    if most is None:  # a crawl of one domain is meant to have all of it
        single = len(seeds.domains) == 1 and scope is not ScopeKind.ANY
        most = 0 if single else settings.max_pages_per_domain
    headers = parse_headers(given["headers"])
    return Wish(
        name=name,
        scope=scope,
        include=given["include"],
        exclude=given["exclude"],
        limits=Limits(
            max_pages=given["max_pages"] or None,
            max_depth=given["max_depth"] or None,
            max_pages_per_domain=most or None,
            delay=given["delay"],
            per_domain=given["per_domain"],
            user_agent=given["user_agent"],
            parser=given["parser"],
            max_bytes=given["max_bytes"] or None,
            types=TYPES.accept(given["types"] or ()),
            headers=headers,
            trusted_domains=tuple(sorted(seeds.domains)) if headers else (),
            owned_domains=_owned(given, seeds),
        ),
    )


def _owned(given: dict[str, Any], seeds: Seeds) -> tuple[str, ...]:
    """The domains whose robots.txt is ignored."""
    owned = tuple(sorted({domain_named(text) for text in given["i_own"]}))
    if owned and not given["ignore_robots"]:
        raise click.UsageError("--i-own only says for whom --ignore-robots holds: give both, or neither")
    if given["ignore_robots"]:
        refuse_strangers(owned or ("",), seeds.domains)
    return owned


async def _run(
    settings: Settings,
    wish: Wish,
    seeds: Seeds,
    *,
    max_time: float | None,
    as_json: bool,
    quiet: bool,
    export_file: Path | None,
) -> int:
    stop, hurry, time_is_up = asyncio.Event(), asyncio.Event(), asyncio.Event()
    async with opened(settings) as place:
        await refuse_stopped(place, wish.name)
        await _tell_blocked(place, seeds)
        if max_time is not None:
            asyncio.get_running_loop().call_later(max_time, _time_is_up, stop, time_is_up)
        with telling(f"crawling {wish.name}", quiet=quiet) as teller:
            heed_signals(stop, hurry, teller.stopping)
            summary = await crawl(settings, place, wish, seeds.urls, stop=stop, hurry=hurry, tell=teller)
        if time_is_up.is_set():
            summary = replace(summary, interrupted=False)
        if export_file is not None:
            await export_to(place.database, summary.crawl, export_file, bodies=False)
        option = place.option
    if as_json:
        click.echo(json.dumps(as_dict(summary, place.place) | {"time_is_up": time_is_up.is_set()}))
    else:
        # Pages on standard output are for a program: what a person is told goes elsewhere.
        click.echo(as_text(summary, place.place, option), err=str(export_file) == "-")
    return _status(summary)


def _time_is_up(stop: asyncio.Event, time_is_up: asyncio.Event) -> None:
    if not stop.is_set():
        stop.set()
        time_is_up.set()
        click.echo("crawl: --max-time is over: the same command goes on", err=True)


async def _tell_blocked(place: Opened, seeds: Seeds) -> None:
    """A seed of a blocked domain waits until that is unblocked: better said now."""
    numbers = {domain_id(name): name for name in seeds.domains}
    for number, standing in (await Domains(place.database).by_hand(numbers)).items():
        if standing.blocked is not None:
            name = numbers[number]
            click.echo(
                f"crawl: warning: {name} is blocked ({seen(standing.blocked)}): `crawl domain {name}{place.option} --unblock`",
                err=True,
            )


def _status(summary: Summary) -> int:
    if summary.interrupted:
        return INTERRUPTED
    return 0 if summary.seeds_stored else FAILED
