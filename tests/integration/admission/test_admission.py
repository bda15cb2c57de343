"""Who may come in, over HTTP and gRPC alike: keys, scopes, permits, quotas."""

import asyncio
import time

import httpx
import pytest
from fpan._proto.faceparsing.v1 import face_parsing_pb2 as pb
from fpan.client import ApiError, AsyncClient, Retry
from fpan.serve.admission.admission import ANY_KEY, OPEN, Access, Admission, Capacity
from fpan.serve.admission.caller import Credentials
from fpan.serve.admission.keys import KeyFile, KeyRing
from fpan.serve.config import Settings
from fpan.serve.telemetry.metrics import Metrics
from fpan.serve.transports.grpc import middleware as around
from fpan.serve.transports.http.access import ACCESS, access_of
from fpan.serve.transports.http.app import create_app
from grpc_health.v1 import health_pb2, health_pb2_grpc
from starlette.routing import Mount, Route

from tests.support.admitting import (
    PARSER,
    PARSER_ENTRY,
    PICTURE,
    READER,
    SLOW,
    SLOW_ENTRY,
    bearer,
    over_grpc,
    over_http,
    serving,
)
from tests.support.keys import made
from tests.support.known_face import known_gateway

TRANSPORTS = pytest.mark.parametrize("ask", [over_http, over_grpc])


@pytest.fixture
async def gateway(unused_tcp_port):
    async with serving(unused_tcp_port) as opened:
        yield opened


@TRANSPORTS
@pytest.mark.parametrize(
    ("headers", "said"),
    [
        (bearer(PARSER), "OK"),
        ({"Authorization": f"bearer  {PARSER} "}, "OK"),
        ({"X-API-Key": PARSER}, "OK"),
        ({"X-API-Key": PARSER, "Authorization": "Basic dXNlcjpwYXNz"}, "OK"),
        ({}, "UNAUTHENTICATED"),
        ({"Authorization": PARSER}, "UNAUTHENTICATED"),
        (bearer(""), "UNAUTHENTICATED"),
        (bearer(PARSER[:-1]), "UNAUTHENTICATED"),
        ({"X-API-Key": READER, **bearer("wrong")}, "UNAUTHENTICATED"),
        (bearer(READER), "PERMISSION_DENIED"),
    ],
)
async def test_a_key_with_the_scope_opens_and_nothing_else(gateway, ask, headers, said):
    assert await ask(gateway, headers) == said
    assert len(gateway.network.asked) == (said == "OK")


@TRANSPORTS
async def test_keys_are_not_looked_at_where_nobody_needs_one(unused_tcp_port, ask):
    async with serving(unused_tcp_port, keys=None) as gateway:
        for headers in ({}, bearer("whatever"), bearer(PARSER)):
            assert await ask(gateway, headers) == "OK"


async def test_refusals_tell_what_is_missing(gateway):
    told = await gateway.http.post("/v1/parse", content=PICTURE)
    assert (told.status_code, told.headers["www-authenticate"]) == (401, "Bearer")
    assert told.json()["type"] == "urn:mask-fpan:problem:unauthenticated"
    assert told.json()["request_id"] == told.headers["x-request-id"]
    told = await gateway.http.post("/v1/parse", content=PICTURE, headers=bearer(READER))
    assert (told.status_code, told.json()["type"]) == (403, "urn:mask-fpan:problem:forbidden")
    assert "scope 'parse'" in told.json()["detail"]
    assert "www-authenticate" not in told.headers
    counted = gateway.metrics.exposition().decode()
    assert 'fpan_requests_total{method="POST",route="(none)",status="401"} 1.0' in counted


async def test_health_the_page_and_the_contract_are_open_and_all_else_is_not(gateway):
    for path in ("/", "/web/js/api.js", "/openapi.json", "/docs", "/v1/health/live", "/v1/health/ready"):
        assert (await gateway.http.get(path)).status_code == 200, path
    for path in (
        "/v1/models",
        "/v1/labels",
        "/v1/drift",
        "/metrics",
        "/v1/nothing",
        "/v2/models",
        "/parse/x",
        "/a",
    ):
        assert (await gateway.http.get(path)).status_code == 401, path
    for path in ("/v1/models", "/v1/labels"):
        assert (await gateway.http.get(path, headers=bearer(PARSER))).status_code == 200
    for path in ("/v1/drift", "/metrics"):
        assert (await gateway.http.get(path, headers=bearer(PARSER))).status_code == 403
        assert (await gateway.http.get(path, headers=bearer(READER))).status_code == 200
    assert (await gateway.http.get("/v1/nothing", headers=bearer(PARSER))).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "access"),
    [
        ("POST", "/v1/parse", Access("parse", limited=True)),
        ("GET", "/v1/parse", ANY_KEY),
        ("POST", "/v1/parse/", Access("parse", limited=True)),
        ("GET", "/v1/health/live", OPEN),
        ("GET", "/v1/health", OPEN),
        ("GET", "/v1/healthy", ANY_KEY),
        ("GET", "/v1/models/segm:1", ANY_KEY),
        ("GET", "", ANY_KEY),
        ("GET", "/", OPEN),
        ("GET", "//", ANY_KEY),
        ("POST", "//v1/parse", ANY_KEY),
        ("GET", "/" * 5000, ANY_KEY),
        ("GET", "/v1/health/" + "/x" * 5000, OPEN),
    ],
)
def test_a_path_has_the_row_of_the_nearest_above_it(method, path, access):
    assert access_of(method, path) == access


