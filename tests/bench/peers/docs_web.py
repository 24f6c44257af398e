"""A real web to crawl: documentation packages of Debian, each laid out as a site. Nothing of them is installed.

apt-get download ──► dpkg-deb -x ──► the folder of the documents ──► links that lead out go, robots.txt comes
                 ──► cache/docs/SITE-LAYOUT/: www/, package

python -m tests.bench.peers.docs_web    lays all of them out, and lists them
"""

import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests.bench.measuring import BenchError, Table, note, say
from tests.bench.peers.installing import apt, cache, quietly
from tests.bench.peers.serving import Site

LAYOUT: Final = 1
"""Higher when a site is laid out otherwise than before: then it is done anew."""
PAGE: Final = re.compile(r"\.x?html?$", re.IGNORECASE)
STARTS: Final = ("index.html", "toc.html", "rm-TOC.html", "RM-TOC.html", "aa-TOC.html", "AA-TOC.html")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a site comes from."""

    packages: Sequence[str]
    """The first of them that this system has."""
    folder: str
    """The documents inside the package; the first that matches."""
    robots: str = ""
    """Empty: it has no robots.txt."""
    compressed: bool = False


SOURCES: Final = {
    "python": Source(
        ("python3.11-doc", "python3.12-doc", "python3.13-doc"),
        "usr/share/doc/python3*/html",
        robots="User-agent: *\nDisallow: /_sources/\nDisallow: /whatsnew/\n",
        compressed=True,
    ),
    "sqlite": Source(("sqlite3-doc",), "usr/share/doc/sqlite3", robots="User-agent: BadBot\nDisallow: /\n"),
    "octave": Source(("octave-doc",), "usr/share/doc/octave"),
    "ada": Source(("ada-reference-manual-2012",), "usr/share/doc/ada-reference-manual-2012"),
    "apache": Source(("apache2-doc",), "usr/share/doc/apache2-doc/manual"),
    "django": Source(("python-django-doc",), "usr/share/doc/python-django-doc/html"),
    "cppref": Source(("cppreference-doc-en-html",), "usr/share/cppreference/doc/html"),
}
SMALL: Final = ("python", "sqlite", "octave", "ada")
"""Those that take a minute, where all of them take several."""


def laid_out(names: Sequence[str]) -> list[Site]:
    """These sites, each at an address of its own.

    Raises:
        BenchError: A package cannot be had here: the synthetic web needs none.
    """
    return [
        Site(name, f"127.0.1.{number + 1}", home / "www", _made_of(home), SOURCES[name].compressed)
        for number, (name, home) in enumerate((name, _ready(name)) for name in names)
    ]


def _ready(name: str) -> Path:
    home = cache() / "docs" / f"{name}-{LAYOUT}"
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=home.parent) as folder:
            _lay_out(SOURCES[name], name, Path(folder)).rename(home)
    return home


def _made_of(home: Path) -> str:
    return (home / "package").read_text()


def _lay_out(source: Source, name: str, folder: Path) -> Path:
    note(f"laying out {name}")
    _download(source.packages, folder)
    (deb,) = folder.glob("*.deb")
    quietly(["dpkg-deb", "-x", deb, folder / "x"], f"{deb.name} cannot be unpacked")
    found = sorted((folder / "x").glob(source.folder))
    if not found:
        raise BenchError(f"{deb.name} has no {source.folder}: the package has changed; write --synthetic")
    made = folder / "made"
    made.mkdir()
    www = found[0].rename(made / "www")
    for path in list(www.rglob("*")):
        # Links inside the site are pages with two URLs, as real sites have them; others lead to nothing here.
        if path.is_symlink() and not (path.exists() and path.resolve().is_relative_to(www.resolve())):
            path.unlink()
    if not (www / "index.html").exists():
        (www / "index.html").write_text(_index(name, www))
    if source.robots:
        (www / "robots.txt").write_text(source.robots)
    (made / "package").write_text(_version(deb))
    return made


def _download(packages: Sequence[str], folder: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise BenchError("this is no Debian, so it has no documentation packages: write --synthetic")
    if not any(apt("download", package, folder=folder) for package in packages):
        raise BenchError(f"apt-get cannot download {packages[0]}: run apt-get update, or write --synthetic")


def _version(deb: Path) -> str:
    shown: list[str | Path] = ["dpkg-deb", "--show", "--showformat=${Package} ${Version}", deb]
    return subprocess.run(shown, capture_output=True, text=True, check=True).stdout


def _index(name: str, www: Path) -> str:
    """A first page for a package that has none: it leads to the first page of each part."""
    starts: list[str] = []
    for at, folders, files in os.walk(www):
        folders.sort()
        first = next((start for start in STARTS if start in files), None)
        if first is not None:
            starts.append((Path(at) / first).relative_to(www).as_posix())
            folders.clear()
    starts = starts or sorted(path.name for path in www.iterdir() if PAGE.search(path.name))
    items = "\n".join(f'<li><a href="{quote(start)}">{html.escape(start)}</a></li>' for start in starts)
    head = f'<!DOCTYPE html><html><head><meta charset="utf-8"><title>{name}</title></head>'
    return f"{head}<body><h1>{name}</h1><ul>\n{items}\n</ul></body></html>\n"


def main() -> int:
    """Lay them out, and list them."""
    try:
        sites = laid_out(list(SOURCES))
    except BenchError as error:
        sys.stderr.write(f"python -m tests.bench.peers.docs_web: {error}\n")
        return 1
    table = Table(["site", "package", "folder"])
    table.rows += [[site.name, site.made_of, str(site.root)] for site in sites]
    say(str(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
