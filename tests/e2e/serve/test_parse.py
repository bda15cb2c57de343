"""The main job over HTTP: real photos in, label maps out, by the shipped network in a real Triton."""

import base64
import json
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from fpan.contract import Taxonomy
from fpan.rle import decode_classes
from PIL import Image, ImageOps
from skimage import transform

from tests.support import readme
from tests.support.service import Service

# Where the parts of the astronaut's face are, as anybody can see them in the picture: (x, y) in its pixels.
ASTRONAUT = {
    "skin": [(225, 90), (195, 125), (255, 120), (225, 168)],
    "hair": [(165, 80), (240, 40), (285, 90)],
    "r_eye": [(203, 101)],
    "l_eye": [(246, 103)],
    "nose": [(224, 122)],
    "mouth": [(220, 146)],
    "u_lip": [(222, 141)],
    "l_lip": [(222, 153)],
    "neck": [(225, 184)],
}


@pytest.fixture(scope="module")
def client(service: Service):
    with httpx.Client(base_url=service.url, timeout=60) as client:
        yield client


def taxonomy() -> Taxonomy:
    found = readme.card().taxonomy
    assert found is not None
    return found


def file_of(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def label_map(client: httpx.Client, picture: bytes, **options) -> np.ndarray:
    answer = client.post("/v1/parse", content=picture, params=options, headers={"Accept": "image/png"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    with Image.open(BytesIO(answer.content)) as image:
        assert image.mode == "P"
        return np.array(image)


def parse(client: httpx.Client, picture: bytes, **options) -> dict:
    answer = client.post("/v1/parse", content=picture, params=options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_astronaut_has_one_face_with_its_parts_where_they_are(client, astronaut_jpeg):
    answer = parse(client, astronaut_jpeg)
    assert len(answer["faces"]) == 1
    names = {part["name"] for part in answer["faces"][0]["parts"]}
    assert {"skin", "hair", "l_eye", "r_eye", "nose", "u_lip", "l_lip"} <= names
    labels = decode_classes(answer["mask"])
    for name, points in ASTRONAUT.items():
        for x, y in points:
            found = taxonomy().classes[labels[y, x]].name
            assert found == name, f"{found} instead of {name} at {x}, {y}"


def test_left_and_right_are_the_persons_own(client, astronaut_jpeg):
    boxes = {p["name"]: p["box"] for p in parse(client, astronaut_jpeg)["faces"][0]["parts"]}
    assert boxes["r_eye"][2] <= boxes["l_eye"][0]


def test_png_answer_is_the_json_answers_mask(client, astronaut_jpeg):
    answer = parse(client, astronaut_jpeg, output="rle,png,confidence")
    labels = decode_classes(answer["mask"])
    assert np.array_equal(label_map(client, astronaut_jpeg), labels)
    with Image.open(BytesIO(base64.b64decode(answer["png"]["data"]))) as image:
        assert np.array_equal(np.array(image), labels)
        palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    assert np.array_equal(palette[: len(taxonomy())], taxonomy().palette[: len(taxonomy())])
    with Image.open(BytesIO(base64.b64decode(answer["confidence"]["data"]))) as image:
        assert image.size == (512, 512)


@pytest.mark.parametrize("how", ["raw", "multipart", "json", "alias"])
def test_every_way_to_send_a_picture_gives_the_same_faces(client, astronaut_jpeg, how):
    expected = parse(client, astronaut_jpeg)
    answer = {
        "raw": lambda: client.post("/v1/parse", content=astronaut_jpeg, headers={"Content-Type": "image/jpeg"}),
        "multipart": lambda: client.post("/v1/parse", files={"image": ("me.jpg", astronaut_jpeg, "image/jpeg")}),
        "json": lambda: client.post("/v1/parse", json={"image": base64.b64encode(astronaut_jpeg).decode()}),
        "alias": lambda: client.post("/parse", content=astronaut_jpeg),
    }[how]().json()
    assert answer["faces"] == expected["faces"]


def test_figures_of_the_parts_are_those_of_the_mask(client, astronaut_jpeg):
    face = parse(client, astronaut_jpeg)["faces"][0]
    labels = decode_classes(face["mask"])
    for part in face["parts"]:
        rows, columns = np.nonzero(labels == part["id"])
        assert part["area"] == rows.size
        assert part["box"] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert 0 < part["confidence"] <= 1


def test_kept_classes_are_all_that_is_left(client, astronaut_jpeg):
    answer = parse(client, astronaut_jpeg, classes="hair", groups="eyes")
    kept = {"hair", "l_eye", "r_eye"}
    assert {part["name"] for part in answer["faces"][0]["parts"]} == kept
    assert {c["name"] for c in answer["mask"]["classes"]} == kept


def test_a_cutout_keeps_the_classes_that_were_chosen(client, astronaut_jpeg):
    answer = client.post(
        "/v1/parse",
        content=astronaut_jpeg,
        params={"classes": "neck,cloth", "output": "cutout"},
        headers={"Accept": "image/png"},
    )
    opaque = np.array(Image.open(BytesIO(answer.content)))[..., 3] > 0
    labels = label_map(client, astronaut_jpeg)
    assert opaque.any()
    assert np.array_equal(opaque, np.isin(labels, [taxonomy().id_of("neck"), taxonomy().id_of("cloth")]))


def test_a_box_lends_a_found_face_its_landmarks(client, astronaut_jpeg):
    found = parse(client, astronaut_jpeg)
    boxed = parse(client, astronaut_jpeg, faces=json.dumps([found["faces"][0]["box"]]))
    assert boxed["faces"][0]["landmarks"] == found["faces"][0]["landmarks"]
    assert boxed["mask"] == found["mask"]


def test_a_box_without_a_found_face_is_parsed_all_the_same(client, astronaut_jpeg):
    face = parse(client, astronaut_jpeg, faces="[[330, 60, 420, 180]]")["faces"][0]
    assert face["landmarks"] is None
    assert face["score"] is None


def test_max_faces_keeps_the_largest(client, group_photo):
    everyone = parse(client, group_photo)["faces"]
    area = [(b[2] - b[0]) * (b[3] - b[1]) for b in (f["box"] for f in everyone)]
    assert area == sorted(area, reverse=True)
    assert [f["box"] for f in parse(client, group_photo, max_faces=1)["faces"]] == [everyone[0]["box"]]


def test_a_face_larger_than_the_crop_has_smooth_edges(client, astronaut):
    """Enlarged labels would be stairs of several pixels; enlarged probabilities are not."""
    scale = 4
    large = (transform.resize(astronaut[:300, 80:380], (300 * scale, 300 * scale), order=3) * 255).astype(np.uint8)
    labels = label_map(client, file_of(large))
    skin = labels == taxonomy().id_of("skin")
    edges = np.abs(np.diff(skin.astype(np.int8), axis=1)).sum(1)
    columns = [np.flatnonzero(np.diff(row.astype(np.int8)))[0] for row, e in zip(skin, edges, strict=True) if e]
    steps = np.abs(np.diff(columns))
    assert len(columns) > 300
    # A staircase of eight pixels (the crop is enlarged so far) moves in an eighth of the rows at most.
    assert np.mean(steps[steps < 20] > 0) > 0.2


MIRRORED_SAME = 0.97
"""Least share of the foreground on which a picture and its mirror image agree."""


def mirrored_share(client: httpx.Client, pictures: list[np.ndarray]) -> float:
    """How far they agree, over all pictures together."""
    same = total = 0
    for pixels in pictures:
        labels = label_map(client, file_of(pixels))
        mirrored = taxonomy().mirror(label_map(client, file_of(np.ascontiguousarray(pixels[:, ::-1]))))
        foreground = (labels != 0) | (mirrored != 0)
        same += int((labels == mirrored)[foreground].sum())
        total += int(foreground.sum())
    return same / total


def test_mirrored_portrait_gives_the_mirrored_answer(client, astronaut):
    assert mirrored_share(client, [astronaut]) >= MIRRORED_SAME


def test_mirrored_val_pictures_give_the_mirrored_answers(client, fpan_data):
    names = json.loads((fpan_data / "celeba19" / "split.json").read_text())["val"][:20]
    pictures = [np.array(Image.open(fpan_data / "celeba19" / "images" / f"{name}.jpg")) for name in names]
    assert mirrored_share(client, pictures) >= MIRRORED_SAME


def test_group_photo_of_six_gives_six(client, group_photo):
    answer = parse(client, group_photo)
    assert len(answer["faces"]) == 6
    for face in answer["faces"]:
        assert {"skin", "nose", "hair"} <= {part["name"] for part in face["parts"]}


def test_orientation_raw_takes_the_pixels_as_they_lie(client, astronaut):
    turned = Image.fromarray(astronaut).transpose(Image.Transpose.ROTATE_90)
    file = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(file, "JPEG", exif=exif, quality=95)
    with Image.open(BytesIO(file.getvalue())) as image:
        upright = np.array(ImageOps.exif_transpose(image))
    assert np.array_equal(label_map(client, file.getvalue()), label_map(client, file_of(upright)))
    assert label_map(client, file.getvalue(), orientation="raw").shape == (512, 512)


def test_no_face_is_an_answer_and_says_why(client):
    answer = parse(client, file_of(np.full((200, 300, 3), 128, np.uint8)))
    assert answer["faces"] == []
    assert "no face" in answer["reason"]
    assert answer["image"] == {"width": 300, "height": 200}


def test_timing_names_every_stage(client, astronaut_jpeg):
    answer = client.post("/v1/parse", content=astronaut_jpeg)
    assert list(answer.json()["timing_ms"]) == ["decode", "detect", "queue", "infer", "paste", "encode"]
    assert answer.headers["server-timing"].startswith("decode;dur=")


def test_request_id_is_echoed_or_made(client, astronaut_jpeg):
    sent = client.post("/v1/parse", content=astronaut_jpeg, headers={"X-Request-Id": "abc-1"})
    assert sent.headers["x-request-id"] == sent.json()["request_id"] == "abc-1"
    assert len(client.get("/v1/health/live").headers["x-request-id"]) == 32


def test_val_pictures_over_http_score_as_the_offline_evaluator(client, fpan_data):
    from fpan_training.data.folder import FaceFolder, read_rgb
    from fpan_training.evaluate.segmentation import evaluate

    folder = FaceFolder.open(fpan_data / "celeba19", "val")
    files = {read_rgb(path).tobytes(): path for path in folder.paths}

    def label(image: np.ndarray) -> np.ndarray:
        return label_map(client, Path(files[image.tobytes()]).read_bytes(), faces="full")

    served, _ = evaluate(label, folder, "val over HTTP", 0, 19, taxonomy())
    offline = next(e for e in readme.card().evaluations if e.size == 512)
    assert abs(served.miou - offline.miou) <= 0.005
    assert abs(served.mean_f1 - offline.mean_f1) <= 0.005
