"""Charts as SVG, drawn from numbers: the same numbers, the same text.

1. Every chart has a title, and says in a sentence what can be seen: for those who do not see it.
2. Colours are classes of the stylesheet, so that they suit dark and light; what a colour says, a word says too.
3. Places are percentages of the width: a chart is as wide as its place, and its letters keep their size.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from markupsafe import Markup

from crawler.dashboard.families import FAMILIES, WAITING, Family, family_counts
from crawler.dashboard.models import Point, Series

HEIGHT: Final = 168
"""Pixels of a chart's plot."""
LABELS: Final = 22
"""Pixels below it, for the times."""
GAP: Final = 0.18
"""Of a bar's place."""
LEVELS: Final = (1.0, 0.5)
"""Parts of the height that are written at the left."""
TICKS: Final = 4
"""Steps between the times that are written below."""
DAY: Final = 86_400
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


def nice(value: float) -> float:
    """The round number at or above a value, to end an axis with."""
    if value <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in _STEPS if step * power >= value * (1 - 1e-9))


def rate(value: float) -> str:
    """A number of an axis."""
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"  # noqa: PLR2004 - two digits


def outcomes_over_time(series: Series, name: str) -> Markup:
    """Attempts a second by family of outcomes, one bar a step. *name* makes the ids in it its own."""
    counts = [family_counts(point.outcomes) for point in series.points]
    sums = [sum(one.values()) for one in counts]
    top = nice(max(sums, default=0) / series.step)
    count = max(1, len(counts))
    bars = Markup("").join(
        _bar(place, point, one, top * series.step, series.step)
        for place, (point, one) in enumerate(zip(series.points, counts, strict=True))
        if sums[place]
    )
    plot = Markup(
        '<svg class="plot" y="6" width="100%" height="{}" viewBox="0 0 {} 100" preserveAspectRatio="none">{}</svg>'
    ).format(HEIGHT, count, bars)
    return Markup(
        '<svg class="chart" role="img" width="100%" height="{}" aria-labelledby="{}-t {}-d">'
        '<title id="{}-t">Attempts a second</title><desc id="{}-d">{}</desc>{}<svg class="inner" overflow="visible">{}{}{}</svg></svg>'
    ).format(
        6 + HEIGHT + LABELS, name, name, name, name, in_words(series, sums), _levels(top), _lines(), plot, _times(series),
    )  # fmt: skip


def in_words(series: Series, sums: Sequence[int]) -> str:
    """What the chart shows, in a sentence."""
    whole = sum(sums)
    if not whole:
        return "Nothing was fetched in this time."
    most = max(range(len(sums)), key=sums.__getitem__)
    by_family = family_counts(_together(point.outcomes for point in series.points))
    parts = ", ".join(f"{count:,} {family.name}" for family, count in by_family.items() if count)
    return (
        f"{whole:,} attempts from {_clock(series.since, series)} to {_clock(series.until, series)} UTC: {parts}. "
        f"The most were {sums[most] / series.step:.3g} a second at {_clock(series.points[most].at, series)}."
    )


