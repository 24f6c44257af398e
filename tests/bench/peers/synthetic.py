"""A web for where no documentation packages can be had: pages that are made, always the same, as large and as linked as real ones.

    written(pages) ──► cache/synthetic-PAGES-LAYOUT/SITE/: index.html, d7/p1234.html, ...

1. The same number of pages is the same bytes, on any machine.
2. A page has 30 kB and 91 links to pages of its site, and no two say the same.
3. Every page can be reached: page n links to pages 8n + 1 to 8n + 8 as far as there are any, and page 0 is the site's first.
"""

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.bench.measuring import note
from tests.bench.peers.installing import cache
from tests.bench.peers.serving import Site

LAYOUT: Final = 1
SITES: Final = 8
LINKS: Final = 91
BRANCHES: Final = 8
SIZE: Final = 30_000
PARAGRAPH: Final = 6
VOWELS: Final = "aeiou"
CONSONANTS: Final = "bcdfghklmnprstvw"
HEAD: Final = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/style.css"></head>
<body><div class="related" role="navigation"><h3>Navigation</h3><ul>
{around}
</ul></div>
<main><h1>{title}</h1>
"""
FOOT: Final = '</main><footer><p class="small">Made for measuring.</p></footer></body></html>\n'


def written(pages: int) -> list[Site]:
    """So many pages on eight sites, each at an address of its own."""
    home = cache() / f"synthetic-{pages}-{LAYOUT}"
    names = [f"made-{number + 1}" for number in range(SITES)]
    if not home.exists():
        note(f"making {pages:,} pages")
        making = home.with_name(f".{home.name}")
        shutil.rmtree(making, ignore_errors=True)
        for number, name in enumerate(names):
            share = pages // SITES + (number < pages % SITES)
            write_site(making / name, number, share)
        making.rename(home)
    return [
        Site(name, f"127.0.2.{number + 1}", home / name, "made by the bench", compressed=number == 0)
        for number, name in enumerate(names)
    ]


def write_site(folder: Path, site: int, pages: int) -> None:
    """All pages of one site."""
    folder.mkdir(parents=True)
    sentences = _sentences()
    for number in range(pages):
        path = folder / (path_of(number).lstrip("/") or "index.html")
        path.parent.mkdir(exist_ok=True)
        path.write_text(page(site, number, pages, sentences))
    (folder / "style.css").write_text("body { max-width: 60em }\n")
    (folder / "robots.txt").write_text("User-agent: *\nDisallow: /private/\n")


def path_of(number: int) -> str:
    """Where a page lies on its site."""
    return f"/d{number % 20}/p{number}.html" if number else "/"


def page(site: int, number: int, pages: int, sentences: Sequence[str]) -> str:
    """One page: the ways on, words, and links among them."""
    dice = random.Random(f"{site} {number}")
    children = range(BRANCHES * number + 1, min(BRANCHES * number + BRANCHES + 1, pages))
    near = [*children, (number - 1) // BRANCHES if number else 0, (number + 1) % pages]
    title = f"{sentences[number % len(sentences)].split('.')[0][:40]} {site}-{number}"
    around = "\n".join(f'<li class="right"><a href="{path_of(one)}">part {one}</a> |</li>' for one in near)
    parts = [HEAD.format(title=title, around=around)]
    left = LINKS - len(near)
    size = len(parts[0]) + len(FOOT)
    while size < SIZE:
        words = dice.sample(sentences, PARAGRAPH)
        # Links lie evenly among the words; what is left of them goes into the last paragraphs.
        for at in range(min(left, 4)):
            aim = dice.randrange(pages)
            words[at] += f' See <a class="reference internal" href="{path_of(aim)}">part <em>{aim}</em></a>.'
            left -= 1
        part = f'<section id="s{len(parts)}"><h2>{len(parts)}. {words[0][:30]}</h2>\n<p>{" ".join(words)}</p></section>\n'
        parts.append(part)
        size += len(part)
    return "".join([*parts, FOOT])


def _sentences() -> list[str]:
    dice = random.Random("sentences")
    words = [
        "".join(dice.choice(CONSONANTS) + dice.choice(VOWELS) for _ in range(dice.randint(1, 4)))
        for _ in range(3000)
    ]
    return [f"{' '.join(dice.choices(words, k=dice.randint(8, 24))).capitalize()}." for _ in range(2000)]
