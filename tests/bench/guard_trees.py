"""The two trees that are compared: this one as it is now, and an older one from git, each copied to a folder of its own.

    working tree ──copy──► this/crawler, migrations, ...      both run with this virtualenv's packages
    git archive  ──────► base/crawler, migrations, ...

1. What is edited meanwhile changes neither; the repository is only read.
2. Both are compiled before anything is measured.
3. An older tree that wants other packages is not compared: it would be measured with ones that it was not made for.
"""

import compileall
import configparser
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from tests.bench.measuring import BenchError

ROOT: Final = Path(__file__).resolve().parents[2]
PARTS: Final = ("crawler", "scheduler", "migrations")
"""What a crawl consists of; and `setup.cfg`, which names its packages."""
UPSTREAM: Final = "@{upstream}"


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree that can be run."""

    path: Path
    name: str
    """For people: a commit, with the first line of what it says, or that it is this tree."""


def default_base(root: Path = ROOT) -> str:
    """What to compare with: HEAD while something is not committed; else where this branch left its upstream, or the commit before."""
    if _git(root, "status", "--porcelain", "--", *PARTS):
        return "HEAD"
    head = _git(root, "rev-parse", "HEAD")
    left = _git(root, "merge-base", "HEAD", UPSTREAM, fails="")
    return left if left and left != head else "HEAD~1"


def this_tree(folder: Path, root: Path = ROOT) -> Tree:
    """This tree as it is now."""
    for part in PARTS:
        shutil.copytree(root / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "setup.cfg", folder)
    _compiled(folder)
    changed = ", with what is not committed" if _git(root, "status", "--porcelain", "--", *PARTS) else ""
    return Tree(folder, f"this tree ({_git(root, 'rev-parse', '--short', 'HEAD')}{changed})")


def base_tree(folder: Path, ref: str, root: Path = ROOT, *, any_packages: bool = False) -> Tree:
    """A commit's tree. *any_packages*: it has an interpreter of its own, with its packages.

    Raises:
        BenchError: there is no such commit, or it wants other packages than this tree.
    """
    commit = _git(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", fails="")
    if not commit:
        raise BenchError(f"{ref!r} is no commit of {root}: name one with --base, such as HEAD~3")
    packed = subprocess.run(
        ["git", "-C", root, "archive", commit, *PARTS, "setup.cfg"], capture_output=True, check=False
    )
    if packed.returncode:
        raise BenchError(f"git archive {ref}: {packed.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    here, there = (
        packages((root / "setup.cfg").read_text("utf-8")),
        packages((folder / "setup.cfg").read_text("utf-8")),
    )
    if (other := sorted(set(here) ^ set(there))) and not any_packages:
        raise BenchError(
            f"{ref} wants other packages than this tree ({', '.join(other)}): compare with a later commit, or give --base-python "
            "of a virtualenv with its packages"
        )
    _compiled(folder)
    return Tree(folder, _git(root, "log", "-1", "--format=%h %s", commit))


def packages(setup: str) -> Sequence[str]:
    """What a setup.cfg wants to be installed."""
    parser = configparser.ConfigParser()
    parser.read_string(setup)
    return [line.strip() for line in parser["options"]["install_requires"].splitlines() if line.strip()]


def _compiled(folder: Path) -> None:
    for part in PARTS:
        compileall.compile_dir(folder / part, quiet=2)


def _git(root: Path, *words: str, fails: str | None = None) -> str:
    """What git says. *fails*: what stands for that it refuses."""
    try:
        done = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise BenchError("git is not installed, and without it there is nothing to compare with") from None
    if not done.returncode:
        return done.stdout.strip()
    if fails is None:
        raise BenchError(f"git {words[0]}: {done.stderr.strip()}")
    return fails
