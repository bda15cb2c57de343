"""What the Open Inference Protocol refuses: requests that do not fit, are too large, or ask for what is not there."""

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest
from fpan.serve.api.errors import BadRequest, GatewayError, Impossible
from fpan.serve.transports.http.oip.tensors import Inference, InferenceLimits, read_inference, write_inference
from fpan.serve.transports.http.openapi.oip import HEADER_LENGTH

from tests.support.networks import SIZE
from tests.support.oip import INFER, MAX_BATCH, ONE, asked, binary, opening, refused, tensor
from tests.support.readme import card as shipped_card
from tests.support.traffic import NAME, until

CARD = shipped_card().model_copy(
    update={"inputs": tuple(t.model_copy(update={"shape": (SIZE, SIZE, 3)}) for t in shipped_card().inputs)}
)
"""Of a model that takes small pictures."""
LIMITS = InferenceLimits(MAX_BATCH, 2**20)


@pytest.fixture
async def open_client(monkeypatch, tmp_path):
    async with opening(monkeypatch, tmp_path / "models") as start:
        yield start


@pytest.fixture
async def client(open_client):
    return await open_client()


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


async def test_an_id_with_half_a_character_is_refused(client):
    body = json.dumps({**asked(ONE), "id": "\ud800"}).encode()
    assert "half a character" in await refused(client, 400, body)
