"""A number with its unit, as people write it: ``30s``, ``7d``, ``10MiB``."""

import re
from collections.abc import Mapping
from typing import Final

SECONDS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}

_AMOUNT: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([A-Za-z]*)", re.ASCII)


def amount(text: str, units: Mapping[str, float], bare: str) -> float | None:
    """What a text says, in the units' own measure; a bare number counts `bare`. None: it is no such amount."""
    found = _AMOUNT.fullmatch(text.strip())
    factor = units.get((found[2] or bare).lower()) if found else None
    return float(found[1]) * factor if found and factor else None


def show_duration(seconds: float) -> str:
    """The shortest way to write that duration: ``10m``, ``1.5s``."""
    unit = next((u for u in ("d", "h", "m") if seconds and seconds % SECONDS[u] == 0), "s")
    count = seconds / SECONDS[unit]
    return f"{int(count) if count.is_integer() else format(count, 'f').rstrip('0')}{unit}"
