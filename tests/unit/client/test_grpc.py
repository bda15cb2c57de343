"""Both gRPC clients against a real gRPC server that answers what a test has put down."""

import asyncio
import io
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import trustme
from fpan import AsyncGrpcClient, GrpcClient
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan._proto.faceparsing.v1 import face_parsing_pb2_grpc
from fpan.client import ApiError, DeadlinePassed, Retry, ServerUnreachable, TryAgain, UnexpectedAnswer
from fpan.serve.api import errors
from fpan.serve.transports.grpc.status import status_of
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from PIL import Image

PATIENCE_S = 20
GRPC_ROUNDS_S = 0.02
"""What a deadline may gain on its way: gRPC sends it rounded up."""
CODES = grpc.StatusCode


def label_map(width: int = 6, height: int = 4) -> pb.LabelMap:
    picture = Image.fromarray(np.full((height, width), 2, np.uint8), "P")
    picture.putpalette([0, 0, 0, 9, 9, 9, 90, 90, 90])
    file = io.BytesIO()
    picture.save(file, "PNG")
    window = pb.Window(x1=width, y1=height)
    return pb.LabelMap(window=window, png=file.getvalue(), classes=[pb.LabelClass(id=2, name="nose")])


def answer(**members) -> pb.ParseResponse:
    image = pb.ImageSize(width=6, height=4)
    return pb.ParseResponse(**{"request_id": "r-1", "image": image, "labels": label_map(), **members})


class Scripted(face_parsing_pb2_grpc.FaceParsingServicer):
    """Hands out its script in order, the last entry again and again, and keeps what it was sent."""

    def __init__(self) -> None:
        self.script = deque([answer()])
        self.seen = []

    def answers(self, *entries) -> None:
        self.script = deque(entries)

    def Parse(self, request, context):  # noqa: N802 (gRPC's name)
        self.seen.append((request, dict(context.invocation_metadata()), context.time_remaining()))
        entry = self.script.popleft() if len(self.script) > 1 else self.script[0]
        if isinstance(entry, threading.Event):
            entry.wait(PATIENCE_S)
        if isinstance(entry, errors.GatewayError):
            context.abort_with_status(with_id(status_of(entry)))
        if isinstance(entry, grpc.Status):
            context.abort_with_status(entry)
        if isinstance(entry, tuple):
            context.abort(*entry)
        return answer() if isinstance(entry, threading.Event) else entry


def with_id(status: grpc.Status) -> grpc.Status:
    trailing = (*status.trailing_metadata, ("x-request-id", "r-9"))
    return status._replace(trailing_metadata=trailing)


@pytest.fixture
def scripted():
    with ThreadPoolExecutor(4) as pool:
        made = Scripted()
        made.server = grpc.server(pool)
        face_parsing_pb2_grpc.add_FaceParsingServicer_to_server(made, made.server)
        made.health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(made.health, made.server)
        made.url = f"grpc://127.0.0.1:{made.server.add_insecure_port('127.0.0.1:0')}"
        made.server.start()
        yield made
        made.server.stop(None).wait(PATIENCE_S)


@pytest.fixture(params=["blocking", "asynchronous"])
def call(request):
    """Calls a method of a fresh client of either kind."""

    def run(url, method, *words, settings=(), **options):
        settings = {"timeout_s": 10.0, **dict(settings)}
        if request.param == "blocking":
            with GrpcClient(url, **settings) as client:
                return getattr(client, method)(*words, **options)

        async def go():
            async with AsyncGrpcClient(url, **settings) as client:
                return await getattr(client, method)(*words, **options)

        return asyncio.run(go())

    return run


def test_refused_calls_are_tried_again_with_the_same_picture_until_they_pass(call, scripted):
    scripted.answers(
        errors.Overloaded("full", retry_after_s=0), errors.Unavailable("away", retry_after_s=0.01), answer()
    )
    result = call(scripted.url, "parse", b"picture")
    assert (result.labels == 2).all()
    assert [request.image for request, *_ in scripted.seen] == [b"picture"] * 3


def test_retries_are_bounded_and_end_with_the_servers_words(call, scripted):
    scripted.answers(errors.Unavailable("away", retry_after_s=0.01))
    with pytest.raises(TryAgain) as caught:
        call(scripted.url, "parse", b"picture", settings={"retry": Retry(attempts=3)})
    assert len(scripted.seen) == 3
    error = caught.value
    assert (error.status, error.slug, error.detail) == (503, "unavailable", "away")
    assert (error.request_id, error.retry_after_s) == ("r-9", 0.01)


