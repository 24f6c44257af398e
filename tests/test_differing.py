"""What differs between two texts: laws for all of them, and what a person sees of some."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from crawler.differing import CONTEXT, LONG, Difference, difference, source_lines, text_lines
from tests.effort import Effort

LINES = st.lists(st.sampled_from("abcdefgh"), max_size=40)
"""Of few different ones, so that there is much to confuse."""
ONCE = st.permutations([str(number) for number in range(30)]).map(lambda lines: lines[:20])
"""That occur once each, in some order."""


def after_of(before: Sequence[str], found: Difference) -> list[str]:
    """What the hunks make of the lines before."""
    made, done = list[str](), 0
    for hunk in found.hunks:
        made += before[done : hunk.before]
        made += (line.text for line in hunk.lines if line.sign != "-")
        done = hunk.before + sum(line.sign != "+" for line in hunk.lines)
    return [*made, *before[done:]]


def before_of(after: Sequence[str], found: Difference) -> list[str]:
    """What the hunks make of the lines after, backwards."""
    made, done = list[str](), 0
    for hunk in found.hunks:
        made += after[done : hunk.after]
        made += (line.text for line in hunk.lines if line.sign != "+")
        done = hunk.after + sum(line.sign != "-" for line in hunk.lines)
    return [*made, *after[done:]]


@given(LINES | ONCE, LINES | ONCE)
def test_the_hunks_lead_from_the_one_to_the_other(before: list[str], after: list[str]) -> None:
    """What the hunks take away and put in makes the lines after out of those before, and the other way round."""
    found = difference(before, after, most=1000)

    assert after_of(before, found) == after
    assert before_of(after, found) == before
    assert len(after) - len(before) == found.added - found.removed
    assert found.left_out == 0


@given(LINES)
def test_equal_lines_have_no_difference(lines: list[str]) -> None:
    """Nothing differs from itself."""
    assert difference(lines, list(lines), most=9) == Difference(0, 0, (), 0)


@given(LINES, LINES, st.integers(0, 30))
def test_no_more_is_shown_than_was_asked_for(before: list[str], after: list[str], most: int) -> None:
    """The hunks have at most so many lines, and what is left out is counted."""
    found = difference(before, after, most=most)
    lines = [line for hunk in found.hunks for line in hunk.lines]

    assert len(lines) <= most
    assert found.left_out == found.added + found.removed - sum(line.sign != " " for line in lines)


@given(st.text() | st.text(alphabet="ab ,.;:<>{}\n\t", max_size=3000))
def test_lines_lose_nothing_but_white_space(text: str) -> None:
    """Making lines of a text keeps every character that is no white space, in order, and no line is very long."""
    for lines in (text_lines(text), source_lines(text)):
        assert "".join("".join(lines).split()) == "".join(text.split())
        assert max(map(len, lines), default=0) <= LONG * 5
        assert all(lines)


def test_a_word_that_is_put_in_moves_no_break() -> None:
    """In a long line without a full stop, a change is a change of one line, and not of all behind it."""
    words = [f"word{number}" for number in range(2000)]
    changed = [*words[:1000], "inserted", *words[1000:]]
    found = difference(text_lines(" ".join(words)), text_lines(" ".join(changed)), most=100)

    assert (found.added, found.removed) == (1, 0)


def test_a_sentence_is_a_line() -> None:
    """A paragraph is told sentence by sentence, in other scripts too."""
    lines = text_lines("It costs 5 EUR. 'Really?' Yes!\n\n 今日は。明日も。 \n")

    assert lines == ["It costs 5 EUR.", "'Really?'", "Yes!", "今日は。", "明日も。"]


def test_a_tag_is_a_line() -> None:
    """HTML that was written in one line is told tag by tag."""
    assert source_lines("<p>a <b>c</b></p><p>d") == ["<p>a <b>c</b>", "</p>", "<p>d"]


def test_what_a_person_sees() -> None:
    """A change stands with two lines before and behind it, under a heading with the numbers of the lines."""
    before = [str(number) for number in range(20)]
    after = [*before[:9], "new", *before[10:]]
    [hunk] = difference(before, after, most=100).hunks

    assert hunk.heading == "@@ -8,5 +8,5 @@"
    assert [sign + text for sign, text in hunk.lines] == [" 7", " 8", "-9", "+new", " 10", " 11"]


def test_changes_that_lie_apart_have_hunks_of_their_own() -> None:
    """Two changes share a hunk if no line between them would be left out, and else do not."""
    before = [str(number) for number in range(30)]

    def changed_at(*places: int) -> list[str]:
        return ["new" if number in places else line for number, line in enumerate(before)]

    near, far = (difference(before, changed_at(5, 6 + 2 * CONTEXT + more), most=100).hunks for more in (0, 1))

    assert (len(near), len(far)) == (1, 2)


def test_something_of_both_is_shown() -> None:
    """Where all is another and there is no room for it, the beginnings of both are shown."""
    found = difference([f"a{n}" for n in range(100)], [f"b{n}" for n in range(100)], most=10)
    [hunk] = found.hunks

    assert [line.sign for line in hunk.lines] == ["-"] * 5 + ["+"] * 5
    assert found.left_out == 190


def test_lines_that_occur_once_hold_the_others_together() -> None:
    """A paragraph that is put in is told as that, though it begins and ends as those around it do."""
    before = ["{", "one", "}", "{", "two", "}"]
    after = ["{", "one", "}", "{", "new", "}", "{", "two", "}"]
    found = difference(before, after, most=100)

    assert (found.added, found.removed) == (3, 0)


def test_hostile_texts_take_little_time() -> None:
    """200,000 lines of two kinds in random order, in reverse order, and all the same, are compared in a few seconds of CPU time."""
    many = 200_000
    once = [str(number) for number in range(many)]
    random = [str(pow(3, number, 1_000_003) & 1) for number in range(many)]
    with Effort() as effort:
        found = [
            difference(random, random[7:] + random[:7][::-1], most=10),
            difference(once, once[::-1], most=10),
            difference(["a"] * many, ["a"] * (many // 2), most=10),
        ]

    assert effort.spent < 15
    assert found[2].removed == many // 2
