"""Both clients against a real HTTP server that answers what a test has put down: what is sent, what comes of it."""

import base64
import io
import subprocess
import sys

import httpx
import numpy as np
import pytest
from fpan import Client
from fpan.client import UnexpectedAnswer
from fpan.rle import encode_classes
from PIL import Image
from starlette.responses import JSONResponse, Response

from tests.support.scripted import HEIGHT, LABELS, NAMES, SHA, WIDTH, answer, calling, listening


@pytest.fixture(scope="module")
def server():
    with listening() as opened:
        yield opened


@pytest.fixture
def scripted(server):
    return server.renewed()


@pytest.fixture(params=["blocking", "asynchronous"])
def call(request, scripted):
    return calling(request.param, scripted.url)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_result_is_typed_and_its_masks_are_arrays(call):
    result = call("parse", b"picture")
    assert (result.width, result.height, result.request_id, result.taxonomy) == (9, 6, "r-1", "celebamask-hq")
    assert (result.model.name, result.model.version, result.model.sha256) == ("segm", 2, SHA)
    assert result.timing_ms == {"decode": 1.25, "infer": 20.5}
    assert result.notes == ("only the first of 3 frames was read",)
    assert result.labels.dtype == np.uint8
    np.testing.assert_array_equal(result.labels, LABELS)
    [face] = result.faces
    assert (face.score, face.occluded, face.cut_by_crop, face.cut_by_image) == (0.93, 0.25, ("hair",), True)
    assert face.landmarks.shape == (5, 2)
    np.testing.assert_array_equal(face.labels, np.where(LABELS == 17, 17, 0))
    np.testing.assert_array_equal(face.part("hair"), LABELS == 17)
    assert not face.part("nose").any()
    assert face.parts[0].box == (1, 0, 8, 2)
    assert result.confidence is None


def test_no_face_is_a_result_with_its_reason(call, scripted):
    scripted.answers(answer(faces=[], reason="no face was found", mask=encode_classes(LABELS * 0, NAMES)))
    result = call("parse", b"picture")
    assert (result.faces, result.reason) == ((), "no face was found")
    assert not result.labels.any()


def test_nothing_but_the_picture_is_sent_without_options(call, scripted):
    call("parse", b"picture")
    request, body = scripted.seen[-1]
    assert (request.method, request.url.path, body) == ("POST", "/v1/parse", b"picture")
    assert request.headers["accept"] == "application/json"
    assert scripted.query == {"output": "rle"}


def test_options_become_query_parameters(call, scripted):
    call(
        "parse",
        b"picture",
        faces=[(1, 2.5, 30, 40)],
        max_faces=3,
        classes=["hair", "skin"],
        groups=("lips",),
        orientation="raw",
        model="segm:2",
        deadline_ms=5000,
        output=["confidence"],
    )
    query = scripted.query
    assert 4000 < int(query.pop("deadline_ms")) <= 5000
    assert query == {
        "faces": "[[1.0, 2.5, 30.0, 40.0]]",
        "max_faces": "3",
        "classes": "hair,skin",
        "groups": "lips",
        "orientation": "raw",
        "model": "segm:2",
        "output": "rle,confidence",
    }


def test_options_are_read_by_the_gateway_as_they_were_meant(call, scripted):
    from fpan.serve.api.options import ParseOptions

    call("parse", b"p", faces=[(1, 2, 30, 40)], classes=["hair"], max_faces=3, deadline_ms=900, output=["overlay"])
    read = ParseOptions.read(scripted.query)
    assert (read.faces, read.classes, read.max_faces) == (((1, 2, 30, 40),), ("hair",), 3)
    assert read.output == ("rle", "overlay")


def test_unknown_options_are_refused_before_anything_is_sent(call, scripted):
    with pytest.raises(TypeError, match="the options are"):
        call("parse", b"picture", colour="red")
    assert scripted.seen == []


def test_pictures_come_with_the_answer(call, scripted):
    sure = np.full((HEIGHT, WIDTH), 200, np.uint8)
    data = {"encoding": "png", "data": base64.b64encode(png(sure)).decode()}
    scripted.answers(answer(confidence=data, overlay=data))
    result = call("parse", b"picture", output=["confidence", "overlay"])
    np.testing.assert_array_equal(result.confidence, sure)
    assert result.pictures == {"confidence": png(sure), "overlay": png(sure)}


def test_drawings_are_the_bytes_of_the_picture(call, scripted):
    scripted.answers(Response(b"PNG bytes", media_type="image/png"))
    assert call("draw", b"picture", "cutout", groups=["head"]) == b"PNG bytes"
    assert scripted.seen[-1][0].headers["accept"] == "image/png"
    assert scripted.query == {"output": "cutout", "groups": "head"}


