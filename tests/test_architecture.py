"""The folder is the layer: who may import whom, on one screen (design, section 4)."""

import ast
import sys
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
THINKS: Final = frozenset(
    """
    array base64 bisect codecs collections contextlib csv dataclasses datetime email enum fractions functools
    gzip hashlib heapq html http io ipaddress itertools json math operator re string struct types typing
    unicodedata urllib zlib zoneinfo ada_url bs4 can_ada cronsim html5lib lxml msgspec protego publicsuffixlist regex turbohtml
    webencodings
    """.split()  # noqa: SIM905  # forty pairs of quotes would hide the names
)
"""What the core may import."""
CARRIES: Final = {
    "answering": {"aiohttp"},
    "attempt": {"aiohttp"},
    "binaries": {"platformdirs"},
    "bodies": {"aiohttp"},
    "connecting": {"aiohttp", "aiohappyeyeballs"},
    "decoding": {"isal", "brotli", "backports"},
    "exposition": {"prometheus_client"},
    "functions": {"cloudpickle"},
    "nameserver": {"aiodns", "pycares"},
    "embedded": {"asyncpg"},
    "members": {"isal"},
    "parquet": {"pyarrow"},
    "postgres": {"asyncpg"},
    "rabbit": {"aiormq", "pamqp"},
    "rabbit_consumer": {"aiormq", "pamqp"},
    "rabbit_facts": {"aio_pika", "aiormq", "pamqp"},
    "rabbit_feed": {"aio_pika", "aiormq"},
    "rabbit_letters": {"aio_pika"},
    "rabbit_link": {"aio_pika", "pamqp"},
    "rabbit_wire": {"aio_pika", "aiormq", "pamqp", "yarl"},
    "sentry": {"sentry_sdk", "urllib3"},
    "translating": {"asyncpg"},
    "web": {"aiohttp", "yarl"},
    "wire": {"aiohttp"},
    "zstd": {"backports"},
}
"""Which foreign libraries an adapter carries; one that is not named carries none."""
CATCHES_ALL: Final = {
    "crawler/apart.py",
    "crawler/cli/__init__.py",
    "crawler/dashboard/bounds.py",
    "crawler/dashboard/errands.py",
    "crawler/hook_process.py",
    "crawler/parser_process.py",
    "crawler/processes.py",
    "crawler/reading.py",
    "crawler/refreshing.py",
    "crawler/upkeep.py",
    "crawler/worker.py",
    "scheduler/timetable.py",
}
"""Where ``except Exception`` may stand."""

OF_THE_DASHBOARD: Final = frozenset(
    {"fastapi", "fastapi_offline", "jinja2", "markupsafe", "pydantic", "starlette", "uvicorn"}
)
"""What comes with the extra ``dashboard``: whoever has not installed it misses nothing else."""

FILES: Final = sorted(path for top in ("crawler", "scheduler") for path in (ROOT / top).rglob("*.py"))


def each(*tops: str) -> pytest.MarkDecorator:
    """Run a test on every module below these folders."""
    names = [path.relative_to(ROOT).as_posix() for path in FILES]
    return pytest.mark.parametrize("name", [name for name in names if name.startswith(tops)])


@cache
def nodes(name: str) -> tuple[ast.AST, ...]:
    """Everything a module says."""
    return tuple(ast.walk(ast.parse((ROOT / name).read_text("utf-8"))))


