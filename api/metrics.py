"""Prometheus metrics, in a registry of each app's own."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.outcomes import ACCEPTED, RECORDED, Outcome
from ledger.errors import Refused
from ledger.service.node import Node

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_PREFIX = "chip_passport_"


class Metrics:
    """Counters of one app. Increments are thread-safe."""

    def __init__(self, node: Node) -> None:
        self.registry = CollectorRegistry()
        self._messages = Counter(
            _PREFIX + "messages",
            "Messages by outcome: accepted, recorded as a conflict, refused.",
            ["route", "outcome"],
            registry=self.registry,
        )
        self._reasons = Counter(
            _PREFIX + "messages_not_accepted",
            "Messages recorded as a conflict or refused, by reason.",
            ["route", "reason"],
            registry=self.registry,
        )
        self.latency = Histogram(
            _PREFIX + "ingest_seconds",
            "Time from the whole body to the durable answer, by route and media type.",
            ["route", "media"],
            buckets=_LATENCIES,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            _PREFIX + "requests_in_flight", "Requests being answered.", registry=self.registry
        )
        self.busy = Counter(
            _PREFIX + "busy", "Requests turned away with 503 busy.", registry=self.registry
        )
        self.faults = Counter(
            _PREFIX + "faults",
            "Unexpected faults, by exception class.",
            ["error"],
            registry=self.registry,
        )
        self.ticks = Counter(
            _PREFIX + "ticks",
            "Runs of the regular work (epochs and verifier; checkpoints), by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self._queues: list[Callable[[], int]] = []
        queue = Gauge(
            _PREFIX + "queue_depth", "Single messages waiting for a write.", registry=self.registry
        )
        queue.set_function(lambda: sum(depth() for depth in self._queues))
        self.registry.register(_LogCollector(node))

    def watch_queue(self, depth: Callable[[], int]) -> None:
        """Count another queue in ``queue_depth``."""
        self._queues.append(depth)

    def count(self, route: str, outcomes: Sequence[Outcome]) -> None:
        """Count the outcomes of one write."""
        accepted = recorded = 0
        reasons: dict[str, int] = {}
        for outcome in outcomes:
            reason = outcome.reason if isinstance(outcome, Refused) else outcome.conflict
            if reason is None:
                accepted += 1
                continue
            recorded += not isinstance(outcome, Refused)
            reasons[reason.value] = reasons.get(reason.value, 0) + 1
        refused = len(outcomes) - accepted - recorded
        for name, number in ((ACCEPTED, accepted), (RECORDED, recorded), ("refused", refused)):
            if number:
                self._messages.labels(route, name).inc(number)
        for code, number in reasons.items():
            self._reasons.labels(route, code).inc(number)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format; reads the ledger's status."""
        return generate_latest(self.registry)


class _LogCollector(Collector):
    """Sizes of the log, read once per scrape. Left out while the ledger cannot tell them."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read the ledger."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        try:
            status, cosigned = self._node.status(), self._node.cosigned_sizes()
        except Exception:  # metrics are wanted most when the ledger fails
            return
        yield GaugeMetricFamily(_PREFIX + "log_size", "Entries on the log.", status.size)
        yield GaugeMetricFamily(
            _PREFIX + "published_size", "Entries under the last checkpoint.", status.published_size
        )
        yield GaugeMetricFamily(
            _PREFIX + "verifier_lag",
            "Entries that the verifier has not appraised yet.",
            max(0, status.size - status.verifier_position),
        )
        sizes = GaugeMetricFamily(
            _PREFIX + "cosigned_size",
            "Entries under the newest checkpoint that a witness has cosigned.",
            labels=["witness"],
        )
        for name, size in cosigned.items():
            sizes.add_metric([name], size)
        yield sizes
