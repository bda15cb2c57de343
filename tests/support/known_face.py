"""A face that a network knows, in a photo of noise: what the formats are tried with, whatever the transport."""

import asyncio
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import cv2
import numpy as np
from fpan.serve.admission.admission import Admission, Capacity
from fpan.serve.config import Settings
from fpan.serve.inference.batcher import InferenceResult
from fpan.serve.pipeline.parser import FaceParser
from fpan.serve.pipeline.segment.routing import ModelRouter, RoutingTable, Segmenter
from fpan.serve.pipeline.types import Detection
from fpan.serve.rollout.served import ServedVersion
from fpan.serve.service import ParseService
from fpan.serve.telemetry.metrics import Metrics
from PIL import Image

from tests.support.readme import card

CARD = card()
TAXONOMY = CARD.taxonomy
SIZE, GRID = CARD.input_size, 128
WIDTH, HEIGHT = 320, 280
POINTS = np.array(CARD.alignment.points) * 160 + (80, 60)
"""A face upright in a square of 160 pixels, which the crop enlarges."""
BOX = tuple(float(v) for v in np.array(CARD.alignment.box) * 160 + (80, 60, 80, 60))
SKIN, HAIR, NOSE, OCCLUSION = (TAXONOMY.id_of(name) for name in ("skin", "hair", "nose", "occlusion"))


def drawn() -> np.ndarray:
    """The crop's labels: the face fills its box, a nose in it, hair above."""
    labels = np.zeros((SIZE, SIZE), np.uint8)
    x0, y0, x1, y1 = (round(v * SIZE) for v in CARD.alignment.box)
    labels[y0 - 30 : y1, x0 - 20 : x1 + 20] = HAIR
    labels[y0:y1, x0:x1] = SKIN
    cv2.circle(labels, ((x0 + x1) // 2, (y0 + y1) // 2), 10, NOSE, -1)
    return labels


class Network:
    """Draws the same face in every crop; its confidence and what else it says can be changed."""

    def __init__(self) -> None:
        self.labels = drawn()
        self.confidence = np.full((SIZE, SIZE), 240, np.uint8)
        self.asked: list[tuple[str, ...]] = []

    async def infer(self, items, outputs, context) -> InferenceResult:
        self.asked.append(tuple(outputs))
        small = self.labels[::2, ::2]
        logits = np.where(np.arange(len(TAXONOMY))[:, None, None] == small, 8.0, -2.0).astype(np.float32)
        arrays = {"labels": self.labels, "confidence": self.confidence, "logits": logits}
        return InferenceResult([{name: arrays[name] for name in outputs} for _ in items], 0.0, 0.0)


class Eyes:
    """Finds what it is told, and keeps whether it was asked."""

    def __init__(self, *faces: Detection) -> None:
        self.faces, self.asked = list(faces), 0

    async def find(self, picture, max_faces=None, context=None) -> list[Detection]:
        self.asked += 1
        return self.faces


FACE = Detection(BOX, 0.9, POINTS.astype(np.float32))
MAX_FACES = 3


@contextmanager
def known_gateway(**chosen: object) -> Iterator[SimpleNamespace]:
    """A gateway, all of it real but for network and detectors, which are ``network``, ``eyes`` and ``careful``.

    ``chosen`` are settings; what is changed in them afterwards counts from the next request on.
    """
    with ThreadPoolExecutor(1) as pool:

        async def work(function):
            return await asyncio.get_running_loop().run_in_executor(pool, function)

        async def ready() -> bool:
            return True

        settings = Settings(**chosen)
        network, eyes, careful = Network(), Eyes(FACE), Eyes(FACE)
        limits = settings.model_copy(update={"max_faces": MAX_FACES, "max_face_pixels": 10**8})
        model_router = ModelRouter(RoutingTable({"segm": Segmenter(CARD, network)}, "segm", eyes, careful))
        parser, metrics = FaceParser(model_router, limits, pool), Metrics()
        yield SimpleNamespace(
            settings=settings,
            parser=parser,
            parse_service=SimpleNamespace(
                answer=lambda *asked: ParseService(parser, pool, settings, metrics).answer(*asked),
                deadline=lambda options: ParseService(parser, pool, settings, metrics).deadline(options),
            ),
            admission=Admission(Capacity.of(settings), None, metrics),
            rollout=SimpleNamespace(
                model_router=model_router, served=(ServedVersion(CARD),), refused=(), unvalidated=frozenset()
            ),
            metrics=metrics,
            run=work,
            ready=ready,
            network=network,
            eyes=eyes,
            careful=careful,
        )


def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def file_of(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()
