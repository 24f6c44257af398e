"""A small web of documentation, the same each time: sites of pages as the open web has them, about 30 KB and 91 links each.

    python -m tests.bench.profile_web ──► "port 40001" ──► serves until its standard input ends

1. A page is made of its host and path alone, so two crawls of it do the same work, today and next year.
2. Each page says something of its own (it is no trap), in words that repeat as words do: it compresses as real pages do.
3. Every page can be reached from the first one of its site, and there are no others: a crawl of it ends by itself.
"""

import argparse
import asyncio
import contextlib
import random
import re
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import trustme
import uvloop

from tests.bench.hosting import announce, hosted
from tests.bench.web import Web
from tests.bench.web import served as served_names

_PATH: Final = re.compile(r"/guide/part-(\d+)/page-(\d+)\.html")
CHAPTER: Final = 25
"""Pages of one part."""
SECTIONS: Final = 8
SENTENCES: Final = 9
"""Of a section, besides its code."""
SYLLABLES: Final = (
    "ba", "co", "di", "fu", "ga", "he", "lo", "mi", "na", "pe", "qui", "ro", "sa", "te", "vu", "wa", "xe", "zi", "dra", "ster", "pla",
    "tion", "ment", "ing",
)  # fmt: skip


def path_of(page: int) -> str:
    """Where a page of a site lies."""
    return f"/guide/part-{page // CHAPTER}/page-{page}.html" if page else "/"


def host_of(site: int) -> str:
    """What a site is called."""
    return f"docs{site}.test"


@dataclass(frozen=True, slots=True)
class Site:
    """How large the web is, which its pages have to know that link to each other."""

    sites: int
    pages: int
    """Of each site."""
    origin: str
    """Scheme, a place for the host, and port: ``http://{}:8080``."""

    def seeds(self) -> Sequence[str]:
        """The first page of each."""
        return [f"{self.origin.format(host_of(site))}/" for site in range(self.sites)]

    def page(self, host: str, path: str) -> bytes | None:
        """What a page says; None: there is none."""
        number = self._number(path)
        if number is None:
            return None
        dice, words = random.Random(f"{host}{path}"), Words.of(host)
        first = number - number % CHAPTER
        near = range(first or 1, min(first + CHAPTER, self.pages))
        names = words.titles(dice, len(near) + 1)
        toc = "".join(
            f'\n      <li><a href="{path_of(page)}">{page}. {name}</a></li>'
            for page, name in zip(near, names, strict=False)
        )
        around = (
            f'<a rel="prev" href="{path_of(max(0, number - 1))}">previous</a> | '
            f'<a rel="next" href="{path_of(min(self.pages - 1, number + 1))}">next</a> | <a href="/">up</a>'
        )
        sections = (self._section(section, dice, words) for section in range(SECTIONS))
        return "".join(
            (
                HEAD.format(title=names[-1], path=path, host=host),
                f"<body>\n{_navigation(host, self.pages)}<div class='related'>{around}</div>\n",
                f'<main class="document" id="content">\n<h1>{names[-1]}</h1>\n',
                *sections,
                f'</main>\n<aside class="toc">\n    <ol>{toc}\n    </ol>\n</aside>\n<div class="related">{around}</div>\n',
                FOOT.format(host=host, number=number),
            )
        ).encode()

    def _section(self, section: int, dice: random.Random, words: "Words") -> str:
        """A heading, two paragraphs with links, code, a list."""
        lines = dice.choices(words.sentences, k=SENTENCES)
        own = dice.choices(words.words, k=12)  # what no other page says in this place
        here, there, other = (path_of(int(dice.random() * self.pages)) for _ in range(3))
        site = self.origin.format(host_of(int(dice.random() * self.sites)))
        name = " ".join(own[:2])
        return (
            f'<section id="s{section}">\n<h2>{name}<a class="headerlink" href="#s{section}" title="Link">¶</a></h2>\n'
            f'<p>{" ".join(lines[:4])} See <a class="reference internal" href="{here}#s{section}"><span>{own[2]}</span></a>, '
            f"which {' '.join(own[3:8])}.</p>\n{''.join(dice.choices(words.code, k=2))}"
            f'<p>{" ".join(lines[4:7])} Compare <a href="{site}{other}">{own[8]}</a>, and <a href="{there}">{" ".join(own[9:])}</a>.</p>\n'
            f"<ul>{''.join(f'<li>{line}</li>' for line in lines[7:])}</ul>\n</section>\n"
        )

    def _number(self, path: str) -> int | None:
        if path == "/":
            return 0
        found = _PATH.fullmatch(path)
        number = int(found[2]) if found else 0
        return number if 0 < number < self.pages and path_of(number) == path else None


