"""The Open Inference Protocol at `/v2`: real routes and small real networks, computed in process."""

import asyncio
import json
from dataclasses import replace

import httpx
import numpy as np
import pytest
from fpan.serve.errors import BadRequest, DeadlineExceeded, GatewayError, Impossible, Unavailable
from fpan.serve.http.app import create_app
from fpan.serve.http.oip import HEADER_LENGTH
from fpan.serve.http.oip_tensors import Inference, InferenceLimits, read_inference, write_inference
from fpan.serve.settings import Settings
from pydantic import ValidationError

from tests.networks import SIZE, pictures
from tests.readme import card as shipped_card
from tests.traffic import NAME, repository, serving, until

MAX_BATCH = 4
INFER = f"/v2/models/{NAME}/infer"
CARD = shipped_card().model_copy(
    update={"inputs": tuple(t.model_copy(update={"shape": (SIZE, SIZE, 3)}) for t in shipped_card().inputs)}
)
"""Of a model that takes small pictures."""
LIMITS = InferenceLimits(MAX_BATCH, 2**20)


@pytest.fixture
async def open_client(monkeypatch, tmp_path):
    """Opens gateways with two versions of :data:`NAME`, the first its champion, and a client that has ``gateway``."""
    registry = repository(tmp_path / "models", 2)
    registry.promote(NAME, 1, "champion", "test")
    registry.promote(NAME, 2, "challenger", "test")
    opened = []

    async def start(**settings) -> httpx.AsyncClient:
        chosen = {"v2_models": (NAME,), "max_batch": MAX_BATCH, **settings}
        context = serving(monkeypatch, tmp_path / "models", **chosen)
        gateway = await context.__aenter__()
        client = httpx.AsyncClient(transport=httpx.ASGITransport(create_app(gateway)), base_url="http://x")
        client.gateway, client.registry = gateway, registry
        opened.append((client, context))
        return client

    yield start
    for client, context in opened:
        await client.aclose()
        await context.__aexit__(None, None, None)


@pytest.fixture
async def client(open_client):
    return await open_client()


def tensor(images: np.ndarray, **changes) -> dict:
    return {"name": "images", "datatype": "UINT8", "shape": [*images.shape], "data": images.tolist(), **changes}


def asked(images: np.ndarray, **changes) -> dict:
    return {"inputs": [tensor(images)], **changes}


def binary(images: np.ndarray, **changes) -> tuple[bytes, dict[str, str]]:
    """A body and its header."""
    inputs = tensor(images, parameters={"binary_data_size": images.nbytes})
    del inputs["data"]
    head = json.dumps({"inputs": [inputs], "parameters": {"binary_data_output": True}, **changes}).encode()
    return head + images.tobytes(), {HEADER_LENGTH: str(len(head))}


def arrays(answer: httpx.Response) -> dict[str, np.ndarray]:
    """The outputs, by name."""
    length = answer.headers.get(HEADER_LENGTH)
    rest = answer.content[int(length) :] if length else b""
    dtypes, found = {"UINT8": np.uint8, "FP32": np.float32}, {}
    for output in json.loads(answer.content[: int(length)] if length else answer.content)["outputs"]:
        dtype = dtypes[output["datatype"]]
        if "data" in output:
            values = np.array(output["data"], dtype)
        else:
            size = output["parameters"]["binary_data_size"]
            values, rest = np.frombuffer(rest[:size], dtype), rest[size:]
        found[output["name"]] = values.reshape(output["shape"])
    assert not rest
    return found


