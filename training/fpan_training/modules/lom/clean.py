"""Which faces are clean, that is, covered by nothing: as their labels tell, an earlier LOM, or a list.

Faces of which nobody tells that are no examples of visible landmarks, nor of faces to be recovered: some of them are
covered.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fpan_training.data.folder import DataError, read_labels
from fpan_training.data.label_space import LabelSpace
from fpan_training.engine.progress import track
from fpan_training.files import write_whole
from fpan_training.landmarks import FaceStore
from fpan_training.landmarks.scheme import POINTS
from fpan_training.modules.lom.data import LomData, MarkedFace, marked_faces, sample_at
from fpan_training.modules.lom.evaluate import predict_crops
from fpan_training.modules.lom.model import load
from fpan_training.taxonomy import TAXONOMY

CLEAN_FILE = "clean.json"
"""In a run's folder: how sure LOM was of each face."""
_OCCLUSION = TAXONOMY.id_of("occlusion")
_QUANTILE = 0.02
"""Share of a face's landmarks (5 of 264) that may be less certain: single ones at the outline often are."""
_UNKNOWN_SHARE = 0.5
"""Of a mask's pixels of which nothing is known, from which on it tells nothing of the face."""
_VALUES = 256
"""Of a mask."""
_JUDGED = 256
"""Faces that are held in memory while they are judged."""


class Known(StrEnum):
    """How it is known what covers a face."""

    CLEAN_LABELS = "clean by labels"
    COVERED_LABELS = "covered as labels tell"
    TAKEN = "taken for clean"
    CLEAN_LOM = "clean by LOM"
    UNKNOWN = "not used for visibility"

    @property
    def clean(self) -> bool:
        """Whether nothing covers the face."""
        return self in (Known.CLEAN_LABELS, Known.TAKEN, Known.CLEAN_LOM)


@dataclass(frozen=True)
class CleanConfig:
    """Who tells that a face is clean, where its labels cannot."""

    clean_by: Path | None = None
    """Checkpoint of an earlier LOM. Faces whose landmarks it finds visible are clean."""
    clean_certainty: float = 0.9
    """Probability of being visible that it must give to 98 % of a face's landmarks."""
    clean_list: tuple[Path, ...] = ()
    """Text files of names of clean pictures, without their endings, one a line."""
    clean_data: tuple[str, ...] = ()
    """Names of data sets that count as clean where their labels tell nothing else."""


@dataclass(frozen=True)
class CleanFaces:
    """Answers for data sets, one after the other."""

    config: CleanConfig = field(default_factory=CleanConfig)
    memory: Path | None = None
    """JSON file that keeps how sure LOM was of each face. A run that goes on, and each of its processes, learns from
    the same faces then, also where another number of threads rounds in another way. None: LOM is asked each time."""

    def faces(self, data: Path, split: str, store: FaceStore) -> tuple[MarkedFace, ...]:
        """The faces of a split with what is known of their landmarks' visibility, as far as somebody tells.

        Raises:
            DataError: as :func:`~fpan_training.modules.lom.data.marked_faces`, or as :meth:`of`.
        """
        found = marked_faces(data, split, store)
        known = self.of(data, [face.path for face in found], {face.name: face for face in found})
        self.show(f"{split} of {data.name}", known)
        labelled = _LabelledCover(data)
        return tuple(replace(face, covered=_covered(face, known[face.name], labelled)) for face in found)

    def of(self, data: Path, paths: Sequence[Path], faces: Mapping[str, MarkedFace]) -> dict[str, Known]:
        """What is known of each picture of a data set, by its name.

        Args:
            data: folder of the data set.
            paths: its pictures.
            faces: by name, those whose landmarks are known; no other is shown to LOM.

        Raises:
            DataError: a list or mask is not readable.
            ValueError: the checkpoint is not LOM's.
        """
        labelled, listed = _LabelledCover(data), self._listed()
        known = {}
        for path in paths:
            answer = labelled.known(path.stem)
            if answer is Known.UNKNOWN and (data.name in self.config.clean_data or path.stem in listed):
                answer = Known.TAKEN
            known[path.stem] = answer
        if self.config.clean_by is not None:
            asked = [faces[name] for name, answer in known.items() if answer is Known.UNKNOWN and name in faces]
            for face, value in zip(asked, self._certainty(self.config.clean_by, data.name, asked), strict=True):
                if value >= self.config.clean_certainty:
                    known[face.name] = Known.CLEAN_LOM
        return known

    def show(self, name: str, known: Mapping[str, Known]) -> None:
        """Prints how many faces there are, and how it is known what covers them; once where several processes run."""
        if not known or os.environ.get("LOCAL_RANK", "0") != "0":
            return
        counts = Counter(known.values())
        told = ", ".join(f"{counts[each]:,} {each}" for each in Known if counts[each])
        sure = f"{Known.CLEAN_LOM} at {self.config.clean_certainty:g}"
        print(f"{name}: {len(known):,} faces: {told.replace(Known.CLEAN_LOM, sure)}", flush=True)

    def _certainty(self, checkpoint: Path, data: str, faces: Sequence[MarkedFace]) -> list[float]:
        """How sure LOM is of each face, as remembered or else as it says now."""
        known: dict[str, float] = {}
        if self.memory is not None and self.memory.is_file():
            known = json.loads(self.memory.read_text(encoding="utf-8"))
        by = hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:16]
        keys = [f"{by}/{data}/{face.name}" for face in faces]
        new = [face for face, key in zip(faces, keys, strict=True) if key not in known]
        if new:
            said = zip(new, certainty(checkpoint, new).tolist(), strict=True)
            known |= {f"{by}/{data}/{face.name}": value for face, value in said}
            if self.memory is not None:
                self.memory.parent.mkdir(parents=True, exist_ok=True)
                write_whole(self.memory, json.dumps(known, indent=0).encode())
        return [known[key] for key in keys]

    def _listed(self) -> set[str]:
        try:
            return {line for path in self.config.clean_list for line in path.read_text(encoding="utf-8").splitlines()}
        except (OSError, UnicodeError) as error:
            raise DataError(f"a list of clean pictures cannot be read: {error}") from error


