"""One page that shows where a page's time went: parts, the calls of the crawler, the statements of the database.

It is a file of its own: no font, script or style from elsewhere. It follows the reader's choice of light or dark.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from tests.bench.profile_parts import OTHER, PARTS, START, Node, Part, Profile
from tests.bench.profile_statements import Statement

HUES: Final[Mapping[str, tuple[int, int, int]]] = {
    "network": (205, 62, 7), "reading": (95, 45, 20), "deciding": (265, 50, 25), "recording": (28, 75, 0), "once": (40, 4, 0),
}  # fmt: skip
"""Hue and saturation of each family, and how far the hues of its parts lie apart."""
DATABASE: Final = "hsl(350 55% 70%)"
ROW: Final = 19
NARROWEST: Final = 0.0008
"""Of the whole: a call that is narrower is left out."""
NAMED: Final = 0.012
"""Of the whole: a narrower call has no room for its name; it shows when one points at it."""
STATEMENTS: Final = 22
FUNCTIONS: Final = 4


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was measured."""

    about: Sequence[tuple[str, str]]
    """What was crawled, where and with what: said in small print."""
    pages: int
    seconds: float
    cpu: float
    """Seconds of processor time of the crawler."""
    database_cpu: float | None
    """The same of PostgreSQL; None: it runs elsewhere."""
    profile: Profile
    statements: Sequence[Statement]
    commits: int

    def each(self, samples: int) -> float:
        """Milliseconds of processor time a page that so many samples stand for."""
        return self.cpu * 1000 / self.pages * samples / self.profile.samples

    @property
    def page(self) -> float:
        """What a page costs the crawler, in milliseconds, without what is done once."""
        return self.each(self.profile.samples - self.profile.once)

    @property
    def once(self) -> float:
        """Seconds of processor time that are spent once."""
        return self.each(self.profile.once) * self.pages / 1000

    @property
    def database(self) -> float | None:
        """What a page costs PostgreSQL, in milliseconds."""
        return None if self.database_cpu is None else self.database_cpu * 1000 / self.pages

    def parts(self) -> Sequence[tuple[Part, int]]:
        """The parts of a page, the dearest first."""
        found = [(part, samples) for part, samples in self.profile.parts.items() if part is not START]
        return sorted(found, key=lambda pair: -pair[1])

    def functions(self, part: Part) -> Sequence[tuple[str, int]]:
        """The dearest functions of a part."""
        found = [(name, samples) for (name, of), samples in self.profile.functions.items() if of is part]
        return sorted(found, key=lambda pair: -pair[1])[:FUNCTIONS]


def drawn(found: Findings) -> str:
    """The picture, as HTML."""
    sections = (_tiles(found), _parts(found), _calls(found), _database(found), _small_print(found))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Where a page's time goes</title>\n<style>{STYLE}</style></head>\n<body><main>\n<h1>Where a page's time goes</h1>\n"
        f"{''.join(sections)}</main>\n<script>{SCRIPT}</script></body></html>\n"
    )


def colour(part: Part) -> str:
    """The same for a part in every picture."""
    hue, saturation, apart = HUES[part.family]
    place = [one for one in PARTS if one.family == part.family].index(part) if part in PARTS else 0
    return f"hsl({hue + apart * place} {saturation}% {72 - 4 * (place % 2)}%)"


def short(function: str) -> str:
    """A function without its file, and its file without its folders."""
    name, _, file = function.rpartition(" (")
    name, file = (name, file.removesuffix(")")) if name else (function, "")
    name = name.replace(".<locals>", "")
    return (
        name
        if not file or file.startswith("<")
        else f"{name} · {file.removesuffix('.py').rpartition('/')[2]}"
    )


def _tiles(found: Findings) -> str:
    tiles = [
        (f"{found.page:.2f} ms", "of processor time a page: the crawler"),
        (f"{found.once:.1f} s", "once: start and end of the crawler"),
        (f"{found.pages:,}", f"pages in {found.seconds:.0f} s, while being watched"),
    ]
    if found.database is not None:
        tiles.insert(1, (f"{found.database:.2f} ms", "of processor time a page: PostgreSQL"))
    cells = "".join(f"<div><b>{value}</b><span>{escape(about)}</span></div>" for value, about in tiles)
    return f'<div class="tiles">{cells}</div>\n'


