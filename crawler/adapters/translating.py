"""What asyncpg raises, in words of this house; and connections whose address is never told.

asyncpg ──► busy       DatabaseBusyError         tried again
        ──► gone       DatabaseUnavailableError  waited for
        ──► refusing   DatabaseRefusesError      of which no waiting makes anything better
        ──► the rest   DatabaseError             a fault of ours
"""

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import asyncpg

from crawler.core.errors import (
    DatabaseBusyError,
    DatabaseError,
    DatabaseRefusesError,
    DatabaseUnavailableError,
)
from crawler.core.masking import masked, secrets_of

Kinds: TypeAlias = tuple[type[Exception], ...]

USUAL_PORT: Final = 5432

_BUSY: Final[Kinds] = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    # A migration has changed a table between two uses of a statement: prepared anew, it does.
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
)
_GONE: Final[Kinds] = (
    OSError,
    EOFError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InternalClientError,
)
_WORDS: Final[tuple[tuple[Kinds, type[DatabaseError], str], ...]] = (
    (_BUSY, DatabaseBusyError, "{0}"),
    (
        (asyncpg.DiskFullError,),
        DatabaseError,
        "the database's disk is full ({0}): make room, then start again",
    ),
    ((asyncpg.InvalidPasswordError,), DatabaseRefusesError, "the database refuses the password: {0}"),
    (
        (asyncpg.InvalidCatalogNameError, asyncpg.InvalidAuthorizationSpecificationError),
        DatabaseRefusesError,
        "the database refuses the connection: {0}",
    ),
    # Its owner lets nobody in for a while.
    (
        (asyncpg.ObjectNotInPrerequisiteStateError,),
        DatabaseUnavailableError,
        "the database refuses the connection: {0}",
    ),
    ((asyncpg.UndefinedTableError,), DatabaseError, "{0}: run `crawl migrate`"),
    (_GONE, DatabaseUnavailableError, "the database cannot be reached: {0}"),
    ((asyncpg.PostgresError,), DatabaseError, "{1}: {0}"),
)
"""The first that fits: what is raised, and what it says (of the text of the error, and its kind)."""
_KNOWN: Final[Kinds] = tuple(kind for kinds, _, _ in _WORDS for kind in kinds)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn what asyncpg raises into what this house raises."""
    try:
        yield
    except _KNOWN as error:
        ours, words = next((ours, words) for kinds, ours, words in _WORDS if isinstance(error, kinds))
        kind = type(error).__name__
        raise ours(words.format(str(error) or kind, kind)) from error
    except asyncpg.InterfaceError as error:
        if "closed" in str(error) or "connection" in str(error):
            raise DatabaseUnavailableError(f"the database connection is lost: {error}") from error
        raise DatabaseError(str(error)) from error


async def connected(dsn: str, **how: Any) -> Any:
    """A connection, made by asyncpg.

    Raises:
        DatabaseUnavailableError: nobody answers there.
        DatabaseRefusesError: its certificate is not trusted, or the address cannot be used. It is not shown: what was taken for a
            port may be a part of the password.
    """
    try:
        return await asyncpg.connect(dsn, **how)
    except ssl.SSLCertVerificationError as error:  # which is a ValueError too
        words = (
            f"the database has a certificate that is not trusted ({error.verify_message}): name the file of its authority"
            " at the end of the address (sslrootcert=/path/to/ca.pem)"
        )
    except asyncpg.ClientConfigurationError as error:
        words = f"the database's address cannot be used: {masked(str(error), secrets_of(dsn))}"
    except OSError as error:
        raise DatabaseUnavailableError(f"{_place(dsn)} cannot be reached: {_reason(error)}") from error
    except (ValueError, OverflowError):
        words = "the database's address cannot be used: see its port, and write what is odd in the password as %XX"
    # Out here, so that no traceback shows where it came from.
    raise DatabaseRefusesError(words)


def _place(dsn: str) -> str:
    """Where it is, as the address says; of several servers, and of a socket, nothing."""
    try:
        parts = urlsplit(dsn)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "the database"
    named = f"[{host}]" if host and ":" in host else host
    return "the database" if not host or "," in host else f"the database at {named}:{port or USUAL_PORT}"


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError) and not error.args:
        return "no answer in time"
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or str(error) or type(error).__name__
    return os.strerror(error.errno)
