"""The real embedded Triton: what it computes, and that it does no more than it is asked for."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import httpx
import numpy as np
import pytest
import pytest_asyncio
from fpan.contract import ModelRepository
from fpan.serve.api.errors import DeadlineExceeded, GatewayError, NotFound, Unavailable
from fpan.serve.config import Settings
from fpan.serve.inference.backends.choose import open_backend
from fpan.serve.inference.backends.embedded_triton import EmbeddedBackend
from fpan.serve.inference.backends.in_process import InProcessBackend
from fpan.serve.inference.backends.runtime import RuntimeName
from fpan.serve.inference.backends.triton import TritonBackend
from fpan.serve.inference.batcher import Batcher, BatchLimits
from fpan.serve.telemetry.traces import read_trace
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from tests.support.networks import convolutions, echo, echoed, fragile, pictures, publish

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL = ["labels", "confidence", "logits"]
FORGOTTEN_S = 0.45
"""Triton looks into its queue every half second, whether or not something has come."""


def stubs(server: int) -> list[int]:
    """Process ids of the server's Python processes."""
    return [int(pid) for pid in Path(f"/proc/{server}/task/{server}/children").read_text().split()]


@contextlib.contextmanager
def held(backend: EmbeddedBackend):
    """Stops the server's Python processes: whatever it is asked now takes until the end of the block."""
    assert backend.server is not None
    pids = stubs(backend.server.pid)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module", params=get_args(RuntimeName))
