"""Every format from the request to the answer: the real pipeline and the real routes, a network that knows its face."""

import base64
import io

import httpx
import numpy as np
import pytest
from fpan.rle import decode_classes
from fpan.serve.pipeline.types import Detection
from fpan.serve.transports.http.app import create_app
from fpan.serve.transports.http.openapi.schema import ParseAnswer
from PIL import Image

from tests.support.known_face import (
    BOX,
    CARD,
    FACE,
    HAIR,
    HEIGHT,
    NOSE,
    OCCLUSION,
    POINTS,
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
async def made():
    with known_gateway() as gateway:
        transport = httpx.ASGITransport(create_app(gateway))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            gateway.client = client
            yield gateway


async def parse(made, picture: bytes | None = None, **options) -> dict:
    told = await made.client.post("/v1/parse", content=picture or file_of(photo()), params=options)
    assert told.status_code == 200, told.text
    ParseAnswer.model_validate(told.json())
    return told.json()


async def direct(made, media: str, picture: bytes | None = None, **options) -> httpx.Response:
    told = await made.client.post(
        "/v1/parse", content=picture or file_of(photo()), params=options, headers={"Accept": media}
    )
    assert told.status_code == 200, told.text
    assert told.headers["content-type"] == media
    return told


async def refused(made, status: int, accept: str = "application/json", **options) -> str:
    told = await made.client.post("/v1/parse", content=file_of(photo()), params=options, headers={"Accept": accept})
    assert (told.status_code, told.headers["content-type"]) == (status, "application/problem+json"), told.text
    return told.json()["detail"]


def opened(data: bytes | str) -> tuple[str, np.ndarray]:
    with Image.open(io.BytesIO(base64.b64decode(data) if isinstance(data, str) else data)) as image:
        return image.mode, np.array(image)


async def test_polygons_tell_the_mask_and_their_tolerance(made):
    answer = await parse(made, output="rle,polygons", tolerance=0)
    polygons = answer["polygons"]
    assert (polygons["tolerance"], polygons["size"]) == (0, [HEIGHT, WIDTH])
    labels = decode_classes(answer["mask"])
    painted = np.zeros((HEIGHT, WIDTH), np.uint8)
    for one in polygons["classes"]:
        area = 0
        for polygon in one["polygons"]:
            for ring in (polygon["outline"], *polygon["holes"]):
                x, y = np.array(ring).T
                area += (x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
        assert area == (labels == one["id"]).sum()
        painted[labels == one["id"]] = one["id"]
    assert np.array_equal(painted, labels)
    assert answer["faces"][0]["polygons"] == polygons


async def test_polygons_are_simplified_as_the_operator_says_where_nothing_is_asked_for(made):
    made.settings.polygon_tolerance_px = 2.5
    assert (await parse(made, output="polygons"))["polygons"]["tolerance"] == 2.5
    assert (await parse(made, output="polygons", tolerance=0.5))["polygons"]["tolerance"] == 0.5


async def test_polygons_that_are_too_long_are_refused(made):
    made.settings.max_outline_steps = 100
    assert "more than the 100" in await refused(made, 413, output="polygons")


async def test_soft_masks_come_for_the_classes_that_were_named(made):
    answer = await parse(made, output="alpha", classes="hair,hat")
    alpha = answer["faces"][0]["alpha"]
    assert [one["name"] for one in alpha["classes"]] == ["hair"]
    x0, y0, x1, y1 = alpha["classes"][0]["window"]
    mode, values = opened(alpha["classes"][0]["data"])
    assert (mode, values.shape) == ("L", (y1 - y0, x1 - x0))
    assert values.max() > 250
    assert made.network.asked == [("labels", "confidence", "logits")]
    assert "mask" not in answer


async def test_soft_masks_come_for_the_classes_of_the_face_where_none_is_named(made):
    answer = await parse(made, output="alpha")
    assert [one["name"] for one in answer["faces"][0]["alpha"]["classes"]] == ["skin", "nose", "hair"]


async def test_a_matte_is_a_grey_picture_of_all_kept_classes(made):
    mode, matte = opened((await direct(made, "image/png", output="alpha", groups="head")).content)
    assert (mode, matte.shape) == ("L", (HEIGHT, WIDTH))
    _, labels = opened((await direct(made, "image/png", groups="head")).content)
    assert np.abs(matte / 255 - (labels > 0)).mean() < 0.02


async def test_logits_are_not_asked_for_without_need(made):
    await parse(made)
    assert made.network.asked == [("labels", "confidence")]


async def test_soft_masks_that_would_fill_the_memory_are_refused(made):
    made.parser._settings = made.parser._settings.model_copy(update={"max_alpha_bytes": 50_000})
    assert await parse(made, output="alpha", classes="nose")
    assert "50000 bytes" in await refused(made, 413, output="alpha")


async def test_arrays_come_by_themselves_and_within_json(made):
    told = await direct(made, "application/x-npz", groups="hair+hat")
    with np.load(io.BytesIO(told.content), allow_pickle=False) as file:
        arrays = dict(file)
    _, labels = opened((await direct(made, "image/png", groups="hair+hat")).content)
    assert np.array_equal(arrays["labels"], labels)
    assert arrays["alpha_ids"].tolist() == [HAIR]
    assert arrays["class_names"][HAIR] == "hair"
    assert told.headers["face-count"] == "1"
    answer = await parse(made, output="npz", groups="hair+hat")
    assert base64.b64decode(answer["npz"]["data"]) == told.content
    with np.load(io.BytesIO((await direct(made, "application/x-npz")).content)) as file:
        assert "alpha" not in file
    with np.load(io.BytesIO((await direct(made, "application/x-npz", output="npz,alpha")).content)) as file:
        assert file["alpha_ids"].tolist() == [SKIN, NOSE, HAIR]


async def test_uncertain_pixels_are_unknown(made):
    made.network.confidence[:, : SIZE // 2] = 100
    answer = await parse(made, output="rle,png", abstain=0.5)
    classes = {one["id"]: one["name"] for one in answer["mask"]["classes"]}
    assert classes[255] == "unknown"
    labels = decode_classes(answer["mask"])
    assert np.array_equal(opened(answer["png"]["data"])[1], labels)
    certain = decode_classes((await parse(made))["mask"])
    known = labels != 255
    assert np.array_equal(labels[known], certain[known])
    assert 0.1 < (~known).mean() < 0.9
    assert answer["faces"][0]["parts"][0]["area"] == (labels == SKIN).sum()
    assert np.array_equal(decode_classes((await parse(made, abstain=0.3))["mask"]), certain)


async def test_in_the_crops_frame_every_face_has_its_own(made):
    made.eyes.faces = [FACE, FACE]
    answer = await parse(made, output="rle,polygons,alpha,overlay,confidence,npz", frame="crop", tolerance=0)
    assert "mask" not in answer
    assert "overlay" not in answer
    for face in answer["faces"]:
        assert face["crop"]["size"] == SIZE
        assert np.array_equal(decode_classes(face["mask"]), drawn())
        assert face["polygons"]["size"] == face["alpha"]["size"] == [SIZE, SIZE]
        assert opened(face["overlay"]["data"])[1].shape == (SIZE, SIZE, 3)
        assert (opened(face["confidence"]["data"])[1] == 240).all()
        skin = next(part for part in face["parts"] if part["name"] == "skin")
        assert skin["area"] == (drawn() == SKIN).sum()
        assert face["box"] == pytest.approx(BOX, abs=0.01)
        # The matrix goes from the picture to the crop: the five points land on the template.
        matrix = np.array(face["crop"]["matrix"])
        there = np.array(face["landmarks"]) @ matrix[:, :2].T + matrix[:, 2]
        assert np.abs(there - (np.array(CARD.alignment.points) * SIZE - 0.5)).max() < 2
    with np.load(io.BytesIO(base64.b64decode(answer["npz"]["data"]))) as file:
        assert np.array_equal(file["labels"], np.stack([drawn()] * 2))


async def test_a_picture_of_the_crop_is_of_one_face(made):
    _, labels = opened((await direct(made, "image/png", frame="crop")).content)
    assert np.array_equal(labels, drawn())
    _, cut = opened((await direct(made, "image/png", frame="crop", output="cutout")).content)
    assert cut.shape == (SIZE, SIZE, 4)
    assert opened((await direct(made, "image/png", frame="crop", output="alpha")).content)[0] == "L"
    made.eyes.faces = [FACE, FACE]
    assert "has 2" in await refused(made, 422, "image/png", frame="crop")
    await direct(made, "image/png", frame="crop", max_faces=1)


async def test_classes_are_told_in_another_order(made):
    made.network.labels[:, : SIZE // 3] = OCCLUSION
    own, other = await parse(made), await parse(made, taxonomy="bisenet", output="rle,png,npz")
    assert (own["taxonomy"], other["taxonomy"]) == (TAXONOMY.name, "bisenet")
    table = TAXONOMY.remaps["bisenet"]
    assert {one["name"]: one["id"] for one in other["mask"]["classes"]} == {
        "skin": table[SKIN],
        "nose": table[NOSE],
        "hair": table[HAIR],
        "unknown": 255,
    }
    labels = decode_classes(other["mask"])
    assert np.array_equal(labels, np.array(table, np.uint8)[decode_classes(own["mask"])])
    assert np.array_equal(opened(other["png"]["data"])[1], labels)
    assert {p["name"]: p["id"] for p in other["faces"][0]["parts"]} == {
        c["name"]: c["id"] for c in other["mask"]["classes"] if c["id"] != 255
    }
    assert other["faces"][0]["occluded"] == own["faces"][0]["occluded"] > 0
    with np.load(io.BytesIO(base64.b64decode(other["npz"]["data"]))) as file:
        assert file["class_names"][table[HAIR]] == "hair"
    assert (await parse(made, taxonomy=TAXONOMY.name))["mask"] == own["mask"]


async def test_an_order_that_nobody_uses_is_refused(made):
    assert "bisenet" in await refused(made, 400, taxonomy="nobodys")
    assert made.network.asked == []


# Redaction


def with_metadata() -> bytes:
    """A JPEG, lying on its side, with a thumbnail, a place and a comment."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "the secret title"
    exif.get_ifd(0x8825)[1] = "N"
    thumbnail = file_of(photo()[:64, :64], "JPEG")
    data = exif.tobytes() + b"the secret thumbnail" + thumbnail
    return file_of(np.rot90(photo()).copy(), "JPEG", exif=data, comment=b"the secret comment", quality=95)


@pytest.mark.parametrize("style", ["blur", "pixelate", "fill"])
async def test_a_redacted_picture_shows_no_face_and_no_metadata(made, style):
    sent = with_metadata()
    assert b"the secret" in sent
    told = await direct(made, "image/png", sent, output="redact", redact=style)
    assert b"secret" not in told.content
    with Image.open(io.BytesIO(told.content)) as image:
        assert not image.getexif()
        assert not image.info
        assert image.size == (WIDTH, HEIGHT)
        shown = np.array(image)
    with Image.open(io.BytesIO(sent)) as image:
        upright = np.array(image.transpose(Image.Transpose.ROTATE_270))
    _, labels = opened((await direct(made, "image/png", sent, groups="face")).content)
    assert (labels > 0).sum() > 4000
    assert (shown[labels > 0] == upright[labels > 0]).all(1).mean() < 0.01
    corner = np.s_[:30, :30]
    assert np.array_equal(shown[corner], upright[corner])


async def test_json_tells_how_faces_were_covered(made):
    answer = await parse(made, output="redact", redact="fill")
    assert answer["redact"]["style"] == "fill"
    assert answer["redact"]["faces"] == [{"id": 0, "whole": False, "why": None}]
    made.network.confidence[:] = 120
    answer = await parse(made, output="redact")
    assert answer["redact"]["style"] == "blur"
    [face] = answer["redact"]["faces"]
    assert face["whole"]
    assert "uncertain" in face["why"]
    _, shown = opened(answer["redact"]["data"])
    x0, y0, x1, y1 = (round(v) for v in BOX)
    assert (shown[y0:y1, x0:x1] == photo()[y0:y1, x0:x1]).all(2).mean() < 0.01


async def test_named_parts_alone_are_covered(made):
    _, shown = opened((await direct(made, "image/png", output="redact", redact="fill", classes="nose")).content)
    changed = (shown != photo()).any(2)
    _, labels = opened((await direct(made, "image/png", classes="nose")).content)
    assert changed[labels > 0].mean() > 0.99
    assert changed.sum() < 12 * (labels > 0).sum()


async def test_more_faces_than_may_be_parsed_are_an_error_and_not_left(made):
    made.careful.faces = [FACE, FACE, FACE, FACE]
    assert "4 faces were found, but 3" in await refused(made, 422, output="redact")
    made.careful.faces = [FACE, FACE]
    assert "2 faces were found, but 1" in await refused(made, 422, output="redact", max_faces=1)
    assert made.network.asked == []
    made.eyes.faces = [FACE, FACE]
    assert len((await parse(made, max_faces=1))["faces"]) == 1


async def test_faces_to_be_covered_are_sought_with_more_care(made):
    made.eyes.faces = []
    answer = await parse(made, output="redact")
    assert (len(answer["faces"]), made.eyes.asked, made.careful.asked) == (1, 0, 1)


async def test_a_found_face_that_cannot_be_parsed_is_covered_by_its_box(made):
    beyond = Detection((10.0, 10.0, 60.0, 70.0), 0.9, POINTS.astype(np.float32) + 5000)
    made.careful.faces = [FACE, beyond]
    answer = await parse(made, output="redact", redact="fill")
    assert len(answer["faces"]) == 1
    assert (opened(answer["redact"]["data"])[1][10:70, 10:60] == 0).all()


async def test_faces_beside_the_callers_boxes_are_told(made):
    made.careful.faces = [FACE, Detection((5.0, 5.0, 40.0, 40.0), 0.9, POINTS.astype(np.float32) - 70)]
    answer = await parse(made, output="redact", faces=str([list(BOX)]))
    assert answer["notes"] == ["1 faces outside the boxes were found and left as they are"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"output": "redact,cutout"}, "cutout shows"),
        ({"output": "overlay,redact"}, "overlay shows"),
        ({"output": "redact", "orientation": "raw"}, "EXIF"),
        ({"output": "redact", "frame": "crop"}, "frame=crop"),
        ({"output": "redact", "abstain": "0.5"}, "abstain"),
        ({"redact": "fill"}, "ask for that output"),
        ({"output": "redact", "redact": "smear"}, "blur, pixelate, fill"),
        ({"output": "polygons", "tolerance": "nan"}, "from 0 to 100"),
        ({"tolerance": "-1"}, "from 0 to 100"),
        ({"abstain": "1.5"}, "from 0 to 1"),
        ({"frame": "photo"}, "image, crop"),
    ],
)
async def test_options_that_make_no_sense_are_refused(made, options, says):
    assert says in await refused(made, 400, **options)
    assert made.network.asked == []


@pytest.mark.parametrize(
    ("accept", "output"),
    [("image/png", "polygons"), ("image/png", "npz"), ("image/png", "redact,png"), ("application/x-npz", "png")],
)
async def test_answers_without_words_hold_what_they_can(made, accept, output):
    await refused(made, 400, accept, output=output)


async def test_a_face_has_no_mask_of_its_own_where_none_is_wanted(made):
    whole, without = await parse(made), await parse(made, face_masks="false")
    assert without["mask"] == whole["mask"]
    [face], [bare] = whole["faces"], without["faces"]
    assert face["mask"]["classes"]
    assert bare == {**face, "mask": {**face["mask"], "classes": []}}
    ParseAnswer.model_validate(without)
    assert (await made.client.post("/v1/parse?face_masks=no", content=file_of(photo()))).status_code == 400
