"""What settings say against each other, and what they seldom mean."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from crawler.core.errors import SettingsError
from crawler.kinds import AGENT, AGENT_NAME

if TYPE_CHECKING:
    from crawler.settings import Settings

LONGEST_DELIVERY: Final = 1500.0
"""RabbitMQ's consumer_timeout is 30 minutes; what a turn may take at its end comes on top."""
SHORT_TOKEN: Final = 16

Contradiction: TypeAlias = tuple[tuple[str, ...], str]
"""The settings that do not go together, and a line about it."""


class ContradictionError(SettingsError):
    """Settings contradict each other."""

    def __init__(self, found: tuple[Contradiction, ...]) -> None:
        super().__init__("\n".join(text for _, text in found))
        self.found = found


def contradictions(it: "Settings") -> Iterator[Contradiction]:
    """What settings say against each other."""
    for phase in ("dns_timeout", "connect_timeout", "tls_timeout", "first_byte_timeout", "read_timeout"):
        if getattr(it, phase) > it.total_timeout:
            yield (
                (phase, "total_timeout"),
                f"total_timeout is shorter than {phase}: raise it",
            )
    if it.queue_lease < it.work_lease:
        yield (
            ("queue_lease", "work_lease"),
            "queue_lease is shorter than work_lease: make it at least as long",
        )
    if it.turn_seconds + it.total_timeout > it.queue_lease:
        # A message behind a turn at work would always be stale before anybody could accept it.
        names = ("turn_seconds", "total_timeout", "queue_lease")
        yield names, "queue_lease is shorter than turn_seconds and total_timeout together: raise it"
    if it.amqp_url is not None and it.turn_seconds + it.total_timeout > LONGEST_DELIVERY:
        names = ("turn_seconds", "total_timeout", "amqp_url")
        yield (
            names,
            "turn_seconds and total_timeout are more than 25 minutes together: RabbitMQ takes a message back after 30",
        )
    if it.delay > it.max_crawl_delay:
        yield ("delay", "max_crawl_delay"), "max_crawl_delay is shorter than delay: raise it"
    if not AGENT.fullmatch(it.user_agent):
        yield ("user_agent", "contact"), f'user_agent "{it.user_agent}" {AGENT_NAME.refusal()}'


def doubts(it: "Settings") -> Iterator[str]:
    """What is allowed, and seldom meant."""
    if it.product_token.lower() == "mozilla":
        yield 'no site can name you in robots.txt: start user_agent with a name of your own, not "Mozilla"'
    if not it.tls_verify:
        yield "certificates are not checked (tls_verify is false): anybody on the way may change a page"
    if it.api_token is not None and len(it.api_token) < SHORT_TOKEN:
        yield f"api_token has only {len(it.api_token)} characters: 16 or more at random cannot be guessed"
