"""The gateway against Triton itself: the same network, the same crops, `faces=full`."""

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

import numpy as np
from fpan.contract import ModelRepository
from fpan.serve.pipeline.decode import decode
from fpan.serve.pipeline.encode import indexed_png
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput

from benchmarks.load import generator, pictures
from benchmarks.load.contestants import ROOT, gateway, running
from benchmarks.load.report import Table, spread

CALLERS = 8
CORES = os.cpu_count() or 1
_DISTINCT = 64
_SAMPLES = 200
_WARM_S = 2.0
_TURN_S = 1.0
"""How long one of the two is asked before the other is, where latencies of milliseconds are compared: what else the
machine does changes from one second to the next by as much."""
MODEL = ("segm", 2)
OUTPUTS = ("labels", "confidence")


@dataclass
class Figures:
    """One value a round."""

    triton_per_s: list[float] = field(default_factory=list)
    triton_ms: list[float] = field(default_factory=list)
    gateway_per_s: list[float] = field(default_factory=list)
    gateway_ms: list[float] = field(default_factory=list)
    between_ms: list[float] = field(default_factory=list)
    """How much later the gateway answers: median over turns that follow each other."""
    codec_ms: list[float] = field(default_factory=list)
    """Processor time of decoding a crop's JPEG and encoding its PNG."""

    @property
    def ratios(self) -> list[float]:
        """Throughput of the gateway, as a share of Triton's once it had to decode and encode too."""
        rows = zip(self.gateway_per_s, self.triton_per_s, self.codec_ms, strict=True)
        return [ours * (1 / theirs + codec / 1000 / CORES) for ours, theirs, codec in rows]

    @property
    def added_ms(self) -> list[float]:
        """Median latency of one request beyond Triton's, decoding and encoding."""
        return [between - codec for between, codec in zip(self.between_ms, self.codec_ms, strict=True)]


def measure(rounds: int, seconds: float) -> Figures:
    """Both in turn, so many times."""
    crops = [np.ascontiguousarray(np.roll(pictures.crop(), i, axis=1)) for i in range(_DISTINCT)]
    files = [(pictures.jpeg(crop), 1) for crop in crops]
    queries = pictures.raw("/v1/parse?faces=full", files)
    figures = Figures()
    for _ in range(rounds):
        figures.codec_ms.append(_codec_ms([body for body, _ in files]))
        with _triton() as address, running(gateway(), files[:2]) as server:
            _closed(address, crops, CALLERS, _WARM_S)
            theirs, ours = [], []
            for _ in range(max(1, round(seconds / _TURN_S))):
                theirs.append(_closed(address, crops, 1, _TURN_S)[1])
                ours.append(generator.closed(server.port, queries, 1, _TURN_S).latency_ms(50))
            figures.triton_ms.append(statistics.median(theirs))
            figures.gateway_ms.append(statistics.median(ours))
            figures.between_ms.append(statistics.median(np.subtract(ours, theirs)))
            figures.triton_per_s.append(_closed(address, crops, CALLERS, seconds)[0])
            figures.gateway_per_s.append(generator.closed(server.port, queries, CALLERS, seconds).per_second)
    return figures


def tell(figures: Figures) -> list[str]:
    """As Markdown."""
    table = Table("", "Triton, by tritonclient", "gateway, over HTTP")
    table.row(f"pictures/s, {CALLERS} callers", spread(figures.triton_per_s), spread(figures.gateway_per_s))
    table.row("one caller, median ms", spread(figures.triton_ms), spread(figures.gateway_ms))
    return [
        "## Against Triton itself",
        "",
        "The same network and crops of 256 x 256 pixels: Triton gets their pixels over gRPC from NVIDIA's client, the "
        "gateway gets JPEGs with `faces=full` and answers with a PNG. (perf_analyzer always asks for all outputs, of "
        "which one is computed on demand only: its figures would be too low.)",
        "",
        *table.lines,
        "",
        f"Decoding and encoding take {spread(figures.codec_ms, 2)} ms of a processor. With that added to Triton's side "
        f"the gateway has **{spread(figures.ratios, 3)}** of its throughput (target 0.90), and adds "
        f"**{spread(figures.added_ms)} ms** to the median of one request (target: at most 5).",
        "",
    ]


def _codec_ms(files: list[bytes]) -> float:
    taxonomy = ModelRepository(ROOT / "model_repository").card(*MODEL).taxonomy
    assert taxonomy is not None
    labels = np.random.default_rng(0).integers(0, 19, (16, 16), np.uint8).repeat(16, 0).repeat(16, 1)
    times = []
    for i in range(_SAMPLES):
        began = time.process_time()
        decode(files[i % len(files)], max_pixels=10**6, orientation="exif")
        indexed_png(labels, taxonomy)
        times.append(time.process_time() - began)
    return statistics.median(times) * 1000


class _triton:  # noqa: N801 (a context manager)
    def __enter__(self) -> str:
        command = [sys.executable, "-m", "benchmarks.load.triton_alone"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()


def _closed(address: str, crops: list[np.ndarray], callers: int, seconds: float) -> tuple[float, float]:
    """Inferences a second and median latency in milliseconds of callers who ask again as soon as they are answered."""
    latencies: list[float] = []
    until = time.perf_counter() + seconds

    def call(first: int) -> None:
        outputs = [InferRequestedOutput(name) for name in OUTPUTS]
        with InferenceServerClient(address) as client:
            turn = first
            while (began := time.perf_counter()) < until:
                crop = crops[turn % len(crops)][None]
                tensor = InferInput("images", crop.shape, "UINT8").set_data_from_numpy(crop)
                client.infer(MODEL[0], [tensor], model_version=str(MODEL[1]), outputs=outputs)
                if (now := time.perf_counter()) <= until:
                    latencies.append(now - began)
                turn += callers

    threads = [threading.Thread(target=call, args=(i,)) for i in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(latencies) / seconds, 1000 * statistics.median(latencies)
