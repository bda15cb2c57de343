"""Which `sharpness` faces have, sharp and blurred: ``python -m benchmarks.studies.sharpness``.

Portraits of CelebAMask-HQ's validation split, whose faces lie where the template has them, as they are and blurred by
Gaussians that are a share of the face's width. Needs the environment variable FPAN_DATA; writes
``docs/results/sharpness.md``.
"""

import os
from pathlib import Path

import cv2
import numpy as np
from fpan.contract import ModelRepository
from fpan.serve.pipeline.align.crop import crop_whole
from fpan.serve.pipeline.paste.measure import sharpness
from fpan.serve.pipeline.types import Photo
from fpan_training.data.folder import FaceFolder, read_rgb

OUT = Path("docs/results/sharpness.md")
BLURS = (0.0, 0.01, 0.02, 0.04, 0.08)
"""Standard deviations of the Gaussians, as shares of the width of the face's box."""
WIDTHS = (128, 64, 32, 16)
"""Widths of faces in pixels, from which the crop is enlarged."""
_SIZE = 256


def main() -> None:
    """Measures, and writes the page."""
    repository = ModelRepository(Path("model_repository"))
    template = repository.card("segm", repository.current("segm")).alignment
    assert template is not None
    width = template.box[2] - template.box[0]
    pictures = [read_rgb(path) for path in FaceFolder.open(Path(os.environ["FPAN_DATA"]) / "celeba19", "val").paths]
    rows: list[tuple[str, list[float]]] = []
    for blur in BLURS:
        values = []
        for picture in pictures:
            sigma = blur * width * picture.shape[1]
            blurred = cv2.GaussianBlur(picture, None, sigma) if sigma else picture
            values.append(sharpness(crop_whole(Photo(blurred, "jpeg"), _SIZE), template))
        rows.append((f"blurred by {blur:.0%} of the face's width" if blur else "as they are", values))
    for pixels in WIDTHS:
        side = round(pixels / width)
        small = [cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA) for picture in pictures]
        values = [sharpness(crop_whole(Photo(each, "jpeg"), _SIZE), template) for each in small]
        rows.append((f"{pixels} pixels wide", values))
    lines = [
        "# Sharpness",
        "",
        f"Which `sharpness` the faces of {len(pictures)} portraits of CelebAMask-HQ (validation) have. Made by "
        "`python -m benchmarks.studies.sharpness`; it does not depend on the machine.",
        "",
        "| faces | 5 % have less than | median | 95 % have less than |",
        "|---|---|---|---|",
    ]
    for name, values in rows:
        low, middle, high = np.percentile(values, (5, 50, 95))
        lines.append(f"| {name} | {low:.2f} | {middle:.2f} | {high:.2f} |")
    OUT.write_text("\n".join(lines) + "\n")
    print(OUT.read_text())


if __name__ == "__main__":
    main()
