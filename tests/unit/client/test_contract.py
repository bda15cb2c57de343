"""The client against the gateway's own routes, so that the two cannot drift apart; only the networks are left out."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from fpan.client import ApiError, AsyncClient, Retry, TryAgain
from fpan.contract import FaceClass, ModelCard, Taxonomy
from fpan.contract.face import Part
from fpan.serve.admission.admission import Admission, Capacity
from fpan.serve.admission.rate_limits import RateLimiter
from fpan.serve.api.errors import Impossible, Overloaded
from fpan.serve.cache.secret import Secret
from fpan.serve.config import Settings
from fpan.serve.pipeline.align.pose import solve
from fpan.serve.pipeline.parser import Parsed
from fpan.serve.pipeline.segment.routing import RoutingTable
from fpan.serve.pipeline.types import ParsedFace, ParseResult, Photo
from fpan.serve.rollout.served import ServedVersion
from fpan.serve.service import ParseService
from fpan.serve.telemetry.metrics import Metrics
from fpan.serve.transports.http.app import create_app

from tests.support.parsed import face_facts

WIDTH, HEIGHT = 12, 10
WINDOW = (2, 1, 8, 9)
TAXONOMY = Taxonomy(
    name="eyes",
    classes=tuple(
        FaceClass(id=i, name=name, title=name, colour=(i, i, i), partner=partner)
        for i, (name, partner) in enumerate([("background", 0), ("l_eye", 2), ("r_eye", 1)])
    ),
    groups={"eyes": ("l_eye", "r_eye")},
    remaps={"other": (0, 5, 4)},
)
CARD = ModelCard(
    name="segm",
    version=4,
    task="segmentation",
    title="eyes",
    inputs=(),
    outputs=(),
    input_size=64,
    taxonomy=TAXONOMY,
    weights_licence="none",
    files={"model.onnx": "ef" * 32},
)


SEGMENTER = SimpleNamespace(card=CARD, taxonomy=TAXONOMY, alias=None)


class Parser:
    """Finds two eyes in every picture."""

    def __init__(self):
        self.asked = None
        self.fails = None

    async def parse(self, data, options, context=None):
        self.asked = (data, options)
        if self.fails:
            raise self.fails
        x0, y0, x1, y1 = WINDOW
        alone = np.zeros((y1 - y0, x1 - x0), np.uint8)
        alone[1:3, 0:2], alone[1:3, 4:6] = 2, 1
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        labels[y0:y1, x0:x1] = alone
        part = Part(2, "r_eye", 4, (2, 2, 4, 4), 0.5)
        points = np.arange(10, dtype=np.float32).reshape(5, 2)
        box = (2.0, 1.0, 8.0, 9.0)
        pose = solve(points)
        facts = face_facts(
            box=box, score=0.8, landmarks=points, pose=pose, sharpness=0.7, cut_by_crop=("r_eye",), parts=(part,)
        )
        face = ParsedFace(0, box, 0.8, points, WINDOW, alone, alone, lambda: facts)
        sure = np.full_like(labels, 99)
        result = ParseResult(WIDTH, HEIGHT, labels, sure, (face,), None, ("a note",), {"decode": 1.0})
        return Parsed(result, Photo(np.zeros((HEIGHT, WIDTH, 3), np.uint8), "png"), SEGMENTER)


@pytest.fixture
def gateway():
    async def ready():
        return not built.admission.draining

    settings, parser, metrics = Settings(), Parser(), Metrics()
    pool = ThreadPoolExecutor(1)
    built = SimpleNamespace(
        settings=settings,
        parser=parser,
        parse_service=ParseService(parser, pool, settings, metrics),
        limiter=RateLimiter(None, Secret(settings), metrics),
        rollout=SimpleNamespace(
            served=(ServedVersion(CARD),),
            refused=(),
            unvalidated=frozenset(),
            model_router=SimpleNamespace(now=RoutingTable({"": SEGMENTER}, "", None, None)),
        ),
        metrics=metrics,
        admission=Admission(Capacity.of(settings), None, metrics),
        ready=ready,
    )
    yield built
    pool.shutdown()


@pytest.fixture
async def client(gateway):
    transport = httpx.ASGITransport(create_app(gateway))
    async with AsyncClient("http://gateway", transport=transport, retry=Retry(attempts=1)) as opened:
        yield opened


async def test_result_is_what_the_pipeline_found(client, gateway):
    result = await client.parse(b"picture", output=["confidence", "overlay"])
    assert (result.width, result.height, result.taxonomy, result.notes) == (WIDTH, HEIGHT, "eyes", ("a note",))
    assert (result.model.name, result.model.version, result.model.sha256) == ("segm", 4, "ef" * 32)
    expected, *_ = await gateway.parser.parse(b"", None)
    np.testing.assert_array_equal(result.labels, expected.labels)
    np.testing.assert_array_equal(result.faces[0].labels, expected.labels)
    np.testing.assert_array_equal(result.faces[0].part("r_eye"), expected.labels == 2)
    np.testing.assert_array_equal(result.faces[0].landmarks, expected.faces[0].landmarks)
    assert result.faces[0].parts[0].area == 4
    assert result.faces[0].cut_by_crop == ("r_eye",)
    assert (result.confidence == 99).all()
    assert result.pictures["overlay"].startswith(b"\x89PNG")
    assert result.timing_ms["decode"] == 1.0
    assert result.request_id


async def test_every_option_arrives_as_it_was_meant(client, gateway):
    await client.parse(
        b"picture",
        faces=[(1, 2, 9, 8.5)],
        max_faces=3,
        classes=["l_eye"],
        groups=["eyes"],
        orientation="raw",
        model="segm:4",
        deadline_ms=5000,
    )
    data, options = gateway.parser.asked
    assert data == b"picture"
    assert options.faces == ((1, 2, 9, 8.5),)
    assert (options.max_faces, options.classes, options.groups) == (3, ("l_eye",), ("eyes",))
    assert (options.orientation, options.model) == ("raw", "segm:4")
    assert 4000 < options.deadline_ms <= 5000


@pytest.mark.parametrize("drawing", ["png", "overlay", "cutout", "confidence"])
async def test_every_drawing_is_a_png(client, drawing):
    assert (await client.draw(b"picture", drawing)).startswith(b"\x89PNG")


async def test_labels_are_the_models_taxonomy(client):
    assert await client.labels() == TAXONOMY


async def test_models_are_told(client):
    assert (await client.models())["models"][0]["name"] == "segm"


async def test_health_is_told_while_the_gateway_drains(client, gateway):
    assert (await client.health()).ready
    gateway.admission.draining = True
    health = await client.health()
    assert (health.live, health.ready, health.detail) == (True, False, "not ready")


async def test_problems_keep_their_names(client, gateway):
    gateway.parser.fails = Impossible("the picture is truncated")
    with pytest.raises(ApiError) as caught:
        await client.parse(b"picture")
    error = caught.value
    assert (error.status, error.slug, error.detail) == (422, "impossible", "the picture is truncated")
    assert error.request_id
    gateway.parser.fails = Overloaded("full", retry_after_s=3)
    with pytest.raises(TryAgain) as busy:
        await client.parse(b"picture")
    assert busy.value.retry_after_s == 3