async def refused(client: httpx.AsyncClient, status: int, body, headers=None, path: str = INFER) -> str:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await client.post(path, content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert {*answer.json()} == {"error"}
    return answer.json()["error"]


async def test_without_models_in_the_list_nothing_is_there(open_client):
    client = await open_client(v2_models=())
    for path in ("/v2", "/v2/health/live", "/v2/health/ready", f"/v2/models/{NAME}", "/v2/what/ever"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()) == (
            404,
            {"error": "the Open Inference Protocol is off here: V2_MODELS lists no model"},
        )
    assert "off here" in await refused(client, 404, asked(pictures(1)))


async def test_health_and_metadata(client):
    assert (await client.get("/v2/health/live")).json() == {"live": True}
    assert (await client.get("/v2/health/ready")).json()["ready"] is True
    told = (await client.get("/v2")).json()
    assert told["extensions"] == ["binary_tensor_data"]
    model = (await client.get(f"/v2/models/{NAME}")).json()
    assert model["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, SIZE, SIZE, 3]}]
    assert [output["name"] for output in model["outputs"]] == ["labels", "confidence", "logits"]
    version = model["versions"][0]
    assert (await client.get(f"/v2/models/{NAME}/versions/{version}")).json() == model
    for path in ("", f"/versions/{version}"):
        assert (await client.get(f"/v2/models/{NAME}{path}/ready")).json() == {"name": NAME, "ready": True}


async def test_a_gateway_that_drains_is_live_and_not_ready(client):
    client.gateway.draining = True
    assert (await client.get("/v2/health/live")).status_code == 200
    for path in ("/v2/health/ready", f"/v2/models/{NAME}/ready"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert "shutting down" in await refused(client, 503, asked(pictures(1)))


async def test_json_and_binary_are_what_the_network_computes(client):
    images = pictures(3)
    gateway = client.gateway
    card = next(each.card for each in gateway.rollout.served if each.card.name == NAME and each.default)
    names = ["labels", "confidence", "logits"]
    expected = await gateway.backend.infer(NAME, card.version, {"images": images}, names, 10)
    for given in (images, images.reshape(-1)):  # nested, and flat
        body = {"id": "mine", "inputs": [{**tensor(images), "data": given.tolist()}]}
        told = await client.post(INFER, json=body)
        assert told.status_code == 200, told.text
        head = told.json()
        assert (head["model_name"], head["model_version"], head["id"]) == (NAME, str(card.version), "mine")
        found = arrays(told)
        assert [*found] == names
        for name in names:
            np.testing.assert_array_equal(found[name], expected[name])
    body, headers = binary(images)
    told = await client.post(INFER, content=body, headers=headers)
    for name, found in arrays(told).items():
        np.testing.assert_array_equal(found, expected[name])


async def test_outputs_are_those_that_were_asked_for_each_in_its_own_way(client):
    outputs = [{"name": "confidence", "parameters": {"binary_data": True}}, {"name": "labels"}]
    told = await client.post(INFER, json=asked(pictures(1), outputs=outputs))
    assert [*arrays(told)] == ["confidence", "labels"]
    head = json.loads(told.content[: int(told.headers[HEADER_LENGTH])])
    assert ["data" in output for output in head["outputs"]] == [False, True]


async def test_the_champion_answers_where_no_version_is_named_and_others_where_they_are(client):
    rollout = client.gateway.rollout
    numbers = {each.card.version for each in rollout.served if each.card.name == NAME}
    default = next(each.card.version for each in rollout.served if each.card.name == NAME and each.default)
    assert (await client.post(INFER, json=asked(pictures(1)))).json()["model_version"] == str(default)
    assert (default, numbers) == (1, {1, 2})
    for number in numbers:
        told = await client.post(f"/v2/models/{NAME}/versions/{number}/infer", json=asked(pictures(1)))
        assert told.json()["model_version"] == str(number)
    for version in ("9", "x", "-1", "0"):
        error = await refused(client, 404, asked(pictures(1)), path=f"/v2/models/{NAME}/versions/{version}/infer")
        assert "is not served; served are" in error


async def test_models_that_are_not_in_the_list_are_not_there(client):
    for name in ("detector", "nobody"):
        error = await refused(client, 404, asked(pictures(1)), path=f"/v2/models/{name}/infer")
        assert error == f"there is no model {name!r} at /v2; there are {NAME}"
        assert (await client.get(f"/v2/models/{name}")).status_code == 404
        assert (await client.get(f"/v2/models/{name}/ready")).status_code == 404


ONE = pictures(1)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 400, "no JSON object"),
        (b'{"inputs": [], "inputs": []}', 400, "twice"),
        ({}, 400, "inputs is no list"),
        ({"inputs": []}, 400, "'images' is missing"),
        ({"inputs": [tensor(ONE), tensor(ONE)]}, 400, "given twice"),
        ({"inputs": [tensor(ONE, name="picture")]}, 400, "no input 'picture': it has images"),
        ({"inputs": [tensor(ONE, datatype="FP32")]}, 400, "not FP32"),
        ({"inputs": [tensor(ONE, datatype=None)]}, 400, "images"),
        ({"inputs": [tensor(ONE, shape=[1, SIZE, SIZE])]}, 400, f"[N, {SIZE}, {SIZE}, 3]"),
        ({"inputs": [tensor(ONE, shape=[1, SIZE, SIZE, 4])]}, 400, "of the shape"),
        ({"inputs": [tensor(ONE, shape=[0, SIZE, SIZE, 3])]}, 400, "from 1"),
        ({"inputs": [tensor(ONE, shape=[True, SIZE, SIZE, 3])]}, 400, "whole numbers"),
        ({"inputs": [tensor(ONE, shape=[])]}, 400, "of the shape"),
        ({"inputs": [tensor(ONE, shape=[2**31, SIZE, SIZE, 3])]}, 400, "whole numbers"),
        ({"inputs": [tensor(ONE, shape=[MAX_BATCH + 1, SIZE, SIZE, 3])]}, 413, f"the limit is {MAX_BATCH}"),
        ({"inputs": [tensor(ONE, data=[1, 2])]}, 400, "nor are they flat"),
        ({"inputs": [tensor(ONE, data=[[1], [2, 3]])]}, 400, "different lengths"),
        ({"inputs": [tensor(ONE, data="text")]}, 400, "no numbers"),
        ({"inputs": [tensor(ONE, data=[300] * ONE.size)]}, 400, "go beyond UINT8"),
        ({"inputs": [tensor(ONE, data=[-1] * ONE.size)]}, 400, "go beyond UINT8"),
        ({"inputs": [tensor(ONE, data=[1.5] * ONE.size)]}, 400, "no numbers of the type UINT8"),
        ({"inputs": [tensor(ONE, data=[10**30] * ONE.size)]}, 400, "no numbers of the type UINT8"),
        (b'{"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [NaN]}]}', 400, "NaN"),
        ({"inputs": [{"name": "images", "datatype": "UINT8", "shape": [*ONE.shape]}]}, 400, "either data or"),
        (asked(ONE, id=7), 400, "id is text"),
        (asked(ONE, id="x" * 200), 400, "id is text"),
        (asked(ONE, outputs=[{"name": "depth"}]), 400, "no output 'depth'"),
        (asked(ONE, outputs=[{"name": "labels"}] * 2), 400, "given twice"),
        (asked(ONE, outputs={"name": "labels"}), 400, "no list"),
        (asked(ONE, outputs=[{"name": "labels", "parameters": {"classification": 3}}]), 400, "'classification'"),
        (asked(ONE, outputs=[{"name": "labels", "parameters": {"binary_data": 1}}]), 400, "true or false"),
        (asked(ONE, parameters={"sequence_id": 3}), 400, "'sequence_id'"),
        (asked(ONE, parameters={"timeout": 0}), 400, "microseconds"),
        (asked(ONE, parameters=[]), 400, "no object"),
        (asked(ONE, extra=1), 400, "'extra'"),
    ],
)
def test_what_does_not_fit_is_refused(body, status, says):
    with pytest.raises(GatewayError) as caught:
        read_inference(body if isinstance(body, bytes) else json.dumps(body).encode(), None, CARD, LIMITS)
    assert (caught.value.status, says in str(caught.value)) == (status, True), str(caught.value)


