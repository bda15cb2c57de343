"""What Prometheus sees: requests by route and stage, batches, queues, faces, drift."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from fpan.contract import ModelCard
from fpan.serve.pipeline.drift import FaceWindow
from fpan.serve.served import ServedVersion

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCH = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_FACES = (0, 1, 2, 3, 5, 8, 12, 20, 50, 100)


class Metrics:
    """All metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.requests = Counter(
            "fpan_requests", "Requests by route, method and status.", ("route", "method", "status"), registry=r
        )
        self.request_seconds = Histogram(
            "fpan_request_seconds", "Time from a request to its answer.", ("route",), buckets=_SECONDS, registry=r
        )
        self.stage_seconds = Histogram(
            "fpan_stage_seconds", "Time in one stage of the pipeline.", ("stage",), buckets=_SECONDS, registry=r
        )
        self.in_flight = Gauge("fpan_requests_in_flight", "Requests that are being handled.", registry=r)
        self.faces = Histogram("fpan_faces", "Faces parsed in a picture.", buckets=_FACES, registry=r)
        self.batches = BatchCounts(r)
        self.rollout = RolloutCounts(r)
        self.drift = DriftGauges()
        r.register(self.drift)

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)


class DriftGauges(Collector):
    """How far the newest faces of each version are from the reference in its card, computed when it is asked for."""

    def __init__(self) -> None:
        self.windows: list[FaceWindow] = []

    def watch(self, window: FaceWindow) -> None:
        """Tells of a version from now on."""
        self.windows.append(window)

    def forget(self, window: FaceWindow) -> None:
        """Tells no more of a version."""
        self.windows.remove(window)

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        label = ("model", "version")
        faces = GaugeMetricFamily("fpan_drift_faces", "Faces in the window that is compared.", labels=label)
        psi = GaugeMetricFamily(
            "fpan_drift_psi", "Population stability index against the card's reference.", labels=(*label, "quantity")
        )
        for window in self.windows:
            version = (window.card.name, str(window.card.version))
            faces.add_metric(version, window.faces)
            for quantity, observed in window.observed().items():
                if observed.psi is not None:
                    psi.add_metric((*version, quantity), observed.psi)
        yield faces
        yield psi


class BatchCounts:
    """What the batchers tell, by model and version."""

    def __init__(self, registry: CollectorRegistry) -> None:
        label = ("model", "version")
        self.size = Histogram(
            "fpan_batch_size", "Crops that went to a network together.", label, buckets=_BATCH, registry=registry
        )
        self.waited = Histogram(
            "fpan_queue_seconds", "Time a crop waited for its batch.", label, buckets=_SECONDS, registry=registry
        )
        self.depth = Gauge("fpan_queue_depth", "Crops that wait.", label, registry=registry)

    def of(self, version: int) -> "VersionCounts":
        """Where the batcher of a version tells."""
        return VersionCounts(self, str(version))


@dataclass(frozen=True)
class VersionCounts:
    """What the batcher of one version tells; see :class:`fpan.serve.inference.batcher.BatchMetrics`."""

    counts: BatchCounts
    version: str

    def queue_depth(self, model: str, items: int) -> None:
        """So many items wait now."""
        self.counts.depth.labels(model, self.version).set(items)

    def waited(self, model: str, seconds: float) -> None:
        """An item waited so long before its batch went out."""
        self.counts.waited.labels(model, self.version).observe(seconds)

    def batch_size(self, model: str, items: int) -> None:
        """A batch of so many items went out."""
        self.counts.size.labels(model, self.version).observe(items)


class RolloutCounts:
    """What follows the registry tells."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._served = Gauge(
            "fpan_model_served", "1 for a version that answers.", ("model", "version", "alias"), registry=registry
        )
        self._refused = Gauge(
            "fpan_model_refused",
            "1 for a version that the registry asks for and that failed its trial here.",
            ("model", "version"),
            registry=registry,
        )
        self._reachable = Gauge("fpan_registry_reachable", "1 if the model repository can be read.", registry=registry)

    def settled(self, served: Iterable[ServedVersion], refused: Iterable[ModelCard]) -> None:
        """What answers now, and what should and does not."""
        self._served.clear()
        for each in served:
            for alias in each.aliases or ("",):
                self._served.labels(each.card.name, str(each.card.version), alias).set(1)
        self._refused.clear()
        for card in refused:
            self._refused.labels(card.name, str(card.version)).set(1)

    def reachable(self, can_be: bool) -> None:
        """Whether the model repository could be read just now."""
        self._reachable.set(can_be)
