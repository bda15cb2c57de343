"""Both clients against a real HTTP server that answers what a test has put down."""

import asyncio
import base64
import io
import pickle
import subprocess
import sys
import threading
from collections import deque

import httpx
import numpy as np
import pytest
import uvicorn
from fpan import AsyncClient, Client
from fpan.client import ApiError, DeadlinePassed, Retry, ServerUnreachable, TryAgain, UnexpectedAnswer
from fpan.rle import encode_classes
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

HEIGHT, WIDTH = 6, 9
NAMES = {1: "skin", 17: "hair"}
LABELS = np.zeros((HEIGHT, WIDTH), np.uint8)
LABELS[2:5, 1:6] = 1
LABELS[0:2, 1:8] = 17
SHA = "cd" * 32


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def answer(**changes):
    face = {
        "id": 0,
        "box": [1.0, 0.5, 6.0, 5.0],
        "score": 0.93,
        "landmarks": [[1, 1], [4, 1], [2.5, 2], [1, 3], [4, 3]],
        "occluded": 0.25,
        "cut_by_crop": ["hair"],
        "cut_by_image": True,
        "parts": [{"id": 17, "name": "hair", "area": 14, "box": [1, 0, 8, 2], "confidence": 0.8}],
        "mask": encode_classes(np.where(LABELS == 17, LABELS, 0), NAMES),
    }
    body = {
        "request_id": "r-1",
        "image": {"width": WIDTH, "height": HEIGHT},
        "taxonomy": "celebamask-hq",
        "model": {"name": "segm", "version": 2, "sha256": SHA},
        "reason": None,
        "notes": ["only the first of 3 frames was read"],
        "faces": [face],
        "mask": encode_classes(LABELS, NAMES),
        "timing_ms": {"decode": 1.25, "infer": 20.5},
    }
    return JSONResponse({**body, **changes})


def problem(status, slug="overloaded", retry_after=None, detail="the sentence"):
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    body = {"type": f"urn:mask-fpan:problem:{slug}", "title": "T", "status": status, "detail": detail}
    return JSONResponse({**body, "request_id": "r-9"}, status, headers, "application/problem+json")


class Scripted:
    """A server: hands out its script's answers in order, the last one again and again, and keeps what it was sent."""

    def __init__(self):
        self.script = deque()
        self.seen = []

    def answers(self, *responses):
        self.script = deque(responses)

    async def handle(self, request):
        self.seen.append((request, await request.body()))
        return self.script.popleft() if len(self.script) > 1 else self.script[0]

    @property
    def query(self):
        return dict(self.seen[-1][0].query_params)


