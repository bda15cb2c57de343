"""Routing in the loop: labelled pictures whose labels are those that they are routed with."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from fpan.contract import Taxonomy
from PIL import Image as PilImage

from fpan_training.data.folder import Sample, read_labels
from fpan_training.data.mixture import Part, Pictures
from fpan_training.engine.progress import track
from fpan_training.files import write_whole
from fpan_training.paper.routing.decision import Decision, Kind, Route
from fpan_training.paper.routing.log import DecisionLog
from fpan_training.paper.routing.protocols import Image, Points
from fpan_training.paper.routing.router import Labels, Router, Routing

LOG = "decisions.jsonl"
"""The log's name in a folder of routed pictures."""
_KINDS = tuple(Kind)


@dataclass(frozen=True)
class RoutingCache:
    """Routes every picture once: decisions in a log, DOM's labels in ``masks/``. Ahead of training and in the loop."""

    router: Router
    folder: Path
    log: DecisionLog

    @classmethod
    def open(cls, router: Router, folder: Path) -> "RoutingCache":
        """In a folder of its own; a folder that is there already is gone on from."""
        (folder / "masks").mkdir(parents=True, exist_ok=True)
        return cls(router, folder, DecisionLog(folder / LOG, router.config))

    def __call__(self, name: str, image: Image, labels: Labels | None, points: Points | None) -> Routing:
        """As :class:`Router`, which is asked only the first time."""
        decision = self.log.get(name)
        if decision is not None and decision.route is not Route.DOM_SEGM:
            return Routing(decision, labels)
        if decision is not None:
            return Routing(decision, read_labels(self._mask(name)))
        routing = self.router(name, image, labels, points)
        if routing.decision.route is Route.DOM_SEGM and routing.labels is not None:
            write_labels(self._mask(name), routing.labels, self.router.space.taxonomy)
        # Last, so that what the log knows has its labels.
        self.log.add(routing.decision)
        return routing

    def _mask(self, name: str) -> Path:
        return self.folder / "masks" / f"{name}.png"


def _counters() -> Any:
    # Shared between the processes that load pictures, each of which counts its own.
    return get_context().Array("q", len(_KINDS))


@dataclass(frozen=True)
class RoutedPictures:
    """Labelled pictures with the labels that they are routed with: a :class:`fpan_training.data.mixture.Pictures`.

    A picture is decided about when it is first read; with a LOM and a DOM on a GPU call :meth:`prepare` first, since
    processes that load pictures cannot share it.
    """

    pictures: Pictures
    cache: RoutingCache
    points: Callable[[str], Points | None]
    """Roughly where a picture's face is, float32 (264, 2), by its name; None without one."""
    seen: Any = field(default_factory=_counters, repr=False, compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the pictures, without endings."""
        return self.pictures.names

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Sample:
        """Reads one pair, as routed, and counts it."""
        sample, decision = self._routed(index)
        with self.seen.get_lock():
            self.seen[_KINDS.index(decision.kind)] += 1
        return sample

    def labels(self, index: int) -> Labels:
        """The labels of a picture as routed, uint8 (H, W), without counting it."""
        return self._routed(index)[0].labels

    def prepare(self) -> tuple[Decision, ...]:
        """Decides about every picture now and returns the decisions."""
        return tuple(self._routed(index)[1] for index in track(range(len(self)), "routing"))

    def take_counts(self) -> dict[str, int]:
        """Pictures by kind that were read since this was last asked: asked after every epoch, those of the epoch."""
        with self.seen.get_lock():
            counts = list(self.seen)
            self.seen[:] = [0] * len(_KINDS)
        return {kind.value: int(number) for kind, number in zip(_KINDS, counts, strict=True)}

    def _routed(self, index: int) -> tuple[Sample, Decision]:
        sample = self.pictures[index]
        decision, labels = self.cache(sample.name, sample.image, sample.labels, self.points(sample.name))
        return replace(sample, labels=sample.labels if labels is None else labels), decision


def routed(
    part: Part, router: Router, folder: Path, points: Callable[[str], Points | None]
) -> tuple[Part, RoutedPictures]:
    """A data set of SEGM with routed labels, everything else as it was; and its pictures, which count.

    Args:
        part: the data set.
        router: what decides and labels; it takes over what the data set's labels stand for.
        folder: where decisions and labels are kept, one for a data set.
        points: roughly where a picture's face is, by its name.
    """
    cache = RoutingCache.open(replace(router, space=part.space), folder)
    pictures = RoutedPictures(part.pictures, cache, points)
    return replace(part, pictures=pictures), pictures


def write_labels(path: Path, labels: Labels, taxonomy: Taxonomy) -> None:
    """Writes a label map as PNG with the taxonomy's colours, whole or not at all."""
    image = PilImage.fromarray(np.ascontiguousarray(labels))
    image.putpalette(taxonomy.palette.tobytes())
    file = BytesIO()
    image.save(file, "PNG")
    write_whole(path, file.getvalue())
