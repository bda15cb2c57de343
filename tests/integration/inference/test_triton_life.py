"""The embedded Triton's life: start, crash, recovery, end."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fpan.contract import ModelCard, ModelRepository, RepositoryError
from fpan.serve.api.errors import GatewayError, Unavailable
from fpan.serve.config import Settings
from fpan.serve.inference.backend import CannotLoad
from fpan.serve.inference.backends.choose import open_backend
from fpan.serve.inference.backends.embedded_triton import EmbeddedBackend
from fpan.serve.inference.backends.in_process import InProcessBackend
from fpan.serve.inference.triton_server.install import SHARED_MEMORY, Installation
from fpan.serve.inference.triton_server.profiles import ServingOptions
from fpan.serve.inference.triton_server.server import TritonError, TritonServer
from fpan.serve.inference.triton_server.tree import put_together
from fpan.tensorrt.plans import Plans

from tests.support.networks import SIZE, convolutions, echo, echoed, pictures, publish
from tests.support.plans import TARGET, write_plan
from tests.support.service import ROOT

SHIPPED = ROOT / "model_repository"

RECOVERY_S = 30.0


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return publish(tmp_path / "models", "echo", echo())


def settings(tmp_path: Path, **more: object) -> Settings:
    return Settings(model_repository=tmp_path / "models", backend="triton", runtime_threads=1, **more)


async def opened(tmp_path: Path, card: ModelCard) -> EmbeddedBackend:
    backend = await open_backend(settings(tmp_path), ModelRepository(tmp_path / "models"), [card], tmp_path / "run")
    assert isinstance(backend, EmbeddedBackend)
    return backend


def regions(pid: int | None = None) -> set[str]:
    """Shared memory of servers that a process, by default this one, has started."""
    return {path.name for path in SHARED_MEMORY.glob(f"triton_fpan_{pid or os.getpid()}_*")}


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def group(server: int) -> list[int]:
    """Process ids of the server's group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = int(path.parent.name), path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(rest[2]) == server and rest[0] != "Z":
            found.append(pid)
    return found


async def until(condition: Callable[[], bool], within_s: float = RECOVERY_S) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.05)


async def recovered(backend: EmbeddedBackend) -> None:
    async with asyncio.timeout(RECOVERY_S):
        while not await backend.ready("echo", 1):
            await asyncio.sleep(0.05)
    images = pictures(2)
    outputs = await backend.infer("echo", 1, {"images": images}, ["labels"], 10)
    np.testing.assert_array_equal(outputs["labels"], echoed(images)["labels"])


async def test_stopping_leaves_no_process_and_no_shared_memory(tmp_path: Path, card: ModelCard) -> None:
    backend = await opened(tmp_path, card)
    assert backend.server is not None
    pid = backend.server.pid
    processes = group(pid)
    assert len(processes) >= 2
    assert regions()
    await recovered(backend)
    began = time.monotonic()
    await backend.close()
    assert time.monotonic() - began < 60
    assert not [pid for pid in processes if alive(pid)]
    assert not group(pid)
    assert not regions()
    with pytest.raises(Unavailable):
        await backend.infer("echo", 1, {"images": pictures(1)}, ["labels"], 10)


async def test_a_second_start_is_quick(tmp_path: Path, card: ModelCard) -> None:
    await (await opened(tmp_path, card)).close()
    began = time.monotonic()
    backend = await opened(tmp_path, card)
    assert time.monotonic() - began < 60
    await backend.close()


