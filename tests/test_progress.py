"""What a run says it waits for."""

import pytest

from crawler.progress import Progress, waits_for


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        (Progress(active=1, lookups=1, open_requests=1), "DNS: 1 name asked for"),
        (Progress(active=2, lookups=2, open_requests=2), "DNS: 2 names asked for"),
        (Progress(active=1, open_requests=1), "sites: 1 request open"),
        (Progress(active=3, open_requests=1_200), "sites: 1,200 requests open"),
        (Progress(active=1, rest=0.42), "politeness: next request in 0.4 s"),
        (Progress(active=1, unwritten=1), "database: 1 visit to write"),
        (Progress(active=1), "1 domain at work"),
        (Progress(active=1, open_requests=1, away="database"), "database: it does not answer"),
        (Progress(), ""),
    ],
)
def test_what_a_run_waits_for(progress: Progress, said: str) -> None:
    """It names what is at work, one or several; only where no domain is, the frontier is asked: to it a held domain looks due later."""
    assert waits_for(progress) == said
