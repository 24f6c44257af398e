"""What a turn visits next: what somebody waits for, before all others, and everything once."""

from hypothesis import given
from hypothesis import strategies as st

from crawler.core.agenda import WISHED, Agenda, is_wished
from crawler.core.turns import TurnUrl


def url(number: int, *, due_at: int = WISHED) -> TurnUrl:
    """A URL of a turn, by number."""
    return TurnUrl(1, bytes([number]), f"http://a.test/{number}", due_at, 0, 0, 0, False, None)  # noqa: FBT003


def wish(number: int, at: int = 0) -> TurnUrl:
    """The same, when somebody waits for it; each wish has a time of its own."""
    return url(number, due_at=at)


def taken(agenda: Agenda) -> list[TurnUrl]:
    """All that is left, each done before the next is taken."""
    found: list[TurnUrl] = []
    while (one := agenda.take()) is not None:
        found.append(one)
        agenda.done(one)
    return found


numbers = st.lists(st.integers(0, 20), unique=True)


@given(numbers, numbers)
def test_once_and_in_order(line: list[int], hastened: list[int]) -> None:
    """What is hastened comes first, in its new form; all others after it, in their order; nothing twice, nothing lost."""
    agenda = Agenda(map(url, line))
    new = agenda.hasten([wish(n) for n in hastened])

    assert new == len(hastened)
    assert taken(agenda) == [*(wish(n) for n in hastened), *(url(n) for n in line if n not in hastened)]


@given(numbers, st.sets(st.integers(0, 20)))
def test_wished_from_the_beginning(line: list[int], wished: set[int]) -> None:
    """What the turn brings as wished comes first without being hastened."""
    given_ = [wish(n) if n in wished else url(n) for n in line]

    assert taken(Agenda(given_)) == sorted(given_, key=lambda one: not is_wished(one))


@given(numbers.filter(bool), st.integers(0, 20))
def test_gives_way(line: list[int], hastened: int) -> None:
    """A slot that has not asked yet takes what is hastened first, and what it held comes after that, unless it was the same."""
    agenda = Agenda(map(url, line))
    held = agenda.take()
    assert held is not None
    before = agenda.gives_way(held)
    agenda.hasten([wish(hastened)])
    gives_way = agenda.gives_way(held)
    order = taken(agenda)

    assert (before, gives_way) == (False, True)
    assert order == [wish(hastened), *(url(n) for n in line if n != hastened)]


def test_what_is_wished_gives_no_way() -> None:
    """A slot that holds what somebody waits for asks for it, whatever else is hastened."""
    agenda = Agenda([wish(1)])
    held = agenda.take()
    agenda.hasten([wish(2)])

    assert held == wish(1)
    assert not agenda.gives_way(held)


def test_a_wish_heard_of_again() -> None:
    """A wish that waits, is being fulfilled, or was, is not fulfilled a second time; a later one of the same URL is."""
    agenda = Agenda([])
    counts = [agenda.hasten([wish(1, 7)]), agenda.hasten([wish(1, 7)])]
    held = agenda.take()
    assert held is not None
    counts.append(agenda.hasten([wish(1, 7)]))
    later = agenda.hasten([wish(1, 8)])
    agenda.done(held)
    counts += [agenda.hasten([wish(1, 7)]), agenda.hasten([wish(1, 8)])]

    assert (counts, later) == ([1, 0, 0, 0, 0], 1)
    assert taken(agenda) == [wish(1, 8)]


def test_two_wishes_that_wait() -> None:
    """Of two wishes for a URL that nobody has taken yet only the later is asked for, which fulfils both."""
    agenda = Agenda([wish(1, 7), wish(2, 7)])
    agenda.hasten([wish(1, 8)])

    assert taken(agenda) == [wish(2, 7), wish(1, 8)]


def test_hurries() -> None:
    """Somebody waits from the moment that a URL is hastened until a slot is done with it."""
    agenda = Agenda([url(1)])
    seen = [agenda.hurries]
    agenda.hasten([wish(2)])
    seen.append(agenda.hurries)
    held = agenda.take()
    seen.append((agenda.hurries, agenda.waits) == (True, False))
    assert held is not None
    agenda.done(held)
    seen.append(agenda.hurries)

    assert seen == [False, True, True, False]


def test_nothing_after_the_end() -> None:
    """A turn that is to stop takes nothing more."""
    agenda = Agenda([url(1), wish(2)])
    agenda.clear()

    assert (agenda.take(), len(agenda)) == (None, 0)


@given(numbers, st.lists(st.integers(0, 20)), st.integers(0, 20))
def test_nothing_is_handed_out_twice(line: list[int], more: list[int], hastened: int) -> None:
    """Of what is added later only what the turn never had is new to it, taken or not; it counts all it ever had."""
    agenda = Agenda(map(url, line))
    agenda.take()
    agenda.hasten([wish(hastened)])
    new = agenda.unknown(list(map(url, dict.fromkeys(more))))
    agenda.add(new)

    assert {one.url_hash[0] for one in new} == set(more) - set(line) - {hastened}
    assert agenda.known == len({*line, *more, hastened})
    assert agenda.unknown(map(url, [*line, *more, hastened])) == []