async def test_nothing_is_computed_of_what_does_not_fit(client):
    assert "not FP32" in await refused(client, 400, {"inputs": [tensor(ONE, datatype="FP32")]})
    assert client.gateway.backend.asked == []


@pytest.mark.parametrize("where", ["input", "output"])
def test_shared_memory_is_refused(where):
    parameters = {"shared_memory_region": "mine", "shared_memory_byte_size": ONE.nbytes}
    shared = tensor(ONE, parameters=parameters)
    del shared["data"]
    body = (
        {"inputs": [shared]} if where == "input" else asked(ONE, outputs=[{"name": "labels", "parameters": parameters}])
    )
    with pytest.raises(BadRequest, match="there is no shared memory, tensors are sent and answered inline"):
        read_inference(json.dumps(body).encode(), None, CARD, LIMITS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda body, headers: (body[:-1], headers), "ends before"),
        (lambda body, headers: (body + b"x", headers), "1 bytes more"),
        (lambda body, headers: (body, {HEADER_LENGTH: "x"}), "Content-Length is 'x'"),
        (lambda body, headers: (body, {HEADER_LENGTH: "0" * 5000}), "Content-Length is '0000"),
        (lambda body, headers: (body, {HEADER_LENGTH: "-1"}), "Content-Length is '-1'"),
        (lambda body, headers: (body, {HEADER_LENGTH: "0" * 5000}), "Content-Length is '000"),
        (lambda body, headers: (body, {HEADER_LENGTH: str(len(body) + 1)}), "the body has"),
        (lambda body, headers: (body, {}), "not JSON"),
    ],
)
def test_binary_bodies_that_do_not_add_up_are_refused(change, says):
    body, headers = change(*binary(ONE))
    with pytest.raises(BadRequest, match=says):
        read_inference(body, headers.get(HEADER_LENGTH), CARD, LIMITS)


