"""What docs/api.md says is so."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.dashboard.conftest import Served, until

pytestmark = pytest.mark.xdist_group("dashboard")  # they share what is costly to make

PAGE: Final = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_every_example_works(served: Served, tmp_path: Path) -> None:
    """The commands of the page, in their order, each do what they say; the URL of a page is one that was crawled."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    script = "set -e\n" + "".join(block for block in blocks if "curl" in block)
    script = script.replace("http://127.0.0.1:8080", served.url).replace(
        "https://example.com/", served.web.url("news.test")
    )
    script = script.replace("domain=example.com", "domain=news.test")
    done = subprocess.run(
        ["sh", "-c", script],
        env=os.environ | {"CRAWL_API_TOKEN": served.token},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    until(lambda: served.get("/api/crawls/docs").status_code == 404, "the crawl of the page is still there")

    assert script.count("curl ") >= 18
    assert done.returncode == 0, done.stderr
    assert b"Front page" in (tmp_path / "page.html").read_bytes()


def test_every_route_is_on_the_page(served: Served) -> None:
    """No route is missing from the table of the page."""
    table = PAGE.read_text("utf-8").partition("## All routes")[2]
    told = set(re.findall(r"(/[\w{}/-]+)", table))
    paths = set(served.get("/openapi.json").json()["paths"])
    shortened = {path for path in paths if any(path.endswith(one) for one in told)}

    assert paths == shortened
