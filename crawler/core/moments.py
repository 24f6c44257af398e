"""Moments as whole microseconds since the epoch: what a message carries and PostgreSQL compares exactly."""

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """Microseconds since the epoch of an aware moment, without rounding."""
    return (moment - EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """The moment that `micros` counted."""
    return EPOCH + timedelta(microseconds=microseconds)


NEVER: Final = datetime.max.replace(tzinfo=UTC)
"""What asyncpg writes as 'infinity'."""
