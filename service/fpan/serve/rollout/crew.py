"""The batchers of the versions that are loaded, and rosters made of them."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor

from fpan.contract import ModelCard
from fpan.contract.aliases import CHALLENGER, SHADOW
from fpan.serve.inference.backend import InferenceBackend
from fpan.serve.inference.batcher import Batcher, BatchLimits
from fpan.serve.metrics import Metrics
from fpan.serve.pipeline.detect import FaceDetector
from fpan.serve.pipeline.lineup import Roster
from fpan.serve.pipeline.segmenter import Segmenter
from fpan.serve.pipeline.split import Split
from fpan.serve.served import SEGMENTATION, ServedVersion, Version
from fpan.serve.settings import Settings

_log = logging.getLogger(__name__)


class Crew:
    """One batcher for each version, from its first roster to its dismissal."""

    def __init__(self, settings: Settings, backend: InferenceBackend, pool: Executor, metrics: Metrics) -> None:
        self._settings = settings
        self._backend = backend
        self._pool = pool
        self._metrics = metrics
        self._limits = BatchLimits.of(settings)
        self._batchers: dict[Version, Batcher] = {}

    def roster(self, served: Sequence[ServedVersion]) -> Roster:
        """What answers to which name."""
        named: dict[str, Segmenter] = {}
        for each in served:
            batcher = self._batcher(each.card)
            named |= {name: Segmenter(each.card, batcher, alias) for name, alias in each.names.items()}
        finder = named[self._settings.detector_model]
        detector, careful = (
            FaceDetector(finder.card, finder.batcher, self._pool, threshold)
            for threshold in (self._settings.detector_threshold, self._settings.redact_detector_threshold)
        )
        segmenters = {name: segmenter for name, segmenter in named.items() if segmenter.card.task == SEGMENTATION}
        splits = {
            each.card.name: Split(named[f"{each.card.name}@{CHALLENGER}"], each.share) for each in served if each.share
        }
        return Roster(segmenters, self._settings.segm_model, detector, careful, splits, _shadows(served, named))

    @property
    def busy(self) -> bool:
        """Whether a network is asked something at this moment."""
        return any(batcher.busy for batcher in self._batchers.values())

    def _batcher(self, card: ModelCard) -> Batcher:
        key = card.name, card.version
        if key not in self._batchers:
            counts = self._metrics.batches.of(card.version)
            self._batchers[key] = Batcher(self._backend, card, self._limits, counts)
        return self._batchers[key]

    async def dismiss(self, versions: Iterable[Version]) -> None:
        """Ends the batchers of versions that are in no roster any more."""
        for version in versions:
            if version in self._batchers:
                await self._batchers.pop(version).close()

    async def close(self) -> None:
        """Ends all of them. Whoever still waits gets :class:`~fpan.serve.errors.Unavailable`."""
        await self.dismiss(list(self._batchers))


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
