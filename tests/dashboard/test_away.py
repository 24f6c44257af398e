"""The database goes away and comes back: the dashboard says so, goes on, and answers again by itself."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from crawler.demo.server import Web
from tests.dashboard.conftest import TOKEN, dashboard, environment, until


def test_an_embedded_database_that_died_is_started_again(
    tmp_path: Path, hosts: Path, sites: Web, client: httpx.Client
) -> None:
    """It is made if it is not there; killed, reading answers 503 with one line, and soon 200 again; then it ends with us.

    With nobody at work there, the dashboard visits itself what it is asked to refresh, and nothing else.
    """
    data = tmp_path / "data"
    settings = environment("", hosts, API_TOKEN=TOKEN)
    del settings["CRAWL_DATABASE_URL"]
    with dashboard(settings, "--data", str(data)) as (url, running):
        pid_file = data / "pg" / "postmaster.pid"
        before = client.get(f"{url}/api/crawls")
        first = int(pid_file.read_text().split()[0])
        os.kill(first, signal.SIGKILL)
        seen: list[httpx.Response] = []

        def back() -> bool:
            seen.append(client.get(f"{url}/api/crawls"))
            return len(seen) > 1 and seen[-1].status_code == 200

        until(back, "it does not come back")
        made = client.post(
            f"{url}/api/crawls",
            json={"name": "after", "urls": [sites.url("slow.test")], "sitemaps": False},
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        refreshed = client.post(
            f"{url}/api/refresh",
            json={"urls": [sites.url("slow.test")], "wait": 30},
            headers={"Authorization": f"Bearer {TOKEN}"},
        ).json()
        healthy = client.get(f"{url}/healthz").status_code

    assert before.json() == []
    assert {answer.status_code for answer in seen} <= {200, 503}
    assert all(set(answer.json()) == {"detail"} for answer in seen if answer.status_code == 503)
    assert made.status_code == 201
    assert refreshed["done"]
    assert refreshed["urls"][0]["facts"]["outcome"] == "ok"
    assert healthy == 200
    assert running.process.returncode == 0
    assert not pid_file.exists()


def test_a_deletion_goes_on_with_the_next_dashboard(server: Any, hosts: Path, client: httpx.Client) -> None:
    """Stopped in the middle of a deletion, a dashboard that is started again ends it, and nobody asked twice."""
    name = server.clone()
    settings = environment(server.dsn(name), hosts, API_TOKEN=TOKEN)
    bearer = {"Authorization": f"Bearer {TOKEN}"}

    def state(url: str) -> str:
        (one,) = client.get(f"{url}/api/crawls").json()
        return str(one["state"])

    with recording(server.dsn(name)) as end:  # a deletion waits for who records
        with dashboard(settings) as (url, _):
            client.post(f"{url}/api/crawls", json={"name": "x", "urls": ["https://x.test/"]}, headers=bearer)
            deleted = client.delete(f"{url}/api/crawls/x", headers=bearer)
            page = client.get(f"{url}/crawls/x").text
        with dashboard(settings) as (url, _):
            between = state(url)
            end()
            until(lambda: client.get(f"{url}/api/crawls").json() == [], "it does not go on")
    server.drop(name)

    assert (deleted.status_code, between) == (202, "deleting")
    assert "Go on deleting" in page


@contextlib.contextmanager
def recording(dsn: str) -> Iterator[Callable[[], None]]:
    """Somebody records, and does not end until that is called."""
    began, end = threading.Event(), threading.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute("select pg_advisory_lock_shared(20013)")
            began.set()
            await asyncio.to_thread(end.wait)
        finally:
            await connection.close()

    thread = threading.Thread(target=asyncio.run, args=(hold(),))
    thread.start()
    began.wait(30)
    try:
        yield end.set
    finally:
        end.set()
        thread.join()


def test_a_server_that_refuses_us_is_waited_for(server: Any, hosts: Path, client: httpx.Client) -> None:
    """While the server lets nobody in, reading is 503 and changing is too, /readyz says so, /healthz is well; then all goes on."""
    name = server.clone()

    async def let_in(*, allowed: bool) -> None:
        admin = await asyncpg.connect(server.dsn("postgres"))
        try:
            await admin.execute(f"alter database {name} allow_connections {allowed}")
            if not allowed:
                await admin.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name
                )
        finally:
            await admin.close()

    with dashboard(environment(server.dsn(name), hosts, API_TOKEN=TOKEN)) as (url, _):
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        asyncio.run(let_in(allowed=False))
        away = [client.get(f"{url}/api/crawls"), client.post(f"{url}/api/crawls/x/pause", headers=bearer)]
        page = client.get(f"{url}/crawls", headers={"Accept": "text/html"})
        ready, alive = client.get(f"{url}/readyz"), client.get(f"{url}/healthz")
        asyncio.run(let_in(allowed=True))
        until(lambda: client.get(f"{url}/api/crawls").status_code == 200, "it does not come back")
        until(lambda: client.get(f"{url}/readyz").status_code == 200, "it is never ready again")
    server.drop(name)

    assert [answer.status_code for answer in away] == [503, 503]
    assert all(answer.headers["retry-after"] == "5" for answer in away)
    assert all("\n" not in answer.json()["detail"] for answer in away)
    assert page.status_code == 503
    assert "<html" in page.text
    assert (ready.status_code, ready.json()["database"] == "ok") == (503, False)
    assert alive.status_code == 200
