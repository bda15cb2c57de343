"""A version as it is served: its ONNX file in ONNX Runtime on a processor, or in OpenVINO where that is bfloat16."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from fpan.contract import Reference, RepositoryError, Taxonomy
from fpan.contract.card import Precision
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
    precision: Precision = "fp32"

    @property
    def meanings(self) -> frozenset[tuple[str, int, int]]:
        """Name, id and left-right partner of every class. Titles and colours are for people, and may change."""
        return frozenset((c.name, c.id, c.partner) for c in self.taxonomy.classes)

    def runner(self, threads: int = 2) -> "Runner":
        """What computes it: in bfloat16 if it is served so and this processor has it, else ONNX Runtime."""
        if self.precision == "bf16" and has_bf16():
            return _bf16_runner(self.path, threads)
        session = open_session(self.path, threads)
        return lambda names, images_bhwc: session.run(list(names), {INPUT: images_bhwc})

    @cached_property
    def _run(self) -> "Runner":
        return self.runner()

    def run(self, images_bhwc: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Labels and confidences of crops, uint8 (B, S, S, 3) to twice uint8 (B, S, S)."""
        labels, confidence = (np.asarray(each, np.uint8) for each in self._run(SERVED_OUTPUTS, images_bhwc))
        return labels, confidence

    def label(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Labels of one square picture, uint8 (H, W, 3) to (H, W): its logits are enlarged to the picture's size."""
        (logits,) = self._run(["logits"], to_size(image, self.input_size)[None])
        full = F.interpolate(torch.from_numpy(logits), size=image.shape[:2], mode="bilinear", align_corners=False)
        return np.asarray(full.argmax(1)[0].numpy(), np.uint8)

    def prediction(self, image: NDArray[np.uint8]) -> Prediction:
        """What it says of one square picture, uint8 (H, W, 3), at the picture's own size."""
        maps = (each[0] for each in self.run(to_size(image, self.input_size)[None]))
        height, width = image.shape[:2]
        labels, confidence = (cv2.resize(m, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) for m in maps)
        return Prediction(np.asarray(labels, np.uint8), np.asarray(confidence, np.float32) / np.float32(_CERTAIN))


Runner = Callable[[Sequence[str], NDArray[np.uint8]], list[NDArray[np.generic]]]
"""Names of outputs and crops, uint8 (B, S, S, 3), to these outputs."""


def has_bf16() -> bool:
    """Whether bfloat16 can be computed here: OpenVINO is installed, and the processor has it."""
    try:
        import openvino
    except ImportError:
        return False
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _bf16_runner(path: Path, threads: int) -> Runner:
    import openvino

    config = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
    request = openvino.Core().compile_model(str(path), "CPU", config).create_infer_request()

    def run(names: Sequence[str], images_bhwc: NDArray[np.uint8]) -> list[NDArray[np.generic]]:
        request.infer({INPUT: images_bhwc})
        return [request.get_tensor(name).data.copy() for name in names]

    return run


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
    return EvaluatedModel(f"{name} version {card.version}", path, card.input_size, card.taxonomy, card.precision)
