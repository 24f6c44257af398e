"""What we raise on purpose. The docstring is the message: what is wrong, and what to do next.

What a *site* does is never here: it is an outcome (`crawler.core.model.Outcome`).
"""


class FaircrawlError(Exception):
    """Something went wrong."""

    exit_status = 1

    def __str__(self) -> str:
        text = super().__str__()
        return text or " ".join((self.__doc__ or "").split())


class UsageError(FaircrawlError):
    """That cannot be asked for."""

    exit_status = 2


class SettingsError(UsageError):
    """A setting is wrong."""


class UrlError(UsageError):
    """That is not a URL this crawler can fetch: give one that starts with http:// or https://."""


class DatabaseError(FaircrawlError):
    """The database did not do what was asked."""


class DatabaseUnavailableError(DatabaseError):
    """The database cannot be reached: see that it runs, and that --database or --data is right."""


class DatabaseRefusesError(DatabaseUnavailableError):
    """The database does not let us in, and will not until something is mended: see the user, the password and the name of the database."""


class DatabaseBusyError(DatabaseError):
    """The database could not do it just now (a lock, a deadlock): it is tried again."""


class DatabaseSlowError(DatabaseError):
    """The database would have had to search for too long: narrow it, by naming a domain, a crawl with an outcome, or a shorter time."""


class BrokerError(FaircrawlError):
    """The message broker did not do what was asked."""


class BrokerUnavailableError(BrokerError):
    """The message broker cannot be reached: see that it runs, and that --amqp is right."""


class EmbeddedDatabaseError(DatabaseError):
    """The embedded PostgreSQL could not be started."""


class SchemaError(DatabaseError):
    """The database's tables are not those this program knows: run `crawl migrate`."""


class SchemaBehindError(SchemaError):
    """The database lacks migrations: run `crawl migrate`."""


class NotKnownError(FaircrawlError):
    """Nothing is known of that."""


class StateError(FaircrawlError):
    """It is not in a state for that."""


class LeaseLostError(FaircrawlError):
    """The turn belongs to somebody else now: stop at once, and write nothing more for it."""


class MessageError(FaircrawlError):
    """A message that this version does not understand: it goes to the dead letters."""


def leaves(error: BaseException) -> list[BaseException]:
    """The errors themselves: several tasks may have failed together, in groups within groups."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]
