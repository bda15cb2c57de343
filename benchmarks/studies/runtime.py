"""Which runtime computes best inside the embedded Triton: ONNX Runtime or OpenVINO, both in float32.

``python -m benchmarks.studies.runtime`` serves the latest version of a model by two real servers, one of each
runtime, and takes turns between them call by call, so that whatever else the machine does meets both alike.
"""

import argparse
import asyncio
import itertools
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from fpan.contract import ModelCard, ModelRepository
from fpan.serve.config import Settings
from fpan.serve.inference.backends.embedded_triton import EmbeddedBackend
from fpan.serve.inference.backends.runtime import RuntimeName, version_of
from fpan_training.engine.machine import machine
from numpy.typing import NDArray
from skimage.data import astronaut

RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)
BATCHES = (1, 4, 8)
CALLERS = 2
"""Callers at once where throughput is measured."""
LAYOUTS = ((2, 1), (1, 2))
"""Threads of an instance, instances of the model."""
TIMEOUT_S = 120.0
AGREEMENT_PICTURES = 48
"""Largest number of pictures whose labels are compared."""


@dataclass
class Figures:
    """What was measured of one runtime in one layout at one batch size."""

    seconds: list[float] = field(default_factory=list)
    """Of each call, one caller at a time."""
    rates: list[float] = field(default_factory=list)
    """Pictures a second of each round with several callers."""


