"""Every format that is read, upright, in RGB."""

import io

import numpy as np
import pillow_heif
import pytest
from fpan.serve.pipeline.decode import decode
from fpan.serve.pipeline.types import Photo
from numpy.typing import NDArray
from PIL import Image

from tests.support.helpers_images import FORMATS, LOSSLESS, ORIENTATIONS, exif, file_of, scene, stored_for

MAX_PIXELS = 1_000_000


def read(data: bytes, orientation: str = "exif") -> Photo:
    return decode(data, max_pixels=MAX_PIXELS, orientation=orientation)


def far(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean absolute difference in grey levels; infinite between pictures of different sizes."""
    return float(np.abs(a.astype(int) - b).mean()) if a.shape == b.shape else float("inf")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_its_pixels_and_its_name(kind: str) -> None:
    photo = read(file_of(kind, scene()))
    assert (photo.format, photo.frames, photo.width, photo.height) == (kind, 1, 48, 32)
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.flags.c_contiguous
    assert far(photo.pixels, scene()) < (0.01 if kind in LOSSLESS else 6 if kind == "gif" else 3)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "avif", "tiff"])
def test_all_orientations_are_turned_upright(kind: str, orientation: int) -> None:
    data = file_of(kind, stored_for(scene(), orientation), exif=exif(orientation))
    assert far(read(data).pixels, scene()) < 3


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "avif", "tiff"])
def test_raw_leaves_the_pixels_as_they_are_stored(kind: str, orientation: int) -> None:
    stored = stored_for(scene(), orientation)
    assert far(read(file_of(kind, stored, exif=exif(orientation)), "raw").pixels, stored) < 3


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("asked", ["exif", "raw"])
def test_heic_is_turned_once_as_its_container_says_whatever_is_asked(orientation: int, asked: str) -> None:
    data = file_of("heic", Image.fromarray(stored_for(scene(), orientation)), exif=exif(orientation))
    assert far(read(data, asked).pixels, scene()) < 3


def test_orientation_that_stands_only_in_xmp_counts() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = file_of("jpeg", stored_for(scene(), 6), xmp=xmp)
    assert far(read(data).pixels, scene()) < 3


@pytest.mark.parametrize("block", [b"Exif\0\0broken", b"Exif\0\0II*\0\xff\xff\xff\xff", exif(9), exif(0)])
def test_broken_or_unknown_orientation_is_taken_as_upright(block: bytes) -> None:
    assert far(read(file_of("jpeg", scene(), exif=block)).pixels, scene()) < 3


@pytest.mark.parametrize("kind", ["gif", "webp", "avif", "tiff", "png"])
def test_only_the_first_of_several_frames_is_read_and_their_number_told(kind: str) -> None:
    frames = [Image.fromarray(np.full((24, 30, 3), level, np.uint8)) for level in (200, 100, 50)]
    photo = read(file_of(kind, frames[0], save_all=True, append_images=frames[1:]))
    assert photo.frames == 3
    assert far(photo.pixels, np.full((24, 30, 3), 200, np.uint8)) < 2


def test_second_picture_inside_a_jpeg_is_no_frame() -> None:
    preview = Image.fromarray(scene(12, 8))
    data = file_of("jpeg", scene(), format="MPO", save_all=True, append_images=[preview])
    photo = read(data)
    assert (photo.format, photo.frames) == ("jpeg", 1)
    assert far(photo.pixels, scene()) < 3


def test_heic_of_ten_bits_is_read() -> None:
    wide = pillow_heif.from_bytes("RGB;16", (48, 32), (scene().astype(np.uint16) * 257).tobytes())
    file = io.BytesIO()
    wide.save(file, quality=95, chroma=444)
    assert far(read(file.getvalue()).pixels, scene()) < 3
