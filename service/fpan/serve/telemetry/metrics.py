"""What Prometheus sees: requests by route and stage, batches, queues, faces, drift."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from fpan.contract import AliasName, ModelCard, ReferenceHistogram
from fpan.contract.aliases import CHALLENGER, CHAMPION
from fpan.serve.telemetry.job_metrics import JobCounts

Reason = Literal["errors", "latency"]
"""Why a version is taken back."""
Version = tuple[str, int]
"""Name of a model and number of its version."""
CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCH = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_AGREEMENT = (0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 1)
_DIFFERENCE = (-1, -0.25, -0.1, -0.05, -0.025, -0.01, -0.005, 0, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_FACES = (0, 1, 2, 3, 5, 8, 12, 20, 50, 100)


class Served(Protocol):
    """A version that answers; see :class:`~fpan.serve.rollout.served.ServedVersion`."""

    @property
    def card(self) -> ModelCard:
        """Of the version."""
        ...

    @property
    def aliases(self) -> tuple[AliasName, ...]:
        """What it is."""
        ...

    @property
    def share(self) -> float:
        """Of the callers, the part that it answers in the default's place, 0 to 1."""
        ...


class Quantity(Protocol):
    """A quantity of the newest faces; see :class:`~fpan.serve.pipeline.segment.drift.Observed`."""

    @property
    def edges(self) -> tuple[float, ...]:
        """Between the bins."""
        ...

    @property
    def counts(self) -> NDArray[np.int64]:
        """Faces in each bin, int64 (len(edges) + 1,)."""
        ...

    @property
    def reference(self) -> ReferenceHistogram | None:
        """What the card says of it."""
        ...

    @property
    def psi(self) -> float | None:
        """Population stability index; None where there is none."""
        ...


class DriftWindow(Protocol):
    """The newest faces of a version; see :class:`~fpan.serve.pipeline.segment.drift.FaceWindow`."""

    @property
    def card(self) -> ModelCard:
        """Of the version."""
        ...

    @property
    def faces(self) -> int:
        """How many there are."""
        ...

    def observed(self) -> Mapping[str, Quantity]:
        """Their quantities by name."""
        ...


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
        self.watch = WatchCounts(r)
        self.shadow = ShadowCounts(r)
        self.redis = RedisCounts(r)
        self.cache_requests = Counter(
            "fpan_cache_requests",
            "Requests by what the cache did: hit, miss, shared (with one in flight), skipped (never kept), failed.",
            ("outcome",),
            registry=r,
        )
        self.rate_limited = Counter(
            "fpan_rate_limited",
            "Requests refused because their caller's quota is used up, by where it is counted: redis, local.",
            ("counted",),
            registry=r,
        )
        self.files = FileCounts(r)
        self.jobs = JobCounts(r)

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)


class DriftGauges(Collector):
    """How far the newest faces of each version are from the reference in its card, computed when it is asked for."""

    def __init__(self) -> None:
        self.windows: list[DriftWindow] = []

    def watch(self, window: DriftWindow) -> None:
        """Tells of a version from now on."""
        self.windows.append(window)

    def forget(self, window: DriftWindow) -> None:
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
        self._share = Gauge(
            "fpan_split_share",
            "Share of the callers that the challenger answers, 0 to 1.",
            ("model",),
            registry=registry,
        )
        self._reachable = Gauge("fpan_registry_reachable", "1 if the model repository can be read.", registry=registry)

    def settled(self, served: Iterable[Served], refused: Iterable[ModelCard]) -> None:
        """What answers now, and what should and does not."""
        self._served.clear()
        self._share.clear()
        for each in served:
            for alias in each.aliases or ("",):
                self._served.labels(each.card.name, str(each.card.version), alias).set(1)
            if CHALLENGER in each.aliases:
                self._share.labels(each.card.name).set(each.share)
        self._refused.clear()
        for card in refused:
            self._refused.labels(card.name, str(card.version)).set(1)

    def reachable(self, can_be: bool) -> None:
        """Whether the model repository could be read just now."""
        self._reachable.set(can_be)