def pictures(size: int) -> Iterator[NDArray[np.uint8]]:
    """Faces, RGB uint8 (size, size, 3): those of FPAN_DATA's val where there are any, else views of the astronaut."""
    folder = Path(os.environ.get("FPAN_DATA", "")) / "celeba19"
    if "FPAN_DATA" in os.environ and folder.is_dir():
        from fpan_training.data.folder import FaceFolder

        faces = FaceFolder.open(folder, "val")
        for index in range(len(faces)):
            yield cv2.resize(faces[index].image, (size, size), interpolation=cv2.INTER_AREA)
        return
    whole = astronaut()
    for zoom, roll in itertools.product((0.8, 1.0, 1.3, 1.6), range(-50, 51, 10)):
        matrix = cv2.getRotationMatrix2D((225, 115), roll, zoom * size / 256)
        matrix[:, 2] += size / 2 - np.array([225, 115])
        yield cv2.warpAffine(whole, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


class Study:
    """Two servers of one layout."""

    def __init__(self, backends: dict[RuntimeName, EmbeddedBackend], card: ModelCard) -> None:
        self.backends = backends
        self.card = card
        self.name = card.inputs[0].name
        self.outputs = [tensor.name for tensor in card.outputs if tensor.name not in card.on_demand]
        self.pictures = np.stack(list(itertools.islice(pictures(card.input_size), AGREEMENT_PICTURES)))

    async def call(self, runtime: RuntimeName, batch: int, turn: int = 0) -> dict[str, NDArray[np.generic]]:
        """One call with the pictures that come next."""
        images = self.pictures[(np.arange(batch) + turn * batch) % len(self.pictures)]
        backend, card = self.backends[runtime], self.card
        return await backend.infer(card.name, card.version, {self.name: images}, self.outputs, TIMEOUT_S)

    async def latency(self, batch: int, calls: int) -> dict[RuntimeName, Figures]:
        """Calls one at a time, the runtimes taking turns."""
        figures = {runtime: Figures() for runtime in RUNTIMES}
        for turn in range(-1, calls):
            for runtime in RUNTIMES if turn % 2 else RUNTIMES[::-1]:
                began = time.perf_counter()
                await self.call(runtime, batch, turn)
                if turn >= 0:  # the first is for warming up
                    figures[runtime].seconds.append(time.perf_counter() - began)
        return figures

    async def throughput(self, batch: int, calls: int, rounds: int, figures: dict[RuntimeName, Figures]) -> None:
        """Several callers at once, the runtimes taking turns round by round."""

        async def caller(runtime: RuntimeName, place: int) -> None:
            for turn in range(calls):
                await self.call(runtime, batch, turn * CALLERS + place)

        for turn in range(rounds):
            for runtime in RUNTIMES if turn % 2 else RUNTIMES[::-1]:
                began = time.perf_counter()
                await asyncio.gather(*(caller(runtime, place) for place in range(CALLERS)))
                figures[runtime].rates.append(CALLERS * calls * batch / (time.perf_counter() - began))

    async def agreement(self) -> tuple[float, float]:
        """Share of pixels with the same label in both runtimes: over all pictures, and of the worst one."""
        same = []
        for turn in range(len(self.pictures)):
            a, b = [(await self.call(runtime, 1, turn))["labels"] for runtime in RUNTIMES]
            same.append(float((a == b).mean()))
        return float(np.mean(same)), min(same)


async def measure(options: argparse.Namespace, card: ModelCard) -> tuple[list[str], str]:
    """Rows of the table, and the sentence on agreement."""
    repository, rows, sentence = ModelRepository(options.model_repository), [], ""
    for threads, instances in LAYOUTS:
        with tempfile.TemporaryDirectory() as folder:
            backends: dict[RuntimeName, EmbeddedBackend] = {}
            try:
                for runtime in RUNTIMES:
                    settings = Settings(
                        runtime=runtime, runtime_threads=threads, instances=instances, max_batch=max(BATCHES)
                    )
                    backends[runtime] = await EmbeddedBackend.open(settings, repository, [card], Path(folder, runtime))
                study = Study(backends, card)
                for batch in BATCHES:
                    figures = await study.latency(batch, options.calls)
                    await study.throughput(batch, max(2, options.calls // 8), options.rounds, figures)
                    rows += [row(runtime, threads, instances, batch, figures[runtime]) for runtime in RUNTIMES]
                if not sentence:
                    mean, worst = await study.agreement()
                    sentence = (
                        f"Labels agree on {mean:.4%} of the pixels of {len(study.pictures)} pictures "
                        f"(the worst picture: {worst:.4%})."
                    )
            finally:
                for backend in backends.values():
                    await backend.close()
    return rows, sentence


def row(runtime: RuntimeName, threads: int, instances: int, batch: int, figures: Figures) -> str:
    """One line of the table."""
    low, median, high = np.percentile(figures.seconds, [10, 50, 90]) * 1000
    slow, rate, fast = np.min(figures.rates), np.median(figures.rates), np.max(figures.rates)
    return (
        f"| {version_of(runtime)} | {instances} x {threads} | {batch} | {np.min(figures.seconds) * 1000:.1f} "
        f"| {median:.1f} ({low:.1f} to {high:.1f}) | {rate:.1f} ({slow:.1f} to {fast:.1f}) |"
    )


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.runtime", description=__doc__)
    parser.add_argument("--model-repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--model", default="segm")
    parser.add_argument("--calls", type=int, default=40, help="calls of each runtime at each batch size")
    parser.add_argument("--rounds", type=int, default=5, help="rounds with two callers")
    parser.add_argument("--out", type=Path, default=Path("docs/results/runtime.md"))
    options = parser.parse_args()
    repository = ModelRepository(options.model_repository)
    card = repository.card(options.model, repository.current(options.model))
    before = os.getloadavg()[0]
    rows, sentence = asyncio.run(measure(options, card))
    command = shlex.join(["python", "-m", "benchmarks.studies.runtime", *sys.argv[1:]])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(
        f"""# ONNX Runtime and OpenVINO inside the embedded Triton

Model `{card.name}` version {card.version} ({card.title}), uint8 {"x".join(map(str, card.inputs[0].shape))} in,
{" and ".join(tensor.name for tensor in card.outputs if tensor.name not in card.on_demand)} out, both runtimes in
float32, over gRPC to the real server. Made by `{command}`
on {datetime.now(UTC):%Y-%m-%d}; {machine()}; load average {before:.1f} at the start.

Latency: one caller, {options.calls} calls. Throughput: {CALLERS} callers at once, {options.rounds} rounds.

| runtime | instances x threads | batch | least ms | median ms (10 to 90 %) | pictures/s (least to most) |
|---|---|---|---|---|---|
{chr(10).join(rows)}

{sentence}
"""
    )
    print(options.out.read_text())


if __name__ == "__main__":
    main()
