"""The options that `crawl run` and `crawl seed` share: what may be said of a crawl."""

import click

from crawler.cli.options import DURATION, SIZE, Command
from crawler.core.model import ScopeKind
from crawler.wishes import MOST, MOST_VERSIONS


def crawl_options(command: Command) -> Command:
    """What may be said of a crawl when it is made or extended."""
    for option in reversed(
        [
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
            click.option("--refresh", metavar="RULE",
                         help="When to look at pages again: off, adaptive, an interval (7d) or a cron expression ('0 3 * * *', "
                         "UTC; or 'CRON_TZ=Europe/Berlin 0 3 * * *'; daylight saving as in Debian's cron: a time that is skipped comes "
                         "when the clock has jumped, one that occurs twice comes once). [default: off for run, adaptive for seed]"),
            click.option("--sitemaps/--no-sitemaps", default=None, help="Read sitemaps and feeds, or do not. [default: read them]"),
            click.option("--keep-versions", type=click.IntRange(0, MOST_VERSIONS), metavar="N",
                         help="Keep so many earlier bodies of a page that has changed. [default: 0]"),
            click.option("--keep-links/--no-keep-links", default=None,
                         help="Keep what each page links to, for `crawl export --links`. [default: do not]"),
            click.option("--search/--no-search", default=None,
                         help="Make its pages searchable, for `crawl search`. [default: do not]"),
        ]
    ):  # fmt: skip
        command = option(command)
    return command
