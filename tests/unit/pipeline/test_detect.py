"""The detector finds faces in real pixels, by the network that is shipped."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import onnxruntime
import pytest
from fpan.contract import ModelRepository
from fpan.serve.api.context import RequestContext
from fpan.serve.api.errors import Unavailable
from fpan.serve.config import Settings
from fpan.serve.pipeline.detect.candidates import Candidates
from fpan.serve.pipeline.detect.detector import LAST_LOOKS, FaceDetector
from fpan.serve.pipeline.detect.second_look import Sheet
from fpan.serve.pipeline.detect.views import ViewPlan

from tests.support.service import ROOT

REPOSITORY = ROOT / "model_repository"
CARD = ModelRepository(REPOSITORY).card("detector", 2)
THRESHOLD = Settings.model_fields["detector_threshold"].default
LANDMARKS = np.array([[203, 103], [246, 103], [223, 127], [204, 143], [243, 143]])
"""The astronaut's right eye, left eye, nose, mouth corners, seen by eye in the picture, within a few pixels."""


class Network:
    """Computes at once, in this process."""

    def __init__(self) -> None:
        self.session = onnxruntime.InferenceSession(
            str(REPOSITORY / "detector/2/model.onnx"), providers=["CPUExecutionProvider"]
        )
        self.views = 0
        self.shapes: list[tuple[int, ...]] = []
        self.items: list[dict[str, np.ndarray]] = []

    async def infer(self, items, outputs, context=None) -> "Network":
        await asyncio.sleep(0)
        self.views += len(items)
        self.shapes += [item["image"].shape[:2] for item in items]
        batch = np.stack([item["image"] for item in items])
        self.items = [{"faces": faces} for faces in self.session.run(list(outputs), {"image": batch})[0]]
        return self


@pytest.fixture(scope="module")
def network() -> Network:
    return Network()


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def detector(network, pool) -> FaceDetector:
    network.views = 0
    network.shapes.clear()
    return FaceDetector(CARD, network, pool, THRESHOLD)


async def test_the_astronaut_is_one_face_with_landmarks_where_they_are(detector, network, astronaut):
    (face,) = await detector.find(astronaut)
    assert np.abs(face.landmarks - LANDMARKS).max() < 5
    x0, y0, x1, y1 = face.box
    assert ((face.landmarks > (x0, y0)) & (face.landmarks < (x1, y1))).all()
    assert network.shapes == [CARD.sizes[0], *[CARD.sizes[-1]] * (1 + LAST_LOOKS)]


@pytest.mark.parametrize("angle", [-60, -45, 20, 60])
async def test_a_rolled_face_is_found(detector, astronaut, angle):
    turn = cv2.getRotationMatrix2D((255.5, 255.5), -angle, 1)
    (face,) = await detector.find(cv2.warpAffine(astronaut, turn, (512, 512)))
    expected = LANDMARKS @ turn[:, :2].T + turn[:, 2]
    assert np.linalg.norm(face.landmarks - expected, axis=1).mean() < 6


async def test_a_mirrored_picture_has_the_mirrored_face(detector, astronaut):
    (face,) = await detector.find(astronaut)
    (turned,) = await detector.find(np.ascontiguousarray(astronaut[:, ::-1]))
    mirrored = turned.landmarks[[1, 0, 2, 4, 3]] * (-1, 1) + (511, 0)
    assert np.abs(mirrored - face.landmarks).mean() < 0.5


async def test_faces_of_forty_pixels_are_found_in_twelve_megapixels(detector, astronaut):
    small = cv2.resize(astronaut[:320, 80:400], (130, 130), interpolation=cv2.INTER_AREA)
    picture = np.full((3000, 4000, 3), 90, np.uint8)
    corners = [(100, 200), (1990, 1500), (3800, 2800), (3000, 60)]
    for x, y in corners:
        picture[y : y + 130, x : x + 130] = small
    found = await detector.find(picture)
    centres = [((d.box[0] + d.box[2]) / 2, (d.box[1] + d.box[3]) / 2) for d in found]
    expected = [(x + (223 - 80) * 130 / 320, y + 120 * 130 / 320) for x, y in corners]
    assert len(found) == len(expected)
    for x, y in expected:
        assert min(np.hypot(x - cx, y - cy) for cx, cy in centres) < 8


async def test_a_face_that_fills_a_large_picture_is_found_once(detector, astronaut):
    picture = cv2.resize(astronaut[20:220, 120:320], (1600, 1600), interpolation=cv2.INTER_CUBIC)
    (face,) = await detector.find(picture)
    assert np.abs(face.landmarks / 8 + (120, 20) - LANDMARKS).max() < 6


async def test_a_face_cut_out_tightly_is_found(detector, astronaut):
    assert len(await detector.find(astronaut[63:177, 178:270])) == 1


async def test_the_largest_faces_come_first_and_no_more_than_wanted(detector, astronaut):
    picture = np.full((600, 1200, 3), 90, np.uint8)
    for x, side in ((0, 200), (300, 400), (800, 300)):
        picture[:side, x : x + side] = cv2.resize(astronaut[:320, 80:400], (side, side), interpolation=cv2.INTER_AREA)
    found = await detector.find(picture)
    assert [int(d.box[0]) // 300 for d in found] == [1, 2, 0]
    assert [d.box for d in await detector.find(picture, max_faces=2)] == [d.box for d in found[:2]]


async def test_the_group_photo_has_six_faces(detector, group_photo):
    image = cv2.cvtColor(cv2.imdecode(np.frombuffer(group_photo, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert len(await detector.find(image)) == 6


@pytest.mark.parametrize("shape", [(1, 1), (480, 640), (20, 10000), (10000, 20)])
@pytest.mark.parametrize("level", [0, 128, 255])
async def test_an_empty_picture_has_no_face(detector, shape, level):
    assert await detector.find(np.full((*shape, 3), level, np.uint8)) == []


async def test_noise_has_no_face(detector):
    noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
    assert await detector.find(noise) == []


async def test_the_same_picture_gives_the_same_answer(detector, astronaut):
    first, second = await detector.find(astronaut), await detector.find(astronaut)
    assert first[0].box == second[0].box
    assert (first[0].landmarks == second[0].landmarks).all()


async def test_nothing_passes_a_threshold_of_one(network, pool, astronaut):
    assert await FaceDetector(CARD, network, pool, 1.0, ViewPlan()).find(astronaut) == []


async def test_a_network_that_is_down_is_told(pool, astronaut):
    class Down:
        async def infer(self, items, outputs, context=None):
            raise Unavailable("the backend is down")

    with pytest.raises(Unavailable):
        await FaceDetector(CARD, Down(), pool, THRESHOLD).find(astronaut)


async def test_what_the_request_carries_reaches_the_network(network, pool, astronaut):
    contexts, context = [], RequestContext("r-1")

    class Notes:
        async def infer(self, items, outputs, context=None):
            contexts.append(context)
            return await network.infer(items, outputs)

    await FaceDetector(CARD, Notes(), pool, THRESHOLD).find(astronaut, None, context)
    assert contexts == [context] * (2 + LAST_LOOKS)


async def test_candidates_are_read_and_merged_off_the_event_loop(detector, astronaut, monkeypatch):
    threads = []

    def noted(real):
        def call(*args, **options):
            threads.append(threading.current_thread())
            return real(*args, **options)

        return call

    for owner, name in ((Candidates, "merged"), (Candidates, "detections"), (Sheet, "read")):
        monkeypatch.setattr(owner, name, noted(getattr(owner, name)))
    await detector.find(astronaut)
    assert len(threads) >= 6
    assert threading.current_thread() not in threads