async def test_compressed_bodies_are_refused(client):
    body, headers = binary(ONE)
    assert "Content-Encoding" in await refused(client, 400, body, {**headers, "Content-Encoding": "gzip"})


def test_a_size_that_is_not_the_shapes_is_refused():
    body, headers = binary(ONE)
    length = int(headers[HEADER_LENGTH])
    head = body[:length].replace(f'"binary_data_size": {ONE.nbytes}'.encode(), b'"binary_data_size": 5')
    with pytest.raises(BadRequest, match=f"has {ONE.nbytes} bytes by its shape, but binary_data_size is 5"):
        read_inference(head + body[length:], str(len(head)), CARD, LIMITS)


async def test_large_json_is_refused_and_the_same_in_binary_is_not(open_client):
    client = await open_client(v2_max_json_bytes=2000)
    assert "send larger tensors in binary" in await refused(client, 413, asked(ONE))
    body, headers = binary(ONE)
    assert len(body) > 2000
    assert (await client.post(INFER, content=body, headers=headers)).status_code == 200


def test_numbers_that_json_cannot_have_are_told():
    card = shipped_card()
    logits = np.full((1, 20, 128, 128), np.nan, np.float32)
    wanted = Inference("", {}, (("logits", False),), None)
    with pytest.raises(Impossible, match="ask for it in binary"):
        write_inference(card, wanted, {"logits": logits})
    body, length = write_inference(card, replace(wanted, outputs=(("logits", True),)), {"logits": logits})
    assert body[length:] == logits.tobytes()


async def test_large_bodies_are_refused(open_client):
    client = await open_client(max_body_bytes=1000)
    assert "the limit" in await refused(client, 413, binary(ONE)[0])


@pytest.mark.parametrize(
    ("error", "status"), [(Unavailable("away"), 503), (DeadlineExceeded("late"), 504), (GatewayError("odd"), 500)]
)
async def test_errors_of_the_backend_have_the_protocols_form(client, error, status):
    client.gateway.backend.errors = dict.fromkeys((1, 2), error)
    assert await refused(client, status, asked(ONE)) == str(error)


async def test_faults_of_ours_are_not_shown(client):
    client.gateway.backend.errors = dict.fromkeys((1, 2), RuntimeError("secret/path"))
    assert "secret" not in await refused(client, 500, asked(ONE))


