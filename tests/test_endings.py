"""What became of a URL, in sentences: one for every outcome."""

import pytest

from crawler.adapters.frontier import OVER_BUDGET, SHRUNK
from crawler.core.model import Outcome
from crawler.endings import MEANINGS, budget_words, meaning, patience_words


def kept(
    alike: int = 0, title: str | None = "A page", redirect_to: str | None = None, nearly: int = 0
) -> dict[str, object]:
    """What was kept of a page."""
    return {"status": 200, "title": title, "alike": alike, "nearly": nearly, "redirect_to": redirect_to}


def budget(fresh: int, alike: int, room: int) -> dict[str, int]:
    """What is counted of a domain."""
    return {"pages": fresh + alike, "fresh": fresh, "alike": alike, "granted": 0, "room": room}


def test_every_outcome_has_a_sentence() -> None:
    """Every outcome has a sentence of its own, and none is left over."""
    assert set(MEANINGS) == set(Outcome)
    assert len(set(MEANINGS.values())) == len(Outcome)


@pytest.mark.parametrize(
    ("outcome", "status", "detail", "words"),
    [
        (None, None, "", "it has not been visited yet"),
        ("http_error", 403, "403 Forbidden", "the site refuses to show it"),
        ("http_error", 500, "500", "the site failed to show it: a fault of its own, which may pass"),
        ("scope_refused", None, "deeper than --max-depth 3", "it was not asked for: the crawl's own rules leave it out"),
        ("scope_refused", None, OVER_BUDGET, "it was not asked for: the domain has used up its pages in this crawl"),
        ("scope_refused", None, f"{SHRUNK}205 pages", "it was not asked for: the domain has used up its pages in this crawl"),
        ("redirect", 302, "redirects to itself", "the site sends whoever asks for it elsewhere, but not where the crawl goes on"),
    ],
)  # fmt: skip
def test_meaning(outcome: str | None, status: int | None, detail: str, words: str) -> None:
    """Where one outcome stands for several things, the sentence tells them apart."""
    assert words == meaning(outcome, status, detail, None)


def test_dead_letter() -> None:
    """A URL that killed its workers is told from one that could not be read, with the command that tries it again."""
    lost = meaning("decode_error", None, "its turn was lost 6 times in a row: see `crawl dead list`", None)

    assert "crawl dead retry" in lost
    assert lost != meaning("decode_error", 200, "corrupt gzip", None)


@pytest.mark.parametrize(
    "title",
    [
        "404",
        "Error 404 - Shop",
        "Page Not Found",
        "Seite nicht gefunden",
        "Страница не найдена",
        "找不到页面",
    ],
)
def test_soft_404(title: str) -> None:
    """A page with status 200 whose title says that there is none is called a soft 404."""
    assert "a soft 404" in meaning("ok", 200, "", kept(title=title))


@pytest.mark.parametrize("title", [None, "", "Peugeot 404s", "Lost and found", "The HTTP Status Codes"])
def test_no_soft_404(title: str | None) -> None:
    """Other titles are not."""
    assert meaning("ok", 200, "", kept(title=title)) == MEANINGS[Outcome.OK]


def test_alike() -> None:
    """A page that says what others say is told how many they are, if it is one that was kept."""
    words = "its visible text is the same, but for digits, as that of 1 other page of this domain"

    assert meaning("ok", 200, "", kept(alike=1)).endswith(words)
    assert meaning("gone", 404, "", kept(alike=1)) == MEANINGS[Outcome.GONE]


@pytest.mark.parametrize(
    ("outcome", "status", "attempts", "words"),
    [
        ("timeout", None, 1, "try 2 of 4"),
        ("timeout", None, 4, "for it was tried 4 times, and given up"),
        ("http_error", 503, 1, "try 2 of 4"),
        ("http_error", 403, 1, ""),
        ("ok", 200, 0, ""),
        ("scope_refused", None, 0, ""),
    ],
)
def test_patience(outcome: str, status: int | None, attempts: int, words: str) -> None:
    """What failed tells how often it is tried; what did not, nothing."""
    assert words == patience_words(outcome, status, attempts)


@pytest.mark.parametrize(
    ("row", "most", "words"),
    [
        (None, None, []),
        (None, 10, ["0 of at most 10 pages of it are stored"]),
        (budget(3, 0, 212), None, []),
        (budget(40, 3, 357), None, []),
        (budget(2, 5, 203), None, ["5 of its 7 pages with text say what another page of it says, so it has room for 203 pages more"]),
        (budget(1, 204, 0), 300, [
            "205 of at most 300 pages of it are stored",
            ("204 of its 205 pages with text say what another page of it says, so its budget shrank to 205 pages: "
             "1,000, and 5 for each page that says something new"),
        ]),
    ],
)  # fmt: skip
def test_budget(row: dict[str, int] | None, most: int | None, words: list[str]) -> None:
    """The budget of a domain is told if there is a limit, or if most of its pages say the same."""
    assert words == budget_words(row, most)


def test_where_a_redirect_leads() -> None:
    """A redirect names its target, and nothing in that moves the terminal's cursor."""
    told = meaning("redirect", 301, "", kept(redirect_to="http://b.test/\x1b[2J"))

    assert told.startswith("the site sends whoever asks for it to http://b.test/\ufffd[2J; ")