def test_every_route_has_a_row_of_its_own(gateway_routes):
    missing = [
        path
        for path, methods in gateway_routes
        if not any(f"{m} {p}" in ACCESS or p in ACCESS for m in methods for p in above(path))
    ]
    assert not missing


def above(path):
    parts = path.split("/")
    return [path, *("/".join(parts[:n]) for n in range(2, len(parts)))]


@pytest.fixture
def gateway_routes():
    def walk(routes):
        for route in routes:
            if isinstance(route, Route):
                yield route.path, route.methods or ()
            elif isinstance(route, Mount):
                yield route.path, ()
            else:
                yield from walk(getattr(getattr(route, "original_router", route), "routes", ()))

    with known_gateway() as gateway:
        routes = list(walk(create_app(gateway).routes))
    assert {"/v1/parse", "/metrics", "/v1/labels", "/"} <= {path for path, _ in routes}
    return routes


async def test_every_method_of_grpc_has_a_row_of_its_own():
    for name in pb.DESCRIPTOR.services_by_name["FaceParsing"].methods_by_name:
        assert f"/{around.SERVICE}/{name}" in around.ACCESS


async def test_health_and_reflection_of_grpc_are_open(gateway):
    checked = await health_pb2_grpc.HealthStub(gateway.channel).Check(health_pb2.HealthCheckRequest())
    assert checked.status == health_pb2.HealthCheckResponse.SERVING


async def test_permits_are_shared_by_both_transports(unused_tcp_port):
    async with serving(unused_tcp_port, limit=2) as gateway:
        async with gateway.admission.admit(Credentials(None, PARSER, None, ""), Access("parse", limited=True)):
            inside = asyncio.create_task(over_http(gateway, bearer(PARSER)))
            assert await inside == "OK"
            async with gateway.admission.admit(Credentials(None, PARSER, None, ""), Access("parse", limited=True)):
                assert "fpan_requests_in_flight 2.0" in gateway.metrics.exposition().decode()
                for ask in (over_http, over_grpc):
                    assert await ask(gateway, bearer(PARSER)) == "RESOURCE_EXHAUSTED"
                    assert await ask(gateway, {}) == "UNAUTHENTICATED"
        for ask in (over_http, over_grpc):
            assert await ask(gateway, bearer(PARSER)) == "OK"
        assert "fpan_requests_in_flight 0.0" in gateway.metrics.exposition().decode()


@TRANSPORTS
async def test_one_key_cannot_have_more_at_once_than_it_may(gateway, ask):
    limited = Access("parse", limited=True)
    async with gateway.admission.admit(Credentials(None, SLOW, None, ""), limited):
        assert await ask(gateway, bearer(SLOW)) == "RESOURCE_EXHAUSTED"
        assert await ask(gateway, bearer(PARSER)) == "OK"
    assert await ask(gateway, bearer(SLOW)) == "OK"


@TRANSPORTS
async def test_quotas_are_of_the_key_else_of_the_server_and_only_for_what_is_limited(gateway, ask):
    gateway.rates.refuses = {f"key:{SLOW_ENTRY.id}"}
    assert await ask(gateway, {**bearer(PARSER), "X-Client-Id": "somebody"}) == "OK"
    assert await ask(gateway, bearer(SLOW)) == "RESOURCE_EXHAUSTED"
    assert gateway.rates.taken == [(f"key:{PARSER_ENTRY.id}", 100, 1), (f"key:{SLOW_ENTRY.id}", 7, 1)]
    assert await ask(gateway, {}) == "UNAUTHENTICATED"
    await gateway.http.get("/v1/labels", headers=bearer(PARSER))
    assert len(gateway.rates.taken) == 2
    assert "fpan_requests_in_flight 0.0" in gateway.metrics.exposition().decode()


async def test_without_keys_quotas_are_by_address_and_not_by_what_is_said(unused_tcp_port):
    async with serving(unused_tcp_port, keys=None) as gateway:
        for said in ("one", "another"):
            await over_http(gateway, {"X-Client-Id": said})
        assert [who for who, *_ in gateway.rates.taken] == ["address 10.0.0.7"] * 2


