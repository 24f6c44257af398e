"""`make bench-guard`: it compares with the right commit, runs what it says, and fails when a page costs too much."""

import subprocess
from pathlib import Path

import pytest

from tests.bench.guard import report
from tests.bench.guard_counting import counted
from tests.bench.guard_crawls import Crawled
from tests.bench.guard_trees import Tree, base_tree, default_base, packages, this_tree
from tests.bench.measuring import BenchError

SETUP = "[options]\ninstall_requires =\n    # why\n    aiohttp>=3\n    {}\n"
TREE = Tree(Path(), "some tree")


def git(root: Path, *words: str) -> None:
    """Have git do something in a repository of the test."""
    subprocess.run(
        [
            "git",
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b.test",
            "-c",
            "commit.gpgsign=false",
            "-C",
            root,
            *words,
        ],
        check=True,
        capture_output=True,
    )


def commit(root: Path, text: str, wants: str = "lxml>=6") -> None:
    """Another state of the tree."""
    for part in ("crawler", "scheduler", "migrations"):
        (root / part).mkdir(exist_ok=True)
        (root / part / "a.py").write_text(text, "utf-8")
    (root / "setup.cfg").write_text(SETUP.format(wants), "utf-8")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", f"Say {text}")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with two commits."""
    root = tmp_path / "root"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=main")
    commit(root, "one = 1")
    commit(root, "two = 2")
    return root


def pair(base: float, this: float) -> tuple[Crawled, Crawled]:
    """Two crawls whose crawler took so many milliseconds a page."""
    before, now = (Crawled(1000, {"crawler": each, "PostgreSQL": 1.0}) for each in (base, this))
    return before, now


def test_default_base(root: Path) -> None:
    """What is not committed is compared with HEAD; else the commit with the one before, or with where its branch left its upstream."""
    assert default_base(root) == "HEAD~1"
    (root / "crawler/a.py").write_text("three = 3", "utf-8")

    assert default_base(root) == "HEAD"
    git(root, "checkout", "--quiet", "-b", "other", "--track", "main")
    commit(root, "three = 3")
    commit(root, "four = 4")
    main = subprocess.run(
        ["git", "-C", root, "rev-parse", "main"], check=True, capture_output=True, text=True
    )

    assert main.stdout.strip() == default_base(root)


def test_trees(root: Path, tmp_path: Path) -> None:
    """The base is what was committed then, this tree is what lies there now."""
    (root / "crawler/a.py").write_text("three = 3", "utf-8")
    base, this = tmp_path / "base", tmp_path / "this"
    base.mkdir()
    this.mkdir()
    names = base_tree(base, "HEAD~1", root).name, this_tree(this, root).name

    assert (base / "crawler/a.py").read_text("utf-8") == "one = 1"
    assert (this / "crawler/a.py").read_text("utf-8") == "three = 3"
    assert names[0].endswith("Say one = 1")
    assert "not committed" in names[1]


def test_refused(root: Path, tmp_path: Path) -> None:
    """A commit that is not there, or wants other packages, is refused in one line that names it."""
    with pytest.raises(BenchError, match="'v9' is no commit"):
        base_tree(tmp_path, "v9", root)
    commit(root, "three = 3", wants="lxml>=7")
    with pytest.raises(BenchError, match=r"HEAD~1 wants other packages .*lxml>=6, lxml>=7"):
        base_tree(tmp_path, "HEAD~1", root)

    assert base_tree(tmp_path, "HEAD~1", root, any_packages=True).name.endswith("two = 2")
    assert packages(SETUP.format("lxml>=6")) == ["aiohttp>=3", "lxml>=6"]


def test_counted() -> None:
    """The child has done what its parent has, and then the pages: they are the difference."""
    said = "==12== Cachegrind\n==13== I   refs:      1,250\n==12== I refs: 1,000\n"

    assert counted(said, TREE) == 250
    with pytest.raises(BenchError, match="no module named parsing"):
        counted("==1== I refs: 5\nImportError: no module named parsing\n", TREE)


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    """It fails when the median of the ratios is above the bound, or the instructions are; one pair that is off does no harm."""
    good = [pair(4, 4.1), pair(4, 6), pair(4, 4)]

    assert report(good, (1000, 1010), 1.05)
    assert not report([pair(4, 4.4)] * 3, (1000, 1010), 1.05)
    assert not report(good, (1000, 1100), 1.05)
    assert "1.000 to 1.500" in capsys.readouterr().out
