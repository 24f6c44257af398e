"""What is asked of a process at work over HTTP: read as Prometheus reads it."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

LISTENS: Final = re.compile(r"metrics at (http://\S+)/metrics")


@dataclass(frozen=True, slots=True)
class Scraped:
    """The samples of one scrape, and what kind each metric is."""

    kinds: Mapping[str, str]
    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def __call__(self, name: str, **labels: str) -> float:
        """The value of one series; of several, all that have these labels together."""
        wanted = frozenset(labels.items())
        found = [value for (of, has), value in self.samples.items() if of == name and wanted <= has]
        assert found, f"{name} {labels} is not told"
        return sum(found)

    def values(self, name: str, label: str) -> set[str]:
        """The values that a label has."""
        return {dict(labels)[label] for of, labels in self.samples if of == name}


def parsed(text: str) -> Scraped:
    """As Prometheus reads it; a counter by its whole name."""
    kinds, samples = {}, {}
    for family in text_string_to_metric_families(text):
        kinds[family.name + ("_total" if family.type == "counter" else "")] = family.type
        for sample in family.samples:
            series = sample.name, frozenset(sample.labels.items())
            assert series not in samples, f"{series} is told twice"
            samples[series] = sample.value
    return Scraped(kinds, samples)


async def asked(url: str, method: str = "GET") -> tuple[int, str, Mapping[str, str]]:
    """Status, body and headers of one request."""
    async with aiohttp.ClientSession() as session, session.request(method, url) as response:
        return response.status, await response.text(), dict(response.headers)


async def scraped(where: str) -> Scraped:
    """What /metrics says now."""
    status, text, _ = await asked(f"{where}/metrics")
    assert status == 200, text
    return parsed(text)


async def ready(where: str) -> tuple[int, dict[str, Any]]:
    """What /readyz says now."""
    status, text, _ = await asked(f"{where}/readyz")
    return status, dict(json.loads(text))


async def listens(said: asyncio.StreamReader) -> str:
    """Where a program that has just begun answers, as it says on stderr."""
    async with asyncio.timeout(60):
        while line := (await said.readline()).decode():
            if found := LISTENS.search(line):
                return found[1]
    raise AssertionError("it did not say where it listens")
