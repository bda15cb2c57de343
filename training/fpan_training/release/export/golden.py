"""Makes the golden pictures of a version: rendered people, and what the exported file says of them."""

from pathlib import Path

import numpy as np
from fpan.contract import GoldenPictures

from fpan_training.face3d.rendered import render_face
from fpan_training.release.export.onnx_file import INPUT, open_session

PICTURES = 8
_SEED = 264_478
"""Of the rendered people: every version of a size has the same."""


def golden_pictures(onnx: Path, size: int) -> GoldenPictures:
    """Crops of people who do not exist, and the labels of an ONNX file in ONNX Runtime, float32, on one thread.

    Args:
        onnx: the exported file.
        size: side of its input in pixels.
    """
    images = np.stack([render_face((_SEED, number), size).image for number in range(PICTURES)])
    (labels,) = open_session(onnx, threads=1).run(["labels"], {INPUT: images})
    return GoldenPictures(images, labels)
