"""gRPC over a real channel, with a small pipeline behind it that the tests can make fail."""

import asyncio
import io
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan._proto.faceparsing.v1 import face_parsing_pb2_grpc
from fpan.contract import FaceClass, ModelCard, Taxonomy
from fpan.serve import errors
from fpan.serve.admission import Admission, Capacity
from fpan.serve.desk import Desk
from fpan.serve.grpc import start_grpc
from fpan.serve.grpc.around import PARSE_ROUTE
from fpan.serve.grpc.server import _OPTIONS_BYTES, HEALTH_INTERVAL_S, SERVICE
from fpan.serve.metrics import Metrics
from fpan.serve.pipeline.options import MAX_DEADLINE_MS
from fpan.serve.pipeline.parser import Parsed
from fpan.serve.pipeline.types import FaceFigures, ParsedFace, ParseResult, PartFigures, Photo
from fpan.serve.settings import Settings
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from PIL import Image

MAX_BODY_BYTES = 8 * 2**20
TAXONOMY = Taxonomy(
    name="two-eyes",
    classes=tuple(
        FaceClass(id=i, name=name, title=name, colour=(i * 80, 90, 200), partner=partner)
        for i, (name, partner) in enumerate([("background", 0), ("skin", 1), ("l_eye", 3), ("r_eye", 2)])
    ),
    groups={"eyes": ("l_eye", "r_eye")},
)
CARD = ModelCard(
    name="segm",
    version=3,
    task="segmentation",
    title="a square",
    inputs=(),
    outputs=(),
    input_size=64,
    taxonomy=TAXONOMY,
    weights_licence="none",
    files={"model.onnx": "ab" * 32},
)


class SquareParser:
    """A pipeline without networks: the middle of every picture is a face. What it was asked is kept."""

    def __init__(self):
        self.asked = []
        self.before = None
        self.cancelled = asyncio.Event()
        self.started = asyncio.Event()

    async def parse(self, data, options, caller=""):
        self.asked.append(options)
        self.started.set()
        try:
            if self.before is not None:
                await self.before()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
        window = (width // 4, height // 4, width // 2, height // 2)
        face = np.ones((window[3] - window[1], window[2] - window[0]), np.uint8)
        face[0, :2] = 2
        labels = np.zeros((height, width), np.uint8)
        labels[window[1] : window[3], window[0] : window[2]] = face
        part = PartFigures(2, "l_eye", 2, (window[0], window[1], window[0] + 2, window[1] + 1), 0.75)
        found = ParsedFace(
            id=0,
            box=(1.5, 2.5, 30.0, 31.0),
            score=0.9 if options.faces == "auto" else None,
            landmarks=np.arange(10, dtype=np.float32).reshape(5, 2) if options.faces == "auto" else None,
            window=window,
            labels=face,
            confidence=np.full(face.shape, 200, np.uint8),
            measure=lambda: FaceFigures((part,), 0.125, ("skin",), cut_by_image=True),
        )
        sure = np.full((height, width), 7, np.uint8)
        result = ParseResult(width, height, labels, sure, (found,), None, ("a note",), {"decode": 1.5})
        segmenter = SimpleNamespace(card=CARD, taxonomy=TAXONOMY, alias="champion")
        return Parsed(result, Photo(np.zeros((height, width, 3), np.uint8), "png"), segmenter)


@pytest.fixture
def free_port(unused_tcp_port_factory):
    return unused_tcp_port_factory()


@pytest.fixture
async def gateway(free_port):
    with ThreadPoolExecutor(1) as pool:
        settings = Settings(grpc_port=free_port, max_body_bytes=MAX_BODY_BYTES, max_concurrency=2)
        parser, metrics = SquareParser(), Metrics()
        desk = Desk(parser, pool, settings, metrics)
        built = SimpleNamespace(
            settings=settings,
            parser=parser,
            desk=desk,
            metrics=metrics,
            admission=Admission(Capacity.of(settings), None, metrics),
            tls=None,
            draining=False,
            healthy=True,
        )

        async def ready():
            return built.healthy and not built.draining

        built.ready = ready
        yield built


@pytest.fixture
async def server(gateway):
    started = await start_grpc(gateway)
    yield started
    await started.drain(0)


@pytest.fixture
async def channel(server):
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=unlimited) as opened:
        yield opened


@pytest.fixture
def stub(channel):
    return face_parsing_pb2_grpc.FaceParsingStub(channel)


