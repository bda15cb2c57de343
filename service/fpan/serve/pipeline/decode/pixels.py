"""Any kind of pixel that Pillow gives, to RGB of 8 bits.

What is transparent shows white, as on a page; the network never saw transparency. Numbers of 16 bits are scaled, not
cut. Floating point has no agreed range: 0 to 1 is taken as black to white, anything else is refused. CMYK without a
profile is converted the plain way. An embedded colour profile other than sRGB is applied where it can be.
"""

import contextlib
import ctypes
import io
import logging
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, _imaging

from fpan.serve.pipeline.decode.sniff import not_read


def silence_decoders() -> None:
    """Takes their voices from Pillow, and from libtiff, which Pillow lets write to this process's errors by itself."""
    logging.getLogger("PIL").setLevel(logging.CRITICAL + 1)
    # Of the library that Pillow has loaded, wherever it lies; where it is linked in out of reach, it goes on writing.
    with contextlib.suppress(OSError, AttributeError, TypeError):
        pillow = ctypes.CDLL(_imaging.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetErrorHandlerExt", "TIFFSetWarningHandler"):
            set_handler = getattr(pillow, name)
            set_handler.restype = ctypes.c_void_p
            set_handler(None)


_MAX_PROFILE_BYTES = 2**22
"""Profiles of presses have 2 MB or less."""
_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}
"""Colour space that a profile must be of, by Pillow's mode."""
_WHITE = 255
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
"""Tags of TIFF. Pillow looks at neither where a sample has more than 8 bits."""


def to_rgb(image: Image.Image) -> Image.Image:
    """A loaded image of any mode, as mode RGB.

    Raises:
        UnsupportedImage: pixels of a kind that has no agreed meaning.
    """
    profile = image.info.get("icc_profile")
    flat = _flatten(image)
    managed = _to_srgb(flat, profile) if isinstance(profile, bytes) else None
    return managed or flat.convert("RGB")


def _flatten(image: Image.Image) -> Image.Image:
    """Without transparency, with 8 bits a channel."""
    if image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.mode == "F":
        return _from_float(image)
    if image.mode in ("I", "LAB", "HSV"):
        kind = "32 bit numbers" if image.mode == "I" else f"{image.mode} colours"
        raise not_read(f"a picture of {kind}, whose range no rule tells")
    if not image.has_transparency_data:
        return image
    # Premultiplied grey has no way to RGBA but by its plain kind.
    visible = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    if visible.getchannel("A").getextrema() == (_WHITE, _WHITE):
        return visible.convert("RGB")
    page = Image.new("RGB", image.size, "white")
    page.paste(visible, mask=visible)
    return page


def _from_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.uint16, copy=False)
    bits = _tiff_tag(image, _BITS_PER_SAMPLE)
    top = 2 ** bits[0] - 1 if isinstance(bits, tuple) and bits[0] == 12 else 2**16 - 1
    grey = np.asarray(cv2.convertScaleAbs(values, alpha=_WHITE / top), np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = _WHITE
    return _grey(image, grey)


def _from_float(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    # Written so that a NaN fails it too.
    if not (values.min() >= 0 and values.max() <= 1):
        raise not_read("a picture of floating point numbers that are not all from 0 to 1")
    return _grey(image, np.asarray(cv2.convertScaleAbs(values, alpha=_WHITE), np.uint8))


def _grey(image: Image.Image, values: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(_WHITE - values if _tiff_tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO else values)


def _tiff_tag(image: Image.Image, tag: int) -> Any:
    tags = getattr(image, "tag_v2", None)
    return None if tags is None else tags.get(tag)


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """In sRGB; None where the profile is sRGB already, broken, or of another kind of picture."""
    if image.mode not in _SPACES or len(profile) > _MAX_PROFILE_BYTES:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _SPACES[image.mode] or "sRGB" in (
            source.profile.profile_description or ""
        ):
            return None
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