def _parts(found: Findings) -> str:
    whole = found.page + (found.database or 0.0)
    segments = [(part.name, colour(part), found.each(samples)) for part, samples in _in_order(found)]
    if found.database is not None:
        segments.append(("PostgreSQL", DATABASE, found.database))
    strip = "".join(
        f'<div style="width:{100 * ms / whole:.3f}%;background:{tint}" title="{name}: {ms:.3f} ms">'
        f"{name if ms > whole * 0.045 else ''}</div>"
        for name, tint, ms in segments
    )
    parts = found.parts()
    widest = max((samples for _, samples in parts), default=1)
    rows = "".join(
        f'<tr><th><i style="background:{colour(part)}"></i>{part.name}</th><td class="n">{found.each(samples):.3f}</td>'
        f'<td class="n">{found.each(samples) / found.page:.1%}</td>'
        f'<td class="bar"><div style="width:{100 * samples / widest:.2f}%;background:{colour(part)}"></div></td>'
        f"<td>{escape(part.about)}<small>{_dearest(found, part)}</small></td></tr>\n"
        for part, samples in parts
    )
    return (
        f'<h2>One page, part by part</h2>\n<div class="strip">{strip}</div>\n<table class="parts"><thead><tr><th>part</th>'
        '<th class="n">ms</th><th class="n">share</th><th></th><th>what it is, and its dearest functions</th></tr></thead>\n'
        f"{rows}</table>\n"
    )


def _in_order(found: Findings) -> Sequence[tuple[Part, int]]:
    """The parts as they follow each other in the life of a page."""
    order = {part: place for place, part in enumerate(PARTS)}
    return sorted(found.parts(), key=lambda pair: order.get(pair[0], len(order)))


def _dearest(found: Findings, part: Part) -> str:
    return ", ".join(
        f"{escape(short(name))} {found.each(samples):.2f}" for name, samples in found.functions(part)
    )


def _calls(found: Findings) -> str:
    cells = list(_cells(found, found.profile.root, 0, 0.0))
    height = ROW * (1 + max(depth for depth, _ in cells))
    return (
        "<h2>Which function spends it</h2>\n<p>Each lies below the one that called it, as wide as the processor time that it took with all "
        "it called. Click on one to see it larger; click on the top one to see all again.</p>\n"
        f'<div class="calls" style="height:{height}px">\n{"".join(cell for _, cell in cells)}</div>\n'
    )


def _cells(found: Findings, node: Node, depth: int, left: float) -> Iterator[tuple[int, str]]:
    whole = found.profile.samples
    width = node.samples / whole
    name = "all of it" if not depth else short(node.name) if depth > 1 else node.name
    about = f"{node.name}\n{found.each(node.samples):.3f} ms a page, {width:.1%}"
    tint = colour(node.part) if node.part is not OTHER else colour(OTHER)
    yield (
        depth,
        (
            f'<div data-x="{left:.6f}" data-w="{width:.6f}" style="top:{depth * ROW}px;left:{left * 100:.4f}%;width:{width * 100:.4f}%;'
            f'background:{tint}" title="{escape(about)}"{"" if width > NAMED else " class=thin"}>{escape(name)}</div>\n'
        ),
    )
    for child in sorted(node.children.values(), key=lambda child: (child.part is START, -child.samples)):
        if child.samples / whole >= NARROWEST:
            yield from _cells(found, child, depth + 1, left)
        left += child.samples / whole


def _database(found: Findings) -> str:
    if not found.statements:
        return "<h2>What PostgreSQL does</h2>\n<p>It keeps no account of its statements (pg_stat_statements).</p>\n"
    shown, rest = found.statements[:STATEMENTS], found.statements[STATEMENTS:]
    widest = shown[0].time
    rows = "".join(_statement(found, one, widest) for one in shown)
    if rest:
        rows += _statement(found, together(f"({len(rest)} more)", rest), widest)
    each = sum(one.time for one in found.statements) / found.pages
    wal = sum(one.wal for one in found.statements) / found.pages
    took = (
        ""
        if found.database is None
        else f" All of it, with commits and upkeep, took {found.database:.2f} ms of processor time."
    )
    headings = ("calls", "ms", "", "of it planning", "rows", "blocks", "bytes of WAL")
    head = "".join(f'<th class="n">{heading}</th>' for heading in headings)
    return (
        f"<h2>What PostgreSQL does</h2>\n<p>By its own count {each:.2f} ms a page in statements, by the clock, "
        f"{wal / 1024:.1f} KiB of WAL, and {found.commits / found.pages:.3f} transactions.{took}</p>\n"
        f"<table><thead><tr><th>statement</th>{head}</tr></thead>\n{rows}</table>\n"
        '<p class="note">Each figure is for one page. A statement of queries.sql has its name there.</p>\n'
    )


