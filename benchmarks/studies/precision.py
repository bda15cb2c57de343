"""What a crop costs: which head, input size, decoder and precision, beside the network that is served in version 2.

``python -m benchmarks.studies.precision`` takes turns between all of them, run by run, in an order drawn each time, and
writes ``docs/results/precision.md``. Processor time is counted, on one thread: what else the machine does changes it
little. Weights are version 2's, or random where the decoder is another: they change no time.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import torch
import torch.nn.functional as F
from fpan.contract import GOLDEN_FILE, GoldenPictures
from fpan.contract.network import halved
from fpan.serve.inference.backends.runtime import Network, Precision, RuntimeName
from fpan_training.data.folder import FaceFolder
from fpan_training.engine.machine import machine
from fpan_training.modules.segm.checkpoint import load_network, read_config
from fpan_training.nets.lite_fpn import LiteFpn, LiteFpnConfig
from fpan_training.release.export import onnx_file
from fpan_training.release.export.deployed import Deployed
from fpan_training.release.quantise import Quantise
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from tests.support.service import ROOT

RESULT = ROOT / "docs" / "results" / "precision.md"
VERSION = ROOT / "model_repository" / "segm" / "2"
OUTPUTS = ("labels", "confidence")
SIZES = (160, 192, 256, 288, 320, 384)
DECODERS = {"default": LiteFpnConfig().widths, "narrow": (16, 32, 64, 64, 96)}
WAYS: dict[str, tuple[RuntimeName, Precision]] = {
    "OpenVINO fp32": ("openvino", "fp32"),
    "OpenVINO bf16": ("openvino", "bf16"),
    "OpenVINO int8": ("openvino", "int8"),
    "ONNX Runtime fp32": ("onnxruntime", "fp32"),
    "ONNX Runtime int8": ("onnxruntime", "int8"),
}
WARM_UP = 3
GOALS = {"segm": 1 / 3, "segm_fast": 0.13}


class Before(Deployed):
    """The head as it was: softmax and argmax over maps of full size."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = self.network(self.normalise(images)).logits.float()
        full = F.interpolate(logits, size=images.shape[1:3], mode="bilinear", align_corners=False)
        labels = full.argmax(1).to(torch.float32).to(torch.uint8)
        return labels, (F.softmax(full, 1).amax(1) * 255 + 0.5).to(torch.uint8), logits


@dataclass(frozen=True)
class Files:
    """A network in float32 and in int8."""

    whole: Path
    int8: Path

    def of(self, precision: Precision) -> Path:
        return self.int8 if precision == "int8" else self.whole


def network_of(decoder: str) -> nn.Module:
    """Version 2's, not mirrored, or one of another width."""
    if decoder == "default":
        stored = torch.load(VERSION / "checkpoint_fp16.pt", map_location="cpu", weights_only=True)
        return load_network(read_config(stored["segm"]), stored["network"])
    torch.manual_seed(0)
    network = LiteFpn(20, LiteFpnConfig(DECODERS[decoder]))
    with torch.no_grad():
        network.train()(torch.randn(4, 3, 256, 256))  # statistics of the norms
    return network.eval()


def golden_faces(folder: Path) -> FaceFolder:
    """The version's golden pictures as a data set: ranges change no time."""
    golden = GoldenPictures.read(VERSION / GOLDEN_FILE)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for i, (image, labels) in enumerate(zip(golden.images, golden.labels, strict=True)):
        Image.fromarray(image).save(folder / "images" / f"{i}.png")
        Image.fromarray(labels).save(folder / "masks" / f"{i}.png")
    return FaceFolder.open(folder, "train")


def write(network: nn.Module, size: int, head: type[Deployed], faces: FaceFolder, stem: Path) -> Files:
    """Exports a network with a head, and quantises it."""
    files = Files(stem.with_suffix(".onnx"), stem.with_suffix(".int8.onnx"))
    before, onnx_file.Deployed = onnx_file.Deployed, head  # type: ignore[misc]
    try:
        onnx_file.export_segm(network, size, files.whole)
    finally:
        onnx_file.Deployed = before  # type: ignore[misc]
    onnx.save(halved(onnx.load(files.whole)), files.whole)
    Quantise(pictures=8, judged=1, least_agreement=0)(files.whole, files.int8, faces, size)
    return files


