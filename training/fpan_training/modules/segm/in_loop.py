"""Routing while SEGM trains: every labelled picture is decided about when it is first read (Mask-FPAN, figure 2)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fpan_training.data.folder import DataError
from fpan_training.data.mixture import Part
from fpan_training.landmarks import FaceStore
from fpan_training.paper.routing.folder import RoutedPictures, routed
from fpan_training.paper.routing.modules import load_dom, load_lom
from fpan_training.paper.routing.protocols import Points
from fpan_training.paper.routing.router import Router

FOLDER = "routed"
"""In a run's folder: the log of decisions and DOM's labels, a folder for each data set."""


@dataclass(frozen=True)
class RouteInLoop:
    """With both, pictures that LOM sees occluded and whose labels do not say where get DOM's occlusion."""

    lom: Path | None = None
    """Checkpoint of LOM."""
    dom: Path | None = None
    """Checkpoint of DOM."""

    @property
    def wanted(self) -> bool:
        """Whether any was named."""
        return any(path is not None for path in (self.lom, self.dom))

    def __call__(
        self, parts: Sequence[Part], names: Sequence[str], faces: Path | None, run: Path
    ) -> tuple[list[Part], "Counts"]:
        """The data sets with routed labels, and what counts the pictures by kind.

        Args:
            parts: the data sets.
            names: theirs.
            faces: folder of stores of `fpan-train landmarks`, one by the name of each data set.
            run: folder of the run, where decisions and labels are kept.

        Raises:
            DataError: one of the three is missing.
        """
        if not self.wanted:
            return list(parts), Counts(())
        if self.lom is None or self.dom is None or faces is None:
            raise DataError("routing in the loop needs --route.lom, --route.dom and --faces")
        router = Router(load_lom(self.lom), load_dom(self.dom))
        done, counted = [], []
        for part, name in zip(parts, names, strict=True):
            store = FaceStore(faces / name)

            def points(picture: str, store: FaceStore = store) -> Points | None:
                record = store.get(picture)
                return None if record is None else record.points264

            changed, pictures = routed(part, router, run / FOLDER / name, points)
            done.append(changed)
            counted.append(pictures)
        return done, Counts(tuple(counted))


@dataclass(frozen=True)
class Counts:
    """How many pictures of each kind were trained on."""

    pictures: tuple[RoutedPictures, ...]

    def take(self) -> dict[str, float]:
        """Since this was last asked, for the log: ``routed/KIND``; empty without routing."""
        total: Counter[str] = Counter()
        for each in self.pictures:
            total.update(each.take_counts())
        return {f"{FOLDER}/{kind}": float(number) for kind, number in total.items()}