def together(name: str, some: Sequence[Statement]) -> Statement:
    """Statements as if they were one."""
    keys = ("calls", "running", "planning", "rows", "blocks", "wal")
    return Statement(name, *(sum(getattr(one, key) for one in some) for key in keys))


def _statement(found: Findings, one: Statement, widest: float) -> str:
    figures = (
        f"{one.planning / found.pages:.3f}",
        f"{one.rows / found.pages:.2f}",
        f"{one.blocks / found.pages:.1f}",
        f"{one.wal / found.pages:,.0f}",
    )
    return (
        f'<tr><th>{escape(one.name)}</th><td class="n">{one.calls / found.pages:.4f}</td><td class="n">{one.time / found.pages:.3f}</td>'
        f'<td class="bar"><div style="width:{min(100.0, 100 * one.time / widest):.2f}%;background:{DATABASE}"></div></td>'
        f"{''.join(f'<td class=n>{figure}</td>' for figure in figures)}</tr>\n"
    )


def _small_print(found: Findings) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in found.about)
    return f"<h2>How it was measured</h2>\n<dl>{rows}</dl>\n"


STYLE: Final = """
:root { color-scheme: light dark; --back: #fdfdfc; --ink: #22252a; --faint: #6a7078; --line: #dcdfe3; --card: #f2f3f4 }
@media (prefers-color-scheme: dark) { :root { --back: #16181c; --ink: #e4e6ea; --faint: #989fa9; --line: #33373e; --card: #20242a } }
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--ink); font: 14px/1.45 system-ui, sans-serif }
main { max-width: 1500px; margin: 0 auto; padding: 24px 28px 40px }
h1 { font-size: 25px; margin: 0 0 14px } h2 { font-size: 17px; margin: 30px 0 8px } p { margin: 4px 0 10px; color: var(--faint) }
.tiles { display: flex; gap: 12px; flex-wrap: wrap }
.tiles div { background: var(--card); border-radius: 8px; padding: 10px 16px; min-width: 190px }
.tiles b { display: block; font-size: 23px; font-weight: 600 } .tiles span { color: var(--faint); font-size: 12.5px }
.strip { display: flex; height: 34px; border-radius: 6px; overflow: hidden; margin: 8px 0 12px }
.strip div { color: #15171a; font-size: 12.5px; line-height: 34px; text-align: center; overflow: hidden; white-space: nowrap;
  border-right: 1px solid var(--back) }
table { border-collapse: collapse; width: 100% } thead th { color: var(--faint); font-weight: 500; font-size: 12px }
th, td { text-align: left; padding: 3px 10px 3px 0; border-bottom: 1px solid var(--line); vertical-align: top; font-weight: 400 }
th { white-space: nowrap; max-width: 380px; overflow: hidden; text-overflow: ellipsis } tbody th, tr > th:first-child { font-weight: 550 }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.bar { width: 27%; min-width: 120px } .bar div { height: 12px; margin-top: 4px; border-radius: 2px; min-width: 1px }
th i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 8px }
small { display: block; color: var(--faint); font-size: 12px }
.calls { position: relative; border-radius: 6px; overflow: hidden }
.calls div { position: absolute; height: 18px; color: #15171a; font-size: 11.5px; line-height: 18px; padding-left: 4px; overflow: hidden;
  white-space: nowrap; border-right: 1px solid var(--back); border-radius: 2px; cursor: pointer }
.calls div.thin { padding: 0; color: transparent; min-width: 1px } .calls div:hover { filter: brightness(1.12) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; color: var(--faint); margin: 0 }
dd { margin: 0 } .note { font-size: 12px }
"""
SCRIPT: Final = """
const cells = [...document.querySelectorAll(".calls div")];
for (const cell of cells) cell.onclick = () => {
  const from = +cell.dataset.x, width = +cell.dataset.w;
  for (const each of cells) {
    const left = Math.max(0, (+each.dataset.x - from) / width), right = Math.min(1, (+each.dataset.x + +each.dataset.w - from) / width);
    each.style.display = right - left > 1e-6 ? "" : "none";
    each.style.left = 100 * left + "%";
    each.style.width = 100 * (right - left) + "%";
    each.classList.toggle("thin", right - left < 0.012);
  }
};
"""
