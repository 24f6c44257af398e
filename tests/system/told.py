"""The real program on a database server that is named, as on many machines: run to its end, and what it said."""

import json
import os
from dataclasses import dataclass, field
from typing import Any

from tests.forking import crawled


@dataclass(frozen=True, slots=True)
class Said:
    """How a program ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed for a program."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Terminal:
    """`crawl` on one database."""

    dsn: str
    settings: dict[str, str] = field(default_factory=dict)

    async def __call__(self, *arguments: str, **settings: str) -> Said:
        """Run it to its end; *settings* as CRAWL_ in the environment."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("CRAWL_")}
        given = {"DATABASE_URL": self.dsn, **self.settings, **settings}
        env = own | {f"CRAWL_{name}": value for name, value in given.items()}
        done = await crawled(*arguments, env=env)
        return Said(done.returncode, done.stdout.decode(), done.stderr.decode())
