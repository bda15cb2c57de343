"""Every format by the shipped network, and the page that documents them."""

import base64
import io
import json
import re
import shutil

import httpx
import numpy as np
import pytest
from fpan.rle import decode, decode_classes
from fpan.serve.transports.http.openapi.schema import ParseAnswer
from PIL import Image
from pycocotools import mask as coco_mask

from tests.support import formats_page
from tests.support.service import ROOT, Service


@pytest.fixture(scope="module")
def client(service: Service):
    with httpx.Client(base_url=service.url, timeout=60) as client:
        yield client


def parse(client: httpx.Client, picture: bytes, **options) -> dict:
    answer = client.post("/v1/parse", content=picture, params=options)
    assert answer.status_code == 200, answer.text
    ParseAnswer.model_validate(answer.json())
    return answer.json()


def opened(data: bytes | str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(data) if isinstance(data, str) else data)) as image:
        return np.array(image)


def rasterised(ring: list, size: tuple[int, int]) -> np.ndarray:
    runs = coco_mask.merge(coco_mask.frPyObjects([np.array(ring, float).ravel().tolist()], *size))
    return decode(runs["counts"].decode(), size)


def test_polygons_of_everybody_are_the_mask(client, group_photo):
    answer = parse(client, group_photo, output="rle,polygons", tolerance=0)
    size = tuple(answer["mask"]["size"])
    labels = decode_classes(answer["mask"])
    for one in answer["polygons"]["classes"]:
        painted = np.zeros(size, np.bool_)
        for polygon in one["polygons"]:
            inside = rasterised(polygon["outline"], size)
            for hole in polygon["holes"]:
                inside &= ~rasterised(hole, size)
            painted |= inside
        assert np.array_equal(painted, labels == one["id"]), one["name"]


def test_soft_masks_round_to_the_labels(client, astronaut_jpeg):
    answer = parse(client, astronaut_jpeg, output="rle,alpha")
    labels = decode_classes(answer["mask"])
    for one in answer["faces"][0]["alpha"]["classes"]:
        x0, y0, x1, y1 = one["window"]
        values = np.zeros(labels.shape)
        values[y0:y1, x0:x1] = opened(one["data"]) / 255
        mine = labels == one["id"]
        # A mask of its own is more than half; what is nobody's half lies along borders.
        assert ((values > 0.5) & ~mine).sum() <= 0.05 * mine.sum() + 5, one["name"]
        assert abs(values.sum() - mine.sum()) <= 0.1 * mine.sum() + 10, one["name"]


@pytest.mark.parametrize("style", ["blur", "pixelate", "fill"])
def test_nobody_is_left_in_a_redacted_picture(client, group_photo, style):
    told = client.post(
        "/v1/parse",
        content=group_photo,
        params={"output": "redact", "redact": style},
        headers={"Accept": "image/png"},
    )
    assert (told.status_code, told.headers["face-count"]) == (200, "6")
    shown, original = opened(told.content), opened(group_photo)
    for face in parse(client, group_photo, groups="face")["faces"]:
        mine = decode_classes(face["mask"]) > 0
        assert (shown[mine] == original[mine]).all(1).mean() < 0.01


def test_more_people_than_may_be_covered_are_an_error(client, group_photo):
    told = client.post("/v1/parse", content=group_photo, params={"output": "redact", "max_faces": 2})
    assert told.status_code == 422
    assert told.json()["detail"] in formats_page.PAGE.read_text()


def alike(here, there) -> None:
    """The same answer but for the last pixel, and for what the page cuts short: processors round differently."""
    if isinstance(there, dict):
        assert here.keys() == there.keys()
        for name in there:
            if name not in ("counts", "data", "outline", "holes"):
                alike(here[name], there[name])
    elif isinstance(there, list):
        assert len(here) == len(there)
        for a, b in zip(here, there, strict=True):
            alike(a, b)
    elif isinstance(there, float | int) and not isinstance(there, bool):
        assert here == pytest.approx(there, rel=0.03, abs=1)
    else:
        assert here == there


@pytest.mark.parametrize("name", sorted(formats_page.EXAMPLES))
def test_the_page_shows_real_requests_with_their_answers(service, name, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("no curl here: get it with 'apt-get install curl'")
    example = formats_page.EXAMPLES[name]
    assert example.command in formats_page.block(name), "run `python -m tests.support.formats_page`"
    answer = formats_page.ask(example, service.url, str(tmp_path))
    if example.shown:
        alike(json.loads(json.dumps(answer)), formats_page.documented_answer(name))
    elif example.file.endswith(".npz"):
        with np.load(tmp_path / example.file) as file:
            assert file["alpha"].shape == (len(file["alpha_ids"]), 512, 512)
    else:
        assert opened((tmp_path / example.file).read_bytes()).shape == (512, 512)


def test_the_pages_python_runs(service, monkeypatch, capsys):
    code = re.search(r"```python\n(.*?)```", formats_page.PAGE.read_text(), re.DOTALL)
    assert code is not None
    monkeypatch.chdir(ROOT)
    exec(code.group(1).replace("http://127.0.0.1:8000", service.url), {})
    assert "(1, 512, 512) ['hair']" in capsys.readouterr().out