async def test_a_server_killed_in_mid_request_is_unavailable_and_comes_back(tmp_path: Path, card: ModelCard) -> None:
    backend = await opened(tmp_path, card)
    server = backend.server
    assert server is not None
    old = group(server.pid)
    for pid in old:
        if pid != server.pid:
            os.kill(pid, signal.SIGSTOP)  # the request stays under way until the server is killed
    calls = [asyncio.create_task(backend.infer("echo", 1, {"images": pictures(1)}, ["labels"], 20)) for _ in range(3)]
    await asyncio.sleep(0.3)
    assert not any(call.done() for call in calls)
    began = time.monotonic()
    os.kill(server.pid, signal.SIGKILL)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert time.monotonic() - began < 60
    assert [type(result) for result in results] == [Unavailable] * 3
    assert all(result.retry_after_s for result in results)
    with pytest.raises(Unavailable):
        await backend.infer("echo", 1, {"images": pictures(1)}, ["labels"], 20)
    await recovered(backend)
    assert backend.server is not server
    assert not [pid for pid in old if alive(pid)]
    await backend.close()
    assert not regions()


async def test_a_killed_python_process_is_noticed_and_replaced(tmp_path: Path, card: ModelCard) -> None:
    backend = await opened(tmp_path, card)
    server = backend.server
    assert server is not None
    for pid in group(server.pid):
        if pid != server.pid:
            os.kill(pid, signal.SIGKILL)
    await until(lambda: backend.server is not server and backend.server is not None)
    await recovered(backend)
    await backend.close()
    assert not regions()


async def test_closing_while_it_is_started_again_leaves_nothing(tmp_path: Path, card: ModelCard) -> None:
    backend = await opened(tmp_path, card)
    server = backend.server
    assert server is not None
    os.kill(server.pid, signal.SIGKILL)
    await until(lambda: backend.server is None)
    await asyncio.sleep(0.4)  # in the middle of the new start
    await backend.close()
    assert backend.server is None
    assert not regions()
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert not [pid for pid in children if "triton" in Path(f"/proc/{pid}/comm").read_text()]


