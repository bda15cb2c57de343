"""The label map itself as a PNG whose palette index is the class id."""

import io
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpan.contract import Taxonomy

_LEVEL = 1
"""Of zlib. Level 6 takes twice as long and gains nothing on flat areas once run lengths are coded (``Z_RLE``)."""


def indexed_png(labels: NDArray[np.uint8], taxonomy: Taxonomy) -> bytes:
    """An 8 bit palette PNG of the label map, uint8 (H, W): index = class id, 256 colours of the taxonomy inside."""
    height, width = labels.shape
    image = Image.frombytes("P", (width, height), np.ascontiguousarray(labels).tobytes())
    image.putpalette(taxonomy.palette.tobytes(), "RGB")
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=_LEVEL, compress_type=zlib.Z_RLE, bits=8)
    return file.getvalue()
