"""A version as it is served: its ONNX file in ONNX Runtime on a processor."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from fpan.contract import Reference, RepositoryError, Taxonomy
from fpan.registry import Registry, is_remote, open_store
from numpy.typing import NDArray

from fpan_training.evaluate.measure import Prediction
from fpan_training.modules.segm.step import to_size
from fpan_training.release.export.onnx_file import INPUT, open_session

MODEL_FILE = "model.onnx"
SERVED_OUTPUTS = ("labels", "confidence")
"""What every prediction of the gateway is made of."""
_CERTAIN = 255
"""Confidence of certainty, as the file tells it."""


@dataclass(frozen=True)
class EvaluatedModel:
    """A network that is measured."""

    title: str
    """For people, such as ``segm version 2``."""
    path: Path
    """Its ONNX file."""
    input_size: int
    """Side of the square input in pixels."""
    taxonomy: Taxonomy

    @property
    def meanings(self) -> frozenset[tuple[str, int, int]]:
        """Name, id and left-right partner of every class. Titles and colours are for people, and may change."""
        return frozenset((c.name, c.id, c.partner) for c in self.taxonomy.classes)

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return open_session(self.path)

    def run(self, images_bhwc: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Labels and confidences of crops, uint8 (B, S, S, 3) to twice uint8 (B, S, S)."""
        labels, confidence = self._session.run(list(SERVED_OUTPUTS), {INPUT: images_bhwc})
        return labels, confidence

    def prediction(self, image: NDArray[np.uint8]) -> Prediction:
        """What it says of one square picture, uint8 (H, W, 3), at the picture's own size."""
        maps = (each[0] for each in self.run(to_size(image, self.input_size)[None]))
        height, width = image.shape[:2]
        labels, confidence = (cv2.resize(m, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) for m in maps)
        return Prediction(np.asarray(labels, np.uint8), np.asarray(confidence, np.float32) / np.float32(_CERTAIN))


def find_champion(repository: str, name: str, work: Path) -> EvaluatedModel | None:
    """The version that predictions for a model now, its files verified; None where the model has no version yet.

    Args:
        repository: a folder or ``s3://BUCKET/PREFIX``.
        name: of the model.
        work: folder that its network is copied to.

    Raises:
        RepositoryError: the version is broken, or no model for segmentation.
    """
    if not is_remote(repository) and not Path(repository).exists():
        return None
    registry = Registry(open_store(repository))
    if not registry.store.versions(name):
        return None
    card = registry.verified(Reference(name))
    if card.task != "segmentation" or card.taxonomy is None:
        raise RepositoryError(f"{name} is a model for {card.task}: publish under another name with --name")
    path = work / "champion.onnx"
    path.write_bytes(registry.store.read(card, MODEL_FILE))
    return EvaluatedModel(f"{name} version {card.version}", path, card.input_size, card.taxonomy)