async def test_the_python_client_sends_its_key_and_takes_it_from_the_environment(gateway, monkeypatch):
    monkeypatch.delenv("FPAN_API_KEY", raising=False)
    options = {"transport": httpx.ASGITransport(gateway.app), "retry": Retry(attempts=1)}
    async with AsyncClient("http://x", api_key=PARSER, **options) as client:
        assert (await client.parse(PICTURE, faces="full")).faces
        assert (await client.labels()).classes
    async with AsyncClient("http://x", **options) as client:
        with pytest.raises(ApiError, match="wants an API key") as told:
            await client.parse(PICTURE)
        assert (told.value.status, told.value.slug) == (401, "unauthenticated")
    monkeypatch.setenv("FPAN_API_KEY", f"{PARSER}\n")
    async with AsyncClient("http://x", **options) as client:
        assert (await client.parse(PICTURE, faces="full")).faces


async def test_pages_of_other_origins_may_call_only_where_they_are_named(unused_tcp_port):
    asking = {
        "Origin": "https://app.example.com",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    async with serving(unused_tcp_port, cors_origins="https://app.example.com, https://b.example.com") as gateway:
        before = await gateway.http.options("/v1/parse", headers=asking)  # browsers send no key with it
        assert before.status_code == 200
        assert before.headers["access-control-allow-origin"] == "https://app.example.com"
        refused = await gateway.http.post("/v1/parse", content=PICTURE, headers={"Origin": "https://app.example.com"})
        assert refused.status_code == 401  # and the page may read why
        assert refused.headers["access-control-allow-origin"] == "https://app.example.com"
        exposed = refused.headers["access-control-expose-headers"].lower()
        assert {"x-request-id", "retry-after", "face-count", "etag"} <= set(exposed.split(", "))
        assert "access-control-allow-credentials" not in refused.headers
        other = await gateway.http.options("/v1/parse", headers={**asking, "Origin": "https://evil.example.com"})
        assert "access-control-allow-origin" not in other.headers


async def test_no_page_of_another_origin_may_call_by_default(gateway):
    answer = await gateway.http.get("/v1/health/live", headers={"Origin": "https://app.example.com"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origin", ["app.example.com", "https://a/b", "ftp://a", "https://u@a", "null"])
def test_what_is_no_origin_is_refused_at_the_start(origin):
    with pytest.raises(ValueError, match="is no origin"):
        Settings(cors_origins=origin)


async def test_metrics_leave_the_public_port_where_others_can_reach_it(unused_tcp_port):
    with known_gateway(bind_address="0.0.0.0", auth="off", grpc_port=unused_tcp_port) as gateway:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(gateway)), base_url="http://x") as client:
            assert (await client.get("/metrics")).status_code == 404
            assert "/metrics" not in (await client.get("/openapi.json")).json()["paths"]


async def test_the_contract_tells_of_keys(gateway):
    told = (await gateway.http.get("/openapi.json")).json()
    assert set(told["components"]["securitySchemes"]) == {"bearer", "key"}
    assert {} in told["security"]
    answers = {
        f"{method.upper()} {path}": (operation.get("security"), {*map(int, operation["responses"])})
        for path, operations in told["paths"].items()
        for method, operation in operations.items()
    }
    for route, (security, statuses) in answers.items():
        access = access_of(*route.split(" "))
        assert (security == [], 401 in statuses) == (access.open, not access.open), route
        assert access.scope is None or 403 in statuses, route
        assert not access.limited or 429 in statuses, route
    assert "HTTPValidationError" not in str(told)
    assert 404 in answers["GET /v1/labels"][1] & answers["GET /v1/models/{name}"][1]
    assert answers["GET /v1/jobs/{job}/result"][1] == {200, 401, 403, 404, 406, 409, 503}


@TRANSPORTS
async def test_background_requests_beyond_their_share_are_refused_and_others_are_not(unused_tcp_port, ask):
    async with serving(unused_tcp_port, limit=4) as gateway:
        waiting = {**bearer(PARSER), "Priority": "u=7"}
        async with gateway.admission.admit(Credentials(None, PARSER, None, ""), Access("parse", limited=True), True):
            assert await ask(gateway, waiting) == "RESOURCE_EXHAUSTED"
            assert await ask(gateway, bearer(PARSER)) == "OK"
        assert await ask(gateway, waiting) == "OK"


async def test_letting_in_costs_next_to_nothing():
    ring = KeyRing(KeyFile(keys=(*(made()[1] for _ in range(1000)), PARSER_ENTRY)))
    admission = Admission(Capacity.of(Settings()), ring, Metrics())
    offered, access, rounds = (
        Credentials(f"Bearer {PARSER}", None, None, "10.0.0.7"),
        Access("parse", limited=True),
        2000,
    )
    best = min([await _rounds(admission, offered, access, rounds) for _ in range(3)])
    assert best / rounds < 200e-6  # some ten on an idle machine; what matters is that it is no hash of many rounds


async def _rounds(admission, offered, access, rounds):
    began = time.perf_counter()
    for _ in range(rounds):
        async with admission.admit(offered, access):
            pass
    return time.perf_counter() - began
