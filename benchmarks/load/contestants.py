"""The servers that are compared: how each is started, asked and ended."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.load import pictures
from benchmarks.load.generator import Query, Sender
from tests.support.service import ROOT, free_ports

PARTS = GATEWAY, TRITON, DETECTOR, NETWORK = "gateway", "Triton", "detector", "network"
"""The processes of a gateway: its own, Triton's server, and that server's process for each network."""
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
Files = list[tuple[bytes, int]]


@dataclass(frozen=True)
class Contestant:
    """A server of some make."""

    name: str
    command: Callable[[int, int], Sequence[str]]
    """Its command line; two free ports, of which it answers at the first."""
    queries: Callable[[Files], list[Query]]
    """How it is asked to find and parse all faces and to answer with a PNG."""
    settings: dict[str, str] = field(default_factory=dict)


@dataclass
class Running:
    """One that runs."""

    port: int
    process: psutil.Process

    def tree(self) -> list[psutil.Process]:
        """It and all that it has started."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu_s(self) -> float:
        """Processor time of all of it so far, in seconds."""
        return sum(self.cpu_s_by_part().values())

    def cpu_s_by_part(self) -> dict[str, float]:
        """The same, of each of a gateway's parts; all of another server is its first part."""
        parts = dict.fromkeys(PARTS, 0.0)
        for each in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                times, command = each.cpu_times(), " ".join(each.cmdline())
                parts[_part(command)] += times.user + times.system
        return parts


def _part(command: str) -> str:
    if "python_backend_stub" in command:
        return DETECTOR if "/detector/" in command else NETWORK
    return TRITON if "tritonserver" in command else GATEWAY


def gateway(name: str = "this gateway", **settings: str) -> Contestant:
    """This project's own."""
    return Contestant(
        name,
        lambda port, other: (sys.executable, "-m", "fpan.cli", "serve", "--port", str(port), "--grpc-port", str(other)),
        lambda files: pictures.raw("/v1/parse", files),
        {"MODEL_REPOSITORY": str(ROOT / "model_repository"), **settings},
    )


def peers() -> list[Contestant]:
    """The others."""

    def module(name: str) -> Callable[[int, int], Sequence[str]]:
        return lambda port, _: (sys.executable, "-m", f"benchmarks.load.peers.{name}", str(port))

    bento = Path(sys.executable).with_name("bentoml")
    return [
        Contestant("bare FastAPI, ONNX Runtime", module("bare"), lambda files: pictures.raw("/parse", files)),
        Contestant(
            "bare FastAPI, OpenVINO",
            module("bare"),
            lambda files: pictures.raw("/parse", files),
            {"RUNTIME": "openvino"},
        ),
        Contestant("LitServe", module("lit"), lambda files: pictures.form("/parse", files)),
        Contestant(
            "BentoML",
            lambda port, _: (str(bento), "serve", "benchmarks.load.peers.bento:Parse", "--port", str(port)),
            lambda files: pictures.raw("/parse", files),
        ),
        Contestant("Ray Serve", module("ray_serve"), lambda files: pictures.raw("/parse/", files)),
    ]


@contextlib.contextmanager
def running(contestant: Contestant, warm: Files) -> Iterator[Running]:
    """Starts a server, asks it until it answers and its networks are warm, and ends all of it."""
    port, other = free_ports(2)
    process = subprocess.Popen(
        contestant.command(port, other),
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **contestant.settings},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    started = Running(port, psutil.Process(process.pid))
    try:
        queries = contestant.queries(warm)
        sender, until = Sender(port), time.monotonic() + START_TIMEOUT_S
        while sender.ask(queries[0], time.perf_counter()).status != 200:
            if time.monotonic() > until or process.poll() is not None:
                raise RuntimeError(f"{contestant.name} does not answer")
            time.sleep(0.5)
        for _ in range(4):  # each worker must have had some
            for query in queries:
                sender.ask(query, time.perf_counter())
        yield started
    finally:
        family = started.tree() if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()