async def test_a_changed_network_is_refused_before_anything_starts(tmp_path: Path, card: ModelCard) -> None:
    with (tmp_path / "models/echo/1/model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(RepositoryError, match="changed"):
        await open_backend(settings(tmp_path), ModelRepository(tmp_path / "models"), [card], tmp_path / "run")
    assert not (tmp_path / "run").exists()


async def test_a_network_that_cannot_be_read_ends_the_start_with_the_servers_last_words(tmp_path: Path) -> None:
    card = publish(tmp_path / "models", "broken", b"this is no network")
    began = time.monotonic()
    with pytest.raises(TritonError, match=r"(?s)ended with status.*broken"):
        await open_backend(settings(tmp_path), ModelRepository(tmp_path / "models"), [card], tmp_path / "run")
    assert time.monotonic() - began < 60
    assert not regions()


async def test_a_server_that_is_not_ready_in_time_is_ended(tmp_path: Path, card: ModelCard) -> None:
    impatient = settings(tmp_path, triton_start_timeout_s=0.05)
    with pytest.raises(TritonError, match="not ready within"):
        await open_backend(impatient, ModelRepository(tmp_path / "models"), [card], tmp_path / "run")
    assert not regions()


async def test_a_failed_start_is_served_in_process_unless_triton_was_asked_for(
    tmp_path: Path, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Installation, "program", tmp_path / "missing")
    automatic = settings(tmp_path).model_copy(update={"backend": "auto"})
    backend = await open_backend(automatic, ModelRepository(tmp_path / "models"), [card], tmp_path / "run")
    assert isinstance(backend, InProcessBackend)
    assert "ended with status" in backend.description
    assert "\n" not in backend.description
    await backend.close()


async def test_a_taken_port_is_no_obstacle(tmp_path: Path, card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await opened(tmp_path, card)
    assert first.server is not None
    taken = tuple(int(a.split(":")[1]) for a in (first.server.grpc_address, first.server.http_address))
    from fpan.serve.inference.triton_server import server as module

    free, tries = module._free_ports, []

    def once_taken() -> tuple[int, int, int]:
        tries.append(1)
        return (*taken, free()[2]) if len(tries) == 1 else free()

    monkeypatch.setattr(module, "_free_ports", once_taken)
    second = await open_backend(settings(tmp_path), ModelRepository(tmp_path / "models"), [card], tmp_path / "other")
    assert len(tries) == 2
    assert await second.ready("echo", 1)
    await second.close()
    await first.close()


async def test_the_server_dies_with_its_gateway(tmp_path: Path, card: ModelCard) -> None:
    code = f"""
import asyncio, pathlib
from fpan.contract import ModelRepository
from fpan.serve.inference.backends.choose import open_backend
from fpan.serve.config import Settings
async def main():
    root = pathlib.Path({str(tmp_path / "models")!r})
    settings, repository = Settings(backend="triton", runtime_threads=1), ModelRepository(root)
    run = pathlib.Path({str(tmp_path / "run")!r})
    backend = await open_backend(settings, repository, list(repository.cards()), run)
    print(backend.server.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    gateway = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert gateway.stdout is not None
    pid = int(await asyncio.to_thread(gateway.stdout.readline))
    processes = group(pid)
    assert len(processes) >= 2
    assert regions(gateway.pid)
    gateway.kill()
    gateway.wait()
    gateway.stdout.close()
    await until(lambda: not any(alive(pid) for pid in processes))
    assert not regions(gateway.pid)


@pytest.mark.parametrize(
    ("profile", "runtime", "with_plan", "backend"),
    [
        ("ngc-cpu", "onnxruntime", False, "onnxruntime"),
        ("ngc-cpu", "openvino", False, "openvino"),
        ("ngc-tensorrt", "onnxruntime", False, "onnxruntime"),
        ("ngc-tensorrt", "onnxruntime", True, "tensorrt"),
    ],
)
async def test_the_real_server_reads_every_profile_and_lacks_nothing_but_its_backend(
    tmp_path: Path, card: ModelCard, profile: str, runtime: str, with_plan: bool, backend: str
) -> None:
    if with_plan:
        write_plan(tmp_path / "plans", card)
    log = await words_on(tmp_path, ServingOptions(profile, runtime))
    assert f"unable to find backend library for backend '{backend}'" in log
    assert "no_such_field" not in log


async def test_the_real_server_says_so_when_a_configuration_is_none(tmp_path: Path, card: ModelCard) -> None:
    log = await words_on(tmp_path, ServingOptions("ngc-cpu"), spoil="no_such_field: 1\n")
    assert "no_such_field" in log
    assert "unable to find backend library" not in log


@pytest.mark.parametrize(("name", "backend"), [("segm", "tensorrt"), ("detector", "onnxruntime")])
async def test_the_real_server_reads_the_shipped_networks_configurations_for_a_gpu(
    tmp_path: Path, name: str, backend: str
) -> None:
    repository = ModelRepository(SHIPPED)
    card = repository.card(name, repository.current(name))
    write_plan(tmp_path / "plans", card)  # of the detector it is not looked for
    log = await words_on(tmp_path, ServingOptions("ngc-tensorrt"), repository=repository, card=card)
    assert f"unable to find backend library for backend '{backend}'" in log


async def words_on(
    tmp_path: Path,
    options: ServingOptions,
    spoil: str = "",
    repository: ModelRepository | None = None,
    card: ModelCard | None = None,
) -> str:
    """What the real server says when it loads a network from a tree of these options; it has the Python backend only.

    Without a repository and a card the network is `echo`.
    """
    repository = repository or ModelRepository(tmp_path / "models")
    name, version = (card.name, card.version) if card else ("echo", 1)
    tree, home = tmp_path / "tree", tmp_path / "home"
    plans = Plans(tmp_path / "plans", TARGET)
    put_together(repository, [(name, version)], tree, options, plans=plans)
    with (tree / name / "config.pbtxt").open("a") as file:
        file.write(spoil)
    installation = Installation.find()
    installation.assemble(home)
    server = await TritonServer.spawn(installation, tree, [name], home)
    await asyncio.wait_for(server.ended(), 30)
    await server.stop()
    return server.log_tail


async def test_two_models_of_different_sizes_and_precisions_are_served_side_by_side(tmp_path, card):
    large = publish(tmp_path / "models", "large", convolutions(2 * SIZE), size=2 * SIZE)
    half = publish(tmp_path / "models", "half", convolutions(2 * SIZE), size=2 * SIZE, precision="bf16")
    backend = await open_backend(
        settings(tmp_path), ModelRepository(tmp_path / "models"), [card, large, half], tmp_path / "run"
    )
    try:
        images = pictures(2, size=2 * SIZE)
        said = [
            (await backend.infer(name, 1, {"images": images}, ["labels", "logits"], 20)) for name in ("large", "half")
        ]
        assert {each["labels"].shape for each in said} == {(2, 2 * SIZE, 2 * SIZE)}
        np.testing.assert_allclose(said[0]["logits"], said[1]["logits"], atol=0.05 * np.abs(said[0]["logits"]).max())
        small = await backend.infer("echo", 1, {"images": pictures(1)}, ["labels"], 20)
        assert small["labels"].shape == (1, SIZE, SIZE)
        with pytest.raises(GatewayError):
            await backend.infer("large", 1, {"images": pictures(1)}, ["labels"], 20)
    finally:
        await backend.close()


async def test_a_version_with_another_input_size_is_loaded_beside_the_one_that_it_replaces(tmp_path, card):
    backend = await opened(tmp_path, card)
    try:
        large = publish(tmp_path / "models", "echo", convolutions(2 * SIZE), None, size=2 * SIZE)
        await backend.serve([card, large])
        for version, size in ((1, SIZE), (2, 2 * SIZE)):
            said = await backend.infer("echo", version, {"images": pictures(2, size=size)}, ["labels"], 20)
            assert said["labels"].shape == (2, size, size)
        await backend.serve([large])
        assert not await backend.ready("echo", 1)
        images = pictures(1, size=2 * SIZE)
        assert (await backend.infer("echo", 2, {"images": images}, ["labels"], 20))["labels"].shape == images.shape[:3]
    finally:
        await backend.close()


async def test_versions_come_and_go_while_others_answer(tmp_path, card):
    backend = await opened(tmp_path, card)
    images, failures = pictures(2), []
    over = asyncio.Event()

    async def ask():
        while not over.is_set():
            try:
                await backend.infer("echo", 1, {"images": images}, ["labels"], 20)
            except Exception as error:
                failures.append(error)

    asking = asyncio.ensure_future(ask())
    try:
        second = publish(tmp_path / "models", "echo", echo(), None)
        await backend.serve([card, second])
        assert (await backend.infer("echo", 2, {"images": images}, ["labels"], 20))["labels"].shape == (2, SIZE, SIZE)
        other = publish(tmp_path / "models", "other", echo())
        broken = publish(tmp_path / "models", "echo", b"no network", None)
        await backend.serve([card, other])
        assert not await backend.ready("echo", 2)
        with pytest.raises(CannotLoad):
            await backend.serve([card, other, broken])
        await backend.serve([card])
        assert not await backend.ready("other", 1)
        over.set()
        await asking
        assert failures == []
        os.kill(backend.server.pid, signal.SIGKILL)  # what comes back serves what was served, not what failed
        await until(lambda: backend.server is not None and backend.server.running)
        await recovered(backend)
        assert not await backend.ready("echo", 3)
    finally:
        over.set()
        await backend.close()


async def test_a_server_that_is_killed_while_it_loads_comes_back_and_loads_again(tmp_path, card):
    backend = await opened(tmp_path, card)
    try:
        second = publish(tmp_path / "models", "echo", echo(), None)
        pid = backend.server.pid
        processes = len(group(pid))
        loading = asyncio.create_task(backend.serve([card, second]))
        await until(lambda: loading.done() or len(group(pid)) > processes)
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(Unavailable):
            await loading
        assert not loading.cancelled()
        await until(lambda: backend.server is not None and backend.server.pid != pid)
        await recovered(backend)
        await backend.serve([card, second])
        assert await backend.ready("echo", 2)
        assert backend.server.whole
    finally:
        await backend.close()
