"""Every format as messages: the real pipeline, a network that knows its face."""

import io

import numpy as np
import pytest
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan.serve.api.errors import BadRequest
from fpan.serve.pipeline.encode.answer import AnswerEncoder
from fpan.serve.transports.grpc.convert import read_options, write_response
from PIL import Image

from tests.support.known_face import (
    CARD,
    HAIR,
    HEIGHT,
    SIZE,
    SKIN,
    TAXONOMY,
    WIDTH,
    drawn,
    file_of,
    known_gateway,
    photo,
)


@pytest.fixture
def made():
    with known_gateway() as gateway:
        yield gateway


async def respond(made, **options) -> pb.ParseResponse:
    read = read_options(pb.ParseOptions(**options))
    parsed = await made.parser.parse(file_of(photo()), read)
    return write_response(AnswerEncoder(parsed.result, parsed.photo, CARD, read, made.settings))


def opened(data: bytes) -> tuple[str, np.ndarray]:
    with Image.open(io.BytesIO(data)) as image:
        return image.mode, np.array(image)


async def test_nothing_but_label_maps_comes_unasked(made):
    answer = await respond(made)
    empty = (answer.polygons, answer.overlay_png, answer.cutout_png, answer.npz, answer.confidence_png)
    assert not any(map(len, empty))
    assert not answer.HasField("redaction")
    assert not answer.faces[0].HasField("crop")
    assert answer.labels.window.x1 == WIDTH


async def test_polygons_enclose_as_many_pixels_as_the_label_map_has(made):
    answer = await respond(made, outputs=[pb.OUTPUT_POLYGONS], tolerance=0)
    _, labels = opened(answer.labels.png)
    assert {one.name for one in answer.polygons} == {"skin", "hair", "nose"}
    for one in answer.polygons:
        area = 0
        for polygon in one.polygons:
            for ring in (polygon.outline, *polygon.holes):
                x, y = np.array(ring.corners, np.int64).reshape(-1, 2).T
                area += (x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
        assert area == (labels == one.id).sum()
    assert answer.faces[0].polygons == answer.polygons


async def test_soft_masks_of_named_classes(made):
    [mask] = (await respond(made, outputs=[pb.OUTPUT_ALPHA], classes=["hair"])).faces[0].alpha
    assert (mask.id, mask.name) == (HAIR, "hair")
    mode, values = opened(mask.png)
    assert (mode, values.shape) == ("L", (mask.window.y1 - mask.window.y0, mask.window.x1 - mask.window.x0))


async def test_pictures_and_arrays(made):
    asked = [pb.OUTPUT_CONFIDENCE, pb.OUTPUT_OVERLAY, pb.OUTPUT_CUTOUT, pb.OUTPUT_NPZ]
    answer = await respond(made, outputs=asked)
    kinds = {name: opened(getattr(answer, f"{name}_png"))[1].shape[2:] for name in ("confidence", "overlay", "cutout")}
    assert kinds == {"confidence": (), "overlay": (3,), "cutout": (4,)}
    with np.load(io.BytesIO(answer.npz)) as file:
        assert np.array_equal(file["labels"], opened(answer.labels.png)[1])


async def test_a_redacted_picture_and_how_its_faces_were_covered(made):
    answer = await respond(made, outputs=[pb.OUTPUT_REDACT], redact=pb.REDACT_STYLE_FILL)
    assert [(face.id, face.whole, face.why) for face in answer.redaction.faces] == [(0, False, "")]
    _, shown = opened(answer.redaction.png)
    assert (shown[opened(answer.labels.png)[1] == SKIN] == 0).all()
    made.network.confidence[:] = 120
    [face] = (await respond(made, outputs=[pb.OUTPUT_REDACT])).redaction.faces
    assert face.whole
    assert "uncertain" in face.why


async def test_in_the_crops_frame_every_face_has_its_own(made):
    asked = [pb.OUTPUT_POLYGONS, pb.OUTPUT_OVERLAY, pb.OUTPUT_CONFIDENCE]
    answer = await respond(made, frame=pb.FRAME_CROP, outputs=asked)
    assert not answer.HasField("labels")
    assert not len(answer.polygons) + len(answer.overlay_png) + len(answer.confidence_png)
    [face] = answer.faces
    assert np.array_equal(opened(face.labels.png)[1], drawn())
    assert (face.crop.size, len(face.crop.matrix)) == (SIZE, 6)
    assert opened(face.overlay_png)[1].shape == (SIZE, SIZE, 3)
    assert opened(face.confidence_png)[1].shape == (SIZE, SIZE)
    assert len(face.polygons) == 3


async def test_uncertain_pixels_are_unknown_and_ids_follow_the_order_that_was_asked_for(made):
    made.network.confidence[: SIZE // 2] = 50
    answer = await respond(made, abstain=0.5, taxonomy="bisenet")
    assert answer.taxonomy == "bisenet"
    known = {one.name: one.id for one in answer.labels.classes}
    assert known["unknown"] == 255
    assert known["hair"] == TAXONOMY.remaps["bisenet"][HAIR]
    _, labels = opened(answer.labels.png)
    assert labels.shape == (HEIGHT, WIDTH)
    assert set(np.unique(labels)) == {0, *known.values()}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"outputs": [0]}, "outputs"),
        ({"outputs": [99]}, "99"),
        ({"redact": 77}, "77"),
        ({"frame": 5}, "frame"),
        ({"abstain": float("nan")}, "abstain"),
        ({"tolerance": 1000}, "tolerance"),
        ({"outputs": [pb.OUTPUT_REDACT, pb.OUTPUT_CUTOUT]}, "cutout shows"),
        ({"redact": pb.REDACT_STYLE_FILL}, "ask for that output"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, says):
    with pytest.raises(BadRequest, match=says):
        read_options(pb.ParseOptions(**options))
