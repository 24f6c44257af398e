"""From models to HTML: the templates, and the few words they share.

    template + models ──► page()      a whole page, its times told relative to now
                     └──► regions()   the live parts of the same page, by name

1. Everything is escaped unless a function of ours made it.
2. A region is the same text for the same models: its times are absolute, and the browser tells how long ago they are.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from crawler import __version__
from crawler.core.metrics import UNVISITED
from crawler.core.model import Outcome
from crawler.dashboard import charts, stranger
from crawler.dashboard.families import FAMILIES, FAMILY, family_counts
from crawler.endings import MEANINGS
from crawler.phrases import relative, size, span
from crawler.stored import field_text

HERE: Final = Path(__file__).parent
REGION: Final = "live_"
"""What the name of a block that is sent while the page is open begins with."""
MANY: Final = 10_000
MINUTE: Final = 60
SECOND: Final = 1000
"""Milliseconds."""
DIGITS: Final = 3
"""That are shown of a rate."""
NONE: Final = "\u2013"
"""Stands for what is not known: a dash."""
ABOUT: Final[Mapping[str, str]] = {
    **{one.value: words for one, words in MEANINGS.items()},
    "": "nobody has asked for it yet",
}


def link(path: str, **asked: object) -> str:
    """An address of ours: ``link("/search", outcome="ok", crawl=None)`` is ``/search?outcome=ok``."""
    given = {name: value for name, value in asked.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def place(*parts: str) -> str:
    """A path of ours from names: each is one step, whatever it holds."""
    # A dot is a step that browsers take themselves.
    steps = (quote(part, safe="") for part in parts)
    return "".join("/" + (step.replace(".", "%2E") if set(step) <= {"."} else step) for step in steps)


def number(value: float | None) -> Markup:
    """A count, or a rate with as many digits as matter."""
    if value is None:
        return Markup('<span class="none" title="not known">{}</span>').format(NONE)
    if value == round(value) or abs(value) >= 10**DIGITS / 10:
        digits = f"{value:,.0f}"
    else:
        digits = f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"
    return escape(digits)


def about(value: int, most: int = MANY) -> str:
    """A count that ends at *most*."""
    return f"{value:,}+" if value >= most else f"{value:,}"


def bytes_(value: float | None) -> str:
    """A size."""
    return NONE if value is None else size(value)


def share(part: float, whole: float) -> float:
    """How much of a whole, in percent."""
    return 100 * part / whole if whole else 0.0


def stamp(moment: datetime | None, *, now: datetime | None, never: str = "never") -> Markup:
    """A moment, relative for people, exact for programs. Without *now* it is absolute: a browser tells the rest."""
    if moment is None:
        return Markup('<span class="none">{}</span>').format(never)
    there = moment.astimezone(UTC)
    exact = f"{there:%Y-%m-%d %H:%M:%S} UTC"
    shown = exact if now is None else relative(there, now)
    return Markup('<time datetime="{}" title="{}" data-ago>{}</time>').format(
        f"{there:%Y-%m-%dT%H:%M:%S}Z", exact, shown
    )


def outcome_name(outcome: str | None) -> str:
    """An outcome as words."""
    return outcome.replace("_", " ") if outcome else "not visited yet"


def outcome_badge(outcome: str | None) -> Markup:
    """An outcome, its family by colour and by sign, its meaning on demand."""
    family = FAMILY.get(outcome or "", FAMILIES[-1])
    told = ABOUT.get(outcome or "", "an outcome of another version")
    return Markup('<span class="badge {}" title="{}">{}</span>').format(
        family.key, told, outcome_name(outcome)
    )


def seconds(value: float | None) -> str:
    """A duration."""
    return NONE if value is None else span(value)


def exact_seconds(value: float) -> str:
    """A duration that somebody has set: nothing of it is rounded off."""
    return f"{value:g} s" if value < MINUTE else span(value)


def milliseconds(value: float | None) -> str:
    """A duration given in milliseconds."""
    if value is None:
        return NONE
    if value < SECOND:
        return f"{value:.0f} ms"
    return f"{value / SECOND:.1f} s" if value < 10 * SECOND else span(round(value / SECOND))


def ordered(outcomes: Mapping[str, int]) -> list[tuple[str, int]]:
    """Outcomes, the most frequent first; what is not visited yet at the end."""
    return sorted(outcomes.items(), key=lambda one: (not one[0], -one[1], one[0]))


def environment() -> Environment:
    """The templates, and what they may call."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    made.filters |= {
        "n": number, "about": about, "size": bytes_, "span": seconds, "seconds": exact_seconds, "ms": milliseconds, "words": stranger.words,
        "short": stranger.short, "full": stranger.full, "plain": stranger.plain, "outside": stranger.outside,
        "outcome": outcome_badge, "outcome_name": outcome_name, "ordered": ordered, "as_text": field_text,
    }  # fmt: skip
    made.globals |= {
        "link": link, "place": place, "share": share, "version": __version__, "UNVISITED": UNVISITED, "FAMILY": FAMILY,
        "FAMILIES": FAMILIES, "OUTCOMES": [outcome.value for outcome in Outcome], "charts": charts,
        "family_counts": family_counts, "assets": fingerprint(),
    }  # fmt: skip
    made.globals["parts"] = made.get_template("parts.html").module
    return made


def fingerprint() -> str:
    """A sign that changes when what lies in ``static`` does: in its addresses, so that no browser shows an old one."""
    files = sorted((HERE / "static").iterdir())
    return blake2b(b"".join(file.read_bytes() for file in files), digest_size=6).hexdigest()


ENVIRONMENT: Final = environment()


def page(name: str, context: Mapping[str, Any], *, now: datetime) -> str:
    """A whole page."""
    return ENVIRONMENT.get_template(name).render(context, ago=partial(stamp, now=now), rendered_at=now)


def regions(name: str, context: Mapping[str, Any]) -> dict[str, str]:
    """The live parts of a page."""
    template = ENVIRONMENT.get_template(name)
    ready = template.new_context({**context, "ago": partial(stamp, now=None), "rendered_at": None})
    return {
        block.removeprefix(REGION): _joined(render(ready))
        for block, render in template.blocks.items()
        if block.startswith(REGION)
    }


def _joined(pieces: Iterable[str]) -> str:
    return "".join(pieces).strip()
