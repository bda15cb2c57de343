"""Pictures in and out of the client."""

import io
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = bytes | bytearray | memoryview | str | PathLike[str] | BinaryIO | NDArray[np.uint8] | Image.Image
"""A file's bytes or path, an open binary file, RGB or grey pixels uint8 (H, W[, 3 or 4]), or a Pillow picture."""


def picture_bytes(picture: Picture) -> bytes:
    """The bytes to send. Files go as they are; pixels go as PNG, so that nothing is lost.

    Raises:
        OSError: the file cannot be read.
        TypeError: no picture.
        ValueError: pixels of another shape or dtype.
    """
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, str | PathLike):
        return Path(picture).read_bytes()
    if isinstance(picture, np.ndarray):
        if (
            picture.dtype != np.uint8
            or picture.ndim not in (2, 3)
            or (picture.ndim == 3 and picture.shape[2] not in (3, 4))
        ):
            raise ValueError(
                f"pixels must be uint8 (H, W), (H, W, 3) or (H, W, 4), not {picture.dtype} {picture.shape}"
            )
        picture = Image.fromarray(picture)
    if isinstance(picture, Image.Image):
        file = io.BytesIO()
        picture.save(file, "PNG", compress_level=1, exif=picture.getexif())
        return file.getvalue()
    if hasattr(picture, "read"):
        data = picture.read()
        if isinstance(data, bytes):
            return data
    raise TypeError(f"no picture: {type(picture).__name__}")


def grey_png(data: bytes) -> NDArray[np.uint8]:
    """The pixels of an 8-bit grey PNG, uint8 (H, W)."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        return np.asarray(image.convert("L"))


def indexed_png(data: bytes) -> NDArray[np.uint8]:
    """The palette indices of an 8-bit indexed PNG, uint8 (H, W).

    Raises:
        OSError: it is no PNG.
        ValueError: it has no palette.
    """
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        if image.mode != "P":
            raise ValueError(f"a picture of mode {image.mode} has no indices")
        return np.asarray(image)
