"""Which queue carries the turns: RabbitMQ if one is named, else the PostgreSQL that holds the truth anyway."""

import contextlib
from collections.abc import AsyncIterator

from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue
from crawler.core.errors import UsageError
from crawler.ports import Queue
from crawler.settings import Settings


@contextlib.asynccontextmanager
async def opened_queue(settings: Settings, database: Database) -> AsyncIterator[Queue]:
    """The queue of these settings.

    RabbitMQ is connected to when it is first needed.
    """
    if settings.amqp_url is None:
        yield PostgresQueue(database)
        return
    from crawler.adapters.rabbit import RabbitQueue  # noqa: PLC0415 - its library takes a while to import

    async with RabbitQueue(settings.amqp_url, prefix=settings.amqp_prefix) as queue:
        yield queue


def refuse_stray(settings: Settings) -> None:
    """Who takes turns from a queue that others may share, with a database that they do not know, would drop theirs as old.

    Raises:
        UsageError: a RabbitMQ was named, and no database.
    """
    if settings.amqp_url is not None and settings.database_url is None and settings.data is None:
        raise UsageError(
            "the turns in RabbitMQ are those of one database: name it (--database, CRAWL_DATABASE_URL),"
            " or the folder of an embedded one (--data)"
        )


async def reach_queue(settings: Settings) -> None:
    """See that a RabbitMQ that was named is there and lets us in: later it may go away and come back, but a wrong name never would.

    Raises:
        BrokerError: it is not, or does not.
    """
    if settings.amqp_url is not None:
        from crawler.adapters.rabbit import RabbitQueue  # noqa: PLC0415 - as above

        async with RabbitQueue(settings.amqp_url, prefix=settings.amqp_prefix) as queue:
            await queue.depth()
