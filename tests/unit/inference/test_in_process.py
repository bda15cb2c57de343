"""Networks in the gateway's own process."""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest
from fpan.contract import ModelRepository, RepositoryError
from fpan.serve.api.errors import DeadlineExceeded, GatewayError, NotFound, Unavailable
from fpan.serve.config import Settings
from fpan.serve.inference.backends.choose import open_backend
from fpan.serve.inference.backends.in_process import InProcessBackend
from fpan.serve.inference.backends.runtime import Network
from fpan.serve.inference.triton_server import install

from tests.support.networks import echo, echoed, fragile, pictures, publish


async def opened(root: Path, **settings: object) -> InProcessBackend:
    repository = ModelRepository(root)
    options = Settings(model_repository=root, runtime_threads=1, **settings)
    return await InProcessBackend.open(options, repository, list(repository.cards()))


async def test_computes_what_was_asked_for(tmp_path: Path) -> None:
    publish(tmp_path, "echo", echo())
    backend = await opened(tmp_path)
    assert "in process" in backend.description
    assert await backend.ready("echo", 1)
    images = pictures(3)
    outputs = await backend.infer("echo", 1, {"images": images}, ["labels", "logits"], 10)
    assert outputs.keys() == {"labels", "logits"}
    np.testing.assert_array_equal(outputs["labels"], echoed(images)["labels"])
    np.testing.assert_array_equal(outputs["logits"], echoed(images)["logits"])
    await backend.close()
    assert not await backend.ready("echo", 1)


@pytest.mark.parametrize(("model", "version"), [("echo", 2), ("other", 1)])
async def test_what_is_not_served_is_not_found(tmp_path: Path, model: str, version: int) -> None:
    publish(tmp_path, "echo", echo())
    backend = await opened(tmp_path)
    assert not await backend.ready(model, version)
    with pytest.raises(NotFound):
        await backend.infer(model, version, {"images": pictures(1)}, ["labels"], 10)
    await backend.close()


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"images": pictures(1, size=16)}, ["labels"]),
        ({"images": pictures(1).astype(np.float32)}, ["labels"]),
        ({"images": pictures(1)[:0]}, ["labels"]),
        ({"photos": pictures(1)}, ["labels"]),
        ({}, ["labels"]),
        ({"images": pictures(1)}, ["depth"]),
    ],
    ids=["size", "dtype", "empty", "name", "nothing", "output"],
)
async def test_misfits_are_refused(tmp_path: Path, inputs: dict[str, np.ndarray], outputs: list[str]) -> None:
    publish(tmp_path, "echo", echo())
    backend = await opened(tmp_path)
    with pytest.raises(GatewayError, match="does not take") as caught:
        await backend.infer("echo", 1, inputs, outputs, 10)
    assert caught.value.status == 500
    await backend.close()


async def test_a_failure_hides_its_details_and_spoils_nothing(tmp_path: Path) -> None:
    publish(tmp_path, "fragile", fragile())
    backend = await opened(tmp_path)
    with pytest.raises(Unavailable) as caught:
        await backend.infer("fragile", 1, {"images": pictures(1)}, ["logits"], 10)
    assert str(caught.value) == "model fragile failed; try again"
    outputs = await backend.infer("fragile", 1, {"images": pictures(1)}, ["labels"], 10)
    assert outputs["labels"].any()
    await backend.close()


async def test_a_run_that_takes_too_long_ends_its_callers_wait_and_no_other_begins_unwanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, "echo", echo())
    backend = await opened(tmp_path)
    gate, runs, run = threading.Event(), [], Network.run

    def slow(self: Network, *args: object) -> object:
        runs.append(args)
        gate.wait(10)
        return run(self, *args)

    monkeypatch.setattr(Network, "run", slow)
    waits = [backend.infer("echo", 1, {"images": pictures(1)}, ["labels"], 0.1) for _ in range(3)]
    errors = await asyncio.gather(*waits, return_exceptions=True)
    gate.set()
    assert [type(error) for error in errors] == [DeadlineExceeded] * 3
    await backend.infer("echo", 1, {"images": pictures(1)}, ["labels"], 10)
    assert len(runs) == 2  # the first, which could not be stopped, and the last
    await backend.close()


async def test_a_changed_network_is_refused(tmp_path: Path) -> None:
    publish(tmp_path, "echo", echo())
    with (tmp_path / "echo/1/model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(RepositoryError, match="changed"):
        await opened(tmp_path)


async def test_serves_in_process_and_says_why_where_triton_cannot_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = publish(tmp_path / "models", "echo", echo())
    monkeypatch.setattr(install.platform, "machine", lambda: "aarch64")
    settings = Settings(model_repository=tmp_path / "models", runtime_threads=1)
    backend = await open_backend(settings, ModelRepository(tmp_path / "models"), [card], tmp_path / "run")
    assert "in process" in backend.description
    assert "aarch64" in backend.description
    assert await backend.ready("echo", 1)
    await backend.close()