def sparkline(values: Sequence[float], title: str) -> Markup:
    """A line without axes; *title* says what it is."""
    if len(values) < 2 or not any(values):  # noqa: PLR2004 - a line has two ends
        return Markup('<svg class="spark" aria-hidden="true" viewBox="0 0 100 24"></svg>')
    top, step = max(values), 100 / (len(values) - 1)
    points = [(place * step, 23 - 22 * value / top) for place, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return Markup(
        '<svg class="spark" role="img" aria-label="{}" viewBox="0 0 100 24" preserveAspectRatio="none">'
        '<polygon points="0,24 {} 100,24"/><polyline points="{}"/></svg>'
    ).format(title, line, line)


def share_bar(part: float, whole: float, css: str) -> Markup:
    """How much of a whole: the number stands beside it, so it is hidden from those who are read to."""
    width = min(100.0, 100 * part / whole) if whole > 0 else 0.0
    if 0 < width < 1:
        width = 1.0
    return Markup(
        '<svg class="share" aria-hidden="true" viewBox="0 0 100 6" preserveAspectRatio="none"><rect class="rest" width="100" height="6"/>'
        '<rect class="{}" width="{}" height="6"/></svg>'
    ).format(css, f"{width:.1f}")


def stack(outcomes: Mapping[str, int]) -> Markup:
    """All outcomes of something, side by side in one line."""
    counts = family_counts(outcomes)
    whole = sum(counts.values())
    if not whole:
        return Markup("")
    edges = [0.0]
    for count in counts.values():
        edges.append(edges[-1] + 100 * count / whole)
    parts = Markup("").join(
        Markup('<rect class="{}" x="{}" width="{}" height="8"><title>{}</title></rect>').format(
            family.key, f"{left:.2f}", f"{max(right - left, 0.6):.2f}", f"{count:,} {family.name}"
        )
        for (family, count), (left, right) in zip(counts.items(), pairwise(edges), strict=True)
        if count
    )
    told = ", ".join(f"{count:,} {family.name}" for family, count in counts.items() if count)
    return Markup(
        '<svg class="stack" role="img" aria-label="{}" viewBox="0 0 100 8" preserveAspectRatio="none">{}</svg>'
    ).format(told, parts)


def legend(series: Series) -> list[tuple[Family, int]]:
    """The families that a chart shows, with their sums."""
    counts = family_counts(_together(point.outcomes for point in series.points))
    return [(family, count) for family, count in counts.items() if family is not WAITING and count]


def table(series: Series, rows: int = 6) -> list[tuple[str, list[int]]]:
    """The numbers of a chart in a few rows: from when, and how many of each family."""
    size = max(1, -(-len(series.points) // rows))
    groups = [series.points[start : start + size] for start in range(0, len(series.points), size)]
    return [
        (
            _clock(group[0].at, series),
            [
                n
                for f, n in family_counts(_together(one.outcomes for one in group)).items()
                if f is not WAITING
            ],
        )
        for group in groups
    ]


def _together(many: Iterable[Mapping[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for outcomes in many:
        for outcome, count in outcomes.items():
            sums[outcome] = sums.get(outcome, 0) + count
    return sums


def _bar(place: int, point: Point, counts: Mapping[Family, int], top: float, step: int) -> Markup:
    pieces: list[Markup] = []
    y = 100.0
    for family in FAMILIES:
        if counts[family]:
            height = 100 * counts[family] / top
            y -= height
            pieces.append(
                Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
                    family.key, f"{place + GAP / 2:g}", f"{y:.2f}", f"{1 - GAP:g}", f"{height:.2f}"
                )
            )
    parts = ", ".join(f"{counts[family]:,} {family.name}" for family in FAMILIES if counts[family])
    told = f"{point.at.astimezone(UTC):%H:%M} UTC: {sum(counts.values()) / step:.3g}/s ({parts})"
    hit = Markup('<rect class="hit" x="{}" y="0" width="1" height="100"/>').format(place)
    return Markup("<g><title>{}</title>{}{}</g>").format(told, hit, Markup("").join(pieces))


def _levels(top: float) -> Markup:
    """The numbers at the left."""
    texts = (
        Markup('<text class="level" x="0" y="{}">{}/s</text>').format(
            f"{10 + HEIGHT * (1 - part):g}", rate(top * part)
        )
        for part in LEVELS
    )
    return Markup("").join(texts)


def _lines() -> Markup:
    """Lines across, one a number."""
    lines = (
        Markup('<line class="{}" x1="0" x2="100%" y1="{}" y2="{}"/>').format(
            "grid" if part else "axis", *[f"{6 + HEIGHT * (1 - part):g}"] * 2
        )
        for part in (*LEVELS, 0.0)
    )
    return Markup("").join(lines)


def _times(series: Series) -> Markup:
    """The times below."""
    whole = series.until - series.since
    texts = Markup("")
    for tick in range(TICKS + 1):
        anchor = {0: "start", TICKS: "end"}.get(tick, "middle")
        texts += Markup('<text class="tick" x="{}%" y="{}" text-anchor="{}">{}</text>').format(
            f"{100 * tick / TICKS:g}", 6 + HEIGHT + 16, anchor, _clock(series.since + whole * tick / TICKS, series)
        )  # fmt: skip
    return texts


def _clock(moment: datetime, series: Series) -> str:
    there = moment.astimezone(UTC)
    return f"{there:%H:%M}" if series.until - series.since <= timedelta(seconds=DAY) else f"{there:%d %b}"
