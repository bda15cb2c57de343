"""The life of a request in the HTTP application: deadlines, callers who leave, what breaks, and who is told."""

import asyncio
import functools
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from fpan.contract import FaceClass, ModelCard, Taxonomy
from fpan.serve.admission.admission import Admission, Capacity
from fpan.serve.admission.rate_limits import RateLimiter
from fpan.serve.cache.secret import Secret
from fpan.serve.config import Settings
from fpan.serve.pipeline.encode import json_answer as answer
from fpan.serve.pipeline.parser import Parsed
from fpan.serve.pipeline.types import ParseResult, Photo
from fpan.serve.rollout.served import ServedVersion
from fpan.serve.service import ParseService
from fpan.serve.telemetry.metrics import Metrics
from fpan.serve.transports.http.app import create_app
from starlette.responses import StreamingResponse

TAXONOMY = Taxonomy(name="one", classes=(FaceClass(id=0, name="background", title="b", colour=(0, 0, 0), partner=0),))
CARD = ModelCard(
    name="segm",
    version=1,
    task="segmentation",
    title="nothing",
    inputs=(),
    outputs=(),
    input_size=64,
    taxonomy=TAXONOMY,
    weights_licence="none",
    files={"model.onnx": "ef" * 32},
)


SEGMENTER = SimpleNamespace(card=CARD, taxonomy=TAXONOMY, alias=None)


class Parser:
    """Finds no face; ``before`` is what goes wrong or takes long first."""

    def __init__(self):
        self.before = None
        self.started, self.cancelled = asyncio.Event(), asyncio.Event()

    async def parse(self, data, options, context=None):
        self.started.set()
        try:
            if self.before:
                await self.before()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        empty = np.zeros((4, 6), np.uint8)
        result = ParseResult(6, 4, empty, empty, (), "no face", ("ünd",), {"decode": 1.0})
        return Parsed(result, Photo(empty, "png"), SEGMENTER)


@pytest.fixture
async def gateway():
    settings, parser, metrics = Settings(body_timeout_s=0.2, deadline_ms=5000), Parser(), Metrics()
    with ThreadPoolExecutor(1) as pool:
        yield SimpleNamespace(
            settings=settings,
            parser=parser,
            parse_service=ParseService(parser, pool, settings, metrics),
            limiter=RateLimiter(None, Secret(settings), metrics),
            rollout=SimpleNamespace(served=(ServedVersion(CARD),), refused=(), unvalidated=frozenset()),
            metrics=metrics,
            admission=Admission(Capacity.of(settings), None, metrics),
            pool=pool,
        )


@pytest.fixture
async def client(gateway):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(gateway)), base_url="http://x") as opened:
        yield opened


class Call:
    """One request to the application, message by message."""

    def __init__(self, gateway, path="/v1/parse", stalled=None):
        self.sent = []
        self.incoming = asyncio.Queue()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"content-type", b"image/png"), (b"x-request-id", b"mine")],
            "client": ("127.0.0.1", 1),
            "server": ("x", 80),
        }
        self.task = asyncio.create_task(create_app(gateway)(scope, self.incoming.get, stalled or self._send))

    async def _send(self, message):
        self.sent.append(message)

    def body(self, data, more=False):
        self.incoming.put_nowait({"type": "http.request", "body": data, "more_body": more})

    def leave(self):
        self.incoming.put_nowait({"type": "http.disconnect"})

    async def end(self):
        await asyncio.wait_for(self.task, 5)


def counted(gateway, status):
    return gateway.metrics.registry.get_sample_value(
        "fpan_requests_total", {"route": "/v1/parse", "method": "POST", "status": status}
    )


async def test_a_caller_who_leaves_cancels_the_work_and_is_no_error(gateway, caplog):
    gateway.parser.before = asyncio.Event().wait
    call = Call(gateway)
    call.body(b"picture")
    await asyncio.wait_for(gateway.parser.started.wait(), 5)
    call.leave()
    await call.end()
    assert gateway.parser.cancelled.is_set()
    assert (call.sent, caplog.records) == ([], [])
    assert (counted(gateway, "499"), counted(gateway, "500")) == (1, None)


async def test_a_caller_who_leaves_in_mid_upload_is_no_error(gateway, caplog):
    call = Call(gateway)
    call.body(b"pic", more=True)
    call.leave()
    await call.end()
    assert not gateway.parser.started.is_set()
    assert (call.sent, caplog.records) == ([], [])
    assert (counted(gateway, "499"), counted(gateway, "500")) == (1, None)


async def test_no_task_outlives_its_request(gateway, client):
    before = asyncio.all_tasks()
    await client.post("/v1/parse", content=b"picture")
    assert asyncio.all_tasks() == before


async def test_a_body_that_does_not_arrive_is_told_and_the_connection_ends(gateway):
    call = Call(gateway)
    call.body(b"pic", more=True)
    await call.end()
    start, body = call.sent
    headers = dict(start["headers"])
    assert (start["status"], headers[b"connection"], headers[b"x-request-id"]) == (408, b"close", b"mine")
    problem = json.loads(body["body"])
    assert problem["type"].endswith(":request-timeout")
    assert "0.2 s" in problem["detail"]