def test_a_server_that_asks_for_a_longer_wait_is_not_waited_for(call, scripted):
    scripted.answers(errors.Overloaded("full", retry_after_s=99))
    with pytest.raises(TryAgain) as caught:
        call(scripted.url, "parse", b"picture", settings={"retry": Retry(longest_wait_s=30)})
    assert (len(scripted.seen), caught.value.retry_after_s) == (1, 99)


def test_each_attempt_has_what_is_left_of_the_deadline(call, scripted):
    scripted.answers(errors.Overloaded("full", retry_after_s=0.3), answer())
    call(scripted.url, "parse", b"picture", deadline_ms=5000)
    (*_, first), (*_, second) = scripted.seen
    assert 4 < first <= 5 + GRPC_ROUNDS_S
    assert first - second >= 0.3 - GRPC_ROUNDS_S


@pytest.mark.parametrize(("options", "kind"), [({"deadline_ms": 200}, DeadlinePassed), ({}, ServerUnreachable)])
def test_a_server_that_hangs_is_told(call, scripted, options, kind):
    hanging = threading.Event()
    scripted.answers(hanging)
    try:
        with pytest.raises(kind):
            call(scripted.url, "parse", b"picture", settings={"timeout_s": 0.2}, **options)
    finally:
        hanging.set()


@pytest.mark.parametrize("kind", [*errors.GatewayError.__subclasses__(), errors.GatewayError])
def test_every_error_of_the_server_has_the_status_and_name_of_http(call, scripted, kind):
    scripted.answers(kind("the sentence"))
    with pytest.raises(ApiError) as caught:
        call(scripted.url, "parse", b"picture", settings={"retry": Retry(attempts=1)})
    error = caught.value
    assert (error.status, error.slug, str(error)) == (kind.status, kind.slug, "the sentence")
    assert (error.request_id, error.retry_after_s) == ("r-9", kind.retry_after_s)
    assert isinstance(error, TryAgain) == (kind.status in (429, 503))


@pytest.mark.parametrize(
    ("code", "words", "kind", "status"),
    [
        (CODES.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!", TryAgain, 429),
        (CODES.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (9 vs. 8)", ApiError, 413),
        (CODES.UNAUTHENTICATED, "who are you", ApiError, 401),
        (CODES.PERMISSION_DENIED, "not you", ApiError, 403),
        (CODES.UNAVAILABLE, "no healthy upstream", ServerUnreachable, None),
        (CODES.INTERNAL, "a proxy's fault", UnexpectedAnswer, None),
    ],
)
def test_statuses_of_grpc_itself_are_told_apart(call, scripted, code, words, kind, status):
    scripted.answers((code, words))
    with pytest.raises(kind, match=words.split("(")[0]) as caught:
        call(scripted.url, "parse", b"picture", settings={"retry": Retry(attempts=1)})
    assert getattr(caught.value, "status", None) == status
    assert type(caught.value) is kind


def test_details_of_somebody_else_are_not_taken_for_the_servers(call, scripted):
    packed = any_pb2.Any()
    packed.Pack(error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="example.com"))
    message = status_pb2.Status(code=CODES.INTERNAL.value[0], message="theirs", details=[packed])
    scripted.answers(rpc_status.to_status(message))
    with pytest.raises(UnexpectedAnswer, match="theirs"):
        call(scripted.url, "parse", b"picture")


def test_who_asks_goes_with_every_call(call, scripted, monkeypatch):
    call(scripted.url, "parse", b"picture", settings={"api_key": "the-key", "client_id": "line-7"})
    monkeypatch.setenv("FPAN_API_KEY", "of-the-environment")
    call(scripted.url, "parse", b"picture")
    monkeypatch.delenv("FPAN_API_KEY")
    call(scripted.url, "parse", b"picture")
    first, second, third = (metadata for _, metadata, _ in scripted.seen)
    assert (first["authorization"], first["x-client-id"]) == ("Bearer the-key", "line-7")
    assert second["authorization"] == "Bearer of-the-environment"
    assert not {"authorization", "x-client-id"} & third.keys()


def test_address_comes_from_the_environment_when_none_is_given(scripted, monkeypatch):
    monkeypatch.setenv("FPAN_GRPC_URL", scripted.url.removeprefix("grpc://"))
    with GrpcClient() as client:
        assert client.url == scripted.url
        assert client.parse(b"picture").request_id == "r-1"
    monkeypatch.delenv("FPAN_GRPC_URL")
    with GrpcClient() as client:
        assert client.url == "grpc://127.0.0.1:50051"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "grpc://127.0.0.1", "grpc://127.0.0.1:50051/v1", "host"])
@pytest.mark.parametrize("kind", [GrpcClient, AsyncGrpcClient])
def test_addresses_of_something_else_are_refused(kind, url):
    with pytest.raises(ValueError, match="grpc://HOST:PORT"):
        kind(url)


