"""The pipeline as a whole, with a network and a detector that do as they are told."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from fpan.contract import ModelRepository
from fpan.serve.api.errors import DeadlineExceeded, GatewayError, Impossible, NotFound, Overloaded, TooLarge
from fpan.serve.api.options import ParseOptions
from fpan.serve.inference.batcher import InferenceResult
from fpan.serve.pipeline.parser import STAGES, FaceParser
from fpan.serve.pipeline.paste import labels as paste
from fpan.serve.pipeline.segment.routing import ModelRouter, RoutingTable, Segmenter
from fpan.serve.pipeline.settings import PipelineSettings
from fpan.serve.pipeline.types import Detection
from PIL import Image

from tests.support.contexts import parse_within
from tests.support.service import ROOT

REPOSITORY = ModelRepository(ROOT / "model_repository")
CARD = REPOSITORY.card("segm", REPOSITORY.current("segm"))
SIZE = CARD.input_size
CLASSES = 19
FACE = np.array([[80, 90], [120, 90], [100, 110], [85, 130], [115, 130]], np.float32)


class Network:
    """Says that all is skin; for logits as for labels as slowly, or as badly, as it is told."""

    def __init__(self, times: dict[str, tuple[float, float]] | None = None) -> None:
        self.times = times or {}
        self.fault: GatewayError | None = None
        self.asked: list[str] = []
        self.cancelled = False

    async def infer(self, items, outputs, context) -> InferenceResult:
        kind = outputs[-1]
        self.asked.append(kind)
        await asyncio.sleep(0)
        if self.fault and kind == "logits":
            raise self.fault
        if self.fault:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        arrays = {"labels": np.ones((SIZE, SIZE), np.uint8), "confidence": np.full((SIZE, SIZE), 200, np.uint8)}
        arrays["logits"] = np.eye(CLASSES, dtype=np.float32)[1][:, None, None] * np.full((1, 128, 128), 9, np.float32)
        wanted = {name: arrays[name] for name in outputs}
        return InferenceResult([wanted for _ in items], *self.times.get(kind, (0.0, 0.0)))


class Eyes:
    """Finds what it is told."""

    def __init__(self, *faces: Detection) -> None:
        self.faces = list(faces)
        self.asked = 0

    async def find(self, picture, max_faces=None, context=None) -> list[Detection]:
        self.asked += 1
        return self.faces


def detection(points: np.ndarray, box=(60.0, 60.0, 140.0, 150.0)) -> Detection:
    return Detection(box, 0.9, points.astype(np.float32))


def picture(width: int, height: int) -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, height), (90, 120, 60)).save(file, "PNG", compress_level=1)
    return file.getvalue()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def make(pool):
    def parser(network: Network, eyes: Eyes, max_face_pixels: int = 10**9) -> FaceParser:
        limits = PipelineSettings(
            max_face_pixels=max_face_pixels, max_alpha_bytes=2**24, max_pixels_in_flight=64_000_000
        )
        segmenter = Segmenter(CARD, network)
        named = {"segm": segmenter, f"segm:{CARD.version}": segmenter}
        return FaceParser(ModelRouter(RoutingTable(named, "segm", eyes, eyes)), limits, pool)

    return parser


async def test_faces_that_cover_too_much_together_are_refused_before_they_are_computed(make):
    network = Network()
    options = ParseOptions(faces=((0.0, 0.0, 1000.0, 1000.0),) * 4)
    with pytest.raises(TooLarge, match="3500000 pixels"):
        await make(network, Eyes(), 3_500_000).parse(picture(1000, 1000), options)
    assert network.asked == []
    result, *_ = await make(network, Eyes(), 4_000_000).parse(picture(1000, 1000), options)
    assert len(result.faces) == 4


async def test_pasting_ends_soon_after_the_deadline(make, pool, monkeypatch):
    pasted = []

    def slow(crop, window, *_):
        pasted.append(window)
        time.sleep(0.2)
        return (np.zeros((window[3] - window[1], window[2] - window[0]), np.uint8),) * 2

    monkeypatch.setattr(paste, "paste_probabilities", slow)
    options = ParseOptions(faces=((0.0, 0.0, 900.0, 900.0),) * 30, deadline_ms=1500)
    with pytest.raises(DeadlineExceeded, match="1500 ms"):
        await parse_within(make(Network(), Eyes()), picture(900, 900), options)
    began = time.perf_counter()
    pool.submit(int).result()
    assert time.perf_counter() - began < 60
    assert len(pasted) < 10


async def test_pasting_ends_soon_after_its_caller_has_left(make, pool, monkeypatch):
    pasted = []

    def slow(crop, window, *_):
        pasted.append(window)
        time.sleep(0.1)
        return (np.zeros((window[3] - window[1], window[2] - window[0]), np.uint8),) * 2

    monkeypatch.setattr(paste, "paste_labels", slow)
    options = ParseOptions(faces=((50.0, 50.0, 150.0, 150.0),) * 50)
    task = asyncio.ensure_future(make(Network(), Eyes()).parse(picture(200, 200), options))
    while not pasted:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    pool.submit(int).result()
    assert len(pasted) < 5


@pytest.mark.parametrize("box", [(-5000, 10, 20, 200), (-5000, 10, 1, 11), (199.9, 0, 9000, 9000), (-9e8, -9e8, 1, 1)])
async def test_a_box_that_overlaps_the_picture_is_parsed(make, box):
    result, *_ = await make(Network(), Eyes()).parse(picture(200, 200), ParseOptions(faces=(box,)))
    (face,) = result.faces
    assert face.box == box
    assert face.labels.size > 0


async def test_a_box_outside_is_refused_before_faces_are_sought(make):
    eyes = Eyes(detection(FACE))
    with pytest.raises(Impossible, match="outside"):
        await make(Network(), eyes).parse(picture(200, 200), ParseOptions(faces=((0, 0, 50, 50), (300, 0, 350, 50))))
    assert eyes.asked == 0


async def test_a_found_face_beyond_the_picture_is_no_face(make):
    eyes = Eyes(detection(FACE + 5000), detection(FACE), detection(FACE * 0, (300.0, 300.0, 400.0, 400.0)))
    result, *_ = await make(Network(), eyes).parse(picture(200, 200), ParseOptions())
    (face,) = result.faces
    assert np.array_equal(face.landmarks, FACE)


async def test_a_box_on_a_face_whose_landmarks_lie_beyond_the_picture_is_impossible(make):
    with pytest.raises(Impossible, match="shows nothing"):
        await make(Network(), Eyes(detection(FACE + 5000))).parse(
            picture(200, 200), ParseOptions(faces=((60, 60, 140, 150),))
        )


@pytest.mark.parametrize("faces", ["auto", ((60.0, 60.0, 140.0, 150.0),)])
async def test_a_face_whose_landmarks_coincide_is_cut_by_its_box(make, faces):
    result, *_ = await make(Network(), Eyes(detection(FACE * 0 + 100))).parse(
        picture(200, 200), ParseOptions(faces=faces)
    )
    x0, y0, x1, y1 = result.faces[0].window
    assert x0 < 60 < 140 < x1
    assert y0 < 60 < 150 <= y1


LARGE_AND_SMALL = ParseOptions(faces=((0.0, 0.0, 900.0, 900.0), (20.0, 20.0, 90.0, 90.0)))


async def test_times_of_what_runs_at_once_do_not_add_up(make):
    network = Network({"logits": (1.0, 5.0), "confidence": (2.0, 3.0)})
    result, *_ = await make(network, Eyes()).parse(picture(900, 900), LARGE_AND_SMALL)
    assert sorted(network.asked) == ["confidence", "logits"]
    assert (result.timing_ms["queue"], result.timing_ms["infer"]) == (2000, 5000)


@pytest.mark.parametrize("faces", ["auto", "full"])
async def test_every_stage_is_timed_in_order_with_or_without_a_face(make, faces):
    result, *_ = await make(Network(), Eyes()).parse(picture(200, 200), ParseOptions(faces=faces))
    assert tuple(result.timing_ms) == STAGES
    assert result.timing_ms["queue"] == result.timing_ms["infer"] == 0
    assert (result.timing_ms["detect"] == 0) == (faces == "full")


async def test_when_one_ask_fails_the_other_is_ended(make):
    network = Network()
    network.fault = Overloaded("too many faces")
    with pytest.raises(Overloaded, match="too many faces"):
        await make(network, Eyes()).parse(picture(900, 900), LARGE_AND_SMALL)
    assert network.cancelled


@pytest.mark.parametrize("model", ["nobody", "segm@best", "segm:99", "x" * 100_000])
async def test_a_model_that_is_not_served_is_not_found(make, model):
    with pytest.raises(NotFound, match=f"served are segm, segm:{CARD.version}") as refused:
        await make(Network(), Eyes()).parse(picture(20, 20), ParseOptions(model=model))
    assert len(str(refused.value)) < 200