async def test_what_nobody_foresaw_is_told_with_its_id_and_logged_once(gateway, client, caplog):
    async def fail():
        raise RuntimeError("the secret path /etc/key")

    gateway.parser.before = fail
    with caplog.at_level(logging.ERROR):
        told = await client.post("/v1/parse", content=b"picture", headers={"X-Request-Id": "mine"})
    assert (told.status_code, told.headers["x-request-id"], told.json()["request_id"]) == (500, "mine", "mine")
    assert told.headers["content-type"] == "application/problem+json"
    assert "secret" not in told.text
    [record] = caplog.records
    assert "mine" in record.getMessage()
    assert "secret" in str(record.exc_info[1])
    assert counted(gateway, "500") == 1


async def test_what_breaks_after_the_answer_began_is_left_to_the_server(gateway):
    async def pieces():
        yield b"a"
        raise RuntimeError("in the middle")

    async def broken(request):
        return StreamingResponse(pieces())

    app = create_app(gateway)
    app.add_route("/broken", broken)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        with pytest.raises(RuntimeError, match="in the middle"):
            await client.get("/broken")


@pytest.mark.parametrize("accept", ["application/json", "image/png"])
async def test_encoding_is_held_to_the_deadline(gateway, client, accept):
    over = threading.Event()
    gateway.pool.submit(over.wait)  # on its only thread
    told = await client.post("/v1/parse?deadline_ms=50", content=b"picture", headers={"Accept": accept})
    assert (told.status_code, told.json()["type"]) == (504, "urn:mask-fpan:problem:deadline-exceeded")
    assert "50 ms" in told.json()["detail"]
    over.set()


async def test_the_servers_deadline_holds_where_the_caller_names_none(gateway):
    gateway.settings.deadline_ms = 50
    gateway.parser.before = asyncio.Event().wait
    call = Call(gateway)
    call.body(b"picture")
    await call.end()
    assert call.sent[0]["status"] == 504


async def test_json_is_written_off_the_event_loop(gateway, client, monkeypatch):
    def on_the_loop():
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        return True

    where = []
    write = json.dumps

    def dumps(members, **options):
        if "faces" in members:
            where.append(on_the_loop())
        return write(members, **options)

    monkeypatch.setattr(json, "dumps", dumps)
    told = await client.post("/v1/parse", content=b"picture", headers={"X-Request-Id": "a/b=c"})
    assert where == [False]
    members = told.json()
    assert next(iter(members)) == "request_id"
    assert (members["request_id"], members["notes"], members["timing_ms"]["decode"]) == ("a/b=c", ["ünd"], 1.0)
    assert members["timing_ms"]["encode"] > 0
    assert told.headers["content-type"] == "application/json"


def test_id_and_timing_are_set_around_the_answer():
    made = answer.with_request(b'{"image":{},"faces":[]}', 'a"b', {"decode": 1.5})
    assert json.loads(made) == {"request_id": 'a"b', "image": {}, "faces": [], "timing_ms": {"decode": 1.5}}


async def test_all_accept_headers_are_heard(client):
    headers = [("Accept", "text/html"), ("Accept", "image/png")]
    assert (await client.post("/v1/parse", content=b"picture", headers=headers)).headers["content-type"] == "image/png"
    told = await client.post("/v1/parse", content=b"picture", headers=[("Accept", "text/html"), ("Accept", "a/b")])
    assert (told.status_code, "text/html, a/b" in told.json()["detail"]) == (406, True)


async def test_an_unknown_address_names_one_that_is_there(client):
    told = await client.get("/v9/nothing")
    assert "/openapi.json" in told.json()["detail"]
    assert (await client.get("/openapi.json")).status_code == 200


async def test_a_wrong_method_is_told_all_that_are_right(client):
    for path, allowed in (("/v1/jobs/x", {"GET", "DELETE"}), ("/v1/parse", {"POST"}), ("/", {"GET", "HEAD"})):
        told = await client.put(path)
        assert (told.status_code, set(told.headers["allow"].split(", "))) == (405, allowed)


async def test_the_contract_tells_the_refusals_of_what_stands_before_the_routes_and_none_that_nobody_gets(client):
    contract = (await client.get("/openapi.json")).json()
    told = {
        path: set(*(each["responses"] for each in methods.values()))
        for path, methods in contract["paths"].items()
        if len(methods) == 1
    }
    assert not told["/v1/health/live"] & {"401", "403"}
    assert told["/v1/labels"] == {"200", "401", "404"}
    assert {"401", "403"} <= told["/v1/parse/batch"] & told["/v2/models/{name}/infer"]
    assert "HTTPValidationError" not in str(contract)


async def test_a_reader_who_does_not_read_gives_back_its_permit_in_time(gateway, caplog):
    async def never(message):
        await asyncio.Event().wait()

    gateway.settings.send_timeout_s = 0.1
    gateway.admission = Admission(Capacity(1, 1, 1, 1), None, gateway.metrics)
    call = Call(gateway, stalled=never)
    call.body(b"picture")
    in_flight = functools.partial(gateway.metrics.registry.get_sample_value, "fpan_requests_in_flight")
    await asyncio.wait_for(gateway.parser.started.wait(), 5)
    assert in_flight() == 1
    async with asyncio.timeout(5):
        while in_flight():
            await asyncio.sleep(0.01)
    call.leave()  # the system has ended the connection
    await call.end()
    assert (counted(gateway, "499"), caplog.records) == (1, [])


async def test_a_slash_too_many_leads_nowhere_and_not_to_a_host_that_the_request_names(client):
    told = await client.post("/v1/parse/", content=b"picture", headers={"Host": "evil.example"})
    assert (told.status_code, "location" in told.headers) == (404, False)
