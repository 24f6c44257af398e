"""The wheel: what a user installs has everything in it, and needs no checkout."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Final

import pytest

from crawler.demo.language import page
from crawler.demo.server import serving

pytestmark = pytest.mark.xdist_group("wheel")  # they share what is costly to make

ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = ("crawler", "scheduler", "migrations", "setup.cfg", "pyproject.toml", "LICENSE", "README.md")


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program, and return what it prints; what it complains of is shown if it fails."""
    trusting = {
        name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"
    }  # pip asks the world
    done = subprocess.run(
        command, cwd=cwd, env=trusting, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy: setuptools would put into it what an earlier build left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder / name)
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        "dist",
        ".",
        cwd=folder,
    )
    return next((folder / "dist").glob("faircrawl-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an empty venv with nothing in it but the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-compile", wheel, cwd=folder)
    return folder / "bin"


def test_the_wheel_holds_every_source(wheel: Path) -> None:
    """Every module, query and migration of the checkout is in the wheel; migrations lie in crawler."""
    tops = {"crawler": "crawler", "scheduler": "scheduler", "migrations": "crawler/migrations"}
    expected = {
        f"{there}/{path.relative_to(ROOT / here).as_posix()}"
        for here, there in tops.items()
        for path in (ROOT / here).rglob("*")
        if path.suffix in {".py", ".sql", ".typed"} or path.parent.name in {"static", "templates"}
    }
    found = {
        name
        for name in zipfile.ZipFile(wheel).namelist()
        if not name.partition("/")[0].endswith(".dist-info")
    }

    assert expected == found


def test_the_wheel_carries_its_licence(wheel: Path) -> None:
    """The licence is in the wheel, and named as SPDX names it."""
    archive = zipfile.ZipFile(wheel)
    info = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))

    assert "License-Expression: Apache-2.0" in archive.read(info).decode().splitlines()
    assert any(name.endswith("/licenses/LICENSE") for name in archive.namelist())


def test_the_installed_program_runs_anywhere(installed: Path, tmp_path: Path) -> None:
    """`crawl` runs from a folder that is not the checkout, and finds its migrations."""
    find = "import crawler, pathlib; print(*pathlib.Path(crawler.__file__).parent.glob('migrations/*.sql'))"
    migrations = run(installed / "python", "-c", find, cwd=tmp_path).split()

    assert run(installed / "crawl", "--version", cwd=tmp_path).startswith("faircrawl ")
    assert len(migrations) == len(list((ROOT / "migrations").glob("*.sql")))
    assert str(ROOT) not in "".join(migrations)


def test_the_dashboard_is_an_extra(installed: Path, tmp_path: Path) -> None:
    """What the wheel requires by itself has no dashboard in it: the command says how to have one."""
    done = subprocess.run(
        [installed / "crawl", "dashboard", "--data", str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 1
    assert done.stderr == "crawl: the dashboard is not installed here: pip install 'faircrawl[dashboard]'\n"


def test_the_wheel_crawls(installed: Path, tmp_path: Path) -> None:
    """What the wheel installs crawls a site into a database of its own, and exports it."""
    site = {"/": page("start", "/a"), "/a": page("a")}
    with serving({"127.0.0.1": site}) as web:
        seed = f"http://127.0.0.1:{web.port}/"
        here = ("--data", str(tmp_path / "data"))
        told = run(
            installed / "crawl",
            "run",
            seed,
            "--allow-net",
            "127.0.0.0/8",
            "--delay",
            "0",
            *here,
            cwd=tmp_path,
        )
        lines = run(installed / "crawl", "export", "127.0.0.1", *here, cwd=tmp_path).splitlines()

    assert told.startswith("done: 2 pages stored in crawl 127.0.0.1")
    assert len(lines) == 2