def runner(path: Path, size: int, way: str) -> Callable[[], object]:
    """One crop on one thread, as it is served."""
    runtime, precision = WAYS[way]
    network = Network(path, runtime, 1, precision=precision)
    images = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    return lambda: network.run({"images": images}, OUTPUTS)


def medians_ms(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, NDArray[np.float64]]:
    """10, 50 and 90 % of each, in milliseconds of processor time."""
    names, order = list(runs), np.random.default_rng(1)
    times = np.zeros((WARM_UP + rounds, len(names)))
    for row in times:
        for i in order.permutation(len(names)):
            began = time.process_time()
            runs[names[i]]()
            row[i] = time.process_time() - began
    found = np.percentile(times[WARM_UP:], [10, 50, 90], axis=0) * 1000
    return {name: found[:, i] for i, name in enumerate(names)}


def rows_of(files: Files, size: int, title: str, rounds: int) -> list[str]:
    """One row: each way, and its share of version 2 in the same runtime in float32."""
    served = VERSION / "model.onnx"
    champions = {"OpenVINO": "OpenVINO fp32", "ONNX Runtime": "ONNX Runtime fp32"}
    runs = {way: runner(files.of(WAYS[way][1]), size, way) for way in WAYS}
    runs |= {f"version 2, {runtime}": runner(served, 256, way) for runtime, way in champions.items()}
    runs["version 2, bf16"] = runner(served, 256, "OpenVINO bf16")
    found = medians_ms(runs, rounds)
    cells = []
    for way in WAYS:
        low, middle, high = found[way]
        share = middle / found[f"version 2, {way.rpartition(' ')[0]}"][1]
        cells.append(f"{middle:.1f} ({low:.1f} to {high:.1f}) {share:.2f}")
    told = ", ".join(
        f"{name.removeprefix('version 2, ')} {values[1]:.1f}" for name, values in found.items() if "2," in name
    )
    return [f"| {title} | {size} | {' | '.join(cells)} | {told} |"]


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.precision", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="runs of each way")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    heads, grid = [], []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        faces = golden_faces(work / "faces")
        for title, head in (("softmax, argmax (before)", Before), ("largest logit, sum of exponentials", Deployed)):
            files = write(network_of("default"), 256, head, faces, work / f"head_{head.__name__}")
            heads += rows_of(files, 256, title, asked.rounds)
        for decoder in DECODERS:
            network = network_of(decoder)
            for size in SIZES:
                files = write(network, size, Deployed, faces, work / f"{decoder}_{size}")
                grid += rows_of(files, size, decoder, asked.rounds)
    columns = f"| input | {' | '.join(WAYS)} | version 2 meanwhile |"
    rule = "|---" * (len(WAYS) + 3) + "|"
    goals = " and ".join(f"{share:.2g} for `{name}`" for name, share in GOALS.items())
    lines = [
        "# What a crop costs, by head, size, decoder and precision",
        "",
        f"`python -m benchmarks.studies.precision --rounds {asked.rounds}` on {machine()}, {datetime.now(UTC).date()}; "
        f"OpenVINO {openvino.__version__.partition('-')[0]}, ONNX Runtime {onnxruntime.__version__}. Milliseconds of "
        "processor time of one crop on one thread: median (10 to 90 %), and the share of what version 2 takes in the "
        "same runtime in fp32, measured in turns. Version 2 is mirrored, so that it runs twice; all others run once. "
        f"The goals are {goals}.",
        "",
        "## The head at 256 x 256",
        "",
        "Both give the same labels and confidences.",
        "",
        f"| head {columns}",
        rule,
        *heads,
        "",
        "## LiteFPN, not mirrored, with the head that is served",
        "",
        f"Decoders: {', '.join(f'{name} {widths}' for name, widths in DECODERS.items())}.",
        "",
        f"| decoder {columns}",
        rule,
        *grid,
    ]
    RESULT.write_text("\n".join(lines) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
