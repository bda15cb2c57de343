"""What both clients make of refusals, of answers of something else, and of servers that are not there."""

import pickle

import pytest
from fpan import Client
from fpan.client import ApiError, DeadlinePassed, Retry, ServerUnreachable, TryAgain, UnexpectedAnswer
from fpan.rle import encode_classes
from starlette.responses import JSONResponse, Response

from tests.support.scripted import HEIGHT, LABELS, NAMES, WIDTH, answer, calling, listening, problem


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
