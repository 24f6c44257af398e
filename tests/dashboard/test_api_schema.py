"""The API against its own document, by schemathesis: whatever is sent, the answer is one that the document names.

CRAWL_TEST_API_EXAMPLES=200 looks longer than the suite does; CRAWL_TEST_API_SEED=7 elsewhere.
"""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, seed, settings
from schemathesis.config import SchemathesisConfig

from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue
from crawler.dashboard.app import make_app
from crawler.dashboard.auth import Guard
from crawler.dashboard.desk import Desk
from crawler.dashboard.serving import bound, served
from crawler.opening import Opened
from crawler.settings import Settings
from tests.dashboard.conftest import TOKEN
from tests.making import Frontiers

EXAMPLES: Final = int(os.environ.get("CRAWL_TEST_API_EXAMPLES", "6"))
SEED: Final = int(os.environ.get("CRAWL_TEST_API_SEED", "8"))
# What no schema can say (that a text is a URL, a regular expression, a rule) is refused with 422, which this check would not have.
CONFIG: Final = SchemathesisConfig.from_dict(
    {
        "checks": {
            "positive_data_acceptance": {
                "expected-statuses": ["2xx", "401", "403", "404", "409", "413", "422", "503"]
            },
            "negative_data_rejection": {"expected-statuses": ["4xx"]},
        }
    }
)


async def _nothing() -> None:
    """The server is its owner's business."""


async def _serve(dsn: str, told: list[Any], ready: threading.Event) -> None:
    """The app over a database with a crawl, until told to stop; wrong tokens do not wait here."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(await Database.open(dsn, size=8))
        await Frontiers(database).crawl("https://example.com/", "https://example.com/a", name="example.com")
        await Frontiers(database).crawl("https://example.org/", name="doomed")
        listener = stack.enter_context(bound("127.0.0.1", 0))
        port = listener.getsockname()[1]
        place = Opened(dsn, "the database", "", _nothing, database)
        desk = Desk(Settings(database_url=dsn), place, PostgresQueue(database), "PostgreSQL", ())
        app = make_app(desk, Guard(TOKEN, here=True, port=port, late=0.0))
        await stack.enter_async_context(served(app, listener))
        stop = asyncio.Event()
        told += [f"http://127.0.0.1:{port}", asyncio.get_running_loop(), stop]
        ready.set()
        await stop.wait()


@pytest.fixture(scope="session")
def fuzzed(server: Any) -> Iterator[str]:
    """Where the API is, over a database of its own."""
    name = server.clone()
    told: list[Any] = []
    ready = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(server.dsn(name), told, ready)))
    thread.start()
    assert ready.wait(30)
    url, loop, stop = told
    yield url
    loop.call_soon_threadsafe(stop.set)
    thread.join(30)
    server.drop(name)


@pytest.fixture(scope="session")
def document(fuzzed: str) -> Any:
    """What the API says of itself."""
    return schemathesis.openapi.from_url(f"{fuzzed}/openapi.json", config=CONFIG)


api = schemathesis.pytest.from_fixture("document")


@api.parametrize()
@seed(SEED)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_the_api_keeps_its_document(case: "schemathesis.Case[Any]") -> None:
    """No answer is 500, each has a status, headers and a body that the document names, and nothing is changed without the token."""
    if case.method == "DELETE" and case.path_parameters.get("name") == "example.com":
        case.path_parameters["name"] = "doomed"  # the others need it
    case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"})
