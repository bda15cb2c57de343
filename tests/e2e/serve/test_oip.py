"""NVIDIA's own client against the gateway's `/v2`, and what it computes against what `/v1/parse` answers."""

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from fpan import Client
from tritonclient.utils import InferenceServerException

from tests.support.service import Service

SIZE = 256


@pytest.fixture(scope="module")
def crop(astronaut):
    """An aligned face of the network's own size: RGB, uint8 (256, 256, 3)."""
    return np.ascontiguousarray(astronaut[:SIZE, 96 : 96 + SIZE])


@pytest.fixture(scope="module")
def address(service: Service) -> str:
    return service.url.removeprefix("http://")


@pytest.fixture
def client(address):
    with triton.InferenceServerClient(address, network_timeout=60) as opened:
        yield opened


def picture(crop: np.ndarray, binary: bool = True) -> triton.InferInput:
    batch = crop[None]
    return triton.InferInput("images", [*batch.shape], "UINT8").set_data_from_numpy(batch, binary_data=binary)


def wanted(*names: str, binary: bool = True) -> list[triton.InferRequestedOutput]:
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


def refused(client, *words, **options) -> str:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(*words, **options)
    return f"{caught.value.status()} {caught.value.message()}"


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("segm")
    assert client.is_model_ready("segm", "2")
    assert not client.is_model_ready("segm", "99")
    assert not client.is_model_ready("detector")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    model = client.get_model_metadata("segm")
    assert model["versions"] == ["2"]
    assert model["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, SIZE, SIZE, 3]}]
    assert {output["name"]: output["shape"][1:] for output in model["outputs"]} == {
        "labels": [SIZE, SIZE],
        "confidence": [SIZE, SIZE],
        "logits": [20, SIZE // 2, SIZE // 2],
    }


def test_label_map_is_that_of_a_parse_pixel_by_pixel(service, client, crop):
    with Client(service.url) as own:
        expected = own.parse(crop, faces="full", output=["confidence"])
    assert expected.labels.any()
    for binary in (True, False):
        outputs = wanted("labels", "confidence", binary=binary)
        answer = client.infer("segm", [picture(crop, binary)], outputs=outputs, request_id="mine")
        np.testing.assert_array_equal(answer.as_numpy("labels")[0], expected.labels)
        np.testing.assert_array_equal(answer.as_numpy("confidence")[0], expected.confidence)
        told = answer.get_response()
        assert (told["model_name"], told["model_version"], told["id"]) == ("segm", "2", "mine")


def test_all_outputs_come_unasked_and_are_the_same_in_json_and_binary(client, crop):
    binary = client.infer("segm", [picture(crop)])
    json = client.infer("segm", [picture(crop, False)], outputs=wanted("labels", "confidence", "logits", binary=False))
    for name in ("labels", "confidence", "logits"):
        np.testing.assert_array_equal(binary.as_numpy(name), json.as_numpy(name))


async def test_the_asynchronous_client_gets_the_same(client, address, crop):
    expected = client.infer("segm", [picture(crop)], outputs=wanted("labels"))
    async with triton_aio.InferenceServerClient(address) as opened:
        assert await opened.is_server_ready()
        assert (await opened.get_model_metadata("segm", "2"))["name"] == "segm"
        answer = await opened.infer("segm", [picture(crop)], model_version="2", outputs=wanted("labels"))
        with pytest.raises(InferenceServerException, match="there is no model 'nobody'"):
            await opened.infer("nobody", [picture(crop)])
    np.testing.assert_array_equal(answer.as_numpy("labels"), expected.as_numpy("labels"))


def test_what_does_not_fit_is_told(client, crop):
    assert refused(client, "detector", [picture(crop)]).startswith("404 there is no model 'detector'")
    assert "served are 2" in refused(client, "segm", [picture(crop)], model_version="7")
    assert "[N, 256, 256, 3]" in refused(client, "segm", [picture(crop[:128])])
    floats = triton.InferInput("images", [1, SIZE, SIZE, 3], "FP32").set_data_from_numpy(crop[None].astype(np.float32))
    assert "not FP32" in refused(client, "segm", [floats])
    assert "no output 'depth'" in refused(client, "segm", [picture(crop)], outputs=wanted("depth"))
    named = triton.InferInput("image", [1, SIZE, SIZE, 3], "UINT8").set_data_from_numpy(crop[None])
    assert "no input 'image'" in refused(client, "segm", [named])
    many = np.repeat(crop[None], 9, 0)
    batch = triton.InferInput("images", [*many.shape], "UINT8").set_data_from_numpy(many)
    assert refused(client, "segm", [batch]).startswith("413")


def test_shared_memory_and_compressed_requests_are_refused(client, crop):
    shared = triton.InferInput("images", [1, SIZE, SIZE, 3], "UINT8").set_shared_memory("region", crop.nbytes)
    assert "there is no shared memory" in refused(client, "segm", [shared])
    output = triton.InferRequestedOutput("labels")
    output.set_shared_memory("region", 10)
    assert "there is no shared memory" in refused(client, "segm", [picture(crop)], outputs=[output])
    for way in ("gzip", "deflate"):
        assert "Content-Encoding" in refused(client, "segm", [picture(crop)], request_compression_algorithm=way)


def test_a_batch_is_what_its_items_are(client, crop):
    items = [crop, crop[::-1].copy(), crop[:, ::-1].copy()]
    batch = triton.InferInput("images", [3, SIZE, SIZE, 3], "UINT8").set_data_from_numpy(np.stack(items))
    together = client.infer("segm", [batch], outputs=wanted("labels")).as_numpy("labels")
    for labels, item in zip(together, items, strict=True):
        alone = client.infer("segm", [picture(item)], outputs=wanted("labels")).as_numpy("labels")[0]
        assert (labels == alone).mean() > 0.999


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.get_model_config("segm"),
        lambda client: client.get_model_repository_index(),
        lambda client: client.load_model("segm"),
        lambda client: client.unload_model("segm"),
        lambda client: client.get_inference_statistics("segm"),
        lambda client: client.get_trace_settings(),
        lambda client: client.update_log_settings({"log_verbose_level": 1}),
        lambda client: client.get_system_shared_memory_status(),
        lambda client: client.register_system_shared_memory("region", "/key", 10),
    ],
)
def test_nothing_else_of_triton_is_offered(client, ask):
    with pytest.raises(InferenceServerException, match="is not offered here") as caught:
        ask(client)
    assert caught.value.status() == "404"


def test_inferences_are_counted_by_route(service, client, crop):
    client.infer("segm", [picture(crop)], outputs=wanted("labels"))
    text = httpx.get(f"{service.url}/metrics").text
    assert 'fpan_requests_total{method="POST",route="/v2/models/{name}/infer",status="200"}' in text