async def test_the_requests_own_timeout_counts(client, monkeypatch):
    given = []

    async def infer(model, version, inputs, outputs, timeout_s):
        given.append(timeout_s)
        return await client.gateway.backend.backend.infer(model, version, inputs, outputs, timeout_s)

    monkeypatch.setattr(client.gateway.backend, "infer", infer)
    for micros in (250_000, 10**12, None):
        parameters = {} if micros is None else {"parameters": {"timeout": micros}}
        assert (await client.post(INFER, json=asked(ONE, **parameters))).status_code == 200
    most = client.gateway.settings.infer_timeout_s
    assert given == [0.25, most, most]


async def test_no_set_of_outputs_has_the_network_compiled_anew(client, monkeypatch):
    given = []

    async def infer(model, version, inputs, outputs, timeout_s):
        given.append({*outputs})
        return await client.gateway.backend.backend.infer(model, version, inputs, outputs, timeout_s)

    monkeypatch.setattr(client.gateway.backend, "infer", infer)
    card = next(each.card for each in client.gateway.rollout.served if each.card.name == NAME)
    everything = {tensor.name for tensor in card.outputs}
    for name in everything:
        await client.post(INFER, json=asked(ONE, outputs=[{"name": name}]))
    assert all(each in (everything, everything - {*card.on_demand}) for each in given)


async def test_requests_over_capacity_are_refused_at_once(open_client):
    client = await open_client(max_concurrency=1)
    hold = asyncio.Event()
    client.gateway.backend.holds = dict.fromkeys((1, 2), hold)
    first = asyncio.create_task(client.post(INFER, json=asked(ONE)))
    await until(lambda: client.gateway.backend.asked)
    assert "all this server takes" in await refused(client, 429, asked(ONE))
    answer = await client.post(f"/v2/models/{NAME}/versions/1/infer", json=asked(ONE))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert (await client.post("/v1/parse", content=b"x")).status_code == 429
    assert (await client.get("/v2/health/live")).status_code == 200
    hold.set()
    assert (await first).status_code == 200


async def test_nothing_else_of_triton_is_there(client):
    for method, path in (
        ("GET", f"/v2/models/{NAME}/config"),
        ("GET", f"/v2/models/{NAME}/stats"),
        ("POST", "/v2/repository/index"),
        ("POST", f"/v2/repository/models/{NAME}/unload"),
        ("GET", "/v2/systemsharedmemory/status"),
        ("POST", "/v2/cudasharedmemory/region/x/register"),
        ("GET", "/v2/trace/setting"),
        ("GET", "/v2/logging"),
        ("POST", f"/v2/models/{NAME}/generate"),
        ("GET", INFER),
        ("DELETE", f"/v2/models/{NAME}"),
    ):
        answer = await client.request(method, path)
        assert answer.status_code == 404, path
        assert "is not offered here" in answer.json()["error"]


async def test_the_contract_shows_it(client):
    paths = (await client.get("/openapi.json")).json()["paths"]
    shown = {path: {*methods} for path, methods in paths.items() if path.startswith("/v2")}
    assert shown["/v2/models/{name}/infer"] == {"post"}
    assert shown["/v2/models/{name}/versions/{version}/infer"] == {"post"}
    assert {"/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/{name}", "/v2/models/{name}/ready"} <= {*shown}
    assert all(each["tags"] == ["v2"] for path in shown for each in paths[path].values())


@pytest.mark.parametrize(
    ("told", "read"),
    [("segm", ("segm",)), (" segm , detector ", ("segm", "detector")), ("", ())],
)
def test_the_list_is_read_from_words(monkeypatch, told, read):
    monkeypatch.setenv("V2_MODELS", told)
    assert Settings().v2_models == read


@pytest.mark.parametrize("told", ["segm/1", "segm:2", "[segm"])
def test_what_is_no_models_name_is_refused(told):
    with pytest.raises(ValidationError):
        Settings(v2_models=told)


async def test_an_id_with_half_a_character_is_refused(client):
    body = json.dumps({**asked(ONE), "id": "\ud800"}).encode()
    assert "half a character" in await refused(client, 400, body)