@cache
def imports(name: str) -> set[str]:
    """The modules that a module imports, in full."""
    plain = {alias.name for node in nodes(name) if isinstance(node, ast.Import) for alias in node.names}
    return plain | {
        f"{node.module}.{alias.name}"
        for node in nodes(name)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def first(module: str) -> str:
    """The top level package of a module."""
    return module.partition(".")[0]


@each("crawler/core/")
def test_core_imports_only_what_thinks(name: str) -> None:
    """The core imports pure modules and itself."""
    strangers = {
        one for one in imports(name) if first(one) not in THINKS and not one.startswith("crawler.core.")
    }

    assert strangers == set()


@each("crawler/core/")
def test_core_neither_waits_nor_asks_the_time(name: str) -> None:
    """The core has no await, no clock and no dice."""
    waits = (ast.Await, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith)
    asks = {"now", "utcnow", "today", "monotonic", "perf_counter", "getenv", "environ", "random", "urandom"}
    found = [
        ast.unparse(node)
        for node in nodes(name)
        if isinstance(node, waits) or (isinstance(node, ast.Attribute) and node.attr in asks)
    ]

    assert found == []


@each("crawler/adapters/")
def test_an_adapter_carries_its_own_library(name: str) -> None:
    """An adapter imports the core, the ports, its neighbours, the standard library, the log and what it carries."""
    own = CARRIES.get(Path(name).stem, set()) | sys.stdlib_module_names | {"compression", "structlog"}
    inside = ("crawler.core.", "crawler.adapters.", "crawler.ports.")
    strangers = {
        one for one in imports(name) - {"crawler"} if first(one) not in own and not one.startswith(inside)
    }

    assert strangers == set()


@each("crawler/", "scheduler/")
def test_foreign_libraries_stay_in_their_adapters(name: str) -> None:
    """Nobody but an adapter imports a library that an adapter carries, but the name of a folder."""
    carried = set().union(*CARRIES.values()) - {"platformdirs"}
    found = set() if name.startswith("crawler/adapters/") else carried & set(map(first, imports(name)))

    assert found == set()


@each("crawler/", "scheduler/")
def test_only_the_door_knows_the_programs(name: str) -> None:
    """Only the command line, `python -m` and the Python interface (which has its options) import the command line or the scheduler."""
    programs = {
        "crawler.cli": ("crawler/cli/", "crawler/__main__.py", "crawler/calling.py"),
        "scheduler": ("crawler/cli/", "scheduler/"),
    }
    found = {
        one
        for one in imports(name)
        for program, doors in programs.items()
        if f"{one}.".startswith(f"{program}.") and not name.startswith(doors)
    }

    assert found == set()


@each("crawler/", "scheduler/")
def test_the_dashboard_is_an_extra(name: str) -> None:
    """Only the dashboard imports what comes with it; only its command imports the dashboard, and not before it is used."""
    inside = name.startswith("crawler/dashboard/")
    strangers = set() if inside else OF_THE_DASHBOARD & set(map(first, imports(name)))
    at_once = {
        ast.unparse(node)
        for node in ast.parse((ROOT / name).read_text("utf-8")).body
        if isinstance(node, (ast.Import, ast.ImportFrom)) and "crawler.dashboard" in ast.unparse(node)
    }
    users = {one for one in imports(name) if f"{one}.".startswith("crawler.dashboard.")}

    assert strangers == set()
    assert inside or at_once == set()
    assert inside or name == "crawler/cli/dashboard.py" or users == set()


@each("crawler/", "scheduler/")
def test_a_module_is_one_idea(name: str) -> None:
    """No module has more than 350 lines, or a name that could hold anything."""
    lines = len((ROOT / name).read_text("utf-8").splitlines())

    assert lines <= 350
    assert Path(name).stem not in {"utils", "base", "manager", "helpers"}


@each("crawler/", "scheduler/")
def test_nothing_is_caught_blindly(name: str) -> None:
    """What catches every exception passes it on, or stands where what comes is reported."""
    found = [
        node.lineno
        for node in nodes(name)
        if isinstance(node, ast.ExceptHandler) and catches_all(node) and ast.unparse(node.body[-1]) != "raise"
    ]

    assert name in CATCHES_ALL or found == []


def catches_all(handler: ast.ExceptHandler) -> bool:
    """Whether it is a bare except, or names Exception or BaseException."""
    named = ast.walk(handler.type) if handler.type else ()
    every = {"Exception", "BaseException"} & {node.id for node in named if isinstance(node, ast.Name)}
    return handler.type is None or bool(every)
