"""Inputs in memory shared with the embedded Triton: they arrive, nothing of them stays, nothing is left behind."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import pytest_asyncio
from fpan.contract import ModelRepository
from fpan.serve.api.errors import DeadlineExceeded
from fpan.serve.config import Settings
from fpan.serve.inference.backends import shared_memory as shared_inputs
from fpan.serve.inference.backends.choose import open_backend
from fpan.serve.inference.backends.embedded_triton import EmbeddedBackend
from fpan.serve.inference.backends.shared_memory import SharedInputs, reserve

from tests.integration.inference.test_triton_embedded import ALL, held
from tests.support.networks import echo, echoed, pictures, publish

pytestmark = pytest.mark.asyncio(loop_scope="module")
SHARED = Path("/dev/shm")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedBackend]:
    """Hands over every input that way, two at once."""
    root = tmp_path_factory.mktemp("models")
    publish(root, "echo", echo())
    settings = Settings(model_repository=root, backend="triton", max_batch=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_inputs, "WORTH_BYTES", 1)
        repository = ModelRepository(root)
        opened = await open_backend(settings, repository, list(repository.cards()), tmp_path_factory.mktemp("run"))
        assert isinstance(opened, EmbeddedBackend)
        yield opened
        await opened.close()


def memory(backend: EmbeddedBackend) -> SharedInputs:
    assert backend._client is not None
    assert backend._client._shared is not None
    return backend._client._shared


def holds(backend: EmbeddedBackend, marker: bytes) -> bool:
    """Whether a picture's bytes are anywhere in memory that processes share here."""
    assert backend.server is not None
    regions = [path.read_bytes() for path in SHARED.glob(f"{backend.server.id}*")]
    assert regions
    return any(marker in region for region in (*regions, bytes(memory(backend)._memory)))


@pytest.mark.parametrize("count", [1, 3, 8])
async def test_every_pixel_arrives(backend: EmbeddedBackend, count: int) -> None:
    images = pictures(count, seed=count)
    outputs = await backend.infer("echo", 1, {"images": images}, ALL, 10)
    for name, expected in echoed(images).items():
        np.testing.assert_array_equal(outputs[name], expected)


@pytest.mark.parametrize("worth", [1, 2**30])
async def test_items_need_not_lie_beside_each_other(
    backend: EmbeddedBackend, monkeypatch: pytest.MonkeyPatch, worth: int
) -> None:
    monkeypatch.setattr(shared_inputs, "WORTH_BYTES", worth)
    images = pictures(3, seed=9)
    outputs = await backend.infer("echo", 1, {"images": [*images[::-1]]}, ["labels"], 10)
    np.testing.assert_array_equal(outputs["labels"], echoed(images[::-1])["labels"])


async def test_more_inputs_at_once_than_there_are_slots_do_not_mix(backend: EmbeddedBackend) -> None:
    batches = [pictures(2, seed) for seed in range(12)]
    answers = await asyncio.gather(*(backend.infer("echo", 1, {"images": b}, ["labels"], 10) for b in batches))
    for images, outputs in zip(batches, answers, strict=True):
        np.testing.assert_array_equal(outputs["labels"], echoed(images)["labels"])


async def test_nothing_of_a_picture_stays(backend: EmbeddedBackend) -> None:
    images = pictures(1, seed=77)
    marker = images.tobytes()[:96]
    with held(backend):
        asked = asyncio.create_task(backend.infer("echo", 1, {"images": images}, ["labels"], 10))
        async with asyncio.timeout(10):
            while not holds(backend, marker):  # as long as it is needed it is there
                await asyncio.sleep(0.01)
    await asked
    assert not holds(backend, marker)


async def computed(backend: EmbeddedBackend) -> float:
    """Requests that the server has answered."""
    assert backend.server is not None
    async with httpx.AsyncClient() as client:
        told = (await client.get(f"http://{backend.server.metrics_address}/metrics")).text
    return sum(map(float, re.findall(r"^nv_inference_request_success{.*} (\d+)", told, re.MULTILINE)))


async def test_nothing_of_a_cancelled_picture_stays(backend: EmbeddedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over gRPC, so that the server lays it down for its Python process, which finds that nobody waits for it."""
    monkeypatch.setattr(shared_inputs, "WORTH_BYTES", 2**30)
    for seed in range(500, 503):
        images = pictures(1, seed)
        marker = images.tobytes()[:96]
        before = await computed(backend)
        async with asyncio.timeout(10):
            with held(backend):
                asked = asyncio.create_task(backend.infer("echo", 1, {"images": images}, ["labels"], 10))
                while not holds(backend, marker):
                    await asyncio.sleep(0.01)
                asked.cancel()
                await asyncio.sleep(0.1)  # nothing tells when the server has heard of it
            while await computed(backend) == before:
                await asyncio.sleep(0.01)
        assert not holds(backend, marker)


async def test_a_call_that_is_given_up_spoils_no_other(backend: EmbeddedBackend) -> None:
    with held(backend):
        for seed in range(4):
            with pytest.raises(DeadlineExceeded):
                await backend.infer("echo", 1, {"images": pictures(1, seed)}, ["labels"], 0.05)
    for seed in range(8):
        images = pictures(2, seed + 100)
        outputs = await backend.infer("echo", 1, {"images": images}, ["labels"], 10)
        np.testing.assert_array_equal(outputs["labels"], echoed(images)["labels"])


async def test_it_has_no_name_that_could_be_left_behind(backend: EmbeddedBackend) -> None:
    assert not list(SHARED.glob(f"fpan_{os.getpid()}_*"))
    assert memory(backend).size


async def test_memory_is_lent_where_it_pays_and_fits_and_is_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_inputs, "WORTH_BYTES", 8)
    lender = SharedInputs(slots=1, slot_bytes=64)
    lender.forget_name()
    array = np.arange(1, 65, dtype=np.uint8)
    with lender.lend(array) as offset:
        assert offset == 0
        assert bytes(lender._memory) == array.tobytes()
        with lender.lend(array) as second:
            assert second is None
    assert not any(bytes(lender._memory))
    for misfit in (np.ones(65, np.uint8), np.ones(7, np.uint8)):
        with lender.lend(misfit) as nowhere:
            assert nowhere is None
    with lender.lend(array) as again:
        assert again == 0


async def test_where_memory_is_short_there_is_none_and_the_log_says_so(
    backend: EmbeddedBackend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert reserve(list(backend._repository.cards()), max_batch=1000, slots=1) is None
    assert "No space left" in caplog.text
    assert not list(SHARED.glob(f"fpan_{os.getpid()}_*"))
