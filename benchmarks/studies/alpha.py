"""How far soft masks are from exact ones, on renders whose coverage of every pixel is known.

    python -m benchmarks.studies.alpha

draws `FACES` people at eight times the largest size, labels them by the shipped network at several sizes, and writes
``docs/results/alpha.md``. Exact is the mean of the finer labels over each pixel, eight or more to its side. "Knowing"
stands for a network without faults: its logits are the logarithms of the exact shares on its own grid, so that what is
left is the error of the way from that grid to the photo's pixels.
"""

from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from fpan.contract import ModelRepository
from fpan.serve.inference.backends.runtime import Network
from fpan.serve.pipeline.align import crop as align
from fpan.serve.pipeline.paste import labels as paste
from fpan.serve.pipeline.paste.soft_masks import soft_masks
from fpan.serve.pipeline.types import Photo
from fpan_training.face3d.rendered import render_face

from tests.support.service import ROOT

FACES = 6
SIZES = (128, 256, 384)
"""Sides of the pictures, in pixels: the crop is twice as large as the first and smaller than the last."""
FINER = 8
GRID = 128
"""Side of the network's logits."""
SHOWN = ("skin", "hair", "nose", "l_eye", "u_lip", "neck")
WHO = ("labels", "soft", "knowing")
RESULT = ROOT / "docs" / "results" / "alpha.md"


def shares(labels: np.ndarray, classes: int, side: int) -> np.ndarray:
    """How much of each of side x side pixels every class covers, float (classes, side, side)."""
    return np.stack(
        [
            cv2.resize((labels == c).astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
            for c in range(classes)
        ]
    )


def whole(masks: tuple, classes: int, side: int) -> np.ndarray:
    """Soft masks as one array, float (classes, side, side)."""
    values = np.zeros((classes, side, side), np.float32)
    for mask in masks:
        x0, y0, x1, y1 = mask.window
        values[mask.id, y0:y1, x0:x1] = mask.values / 255
    return values


def main() -> None:
    """Measures and writes."""
    repository = ModelRepository(Path(ROOT / "model_repository"))
    card = repository.card("segm", repository.current("segm"))
    assert card.taxonomy is not None
    network = Network(repository.folder("segm", card.version) / "model.onnx", "openvino", 1)
    names = [c.name for c in card.taxonomy.classes]
    everything = list(range(len(names)))
    # By size, who labels, class: sums of errors over the picture and over its partly covered pixels, and their number.
    sums: dict[tuple[int, str, str], np.ndarray] = defaultdict(lambda: np.zeros(3))
    for seed in range(FACES):
        fine = render_face((20, seed), max(SIZES) * FINER)
        knowing = np.log(shares(fine.labels, len(names), GRID) + 1e-4).astype(np.float32)
        for side in SIZES:
            image = cv2.resize(fine.image, (side, side), interpolation=cv2.INTER_AREA)
            exact = shares(fine.labels, len(names), side)
            crop = align.crop_whole(Photo(image, "png"), card.input_size)
            window = paste.window_of(crop, side, side)
            arrays = network.run({"images": crop.pixels[None]}, ("labels", "confidence", "logits"))
            logits = np.asarray(arrays["logits"][0], np.float32)
            hard, _ = (
                paste.paste_probabilities(crop, window, logits)
                if crop.enlargement > 1
                else paste.paste_labels(crop, window, arrays["labels"][0], arrays["confidence"][0])
            )
            found = {
                "labels": np.stack([(hard == c).astype(np.float32) for c in everything]),
                "soft": whole(soft_masks(crop, window, logits, everything), len(names), side),
                "knowing": whole(soft_masks(crop, window, knowing, everything), len(names), side),
            }
            for who, values in found.items():
                for name in SHOWN:
                    c = names.index(name)
                    apart = np.abs(values[c] - exact[c])
                    partly = (exact[c] > 0) & (exact[c] < 1)
                    sums[side, who, name] += (apart.sum() / side**2, apart[partly].sum(), partly.sum())
        print(f"{seed + 1} of {FACES}", flush=True)
    RESULT.write_text(_report(sums, f"{card.name} version {card.version}"))


def _report(sums: dict[tuple[int, str, str], np.ndarray], model: str) -> str:
    columns = [f"{who}, {where}" for where in ("all", "partly") for who in WHO]
    lines = [
        "# Soft masks against exact coverage",
        "",
        f"Model `{model}` on {FACES} rendered faces, `faces=full`. Made by `python -m benchmarks.studies.alpha` on "
        f"{datetime.now(UTC):%Y-%m-%d}.",
        "Given is the mean distance from the exact coverage, 0 to 1: over all pixels of the pictures, and over those",
        "that the class covers in part. `labels` are the hard ones (0 or 1), `soft` the served soft masks, `knowing`",
        "those of a network without faults, which leaves the error of pasting alone.",
        "",
        "Over all pixels the mistakes of a network that was trained on photos and sees renders outweigh the rest, and",
        "soft masks are no nearer than labels. On partly covered pixels they are nearer by 2 to 28 %, and far from",
        "what pasting would allow (`knowing`): the network's own edges are wider than a pixel.",
        "",
        f"| side of the picture | class | {' | '.join(columns)} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for side in SIZES:
        for name in SHOWN:
            errors = [sums[side, who, name] for who in WHO]
            overall = [f"{e[0] / FACES:.4f}" for e in errors]
            partly = [f"{e[1] / e[2]:.3f}" for e in errors]
            lines.append(f"| {side} | {name} | {' | '.join((*overall, *partly))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