def options(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("models")
    publish(root, "convolutions", convolutions())
    publish(root, "echo", echo())
    publish(root, "fragile", fragile())
    return Settings(model_repository=root, backend="triton", runtime=request.param, max_batch=8)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(options: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedBackend]:
    repository = ModelRepository(options.model_repository)
    backend = await open_backend(options, repository, list(repository.cards()), tmp_path_factory.mktemp("run"))
    assert isinstance(backend, EmbeddedBackend)
    yield backend
    await backend.close()


async def test_its_start_up_line_says_what_computes(backend: EmbeddedBackend, options: Settings) -> None:
    assert backend.description.startswith("embedded Triton 2.")
    assert {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}[options.runtime] in backend.description


async def test_it_takes_requests_that_belong_to_a_trace_although_it_traces_nothing(backend: EmbeddedBackend) -> None:
    images = pictures(1)
    trace = read_trace(["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"], ["vendor=1"])
    arrays = await backend.infer("echo", 1, {"images": images}, ["labels"], 20.0, trace)
    np.testing.assert_array_equal(arrays["labels"], echoed(images)["labels"])


@pytest.mark.parametrize("count", [1, 2, 7, 8])
async def test_every_pixel_goes_in_and_comes_out(backend: EmbeddedBackend, count: int) -> None:
    # With numpy 2 Triton's own conversions give zeros and empty arrays without a word.
    images = pictures(count)
    outputs = await backend.infer("echo", 1, {"images": images}, ALL, 10)
    for name, expected in echoed(images).items():
        np.testing.assert_array_equal(outputs[name], expected)
        assert outputs[name].dtype == expected.dtype
        assert outputs[name].any()


@pytest.mark.parametrize("count", [1, 3, 8])
async def test_in_process_and_triton_agree_bit_for_bit(backend: EmbeddedBackend, options: Settings, count: int) -> None:
    repository = ModelRepository(options.model_repository)
    here = await InProcessBackend.open(options, repository, [repository.card("convolutions", 1)])
    images = pictures(count)
    a = await here.infer("convolutions", 1, {"images": images}, ALL, 10)
    b = await backend.infer("convolutions", 1, {"images": images}, ALL, 10)
    for name in ALL:
        np.testing.assert_array_equal(a[name], b[name])
    assert len(np.unique(a["labels"])) > 2
    await here.close()


async def test_a_request_that_follows_upon_an_answer_does_not_lie_about(backend: EmbeddedBackend) -> None:
    """With timeouts in its queue Triton left some of these for half a second, until it looked by itself."""
    took, loop = [], asyncio.get_running_loop()

    async def ask(model: str) -> None:
        for i in range(400):
            since = loop.time()
            await backend.infer(model, 1, {"images": pictures(1 + i % 8)}, ["labels"], 10)
            took.append(loop.time() - since)

    await asyncio.gather(ask("convolutions"), ask("echo"))
    assert not [each for each in took if each > FORGOTTEN_S]


async def test_only_requested_outputs_are_sent_and_computed(backend: EmbeddedBackend) -> None:
    images = pictures(2)
    outputs = await backend.infer("fragile", 1, {"images": images}, ["labels"], 10)
    assert outputs.keys() == {"labels"}
    np.testing.assert_array_equal(outputs["labels"], echoed(images)["labels"])


async def test_a_failing_network_fails_alone_and_its_words_stay_inside(backend: EmbeddedBackend) -> None:
    with pytest.raises(Unavailable) as caught:
        await backend.infer("fragile", 1, {"images": pictures(1)}, ALL, 10)
    assert str(caught.value) == "model fragile failed; try again"
    await backend.infer("fragile", 1, {"images": pictures(1)}, ["labels"], 10)


async def test_requests_that_meet_in_triton_do_not_mix(backend: EmbeddedBackend) -> None:
    batches = [pictures(1 + seed % 2, seed) for seed in range(10)]
    wanted = [ALL if seed % 3 else ["labels"] for seed in range(10)]
    with held(backend):
        calls = [
            asyncio.create_task(backend.infer("echo", 1, {"images": images}, outputs, 20))
            for images, outputs in zip(batches, wanted, strict=True)
        ]
        await asyncio.sleep(0.5)
    results = await asyncio.gather(*calls)
    for images, outputs, names in zip(batches, results, wanted, strict=True):
        assert list(outputs) == names
        for name in names:
            np.testing.assert_array_equal(outputs[name], echoed(images)[name])


async def test_the_batcher_and_triton_serve_many_callers(backend: EmbeddedBackend, options: Settings) -> None:
    card = ModelRepository(options.model_repository).card("echo", 1)
    batcher = Batcher(backend, card, BatchLimits(max_batch=8, in_flight=2))
    sets = [pictures(1 + seed % 5, seed) for seed in range(12)]
    answers = await asyncio.gather(*(batcher.infer([{"images": p} for p in s], ["labels"]) for s in sets))
    for images, answer in zip(sets, answers, strict=True):
        np.testing.assert_array_equal(np.stack([i["labels"] for i in answer.items]), echoed(images)["labels"])
    await batcher.close()


@pytest.mark.parametrize(("model", "version"), [("echo", 7), ("nobody", 1)])
async def test_what_is_not_served_is_not_found(backend: EmbeddedBackend, model: str, version: int) -> None:
    assert not await backend.ready(model, version)
    with pytest.raises(NotFound):
        await backend.infer(model, version, {"images": pictures(1)}, ["labels"], 10)


@pytest.mark.parametrize(
    "images", [pictures(1, size=16), pictures(1).astype(np.float32), pictures(9)], ids=["size", "dtype", "batch"]
)
async def test_misfits_are_refused(backend: EmbeddedBackend, images: np.ndarray) -> None:
    with pytest.raises(GatewayError, match="does not take") as caught:
        await backend.infer("echo", 1, {"images": images}, ["labels"], 10)
    assert caught.value.status == 500


async def test_a_deadline_ends_the_wait_and_the_server_goes_on(backend: EmbeddedBackend) -> None:
    with held(backend):
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await backend.infer("echo", 1, {"images": pictures(1)}, ["labels"], 0.3)
        assert time.monotonic() - began < 60
    with pytest.raises(DeadlineExceeded):
        await backend.infer("echo", 1, {"images": pictures(1)}, ["labels"], 0)
    await backend.infer("echo", 1, {"images": pictures(1)}, ["labels"], 10)


async def test_a_cancelled_call_is_cancelled_for_its_caller_alone(backend: EmbeddedBackend) -> None:
    with held(backend):
        call = asyncio.create_task(backend.infer("echo", 1, {"images": pictures(1)}, ["labels"], 10))
        await asyncio.sleep(0.2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    await backend.infer("echo", 1, {"images": pictures(1)}, ["labels"], 10)


async def test_it_listens_on_the_loopback_interface_only(backend: EmbeddedBackend) -> None:
    server = backend.server
    assert server is not None
    ports = {int(a.split(":")[1]) for a in (server.grpc_address, server.http_address, server.metrics_address)}
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, port = local.split(":")
            if state == "0A" and int(port, 16) in ports:
                listening.add((address.removeprefix("0000000000000000FFFF0000"), int(port, 16)))
    assert listening == {("0100007F", port) for port in ports}  # 127.0.0.1 backwards; gRPC writes it as an IPv6 one


async def test_models_and_memory_are_closed_to_whoever_lacks_the_token(backend: EmbeddedBackend) -> None:
    server = backend.server
    assert server is not None
    client = InferenceServerClient(server.grpc_address)
    for forbidden in (
        client.load_model("echo"),
        client.unload_model("echo"),
        client.get_model_repository_index(),
        client.get_model_config("echo"),
        client.register_system_shared_memory("x", "/x", 1),
        client.get_trace_settings(),
        client.get_log_settings(),
        client.get_inference_statistics(),
    ):
        with pytest.raises(InferenceServerException, match=r"(?i)restricted|header"):
            await forbidden
    assert await client.get_model_repository_index(headers=server.grpc_headers)
    await client.close()
    async with httpx.AsyncClient(base_url=f"http://{server.http_address}", trust_env=False) as http:
        for path in ("repository/models/echo/load", "repository/index", "logging", "trace/setting"):
            assert (await http.post(f"/v2/{path}", json={})).status_code == 403
        assert (await http.get("/v2/models/echo/config")).status_code == 403
        assert (await http.get("/v2/models/echo/config", headers=server.http_headers)).status_code == 200
        assert (await http.get("/v2/health/ready")).status_code == 200


async def test_an_external_server_is_used_by_its_address(backend: EmbeddedBackend, options: Settings) -> None:
    assert backend.server is not None
    settings = options.model_copy(update={"triton_url": backend.server.grpc_address})
    external = await open_backend(settings, ModelRepository(options.model_repository), [], Path("/nowhere"))
    assert isinstance(external, TritonBackend)
    assert backend.server.grpc_address in external.description
    assert await external.ready("echo", 1)
    images = pictures(2)
    outputs = await external.infer("echo", 1, {"images": images}, ["labels"], 10)
    np.testing.assert_array_equal(outputs["labels"], echoed(images)["labels"])
    with held(backend):
        call = asyncio.create_task(external.infer("echo", 1, {"images": images}, ["labels"], 10))
        await asyncio.sleep(0.2)
        await external.close()
        with pytest.raises(Unavailable):
            await call
    assert await backend.ready("echo", 1)


async def test_an_external_server_that_is_not_there_is_unavailable_without_a_word_of_where() -> None:
    backend = TritonBackend("127.0.0.1:1")
    assert not await backend.ready("echo", 1)
    with pytest.raises(Unavailable) as caught:
        await backend.infer("echo", 1, {"images": pictures(1)}, ["labels"], 5)
    assert "127.0.0.1" not in str(caught.value)
    await backend.close()
