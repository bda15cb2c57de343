"""The Open Inference Protocol at `/v2`: real routes and small real networks, computed in process."""

import json

import httpx
import numpy as np
import pytest
from fpan.serve.api.errors import DeadlineExceeded, GatewayError, Unavailable
from fpan.serve.config import Settings
from fpan.serve.telemetry.traces import NO_TRACE
from fpan.serve.transports.http.openapi.oip import HEADER_LENGTH
from pydantic import ValidationError

from tests.support.networks import SIZE, pictures
from tests.support.oip import INFER, ONE, asked, binary, opening, refused, tensor
from tests.support.traffic import NAME


@pytest.fixture
async def open_client(monkeypatch, tmp_path):
    async with opening(monkeypatch, tmp_path / "models") as start:
        yield start


@pytest.fixture
async def client(open_client):
    return await open_client()


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
    client.gateway.admission.draining = True
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

    async def infer(model, version, inputs, outputs, timeout_s, trace=NO_TRACE):
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

    async def infer(model, version, inputs, outputs, timeout_s, trace=NO_TRACE):
        given.append({*outputs})
        return await client.gateway.backend.backend.infer(model, version, inputs, outputs, timeout_s)

    monkeypatch.setattr(client.gateway.backend, "infer", infer)
    card = next(each.card for each in client.gateway.rollout.served if each.card.name == NAME)
    everything = {tensor.name for tensor in card.outputs}
    for name in everything:
        await client.post(INFER, json=asked(ONE, outputs=[{"name": name}]))
    assert all(each in (everything, everything - {*card.on_demand}) for each in given)


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