def certainty(checkpoint: Path, faces: Sequence[MarkedFace]) -> NDArray[np.float64]:
    """How sure a LOM is that nothing covers each face, float64 (faces,): the probability of being visible that 98 % of
    the landmarks within the picture have at least; 0 where none is within it.
    """
    network = load(checkpoint)
    sure = np.zeros(len(faces))
    for start in track(range(0, len(faces), _JUDGED), "which faces are clean"):
        part = [replace(face, covered=np.zeros(POINTS, np.float32)) for face in faces[start : start + _JUDGED]]
        said = predict_crops(network, LomData(part, network.config.margin))
        for i, (visibility, covered) in enumerate(zip(said.visibility, said.covered, strict=True)):
            if (shown := ~np.isnan(covered)).any():
                sure[start + i] = np.quantile(visibility[shown], _QUANTILE)
    return sure


class _LabelledCover:
    """What the masks of a data set tell of what covers its faces."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "masks"
        space = LabelSpace.of_folder(data) if self._folder.is_dir() else None
        groups = {} if space is None else dict(space.declared)
        self._tells = (_OCCLUSION,) in groups.values()
        # A pixel of a group that holds occlusions among others may be covered or not.
        self._table = np.full(_VALUES, np.nan, np.float32)
        for value, classes in groups.items():
            if classes == (_OCCLUSION,):
                self._table[value] = 1
            elif _OCCLUSION not in classes:
                self._table[value] = 0

    def read(self, name: str) -> NDArray[np.float32] | None:
        """Of each pixel, float32 (H, W): 1 covered, 0 not, NaN unknown; None where the masks cannot tell."""
        path = self._folder / f"{name}.png"
        return self._table[read_labels(path)] if self._tells and path.is_file() else None

    def known(self, name: str) -> Known:
        """What the mask of a picture tells of the face."""
        cover = self.read(name)
        if cover is None or np.isnan(cover).mean() > _UNKNOWN_SHARE:
            return Known.UNKNOWN
        return Known.COVERED_LABELS if (cover == 1).any() else Known.CLEAN_LABELS


def _covered(face: MarkedFace, known: Known, labelled: _LabelledCover) -> NDArray[np.float32] | None:
    """What covers each landmark, float32 (264,): 1 something, 0 nothing, NaN unknown; None: nobody tells."""
    if known in (Known.TAKEN, Known.CLEAN_LOM):
        return np.zeros(POINTS, np.float32)
    cover = labelled.read(face.name) if known is not Known.UNKNOWN else None
    return None if cover is None else sample_at(cover, face.points)
