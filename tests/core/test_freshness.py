"""A small run of the freshness bench: which policies win with as many fetches, and what lies cost."""

import pytest

from tests.bench.changes import WORLDS
from tests.bench.freshness import SITEMAPS, WORDS, announced, design, ours, world


@pytest.mark.parametrize("name", WORLDS)
def test_adaptive_beats_a_fixed_interval(name: str) -> None:
    """With exactly as many fetches, the crawler's policy keeps more pages fresh, and what is not so by far younger."""
    own, fixed = world(name, 150, 365, 1).run(ours)

    assert own.fetches == fixed.fetches
    assert own.fresh > fixed.fresh
    assert own.age < 0.95 * fixed.age


@pytest.mark.parametrize("name", WORLDS)
def test_the_design_does_not(name: str) -> None:
    """What the design had, x 1.5 or x 0.5 of the interval itself, loses in age to a fixed interval with as many fetches."""
    own, fixed = world(name, 150, 365, 1).run(design)

    assert own.fetches == fixed.fetches
    assert own.age > 2 * fixed.age


@pytest.mark.parametrize("name", ["as Cho, at random", "half still, at random"])
@pytest.mark.parametrize("says", ["always 'always'", "always 'never'"])
def test_a_lying_changefreq_costs_little(name: str, says: str) -> None:
    """Whatever word a site says of all its pages, it is visited less than 2.2 times as often, and more than half as often."""
    here = world(name, 150, 365, 1)
    plain, lied = (here.run(policy)[0].fetches for policy in (ours, WORDS[says]))

    assert plain / 2 < lied < 2.2 * plain


@pytest.mark.parametrize("name", ["as Cho, at random", "half still, at random"])
def test_a_lying_lastmod_costs_little(name: str) -> None:
    """A sitemap that calls every page new on every day brings less than 2.5 times the visits; a true one makes pages fresher."""
    traces = world(name, 150, 365, 1).traces
    plain, true, lie = (announced(traces, 365, says)[0] for says in SITEMAPS.values())

    assert lie.fetches < 2.5 * plain.fetches
    assert true.fresh > plain.fresh + 0.05
    assert true.age < plain.age / 2
