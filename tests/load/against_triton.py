"""The gateway against Triton itself: the same network, the same crops, `faces=full`."""

import os
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from sysconfig import get_path

import numpy as np
from fpan.contract import ModelRepository
from fpan.serve.pipeline.decode import decode
from fpan.serve.pipeline.encode import indexed_png

from tests.load import generator, pictures
from tests.load.contestants import ROOT, gateway, running
from tests.load.report import Table, spread

CALLERS = 8
CORES = os.cpu_count() or 1
_DISTINCT = 64
_SAMPLES = 200
_ANALYZER = Path(sys.executable).parents[1] / "perf_analyzer"
MODEL = ("segm", 2)


@dataclass
class Figures:
    """One value a round."""

    triton_per_s: list[float] = field(default_factory=list)
    triton_ms: list[float] = field(default_factory=list)
    gateway_per_s: list[float] = field(default_factory=list)
    gateway_ms: list[float] = field(default_factory=list)
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
        rows = zip(self.gateway_ms, self.triton_ms, self.codec_ms, strict=True)
        return [ours - theirs - codec for ours, theirs, codec in rows]


def measure(rounds: int, seconds: float) -> Figures:
    """Both in turn, so many times."""
    files = [(pictures.jpeg(np.roll(pictures.crop(), i, axis=1)), 1) for i in range(_DISTINCT)]
    queries = pictures.raw("/v1/parse?faces=full", files)
    figures = Figures()
    for _ in range(rounds):
        figures.codec_ms.append(_codec_ms([body for body, _ in files]))
        with _triton() as where:
            figures.triton_ms.append(_analyzer(*where, 1, seconds)[1])
            figures.triton_per_s.append(_analyzer(*where, CALLERS, seconds)[0])
        with running(gateway(), files[:2]) as server:
            alone = generator.closed(server.port, queries, 1, seconds)
            figures.gateway_ms.append(alone.latency_ms(50))
            figures.gateway_per_s.append(generator.closed(server.port, queries, CALLERS, seconds).per_second)
    return figures


def tell(figures: Figures) -> list[str]:
    """As Markdown."""
    table = Table("", "Triton, by perf_analyzer", "gateway, over HTTP")
    table.row(f"pictures/s, {CALLERS} callers", spread(figures.triton_per_s), spread(figures.gateway_per_s))
    table.row("one caller, median ms", spread(figures.triton_ms), spread(figures.gateway_ms))
    return [
        "## Against Triton itself",
        "",
        "The same network and crops of 256 x 256 pixels: perf_analyzer hands them to Triton in system shared memory, "
        "the gateway gets JPEGs with `faces=full` and answers with a PNG.",
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
    def __enter__(self) -> list[str]:
        command = [sys.executable, "-m", "tests.load.triton_alone"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        return self._process.stdout.readline().split()

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()


def _analyzer(address: str, header: str, callers: int, seconds: float) -> tuple[float, float]:
    """Inferences a second and median latency in milliseconds, by Triton's own load generator."""
    program = _ANALYZER / "bin" / "perf_analyzer"
    libraries = Path(get_path("purelib")) / "nvidia_pytriton.libs"
    table = _ANALYZER / "out.csv"
    command = [
        str(program), "-m", MODEL[0], "-x", str(MODEL[1]), "-u", address, "-i", "grpc", "-H", header, "-b", "1",
        "--concurrency-range", str(callers), "--measurement-interval", str(int(seconds * 1000)),
        "--max-trials", "3", "--stability-percentage", "999", "--shared-memory", "system",
        "--output-shared-memory-size", str(4 * 2**20), "-f", str(table),
    ]  # fmt: skip
    environment = {**os.environ, "LD_LIBRARY_PATH": f"{_ANALYZER / 'lib'}:{libraries}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode or not table.exists():
        raise RuntimeError(f"perf_analyzer: {done.stdout[-400:]}{done.stderr[-400:]}")
    head, row = (line.split(",") for line in table.read_text().splitlines()[:2])
    told = dict(zip(head, row, strict=False))
    table.unlink()
    return float(told["Inferences/Second"]), float(told["p50 latency"]) / 1000