@pytest.fixture(scope="module")
def listening():
    scripted = Scripted()
    app = Starlette(routes=[Route("/{path:path}", scripted.handle, methods=["GET", "POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    scripted.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield scripted
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def scripted(listening):
    listening.seen.clear()
    listening.answers(answer())
    return listening


@pytest.fixture(params=["blocking", "asynchronous"])
def call(request, scripted):
    """Calls a method of a fresh client of either kind."""

    def run(method, *args, url=None, retry=None, timeout_s=10.0, settings=(), **kwargs):
        settings = {"url": url or scripted.url, "retry": retry, "timeout_s": timeout_s, **dict(settings)}
        if request.param == "blocking":
            with Client(**settings) as client:
                return getattr(client, method)(*args, **kwargs)

        async def go():
            async with AsyncClient(**settings) as client:
                return await getattr(client, method)(*args, **kwargs)

        return asyncio.run(go())

    return run


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
        pictures=["confidence"],
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
    from fpan.serve.pipeline.options import ParseOptions

    call("parse", b"p", faces=[(1, 2, 30, 40)], classes=["hair"], max_faces=3, deadline_ms=900, pictures=["overlay"])
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
    result = call("parse", b"picture", pictures=["confidence", "overlay"])
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


@pytest.mark.parametrize(("status", "kind"), [(415, ApiError), (422, ApiError), (504, DeadlinePassed), (500, ApiError)])
def test_problems_are_errors_with_all_that_the_server_told(call, scripted, status, kind):
    scripted.answers(problem(status, "some-slug", detail="what is wrong"))
    with pytest.raises(kind) as caught:
        call("parse", b"picture")
    error = caught.value
    assert (error.status, error.slug, error.detail, error.request_id) == (status, "some-slug", "what is wrong", "r-9")
    assert str(error) == "what is wrong"
    assert len(scripted.seen) == 1
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.status, again.request_id) == (kind, status, "r-9")


@pytest.mark.parametrize("status", [429, 503])
def test_refused_calls_are_tried_again_with_the_same_picture_until_they_pass(call, scripted, status):
    scripted.answers(problem(status, retry_after="0"), problem(status, retry_after="0"), answer())
    assert call("parse", b"picture").width == WIDTH
    assert [body for _, body in scripted.seen] == [b"picture"] * 3


def test_retries_are_bounded_and_end_with_the_servers_words(call, scripted):
    scripted.answers(problem(503, "unavailable", retry_after="0"))
    with pytest.raises(TryAgain) as caught:
        call("parse", b"picture", retry=Retry(attempts=3))
    assert len(scripted.seen) == 3
    assert (caught.value.slug, caught.value.retry_after_s) == ("unavailable", 0)


def test_each_attempt_is_told_what_is_left_of_the_deadline(call, scripted):
    scripted.answers(problem(429, retry_after="0.3"), answer())
    call("parse", b"picture", deadline_ms=5000)
    first, second = (int(request.query_params["deadline_ms"]) for request, _ in scripted.seen)
    assert first - second >= 300


def test_words_of_a_proxy_are_errors_too(call, scripted):
    scripted.answers(Response("<h1>oops</h1>", 502, media_type="text/html", headers={"x-request-id": "p-1"}))
    with pytest.raises(ApiError, match="502 Bad Gateway") as caught:
        call("parse", b"picture")
    assert (caught.value.slug, caught.value.request_id) == ("bad-gateway", "p-1")


@pytest.mark.parametrize(
    "response",
    [
        Response("<h1>welcome</h1>", media_type="text/html"),
        Response("{", media_type="application/json"),
        JSONResponse([1, 2]),
        JSONResponse({"hello": "world"}),
        answer(mask={"encoding": "polygons", "size": [HEIGHT, WIDTH], "classes": []}),
        answer(mask={**encode_classes(LABELS, NAMES), "size": [WIDTH, HEIGHT]}),
        answer(faces=[{"id": 0}]),
        Response("", 307, headers={"location": "/elsewhere"}),
    ],
)
def test_answers_of_something_else_are_told_apart(call, scripted, response):
    scripted.answers(response)
    with pytest.raises(UnexpectedAnswer, match="answered"):
        call("parse", b"picture")


def test_run_lengths_that_do_not_fit_are_told(call, scripted):
    broken = {**encode_classes(LABELS, NAMES), "classes": [{"id": 1, "name": "skin", "counts": "52"}]}
    scripted.answers(answer(mask=broken))
    result = call("parse", b"picture")
    with pytest.raises(UnexpectedAnswer, match="cannot be decoded"):
        _ = result.labels


def test_nobody_there_is_told_with_the_address(call, unused_tcp_port):
    url = f"http://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(ServerUnreachable, match=url):
        call("parse", b"picture", url=url)


def test_server_that_hangs_is_told(call):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(ServerUnreachable, match="in time"):
            call("health", url=url, timeout_s=0.2)


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


@pytest.mark.parametrize(
    ("ready", "detail"),
    [(JSONResponse({"status": "not ready"}, 503), "not ready"), (problem(503, detail="it drains"), "it drains")],
)
def test_server_that_is_not_ready_is_no_error(scripted, ready, detail):
    scripted.answers(JSONResponse({"status": "live"}), ready)
    with Client(scripted.url) as client:
        health = client.health()
    assert (health.live, health.ready, health.detail) == (True, False, detail)
    assert [request.url.path for request, _ in scripted.seen] == ["/v1/health/live", "/v1/health/ready"]


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
