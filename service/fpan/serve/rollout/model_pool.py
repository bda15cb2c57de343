"""What each loaded version has of its own, and routing_tables made of them."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from fpan.contract import ModelCard
from fpan.contract.aliases import CHALLENGER, SHADOW
from fpan.serve.inference.backend import InferenceBackend
from fpan.serve.inference.batcher import Batcher, BatchLimits
from fpan.serve.pipeline.detect.detector import FaceDetector
from fpan.serve.pipeline.segment.drift import DriftRules, FaceWindow
from fpan.serve.pipeline.segment.routing import RoutingTable, Segmenter, TrafficSplit
from fpan.serve.pipeline.settings import PipelineSettings
from fpan.serve.rollout.served import SEGMENTATION, ServedVersion, Version
from fpan.serve.rollout.settings import RolloutSettings
from fpan.serve.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Member:
    batcher: Batcher
    window: FaceWindow | None
    """Of what segments."""


class ModelPool:
    """One batcher and one window of faces for each version, from its first routing_table to its dismissal."""

    def __init__(
        self,
        settings: RolloutSettings,
        pipeline: PipelineSettings,
        limits: BatchLimits,
        backend: InferenceBackend,
        pool: Executor,
        metrics: Metrics,
    ) -> None:
        """Makes one of its parts.

        Args:
            settings: which models answer, and when faces have drifted.
            pipeline: from which score on faces are found.
            limits: how each version is batched.
            backend: computes the networks.
            pool: where what computes beside them runs.
            metrics: are told of batches and drift.
        """
        self._settings = settings
        self._thresholds = pipeline.detector_threshold, pipeline.redact_detector_threshold
        self._backend = backend
        self._pool = pool
        self._metrics = metrics
        self._limits = limits
        self._rules = DriftRules(settings.drift_window_faces, settings.drift_min_faces, pipeline.detector_threshold)
        self._members: dict[Version, _Member] = {}

    def routing_table(self, served: Sequence[ServedVersion]) -> RoutingTable:
        """What answers to which name."""
        named: dict[str, Segmenter] = {}
        for each in served:
            member = self._member(each.card)
            named |= {
                name: Segmenter(each.card, member.batcher, alias, member.window) for name, alias in each.names.items()
            }
        finder = named[self._settings.detector_model]
        detector, careful = (
            FaceDetector(finder.card, finder.batcher, self._pool, threshold) for threshold in self._thresholds
        )
        segmenters = {name: segmenter for name, segmenter in named.items() if segmenter.card.task == SEGMENTATION}
        splits = {
            each.card.name: TrafficSplit(named[f"{each.card.name}@{CHALLENGER}"], each.share)
            for each in served
            if each.share
        }
        shadows = _shadows(served, named)
        return RoutingTable(segmenters, self._settings.segm_model, detector, careful, splits, shadows, finder.card)

    @property
    def busy(self) -> bool:
        """Whether a network is asked something now; background work, which may last hours, counts for nothing."""
        return any(member.batcher.busy for member in self._members.values())

    def _member(self, card: ModelCard) -> "_Member":
        key = card.name, card.version
        if key not in self._members:
            batcher = Batcher(self._backend, card, self._limits, self._metrics.batches.of(card.version))
            window = FaceWindow(card, self._rules) if card.taxonomy else None
            if window is not None:
                self._metrics.drift.watch(window)
            self._members[key] = _Member(batcher, window)
        return self._members[key]

    async def dismiss(self, versions: Iterable[Version]) -> None:
        """Ends what belongs to versions that are in no routing_table any more."""
        for version in versions:
            if (member := self._members.pop(version, None)) is not None:
                if member.window is not None:
                    self._metrics.drift.forget(member.window)
                await member.batcher.close()

    async def close(self) -> None:
        """Ends all of them. Whoever still waits gets :class:`~fpan.serve.api.errors.Unavailable`."""
        await self.dismiss(list(self._members))


def _shadows(served: Sequence[ServedVersion], named: Mapping[str, Segmenter]) -> dict[str, Segmenter]:
    shadows = {}
    for each in served:
        if SHADOW not in each.aliases or each.default:
            continue
        name, version = each.version
        if _classes(each.card) == _classes(named[name].card):
            shadows[name] = named[f"{name}@{SHADOW}"]
        else:
            _log.warning(
                "%s version %d, which is shadow, has other classes than the champion's: no comparison", name, version
            )
    return shadows


def _classes(card: ModelCard) -> tuple[str, ...]:
    return tuple(each.name for each in card.taxonomy.classes) if card.taxonomy else ()
