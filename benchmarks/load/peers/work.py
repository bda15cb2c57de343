"""What every peer does with a picture: this project's own decoding, detector, network, pasting and PNG, in one thread.

Peers get what the gateway has, so that what is compared is how requests are taken, queued, spread and answered.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from fpan.contract import ModelRepository
from fpan.serve.api.options import ParseOptions
from fpan.serve.config import Settings
from fpan.serve.inference.backends.runtime import Network, RuntimeName
from fpan.serve.pipeline.align.targets import Cutter, Target
from fpan.serve.pipeline.decode import decode
from fpan.serve.pipeline.detect.detector import FaceDetector
from fpan.serve.pipeline.encode import indexed_png
from fpan.serve.pipeline.paste.assembly import Assembly
from fpan.serve.pipeline.types import Photo

from tests.support.service import ROOT

REPOSITORY = ROOT / "model_repository"
SEGM, DETECTOR = ("segm", 2), ("detector", 2)
DEFAULT = ("labels", "confidence")


class _AtOnce(Executor):
    """Runs what it is given before it returns."""

    def submit(self, function: Any, /, *words: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(function(*words, **named))
        return done


class _Direct:
    """The detector's network, asked view by view."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def infer(
        self, items: Sequence[Mapping[str, np.ndarray]], outputs: Sequence[str], deadline: float = math.inf
    ) -> Any:
        runs = [self._network.run({name: array[None] for name, array in item.items()}, outputs) for item in items]
        return SimpleNamespace(items=[{name: array[0] for name, array in run.items()} for run in runs])


class Work:
    """One worker's networks, and the steps of a request."""

    def __init__(
        self,
        runtime: RuntimeName = "openvino",
        threads: int = 1,
        around: Callable[[str, Network], Any] = lambda _, network: network,
    ) -> None:
        """Loads them.

        Args:
            runtime: what computes.
            threads: of one run.
            around: is given the name of each network and the network, and gives what is asked in its place.
        """
        cv2.setNumThreads(1)
        repository = ModelRepository(REPOSITORY)
        card, finder = repository.card(*SEGM), repository.card(*DETECTOR)
        assert card.taxonomy is not None
        assert card.alignment is not None
        self.taxonomy, self._template, self._size = card.taxonomy, card.alignment, card.input_size
        self._settings = Settings()
        network = self._read(repository, SEGM, runtime, threads, [DEFAULT, (*DEFAULT, "logits")])
        self._network = around(SEGM[0], network)
        detector = around(DETECTOR[0], self._read(repository, DETECTOR, runtime, threads, [("faces",)]))
        self._detector = FaceDetector(finder, _Direct(detector), _AtOnce(), self._settings.detector_threshold)
        self._loop = asyncio.new_event_loop()

    def _read(
        self,
        repository: ModelRepository,
        version: tuple[str, int],
        runtime: RuntimeName,
        threads: int,
        outputs: list[Any],
    ) -> Network:
        network, card = Network(repository.folder(*version) / "model.onnx", runtime, threads), repository.card(*version)
        for size in card.input_sizes:
            for wanted in outputs:
                network.prepare(wanted, {each.name: each.sized(size) for each in card.inputs})
        return network

    def targets(self, data: bytes, faces: str) -> tuple[Photo, list[Target]]:
        """Decodes a picture and cuts its faces out; ``faces`` is ``auto`` or ``full``."""
        settings = self._settings
        photo = decode(data, max_pixels=settings.max_pixels, orientation="exif")
        cutter = Cutter(photo, self._template, self._size, settings.max_face_pixels, lambda: None)
        if faces == "full":
            return photo, cutter.whole()
        return photo, cutter.found(self._loop.run_until_complete(self._detector.find(photo.pixels)))

    def segment(self, targets: Sequence[Target]) -> list[dict[str, np.ndarray]]:
        """The network's answer for each face; with logits where a face is larger than its crop."""
        answers = []
        for target in targets:
            outputs = (*DEFAULT, "logits") if target.crop.enlargement > 1 else DEFAULT
            run = self._network.run({"images": target.crop.pixels[None]}, outputs)
            answers.append({name: array[0] for name, array in run.items()})
        return answers

    def png(self, photo: Photo, targets: list[Target], answers: list[dict[str, np.ndarray]]) -> bytes:
        """The indexed label map of the picture."""
        options, most = ParseOptions(output=("png",)), self._settings.max_alpha_bytes
        labels, _, _ = Assembly(photo, self.taxonomy, None, options, most, lambda: None)(targets, answers)
        return bytes(indexed_png(labels, self.taxonomy))

    def __call__(self, data: bytes, faces: str = "auto") -> bytes:
        """All of it."""
        photo, targets = self.targets(data, faces)
        return self.png(photo, targets, self.segment(targets))