class WatchCounts:
    """What watches the versions in traffic tells."""

    def __init__(self, registry: CollectorRegistry) -> None:
        label = ("model", "version")
        self._requests = Counter(
            "fpan_version_requests",
            "Requests that asked a version for faces, by how that ended: ok, failed, late, refused, left.",
            (*label, "alias", "outcome"),
            registry=registry,
        )
        self._seconds = Histogram(
            "fpan_version_seconds",
            "Time from a request's question to a version to its answer.",
            label,
            buckets=_SECONDS,
            registry=registry,
        )
        self._taken_back = Counter(
            "fpan_automatic_rollbacks",
            "Versions that did badly in traffic and were taken back, by errors or latency.",
            ("model", "alias", "reason"),
            registry=registry,
        )
        self._unwritten = Gauge(
            "fpan_rollback_unwritten",
            "1 for a version that this gateway has taken back, but could not in the registry.",
            label,
            registry=registry,
        )

    def ended(self, card: ModelCard, alias: AliasName | None, outcome: str, seconds: float) -> None:
        """A request's question to a version has ended."""
        self._requests.labels(card.name, str(card.version), alias or "", outcome).inc()
        if outcome == "ok":
            self._seconds.labels(card.name, str(card.version)).observe(seconds)

    def watched(self, model: str) -> None:
        """Versions of a model may be taken back. A counter that begins with 1 would be no increase to Prometheus."""
        for alias in (CHAMPION, CHALLENGER):
            for reason in get_args(Reason):
                self._taken_back.labels(model, alias, reason)

    def taken_back(self, model: str, alias: AliasName, reason: Reason) -> None:
        """A version has been taken back."""
        self._taken_back.labels(model, alias, reason).inc()

    def unwritten(self, versions: Iterable[Version]) -> None:
        """Those that the registry still has as what they were."""
        self._unwritten.clear()
        for model, version in versions:
            self._unwritten.labels(model, str(version)).set(1)


class RedisCounts:
    """Whether what requests can do without is there, by what it is for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._up = Gauge("fpan_redis_up", "1 while the Redis answers.", ("role",), registry=registry)
        self._writable = Gauge("fpan_redis_writable", "1 while the Redis takes writes.", ("role",), registry=registry)

    def told(self, role: str, up: bool, writable: bool) -> None:
        """What is known of it now."""
        self._up.labels(role).set(up)
        self._writable.labels(role).set(up and writable)


class ShadowCounts:
    """What compares shadows with champions tells, crop by crop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        label = ("model", "version")
        self._agreement = Histogram(
            "fpan_shadow_agreement",
            "Share of a crop's pixels to which shadow and champion give the same label.",
            label,
            buckets=_AGREEMENT,
            registry=registry,
        )
        self._difference = Histogram(
            "fpan_shadow_extra_seconds",
            "Computing time of a crop by the shadow, less that by the champion.",
            label,
            buckets=_DIFFERENCE,
            registry=registry,
        )
        self._dropped = Counter(
            "fpan_shadow_dropped", "Crops that found no place in the shadow's queue.", label, registry=registry
        )
        self._failed = Counter("fpan_shadow_failed", "Crops that the shadow failed.", label, registry=registry)

    def compared(self, card: ModelCard, agreement: float, extra_s: float) -> None:
        """A crop was compared: share of its pixels, 0 to 1, and seconds."""
        self._agreement.labels(card.name, str(card.version)).observe(agreement)
        self._difference.labels(card.name, str(card.version)).observe(extra_s)

    def dropped(self, card: ModelCard, crops: int) -> None:
        """So many crops found no place."""
        self._dropped.labels(card.name, str(card.version)).inc(crops)

    def failed(self, card: ModelCard) -> None:
        """The shadow failed a crop."""
        self._failed.labels(card.name, str(card.version)).inc()


class FileCounts:
    """What follows files that others exchange tells."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.keys = Gauge("fpan_api_keys", "API keys that are neither revoked nor expired.", registry=registry)
        self._used = Gauge(
            "fpan_file_in_use",
            "1 if what is in the file now is in use, 0 if it is of no use and what was there before is.",
            ("file",),
            registry=registry,
        )

    def used(self, what: str, good: bool) -> None:
        """Whether the files of now are those in use."""
        self._used.labels(what).set(good)