def png(width=40, height=32):
    file = io.BytesIO()
    Image.new("RGB", (width, height), (90, 60, 30)).save(file, "PNG")
    return file.getvalue()


def pixels(data):
    with Image.open(io.BytesIO(data)) as image:
        return image.mode, np.asarray(image)


def error_info(error):
    status = rpc_status.from_call(
        SimpleNamespace(
            trailing_metadata=lambda: tuple(error.trailing_metadata()), code=error.code, details=error.details
        )
    )
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    has_retry = len(status.details) > 1 and status.details[1].Unpack(retry)
    assert status.details[0].Unpack(info)
    return info, retry.retry_delay.ToMilliseconds() / 1000 if has_retry else None


async def refused(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_answer_holds_all_that_the_pipeline_found(stub):
    answer = await stub.Parse(pb.ParseRequest(image=png()))
    assert (answer.image.width, answer.image.height) == (40, 32)
    assert (answer.taxonomy, answer.model.name, answer.model.version) == ("two-eyes", "segm", 3)
    assert answer.model.sha256 == "ab" * 32
    assert answer.model.alias == "champion"
    assert list(answer.notes) == ["a note"]
    assert answer.reason == ""
    assert answer.timing_ms["decode"] == 1.5
    assert answer.timing_ms["encode"] > 0
    [face] = answer.faces
    assert (face.box.x0, face.box.y0, face.box.x1, face.box.y1) == (1.5, 2.5, 30, 31)
    assert face.score == pytest.approx(0.9)
    assert [(p.x, p.y) for p in face.landmarks][:2] == [(0, 1), (2, 3)]
    assert (face.occluded, list(face.cut_by_crop), face.cut_by_image) == (0.125, ["skin"], True)
    [part] = face.parts
    assert (part.id, part.name, part.area, part.confidence) == (2, "l_eye", 2, 0.75)
    assert (part.box.x0, part.box.x1) == (10, 12)


async def test_label_maps_are_indexed_pngs_of_the_picture_and_of_each_window(stub):
    answer = await stub.Parse(pb.ParseRequest(image=png()))
    mode, whole = pixels(answer.labels.png)
    assert mode == "P"
    assert whole.shape == (32, 40)
    assert (whole[8, 10], whole[9, 10], whole[0, 0]) == (2, 1, 0)
    assert [(c.id, c.name) for c in answer.labels.classes] == [(1, "skin"), (2, "l_eye")]
    window = answer.faces[0].labels.window
    _, alone = pixels(answer.faces[0].labels.png)
    np.testing.assert_array_equal(alone, whole[window.y0 : window.y1, window.x0 : window.x1])


async def test_confidence_comes_only_when_asked_for(stub):
    assert (await stub.Parse(pb.ParseRequest(image=png()))).confidence_png == b""
    answer = await stub.Parse(pb.ParseRequest(image=png(), options=pb.ParseOptions(confidence=True)))
    mode, sure = pixels(answer.confidence_png)
    assert (mode, sure.shape) == ("L", (32, 40))
    assert (sure == 7).all()


async def test_options_reach_the_pipeline(stub, gateway):
    boxes = pb.Boxes(boxes=[pb.Box(x0=1, y0=2, x1=30, y1=31)])
    asked = pb.ParseOptions(
        boxes=boxes, max_faces=4, classes=["skin"], groups=["eyes"], orientation=pb.ORIENTATION_RAW, model="segm:3"
    )
    answer = await stub.Parse(pb.ParseRequest(image=png(), options=asked))
    await stub.Parse(pb.ParseRequest(image=png(), options=pb.ParseOptions(mode=pb.FACES_MODE_FULL)))
    await stub.Parse(pb.ParseRequest(image=png()))
    first, second, third = gateway.parser.asked
    assert first.faces == ((1, 2, 30, 31),)
    assert (first.max_faces, first.classes, first.groups) == (4, ("skin",), ("eyes",))
    assert (first.orientation, first.model) == ("raw", "segm:3")
    assert not answer.faces[0].HasField("score")
    assert len(answer.faces[0].landmarks) == 0
    assert second.faces == "full"
    assert (third.faces, third.orientation, third.max_faces, third.deadline_ms) == ("auto", "exif", None, None)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (pb.ParseOptions(max_faces=0), "max_faces"),
        (pb.ParseOptions(boxes=pb.Boxes()), "boxes"),
        (pb.ParseOptions(boxes=pb.Boxes(boxes=[pb.Box(x0=9, y0=9, x1=3, y1=3)])), "no inside"),
        (pb.ParseOptions(boxes=pb.Boxes(boxes=[pb.Box(x0=float("nan"), x1=9, y1=9)])), "box"),
        (pb.ParseOptions(mode=77), "77"),
        (pb.ParseOptions(orientation=55), "55"),
        (pb.ParseOptions(classes=[""]), "classes"),
    ],
)
async def test_impossible_options_are_told_in_words(stub, gateway, options, says):
    error = await refused(stub.Parse(pb.ParseRequest(image=png(), options=options)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert says in error.details()
    assert gateway.parser.asked == []


async def test_request_without_a_picture_is_refused(stub):
    error = await refused(stub.Parse(pb.ParseRequest()))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_info(error)[0].reason == "BAD_REQUEST"


@pytest.mark.parametrize("message", [b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 200, b"\x0a\x05abc"])
async def test_a_message_that_cannot_be_read_is_the_callers_fault(channel, caplog, message):
    error = await refused(channel.unary_unary(PARSE_ROUTE)(message))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "cannot be read" in error.details()
    assert error_info(error)[0].reason == "BAD_REQUEST"
    assert not caplog.records


@pytest.mark.parametrize("kind", sorted(errors.GatewayError.__subclasses__(), key=lambda kind: kind.__name__))
async def test_every_error_has_its_code_reason_and_time_to_try_again(stub, gateway, kind):
    async def fail():
        raise kind("the sentence for people")

    gateway.parser.before = fail
    call = stub.Parse(pb.ParseRequest(image=png()), metadata=(("x-request-id", "mine-1"),))
    error = await refused(call)
    assert error.code() is grpc.StatusCode[kind.grpc_code]
    assert error.details() == "the sentence for people"
    info, retry_s = error_info(error)
    assert (info.reason, info.domain) == (kind.slug.replace("-", "_").upper(), "mask-fpan")
    assert retry_s == kind.retry_after_s
    assert dict(error.trailing_metadata())["x-request-id"] == "mine-1"


async def test_unknown_errors_show_nothing_but_are_logged_with_the_request_id(stub, gateway, caplog):
    async def fail():
        raise RuntimeError("the secret path /etc/key")

    gateway.parser.before = fail
    with caplog.at_level(logging.ERROR, "fpan.serve.grpc"):
        error = await refused(stub.Parse(pb.ParseRequest(image=png()), metadata=(("x-request-id", "mine-2"),)))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(error)
    assert "mine-2" in caplog.text
    assert "the secret path" in caplog.text
    gateway.parser.before = None
    assert (await stub.Parse(pb.ParseRequest(image=png()))).image.width == 40


@pytest.mark.parametrize(("offered", "kept"), [("abc-123", True), ("with blank", False), ("x" * 200, False)])
async def test_request_id_is_echoed_when_it_is_sane_and_made_otherwise(stub, offered, kept):
    call = stub.Parse(pb.ParseRequest(image=png()), metadata=(("x-request-id", offered),))
    answer = await call
    assert (answer.request_id == offered) is kept
    assert len(answer.request_id) >= 7
    assert dict(await call.trailing_metadata())["x-request-id"] == answer.request_id


async def test_cancelled_calls_cancel_the_work(stub, gateway):
    gateway.parser.before = asyncio.Event().wait
    call = stub.Parse(pb.ParseRequest(image=png()))
    await asyncio.wait_for(gateway.parser.started.wait(), 5)
    call.cancel()
    await asyncio.wait_for(gateway.parser.cancelled.wait(), 5)


async def test_deadline_of_the_call_reaches_the_pipeline_and_ends_the_work(stub, gateway):
    gateway.parser.before = asyncio.Event().wait
    error = await refused(stub.Parse(pb.ParseRequest(image=png()), timeout=0.5))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0 < gateway.parser.asked[0].deadline_ms <= 500
    await asyncio.wait_for(gateway.parser.cancelled.wait(), 5)


async def test_a_deadline_far_away_is_cut_to_what_http_may_ask_for(stub, gateway):
    await stub.Parse(pb.ParseRequest(image=png()), timeout=24 * 3600)
    assert gateway.parser.asked[0].deadline_ms == MAX_DEADLINE_MS


async def test_big_pictures_pass_up_to_the_limit_and_not_beyond(stub, gateway):
    fitting = png() + b"\0" * (MAX_BODY_BYTES - len(png()))
    assert (await stub.Parse(pb.ParseRequest(image=fitting))).image.width == 40
    for excess in (1, 2 * _OPTIONS_BYTES):
        error = await refused(stub.Parse(pb.ParseRequest(image=fitting + b"\0" * excess)))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(gateway.parser.asked) == 1


async def test_calls_over_capacity_are_refused_at_once(stub, gateway):
    gateway.parser.before = asyncio.Event().wait
    held = [stub.Parse(pb.ParseRequest(image=png())) for _ in range(2)]
    while len(gateway.parser.asked) < 2:
        await asyncio.sleep(0.01)
    error = await refused(stub.Parse(pb.ParseRequest(image=png())))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error_info(error)[0].reason == "OVERLOADED"
    for call in held:
        call.cancel()
    await asyncio.wait_for(gateway.parser.cancelled.wait(), 5)
    gateway.parser.before = None
    assert (await stub.Parse(pb.ParseRequest(image=png()))).image.width == 40


async def test_calls_are_counted_by_their_code(stub, gateway):
    await stub.Parse(pb.ParseRequest(image=png()))
    await refused(stub.Parse(pb.ParseRequest()))
    counter = 'fpan_requests_total{method="gRPC",route="/faceparsing.v1.FaceParsing/Parse",status="%s"} 1.0'
    wanted = (counter % "OK", counter % "INVALID_ARGUMENT", "fpan_requests_in_flight 0.0")
    async with asyncio.timeout(20):  # a call is counted once it has been answered, which the caller may know before
        while not all(line in gateway.metrics.exposition().decode() for line in wanted):
            await asyncio.sleep(0.01)


async def test_health_follows_the_gateway(channel, gateway):
    kinds = health_pb2.HealthCheckResponse
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", SERVICE):
        assert (await health.Check(health_pb2.HealthCheckRequest(service=name))).status == kinds.SERVING
    watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    assert (await watch.read()).status == kinds.SERVING
    gateway.healthy = False
    assert (await asyncio.wait_for(watch.read(), 5 * HEALTH_INTERVAL_S)).status == kinds.NOT_SERVING
    gateway.healthy = True
    assert (await asyncio.wait_for(watch.read(), 5 * HEALTH_INTERVAL_S)).status == kinds.SERVING
    watch.cancel()
    error = await refused(health.Check(health_pb2.HealthCheckRequest(service="no.such.Service")))
    assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_tells_the_services_and_their_contract(channel):
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    ask = reflection_pb2.ServerReflectionRequest
    requests = [ask(list_services=""), ask(file_containing_symbol=SERVICE)]
    listed, described = [answer async for answer in reflection.ServerReflectionInfo(iter(requests))]
    names = {service.name for service in listed.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} <= names
    assert described.file_descriptor_response.file_descriptor_proto == [pb.DESCRIPTOR.serialized_pb]


async def test_drain_lets_running_calls_end_and_takes_no_new_ones(stub, gateway, server):
    go_on = asyncio.Event()
    gateway.parser.before = go_on.wait
    running = stub.Parse(pb.ParseRequest(image=png()))
    await asyncio.wait_for(gateway.parser.started.wait(), 5)
    draining = asyncio.create_task(server.drain(10))
    await asyncio.sleep(0.2)
    error = await refused(stub.Parse(pb.ParseRequest(image=png()), timeout=5))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert not draining.done()
    go_on.set()
    assert (await running).image.width == 40
    await asyncio.wait_for(draining, 5)


async def test_drain_cancels_what_runs_beyond_the_grace(stub, gateway, server):
    gateway.parser.before = asyncio.Event().wait
    running = stub.Parse(pb.ParseRequest(image=png()))
    await asyncio.wait_for(gateway.parser.started.wait(), 5)
    began = time.monotonic()
    await server.drain(0.3)
    assert time.monotonic() - began < 5
    await refused(running)
    await asyncio.wait_for(gateway.parser.cancelled.wait(), 5)


async def test_a_draining_gateway_refuses_calls_before_the_server_stops(stub, gateway):
    gateway.draining = True
    error = await refused(stub.Parse(pb.ParseRequest(image=png())))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert error_info(error)[1] is not None


async def test_a_taken_port_is_told_in_a_sentence(server, gateway):
    with pytest.raises(OSError, match="the port is taken"):
        await start_grpc(gateway)
