"""Converts every pixel format of Pillow to 8 bit RGB.

Transparent pixels are shown on white; the network was not trained with transparency. 16 bit values are scaled, not
clipped. Floating point has no agreed range: 0 to 1 is read as black to white, any other range is rejected. CMYK without
a profile is converted without colour management. An embedded profile other than sRGB is applied where possible.
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
    """Turns off the log messages of Pillow and the messages that libtiff writes directly to standard error."""
    logging.getLogger("PIL").setLevel(logging.CRITICAL + 1)
    # Uses the copy of libtiff that Pillow has loaded. If its symbols are not accessible, libtiff still writes.
    with contextlib.suppress(OSError, AttributeError, TypeError):
        pillow = ctypes.CDLL(_imaging.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetErrorHandlerExt", "TIFFSetWarningHandler"):
            set_handler = getattr(pillow, name)
            set_handler.restype = ctypes.c_void_p
            set_handler(None)


_MAX_PROFILE_BYTES = 2**22
"""Largest colour profile that is read. Profiles of printing presses have 2 MB or less."""
_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}
"""Colour space that a profile must have, by Pillow's mode."""
_WHITE = 255
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
"""TIFF tags, and the value of the second for "0 is white". Pillow ignores both tags when a sample has more than
8 bits."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts a loaded image of any mode to mode RGB.

    Raises:
        UnsupportedImage: the range of the pixel values is not defined.
    """
    profile = image.info.get("icc_profile")
    flat = _flatten(image)
    managed = _to_srgb(flat, profile) if isinstance(profile, bytes) else None
    return managed or flat.convert("RGB")


def _flatten(image: Image.Image) -> Image.Image:
    """Removes transparency and converts to 8 bits per channel."""
    if image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.mode == "F":
        return _from_float(image)
    if image.mode in ("I", "LAB", "HSV"):
        kind = "32 bit numbers" if image.mode == "I" else f"{image.mode} colours"
        raise not_read(f"a picture of {kind}, whose range no rule tells")
    if not image.has_transparency_data:
        return image
    # Pillow converts premultiplied grey (La) to RGBA only by way of LA.
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
    # Written so that a NaN fails the check too.
    if not (values.min() >= 0 and values.max() <= 1):
        raise not_read("a picture of floating point numbers that are not all from 0 to 1")
    return _grey(image, np.asarray(cv2.convertScaleAbs(values, alpha=_WHITE), np.uint8))


def _grey(image: Image.Image, values: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(_WHITE - values if _tiff_tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO else values)


def _tiff_tag(image: Image.Image, tag: int) -> Any:
    tags = getattr(image, "tag_v2", None)
    return None if tags is None else tags.get(tag)


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Converts an image to sRGB; None if the profile is already sRGB, broken, or of another colour space."""
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