@pytest.mark.parametrize(
    ("options", "says"),
    [({"redact": "smear"}, "redact"), ({"faces": "all"}, "faces"), ({"frame": "face"}, "frame")],
)
def test_words_that_are_no_option_are_refused_before_anything_is_sent(call, scripted, options, says):
    with pytest.raises(ValueError, match=f"{says} is one of"):
        call(scripted.url, "parse", b"picture", **options)
    assert scripted.seen == []


def test_the_soft_mask_of_all_classes_is_not_of_grpc(call, scripted):
    with pytest.raises(ValueError, match="output"):
        call(scripted.url, "draw", b"picture", "alpha")


def test_nobody_there_is_told_with_the_address(call, unused_tcp_port):
    with pytest.raises(ServerUnreachable, match=f"grpc://127.0.0.1:{unused_tcp_port}"):
        call(f"grpc://127.0.0.1:{unused_tcp_port}", "parse", b"picture")


def test_a_server_that_comes_back_is_found_again(unused_tcp_port):
    def start(pool) -> grpc.Server:
        server = grpc.server(pool)
        face_parsing_pb2_grpc.add_FaceParsingServicer_to_server(Scripted(), server)
        server.add_insecure_port(f"127.0.0.1:{unused_tcp_port}")
        server.start()
        return server

    with ThreadPoolExecutor(2) as pool, GrpcClient(f"127.0.0.1:{unused_tcp_port}") as client:
        server = start(pool)
        client.parse(b"picture")
        server.stop(None).wait(PATIENCE_S)
        with pytest.raises(ServerUnreachable):
            client.parse(b"picture")
        server, until = start(pool), time.monotonic() + PATIENCE_S
        while True:
            try:
                client.parse(b"picture")
                break
            except ServerUnreachable:
                assert time.monotonic() < until
        server.stop(None).wait(PATIENCE_S)


@pytest.mark.parametrize("changes", [{"labels": label_map(7, 4)}, {"labels": pb.LabelMap(png=b"no PNG")}])
def test_label_maps_that_do_not_fit_are_told(call, scripted, changes):
    scripted.answers(answer(**changes))
    result = call(scripted.url, "parse", b"picture")
    with pytest.raises(UnexpectedAnswer, match="cannot be decoded"):
        _ = result.labels


def test_a_drawing_that_is_missing_is_told(call, scripted):
    with pytest.raises(UnexpectedAnswer, match="overlay"):
        call(scripted.url, "draw", b"picture", "overlay")


def test_arrays_come_with_a_result(call, scripted):
    scripted.answers(answer(npz=b"a file"), answer())
    assert call(scripted.url, "parse", b"photo", output=["npz"]).npz == b"a file"
    assert call(scripted.url, "parse", b"photo").npz is None


def test_server_that_is_not_ready_is_no_error(call, scripted):
    kinds = health_pb2.HealthCheckResponse
    name = "faceparsing.v1.FaceParsing"
    scripted.health.set(name, kinds.NOT_SERVING)
    told = call(scripted.url, "health")
    assert (told.live, told.ready, told.detail) == (True, False, "not serving")
    scripted.health.set(name, kinds.SERVING)
    assert call(scripted.url, "health").ready


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def secure(authority):
    """The address of a server with TLS."""
    issued = authority.issue_cert("localhost")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        face_parsing_pb2_grpc.add_FaceParsingServicer_to_server(Scripted(), server)
        credentials = grpc.ssl_server_credentials([(issued.private_key_pem.bytes(), chain)])
        port = server.add_secure_port("localhost:0", credentials)
        server.start()
        yield f"grpcs://localhost:{port}"
        server.stop(None).wait(PATIENCE_S)


@pytest.mark.parametrize("how", ["bytes", "file"])
def test_an_encrypted_server_is_spoken_to_by_those_who_trust_it(call, secure, authority, tmp_path, how):
    pem = authority.cert_pem.bytes()
    (tmp_path / "ca.pem").write_bytes(pem)
    roots = pem if how == "bytes" else tmp_path / "ca.pem"
    assert call(secure, "parse", b"picture", settings={"root_certificates": roots}).request_id == "r-1"


def test_a_server_that_nobody_vouches_for_is_not_spoken_to(call, secure):
    with pytest.raises(ServerUnreachable):
        call(secure, "parse", b"picture", settings={"root_certificates": trustme.CA().cert_pem.bytes()})


def test_certificates_for_an_address_without_tls_are_a_mistake(authority):
    with pytest.raises(ValueError, match="grpcs://"):
        GrpcClient("grpc://localhost:1", root_certificates=authority.cert_pem.bytes())
