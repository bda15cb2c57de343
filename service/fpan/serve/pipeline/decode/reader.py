"""Decodes the bytes of a file to a :class:`Photo`."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pi_heif import register_heif_opener
from PIL import Image, UnidentifiedImageError

from fpan.serve.api.errors import BadRequest, GatewayError, Impossible, TooLarge
from fpan.serve.pipeline.decode.pixels import silence_decoders, to_rgb
from fpan.serve.pipeline.decode.sniff import Format, sniff
from fpan.serve.pipeline.decode.survey import check_pixels, survey
from fpan.serve.pipeline.types import Photo

_PILLOW_NAMES: dict[Format, str] = {
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
    "avif": "AVIF",
    "heic": "HEIF",
    "gif": "GIF",
    "tiff": "TIFF",
}
_ORIENTATION = 0x0112
"""EXIF tag of the orientation."""
_TURNS: dict[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> the operation that makes the picture upright; 1 is already upright."""
_BACK = {6: 8, 8: 6}
"""Orientation -> the orientation whose operation reverses it; every other operation is its own inverse."""
_REASON_CHARACTERS = 120
_PILLOW_WARNINGS = ("ignore", None, Warning, re.compile(r"(PIL|pi_heif)\b"), 0)

register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
Image.init()
silence_decoders()


@dataclass(frozen=True)
class Header:
    """A picture of which only the header has been read."""

    pixels: int
    """Number of pixels of the decoded picture, already checked against the limit."""
    _kind: Format
    _frames: int
    _image: Image.Image
    _max_pixels: int

    def decode(self, orientation: Literal["exif", "raw"]) -> Photo:
        """Decodes the first frame, once.

        Args:
            orientation: ``exif`` turns the picture upright as its EXIF data says. ``raw`` leaves the pixels as they are
                stored, except in HEIC, where rotation is part of the picture itself and not of its metadata.

        Returns:
            RGB pixels, sRGB, read-only; transparent pixels are white.

        Raises:
            UnsupportedImage: an unsupported variant of the format.
            TooLarge: more pixels than allowed, or than fit in memory.
            Impossible: truncated or damaged.
        """
        kind, image = self._kind, self._image
        with _told(kind), image:
            # Pillow makes only a TIFF upright while loading it. In other formats the tag may be stored after the
            # pixels, so it is read after loading.
            turned = _orientation_of(image) if kind == "tiff" else 1
            image.load()
            check_pixels(image.width, image.height, self._max_pixels)
            if orientation == "raw":
                turn = _TURNS.get(_BACK.get(turned, turned))
            else:
                turn = None if kind in ("tiff", "heic") else _TURNS.get(_orientation_of(image))
            upright = to_rgb(image)
            if turn is not None:
                upright = upright.transpose(turn)
            return Photo(np.asarray(upright), kind, self._frames)


def read_header(data: bytes, *, max_pixels: int) -> Header:
    """Reads the header of a JPEG, PNG, WebP, AVIF, HEIC, GIF or TIFF.

    Args:
        data: The bytes of the file.
        max_pixels: Most pixels of the picture.

    Raises:
        BadRequest: no bytes.
        UnsupportedImage: another format, or an unsupported variant of one of these.
        TooLarge: more pixels than allowed.
        Impossible: truncated or damaged.
    """
    if not data:
        raise BadRequest("the picture is empty: it has no bytes")
    kind = sniff(data)
    frames = survey(kind, data, max_pixels)
    _tame_pillow(max_pixels)
    with _told(kind):
        image = Image.open(io.BytesIO(data), formats=[_PILLOW_NAMES[kind]])
        check_pixels(image.width, image.height, max_pixels)
        if frames is None:
            frames = int(getattr(image, "n_frames", 1))
        return Header(image.width * image.height, kind, frames, image, max_pixels)


def decode(data: bytes, *, max_pixels: int, orientation: Literal["exif", "raw"]) -> Photo:
    """Calls :func:`read_header` and :meth:`Header.decode`; see these for arguments, result and errors."""
    return read_header(data, max_pixels=max_pixels).decode(orientation)


def _orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8. It is 1 if missing or if EXIF is broken: metadata never makes a picture invalid."""
    try:
        told: Any = image.getexif().get(_ORIENTATION)
    except Exception:
        return 1
    return told if isinstance(told, int) and told in _TURNS else 1


@contextmanager
def _told(kind: Format) -> Iterator[None]:
    """Converts any exception of a decoder to an error of the gateway, for the answer to the caller."""
    name = kind.upper()
    try:
        yield
    except GatewayError:
        raise
    except Image.DecompressionBombError as error:
        raise TooLarge(f"this {name} is far larger than it may be: {error}") from error
    except MemoryError as error:
        raise TooLarge(f"this {name} needs more memory than there is") from error
    except UnidentifiedImageError as error:
        raise Impossible(f"this {name} is truncated, damaged or of a variety that is not read here") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:_REASON_CHARACTERS] or type(error).__name__
        raise Impossible(f"this {name} is truncated or damaged: {reason}") from error


def _tame_pillow(max_pixels: int) -> None:
    """Raises Pillow's own size limit to at least ``max_pixels`` and ignores its warnings about unusual metadata.

    Both settings are global to the process. ``warnings.catch_warnings`` is not thread-safe, so this installs a filter
    for good, at the front of the list, and puts it there again when other code has added a filter before it.
    """
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels)
    if not warnings.filters or warnings.filters[0] != _PILLOW_WARNINGS:
        warnings.filterwarnings("ignore", module=r"(PIL|pi_heif)\b")
