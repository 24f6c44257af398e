"""`crawl refresh`: ask now for what would be asked for later."""

from typing import Any

import click

from crawler.cli import Door
from crawler.cli.looking import run
from crawler.cli.options import DURATION, fetch_options, queue_options, settings_from
from crawler.cli.refresh_all import refresh_all
from crawler.cli.refresh_robots import refresh_robots
from crawler.cli.refresh_urls import refresh_named
from crawler.core.urls import canonical_or_error, domain_named
from crawler.telemetry import configure
from crawler.url_wishes import WAIT

WHAT = "URLs, --all NAME or --robots DOMAIN"


@click.command("refresh")
@click.argument("urls", nargs=-1, metavar="URL...")
@click.option("--crawl", metavar="NAME", help="Which crawl's, if several know a URL.")
@click.option("--all", "name", metavar="NAME", help="Make everything due that this crawl has visited.")
@click.option(
    "--robots", "domain", metavar="DOMAIN", help="Ask for the robots.txt of each of its known hosts."
)
@click.option(
    "--wait",
    type=DURATION,
    help="Wait for what comes of it so long. [default: 60s; with --all: not, or until all is done where nobody else works]",
)
@fetch_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@queue_options
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> int:
    """Visit URLs now, ahead of everything else, and show what has changed. With --all, visit all of a crawl again.

    Never is a domain hurried: a URL comes after the pause of its domain, or after the request that is open there. One whose domain
    wants to be left alone is not waited for, and visited first when it may be. Whoever does not wait (--wait 0), waits in vain, or is
    interrupted takes nothing back.
    On an embedded database with nobody at work, the command visits the URLs by itself, and nothing else; else workers do.

    --all makes everything due that the crawl has visited, and leaves the rest to who works; on an embedded database with nobody at work
    it then crawls, as `crawl run` does, with --concurrency and --processes. The same command, or `crawl run`, goes on after an
    interruption.

    --robots is for a robots.txt that has just changed: crawls at work ask before their next request, and what the new rules disallow is
    not fetched any more. A URL or a host names its domain.

    \b
    Example:
      crawl refresh https://example.com/news https://example.com/
      crawl refresh --all example.com
      crawl refresh --robots example.com
    """  # noqa: D301  # \b tells click to keep the lines
    urls, name, domain = given["urls"], given["name"], given["domain"]
    chosen = [bool(urls), name is not None, domain is not None]
    if sum(chosen) > 1:
        raise click.UsageError(f"{WHAT} exclude each other: name one of them", ctx)
    if not any(chosen):
        raise click.UsageError(f"name what to refresh, {WHAT}: crawl refresh https://example.com/", ctx)
    if given["crawl"] is not None and not urls:
        raise click.UsageError("--crawl says which crawl's URL is meant: name one", ctx)
    door = ctx.find_object(Door)
    configure(debug=door is not None and door.debug)
    wait, as_json = given["wait"], given["as_json"]
    waits = WAIT if wait is None else wait
    if urls:
        wanted = [canonical_or_error(url) for url in urls]
        return run(refresh_named(settings_from(ctx).settings, wanted, given["crawl"], waits, as_json=as_json))
    settings = settings_from(ctx).settings
    if domain is not None:
        return run(refresh_robots(settings, domain_named(domain), waits, as_json=as_json))
    return refresh_all(settings, name, wait, as_json=as_json)
