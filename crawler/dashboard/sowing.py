"""Seeds that come by the API: what `crawl seed` does, for who sends at most some thousands at once."""

from collections.abc import Mapping, Sequence
from typing import Any

from crawler.core.errors import StateError, UsageError
from crawler.core.urls import domain_of
from crawler.dashboard.asked import NewCrawl
from crawler.dashboard.crawl_facts import crawl_short
from crawler.dashboard.deeds import Seeded
from crawler.dashboard.desk import Desk
from crawler.phrases import seen
from crawler.seeding import Reader, Tally, seed
from crawler.seeds import refuse_name, seed_in
from crawler.wishing import Making, refuse_unclear, sieve_of, wish_of

ALWAYS = frozenset({"name", "urls"})


class Notes(list[str]):
    """What `seed` has to say, for the answer."""

    def __call__(self, tally: Tally) -> None:
        """Show nothing: the answer comes soon."""

    def say(self, text: str) -> None:
        """A line that stays."""
        self.append(seen(text).removeprefix("warning: "))


async def make_crawl(desk: Desk, wanted: NewCrawl) -> Seeded:
    """Make a crawl with its seeds.

    Raises:
        StateError: there is one of that name.
        UsageError: an option does not fit, or no seed is left.
    """
    refuse_name(wanted.name)
    if any(row["name"] == wanted.name for row in await desk.database.fetch("crawl_list")):
        raise StateError(
            f"there is a crawl {seen(wanted.name)}: POST its seeds to /api/crawls/{{name}}/seeds, and PATCH it to change its limits"
        )
    given = wanted.given()
    refuse_unclear(given)
    if wanted.ignore_robots and not wanted.i_own:
        raise UsageError("ignore_robots is for your own sites only: name every seed's domain in i_own")
    urls = {url for text in wanted.urls if (url := seed_in(text.strip())) is not None}
    wish_of(given, wanted.name, {domain_of(url) for url in urls}, desk.settings)
    return await _sow(desk, given, frozenset(wanted.model_fields_set) - ALWAYS, wanted.urls)


async def more_seeds(desk: Desk, name: str, urls: Sequence[str]) -> Seeded:
    """Give a crawl that exists more seeds. Raises NotKnownError, StateError."""
    await crawl_short(desk, name)
    return await _sow(desk, NewCrawl.model_validate({"name": name, "urls": ["-"]}).given(), frozenset(), urls)


async def _sow(desk: Desk, given: Mapping[str, Any], asked: frozenset[str], urls: Sequence[str]) -> Seeded:
    settings, notes, tally = desk.settings, Notes(), Tally()
    making = Making(desk.place, settings, given, asked, notes)
    outline = await making.outline()
    reader = Reader([text.strip() for text in urls], None, sieve_of(outline, settings), notes)
    result = await seed(settings, desk.place, reader, making.make, tally=tally, teller=notes)
    if result.crawl is None:
        raise UsageError("; ".join(["no seed is left", *notes]))
    return Seeded(
        crawl=await crawl_short(desk, result.crawl.name),
        created=result.is_new,
        lines=tally.lines,
        new=tally.new,
        known=tally.known,
        bad=tally.bad,
        again=tally.again,
        forgotten=tally.forgotten,
        notes=list(notes),
    )
