"""The real program on a database server that is named, as on many machines: run to its end, and what it said."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]


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
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "crawler",
            *arguments,
            cwd=ROOT,
            env=own | {f"CRAWL_{name}": value for name, value in given.items()},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(60):
                out, err = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.communicate()
            raise
        return Said(process.returncode or 0, out.decode(), err.decode())
