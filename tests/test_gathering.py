"""Questions that come while one is under way are asked together, and each gets its own answer, or its own error."""

import asyncio
from collections.abc import Sequence
from typing import Final

import pytest

from crawler.core.errors import DatabaseError
from crawler.gathering import Gathering

BAD: Final = -1
"""A question that cannot be answered, alone or with others."""


class Oracle:
    """Answers n with 10 n, when it is let."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.may = asyncio.Event()
        self.gathering = Gathering(self.answer)

    async def answer(self, questions: Sequence[int]) -> list[int]:
        """Answer them all."""
        self.asked.append(list(questions))
        await self.may.wait()
        if BAD in questions:
            raise DatabaseError("that one")
        return [10 * question for question in questions]

    async def begin(self, *questions: int) -> list[asyncio.Task[int]]:
        """Ask, in this order; returns when all wait."""
        tasks = [asyncio.create_task(self.gathering.ask(question)) for question in questions]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return tasks


async def test_what_comes_meanwhile_goes_together() -> None:
    """The first question is asked at once and alone, the others in one group when it is answered."""
    expected = ([[1], [2, 3, 4]], [10, 20, 30, 40])
    oracle = Oracle()
    tasks = await oracle.begin(1, 2, 3, 4)
    oracle.may.set()
    answers = await asyncio.gather(*tasks)

    assert (oracle.asked, answers) == expected


async def test_a_question_that_fails_costs_the_others_nothing() -> None:
    """One that cannot be answered raises for its asker, and for nobody else."""
    oracle = Oracle()
    tasks = await oracle.begin(1, 2, BAD, 4)
    oracle.may.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert [answer if isinstance(answer, int) else type(answer) for answer in answers] == [
        10,
        20,
        DatabaseError,
        40,
    ]


@pytest.mark.parametrize("which", [0, 2])
async def test_who_does_not_wait_any_more_is_not_asked_for(which: int) -> None:
    """Cancelled, the question of one who waits is not asked; of one whose question is under way the others go on."""
    oracle = Oracle()
    tasks = await oracle.begin(1, 2, 3, 4)
    tasks[which].cancel()
    await asyncio.sleep(0)
    oracle.may.set()
    rest = [task for number, task in enumerate(tasks) if number != which]
    expected = [(number + 1) * 10 for number in range(4) if number != which]

    assert await asyncio.gather(*rest) == expected
    assert sum(questions.count(which + 1) for questions in oracle.asked) == (1 if which == 0 else 0)