@dataclass(frozen=True, slots=True)
class Words:
    """What a site talks of: its words, common and rare as words are, and what is said with them."""

    words: Sequence[str]
    sentences: Sequence[str]
    code: Sequence[str]

    @classmethod
    @cache
    def of(cls, host: str) -> "Words":
        """The words of a site."""
        dice = random.Random(host)
        words = sorted(
            {"".join(dice.choices(SYLLABLES, k=dice.choice((1, 2, 2, 3, 3, 4)))) for _ in range(3000)}
        )
        dice.shuffle(words)
        weights = list(accumulate(1 / rank for rank in range(2, len(words) + 2)))

        def sentence() -> str:
            return (
                " ".join(dice.choices(words, cum_weights=weights, k=dice.randint(6, 18))).capitalize() + "."
            )

        def code() -> str:
            names = dice.choices(words, cum_weights=weights, k=12)
            lines = (
                f'<span class="k">def</span> <span class="nf">{names[n]}</span>(<span class="n">{names[n + 1]}</span>): '
                f'<span class="k">return</span> <span class="mi">{dice.randrange(10000)}</span>'
                for n in range(0, len(names), 2)
            )
            return '<pre class="code python">' + "\n".join(lines) + "\n</pre>\n"

        return cls(words, [sentence() for _ in range(4000)], [code() for _ in range(500)])

    def titles(self, dice: random.Random, count: int) -> list[str]:
        """So many, of three words each."""
        some = dice.choices(self.words, k=3 * count)
        return [" ".join(some[n : n + 3]).capitalize() for n in range(0, len(some), 3)]


