"""Which pages of a crawl are meant: by domain, outcome, media type and time."""

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from crawler.core.errors import SettingsError, UsageError
from crawler.core.urls import domain_id, domain_named
from crawler.kinds import parse_duration
from crawler.phrases import seen

NOW: Final = "now"
"""How a person says this moment."""

_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]+/(?:[a-z0-9!#$&^_.+-]+|\*)")
"""RFC 6838 section 4.2, and a star for whatever a family has."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Pages that have all of this; what is empty is no condition.

    When a page became what it is: one that is ok when what it says last became another (`changed_at`), any other one when it was
    fetched.
    """

    domains: tuple[str, ...] = ()
    """Registrable domains."""
    outcomes: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    """Media types, lower case; ``image/*`` for all that begin so."""
    since: datetime | None = None
    """Those that became what they are then or later."""
    until: datetime | None = None
    """Those that became what they are before."""

    @property
    def arguments(self) -> tuple[object, ...]:
        """As the statements of exporting.sql take it: outcomes, patterns of media types, since, until."""
        return (
            list(self.outcomes) or None,
            [_pattern(one) for one in self.types] or None,
            self.since,
            self.until,
        )

    @property
    def domain_ids(self) -> list[int] | None:
        """Of the domains; None: all."""
        return [domain_id(name) for name in self.domains] or None

    def as_json(self) -> dict[str, Any]:
        """As JSON can say it."""
        return {
            "domains": list(self.domains),
            "outcomes": list(self.outcomes),
            "types": list(self.types),
            "since": None if self.since is None else self.since.isoformat(),
            "until": None if self.until is None else self.until.isoformat(),
        }

    @classmethod
    def of_json(cls, said: Mapping[str, Any]) -> Self:
        """What `as_json` said."""
        since, until = (
            None if said[key] is None else datetime.fromisoformat(said[key]) for key in ("since", "until")
        )
        return cls(tuple(said["domains"]), tuple(said["outcomes"]), tuple(said["types"]), since, until)


EVERYTHING: Final = Selection()


def _pattern(media_type: str) -> str:
    """For LIKE."""
    text = re.sub(r"([\\%_])", r"\\\1", media_type)
    return f"{text[:-1]}%" if text.endswith("/*") else text


def media_types(text: str) -> tuple[str, ...]:
    """Media types with commas between them. Raises UsageError: one of them is none."""
    found = tuple(dict.fromkeys(one.strip().lower() for one in text.split(",") if one.strip()))
    for one in found:
        if not _MEDIA_TYPE.fullmatch(one):
            raise UsageError(f"{seen(one)} is no media type: say text/html, application/pdf, or image/*")
    if not found:
        raise UsageError("no media type is named: say text/html, application/pdf, or image/*")
    return found


def domains(names: Iterable[str]) -> tuple[str, ...]:
    """The registrable domains that these names are of, each once. Raises UrlError: one of them is no host."""
    return tuple(dict.fromkeys(map(domain_named, names)))


def moment(text: str, now: datetime) -> datetime:
    """A moment as a person writes it: ISO 8601 (UTC, unless it says otherwise), an age like ``7d``, or ``now``.

    Raises:
        UsageError: it is none of these.
    """
    word = text.strip()
    if word == NOW:
        return now
    try:
        found = datetime.fromisoformat(word)
    except ValueError:
        found = _ago(word, now)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _ago(word: str, now: datetime) -> datetime:
    with contextlib.suppress(SettingsError, OverflowError):
        if word[-1:].isalpha():  # seconds without a unit are as likely a year
            return now - timedelta(seconds=parse_duration(word))
    raise UsageError(
        f"{seen(word)} is no moment: say 2026-11-22, 2026-11-22T08:00:00Z, or an age such as 36h or 7d"
    )
