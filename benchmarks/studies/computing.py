"""How the embedded server computes: a batch as one or item by item, and inputs over gRPC or in shared memory.

``python -m benchmarks.studies.computing`` takes turns between the ways call by call: what else the machine does
meets all alike, and writes ``docs/results/computing.md``.
"""

import argparse
import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import openvino
from fpan.contract import ModelRepository
from fpan.serve.config import Settings
from fpan.serve.inference.backends import shared_memory as shared_inputs
from fpan.serve.inference.backends.embedded_triton import EmbeddedBackend
from fpan.serve.inference.backends.runtime import Network
from fpan_training.engine.machine import machine

from tests.support.service import ROOT

RESULT = ROOT / "docs" / "results" / "computing.md"
REPOSITORY = ROOT / "model_repository"
SIZES = {"segm": (256, 256, 3), "detector": (640, 640, 3)}
INPUTS = {"segm": "images", "detector": "image"}
OUTPUTS = {"segm": ("labels", "confidence"), "detector": ("faces",)}
VERSIONS = {"segm": 2, "detector": 2}
BATCHES = (1, 2, 4, 8)
THREADS = 2


def spread(seconds: list[float], divisor: int = 1) -> str:
    """Milliseconds: median, and the middle half."""
    low, middle, high = np.percentile(np.array(seconds) * 1000 / divisor, [25, 50, 75])
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def pictures(model: str, batch: int) -> np.ndarray:
    """Noise, uint8 (batch, H, W, 3)."""
    return np.random.default_rng(batch).integers(0, 256, (batch, *SIZES[model]), np.uint8)


def as_one(model: str) -> Callable[[np.ndarray], object]:
    """A graph for batches of any size, all threads on each."""
    core = openvino.Core()
    whole = core.read_model(REPOSITORY / model / str(VERSIONS[model]) / "model.onnx")
    part = openvino.Model([whole.output(name) for name in OUTPUTS[model]], whole.get_parameters(), model)
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": THREADS, "NUM_STREAMS": 1}
    request = core.compile_model(part, "CPU", {**config, "ENABLE_CPU_PINNING": False}).create_infer_request()
    return lambda images: request.infer({INPUTS[model]: images}, share_inputs=True, share_outputs=False)


def batches(calls: int) -> list[str]:
    """Rows: milliseconds a picture."""
    rows = []
    for model in SIZES:
        network = Network(REPOSITORY / model / str(VERSIONS[model]) / "model.onnx", "openvino", THREADS)
        ways: dict[str, Callable[[np.ndarray], object]] = {
            "as one": as_one(model),
            "item by item": lambda images, net=network, m=model: net.run({INPUTS[m]: images}, OUTPUTS[m]),
        }
        for batch in BATCHES:
            took: dict[str, list[float]] = defaultdict(list)
            images = pictures(model, batch)
            for turn in range(-1, calls):
                for way, run in ways.items():
                    began = time.perf_counter()
                    run(images)
                    if turn >= 0:
                        took[way].append(time.perf_counter() - began)
            ratio = np.median(took["as one"]) / np.median(took["item by item"])
            cells = (spread(took[way], batch) for way in ways)
            rows.append(f"| {model} | {batch} | {' | '.join(cells)} | {ratio:.2f} |")
    return rows


async def handed_over(calls: int) -> list[str]:
    """Rows: milliseconds a call of the real server."""
    repository = ModelRepository(REPOSITORY)
    cards = [repository.card(*version) for version in VERSIONS.items()]
    rows = []
    shared_inputs.WORTH_BYTES = 1  # all of them, to see from which size on it pays
    with tempfile.TemporaryDirectory() as folder:
        backend = await EmbeddedBackend.open(Settings(), repository, cards, Path(folder))
        client = backend._client
        assert client is not None
        memory = client._shared
        assert memory is not None
        try:
            for model in SIZES:
                for batch in (1, 8):
                    took: dict[str, list[float]] = defaultdict(list)
                    images = pictures(model, batch)
                    for turn in range(-1, calls):
                        for way, lent in (("gRPC", None), ("shared memory", memory)):
                            client._shared = lent
                            began, name = time.perf_counter(), INPUTS[model]
                            await backend.infer(model, VERSIONS[model], {name: images}, OUTPUTS[model], 60)
                            if turn >= 0:
                                took[way].append(time.perf_counter() - began)
                    saved = np.median(took["gRPC"]) - np.median(took["shared memory"])
                    cells = (spread(took[way]) for way in ("gRPC", "shared memory"))
                    rows.append(f"| {model} | {images.nbytes // 1024} KiB | {' | '.join(cells)} | {saved * 1000:.1f} |")
        finally:
            await backend.close()
    return rows


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.computing", description=__doc__)
    parser.add_argument("--calls", type=int, default=40, help="calls of each way")
    asked = parser.parse_args()
    lines = [
        "# How the embedded server computes",
        "",
        f"`python -m benchmarks.studies.computing --calls {asked.calls}` on {machine()}, {datetime.now(UTC).date()}; "
        f"OpenVINO {openvino.__version__.partition('-')[0]}, {THREADS} threads, the ways taking turns call by call. "
        "Milliseconds: median and, in brackets, the middle half.",
        "",
        "## A batch as one, or item by item",
        "",
        "As one: a graph for batches of any size, both threads on each. Item by item (served): a graph for one item; "
        "in a batch each thread computes items of its own, and one that is alone gets both. Milliseconds a picture.",
        "",
        "| model | batch | as one | item by item | times as fast |",
        "|---|---|---|---|---|",
        *batches(asked.calls),
        "",
        "## Inputs over gRPC, or in shared memory",
        "",
        "To the real server on the same machine, one call at a time. Served: shared memory from "
        f"{shared_inputs.WORTH_BYTES // 1024} KiB on.",
        "",
        "| model | input | gRPC | shared memory | saved, ms |",
        "|---|---|---|---|---|",
        *asyncio.run(handed_over(asked.calls)),
    ]
    RESULT.write_text("\n".join(lines) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