@pytest.mark.parametrize("kind", ["path", "text", "file", "array", "grey", "image"])
def test_pictures_of_many_kinds_arrive_as_the_same_pixels(call, scripted, tmp_path, kind):
    pixels = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    pixels = pixels[..., 0] if kind == "grey" else pixels
    path = tmp_path / "photo.png"
    path.write_bytes(png(pixels))
    given = {"path": path, "text": str(path), "array": pixels, "grey": pixels, "image": Image.fromarray(pixels)}
    with path.open("rb") as file:
        call("parse", given.get(kind, file))
    with Image.open(io.BytesIO(scripted.seen[-1][1])) as sent:
        np.testing.assert_array_equal(np.asarray(sent), pixels)


@pytest.mark.parametrize(("given", "error"), [(np.zeros((4, 4)), ValueError), (7, TypeError), ("no/such.jpg", OSError)])
def test_what_is_no_picture_is_refused_before_anything_is_sent(call, scripted, given, error):
    with pytest.raises(error):
        call("parse", given)
    assert scripted.seen == []


def test_labels_are_a_taxonomy(call, scripted):
    classes = [
        {"id": 0, "name": "background", "title": "background", "colour": [0, 0, 0], "partner": 0, "groups": []},
        {"id": 1, "name": "l_eye", "title": "left eye", "colour": [1, 2, 3], "partner": 2, "groups": ["eyes"]},
        {"id": 2, "name": "r_eye", "title": "right eye", "colour": [4, 5, 6], "partner": 1, "groups": ["eyes"]},
    ]
    body = {"taxonomy": "eyes-only", "model": "segm:1", "background": 0, "ignore": 255, "classes": classes}
    scripted.answers(JSONResponse({**body, "groups": {"eyes": [1, 2]}, "remaps": {"other": [0, 5, 4]}}))
    taxonomy = call("labels", "segm:1")
    assert (taxonomy.name, taxonomy.id_of("r_eye"), taxonomy.classes[1].partner) == ("eyes-only", 2, 2)
    assert (taxonomy.groups, taxonomy.remaps) == ({"eyes": ("l_eye", "r_eye")}, {"other": (0, 5, 4)})
    assert scripted.query == {"model": "segm:1"}
    scripted.answers(JSONResponse({"classes": [{"id": "x"}]}))
    with pytest.raises(UnexpectedAnswer, match="taxonomy"):
        call("labels")


def test_models_are_the_servers_json(call, scripted):
    scripted.answers(JSONResponse({"models": [{"name": "segm"}]}))
    assert call("models") == {"models": [{"name": "segm"}]}
    assert scripted.seen[-1][0].url.path == "/v1/models"


def test_server_that_is_ready_says_so(call, scripted):
    scripted.answers(JSONResponse({"status": "ready"}))
    health = call("health")
    assert (health.live, health.ready, health.detail) == (True, True, "")


def test_address_comes_from_the_environment_when_none_is_given(scripted, monkeypatch):
    monkeypatch.setenv("FPAN_URL", scripted.url + "/")
    with Client() as client:
        assert client.parse(b"picture").width == WIDTH
    monkeypatch.delenv("FPAN_URL")
    with Client() as client:
        assert client.url == "http://127.0.0.1:8000"


def test_headers_of_the_caller_go_with_every_request(scripted):
    with Client(scripted.url, headers={"x-request-id": "mine"}) as client:
        client.parse(b"picture")
    assert scripted.seen[-1][0].headers["x-request-id"] == "mine"


def test_who_asks_goes_with_every_request(call, scripted):
    call("parse", b"picture", settings={"client_id": "line-7"})
    call("parse", b"picture")
    first, second = (request.headers.get("x-client-id") for request, _ in scripted.seen)
    assert (first, second) == ("line-7", None)


def test_no_box_at_all_is_not_taken_for_leave_to_find_faces(call, scripted):
    call("parse", b"picture", faces=[])
    assert scripted.query["faces"] == "[]"


def test_transport_of_the_caller_is_used():
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"models": []}))
    with Client("http://nowhere.invalid", transport=transport) as client:
        assert client.models() == {"models": []}


def test_client_needs_nothing_of_the_server_extra():
    heavy = (
        "{'fastapi', 'starlette', 'uvicorn', 'grpc', 'cv2', 'onnxruntime', 'openvino', 'pydantic_settings', 'torch'}"
    )
    light = "import sys, fpan; assert not any(m.startswith('httpx') for m in sys.modules)"
    code = f"{light}; from fpan import Client, AsyncClient; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
