"""What gRPC answers over a real channel: all that the pipeline found, and errors with their code and reason."""

import io
import logging

import grpc
import numpy as np
import pytest
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan.serve.api import errors
from fpan.serve.transports.grpc.middleware import PARSE_ROUTE
from PIL import Image

from tests.support.grpc_calls import error_info, png, refused, serving


@pytest.fixture
async def gateway(unused_tcp_port):
    async with serving(unused_tcp_port) as opened:
        yield opened


@pytest.fixture
def stub(gateway):
    return gateway.stub


@pytest.fixture
def channel(gateway):
    return gateway.channel


def pixels(data):
    with Image.open(io.BytesIO(data)) as image:
        return image.mode, np.asarray(image)


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
    with caplog.at_level(logging.ERROR, "fpan.serve.transports.grpc"):
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