@cache
def _navigation(host: str, pages: int) -> str:
    """What stands on every page of a site."""
    parts = range(0, pages, max(1, pages // 24))
    names = Words.of(host).titles(random.Random(host), len(parts))
    items = "".join(
        f'\n      <li class="toctree-l1"><a class="reference internal" href="{path_of(part)}">{name}</a></li>'
        for part, name in zip(parts, names, strict=True)
    )
    return f'<nav class="sidebar" role="navigation">\n    <ul>{items}\n    </ul>\n</nav>\n'


HEAD: Final = """<!DOCTYPE html>
<html lang="en" data-content_root="../../">
<head>
  <meta charset="utf-8" />
  <meta name="viewport" content="width=device-width, initial-scale=1.0" />
  <title>{title} &#8212; {host}</title>
  <meta name="description" content="What {title} is, and how it is used." />
  <meta property="og:title" content="{title}" />
  <link rel="stylesheet" type="text/css" href="/_static/style.css?v=b76e3c8a" />
  <link rel="stylesheet" type="text/css" href="/_static/code.css?v=87e54e7c" />
  <link rel="canonical" href="{path}" />
  <link rel="icon" href="/_static/icon.svg" />
  <script src="/_static/script.js?v=5929fcd5"></script>
  <script>document.documentElement.dataset.mode = localStorage.getItem("mode") || "auto"; if (1 < 2) {{ begin(); }}</script>
  <style>@media only screen {{ table.full-width-table {{ width: 100%; }} .sidebar > ul {{ margin: 0 }} }}</style>
</head>
"""
FOOT: Final = """<footer>
  <p>&copy; Copyright 2001 &ndash; 2024 {host}. <a href="https://licence.example/by/4.0/">Licence</a>.
  <a href="https://code.example/{host}/issues?page={number}">Report a mistake</a> &middot; <a href="mailto:docs@{host}">Write</a>.</p>
  <!-- page {number} -->
</footer>
</body>
</html>
"""
ROBOTS: Final = b"User-agent: *\nDisallow: /private/\nDisallow: /*?print=\n"


class _Line(asyncio.Protocol):
    """One connection: a request, an answer, and again."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._heard = b""

    def connection_made(self, transport: Any) -> None:  # uvloop's, which has no type
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard += data
        while b"\r\n\r\n" in self._heard:
            head, _, self._heard = self._heard.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            host = next((line[5:].strip() for line in lines if line[:5].lower() == "host:"), "")
            self._transport.write(self._answer(host.partition(":")[0], lines[0].split(" ")[1]))

    def _answer(self, host: str, path: str) -> bytes:
        kind = "text/html; charset=utf-8"
        page: bytes | None
        if path == "/robots.txt":
            page, kind = ROBOTS, "text/plain"
        else:
            page = self._site.page(host, path)
        status = "200 OK" if page is not None else "404 Not Found"
        body = page or b"there is no such page"
        head = (
            f"HTTP/1.1 {status}\r\nServer: nginx/1.22.1\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\nLast-Modified: Wed, 31 Dec 2025 00:00:00 GMT\r\nConnection: keep-alive\r\n"
            f'ETag: "{len(body):x}-{crc32(path.encode()):x}"\r\nAccept-Ranges: bytes\r\n\r\n'
        )
        return head.encode() + body


@dataclass(frozen=True, slots=True)
class Served:
    """That web, being served."""

    site: Site
    names: Web
    """Whoever answers for its names."""
    ca: Path | None
    """The authority of its certificates."""


@contextlib.contextmanager
def served(sites: int, pages: int, *, tls: bool = False) -> Iterator[Served]:
    """Serve it from a process of its own while the body runs."""
    with contextlib.ExitStack() as stack:
        names = stack.enter_context(served_names())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fc-bench-")))
        more = ("--tls", folder) if tls else ()
        server = stack.enter_context(
            hosted("tests.bench.profile_web", "--sites", sites, "--pages", pages, *more)
        )
        (port,) = server.ports
        yield Served(Site(sites, pages, _origin(port, tls=tls)), names, folder / "ca.pem" if tls else None)


def _origin(port: int, *, tls: bool) -> str:
    return f"http{'s' if tls else ''}://{{}}:{port}"


def _context(folder: Path, sites: int) -> ssl.SSLContext:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*map(host_of, range(sites))).configure_cert(context)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return context


async def _serve(sites: int, pages: int, folder: Path | None) -> None:
    loop = asyncio.get_running_loop()
    context = None if folder is None else _context(folder, sites)
    made: list[Site] = []
    server = await loop.create_server(lambda: _Line(made[0]), "0.0.0.0", 0, backlog=4096, ssl=context)
    port = server.sockets[0].getsockname()[1]
    made.append(Site(sites, pages, _origin(port, tls=context is not None)))
    for site in range(sites):
        Words.of(host_of(site))
    asked = await announce(port=port)
    await asked.read()
    server.close()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.profile_web", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--sites", type=int, default=6, help="how many")
    parser.add_argument("--pages", type=int, default=500, help="of each")
    parser.add_argument(
        "--tls", type=Path, metavar="FOLDER", help="over TLS; the authority's certificate goes there"
    )
    given = parser.parse_args()
    uvloop.run(_serve(given.sites, given.pages, given.tls))


if __name__ == "__main__":
    main()
