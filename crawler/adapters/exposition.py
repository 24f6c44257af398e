"""What is measured, as Prometheus reads it.

    Readings, each with labels of its own ──► metric families ──► text/plain or OpenMetrics, whichever was asked for

prometheus-client writes it; the counts are ours (`crawler.core.metrics`): one of its own costs a microsecond and a lock each time.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import (
    Metric as Family,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from crawler.core.metrics import SECONDS, Group

BOUNDS: Final = (*map(floatToGoString, SECONDS), "+Inf")
KINDS: Final[Mapping[str, Any]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def exposition(groups: Iterable[Group], accept: str = "") -> tuple[bytes, str]:
    """All of it, and its content type. *accept*: the header of whoever asks."""
    registry = CollectorRegistry()
    registry.register(_Ours(groups))
    ProcessCollector(registry=registry)
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type


class _Ours(Collector):
    def __init__(self, groups: Iterable[Group]) -> None:
        self._groups = tuple(groups)

    def describe(self) -> Iterable[Family]:
        """Nothing: it is asked once."""
        return ()

    def collect(self) -> Iterator[Family]:
        """A family for each metric, and in it all its series."""
        for group in self._groups:
            families = {
                name: KINDS[metric.kind](name, metric.about, labels=(*group.labels, *metric.labels))
                for name, metric in group.table.items()
            }
            for labels, reading in group.readings:
                ours = tuple(labels[label] for label in group.labels)
                for (name, values), value in reading.values.items():
                    families[name].add_metric((*ours, *values), value)
                for (name, values), sums in reading.histograms.items():
                    buckets = list(zip(BOUNDS, sums.below(), strict=True))
                    families[name].add_metric((*ours, *values), buckets, sums.total)
            yield from families.values()
