"""Whatever the bytes are, the answer is a picture or one of our errors."""

from functools import cache

import numpy as np
import pytest
from fpan.serve.errors import GatewayError
from fpan.serve.pipeline.decode import decode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.helpers_images import DISPLAY_P3, FORMATS, exif, file_of, rgb_profile, scene

MAX_PIXELS = 4_000_000
MAGICS = (
    b"\xff\xd8\xff\xe0",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"GIF89a",
    b"RIFF\0\1\0\0WEBPVP8X",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
    b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0",
    b"\0\0\0\x18ftypavif\0\0\0\0avifmif1",
    b"\0\0\0\x18ftypheic\0\0\0\0heicmif1",
    b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic",
)
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def seeds() -> tuple[bytes, ...]:
    """Small valid files with metadata, in several kinds of pixel."""
    profile = rgb_profile(DISPLAY_P3, 2.2, "P3")
    rgba = np.dstack([scene(), scene()[..., 0]])
    frames = [Image.fromarray(scene()[::-1])]
    compressed = [file_of("tiff", scene(), compression=c) for c in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")]
    return (
        *(file_of(kind, scene(), exif=exif(6)) for kind in FORMATS if kind != "gif"),
        *(file_of(kind, rgba) for kind in ("png", "webp", "avif", "heic", "tiff")),
        file_of("jpeg", scene(), progressive=True, icc_profile=profile),
        file_of("png", scene(), icc_profile=profile),
        file_of("png", Image.fromarray(scene()[..., 0].astype(np.uint16) * 257)),
        *(file_of(kind, scene(), save_all=True, append_images=frames) for kind in ("gif", "png", "webp", "tiff")),
        *compressed,
    )


def survives(data: bytes) -> None:
    try:
        photo = decode(data, max_pixels=MAX_PIXELS, orientation="exif")
    except GatewayError:
        return
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.shape[2] == 3
    assert photo.pixels[..., 0].size <= MAX_PIXELS


@given(st.binary(max_size=400))
@quick
def test_random_bytes(data: bytes) -> None:
    survives(data)


@given(st.sampled_from(MAGICS), st.binary(max_size=400))
@quick
def test_random_bytes_after_the_magic_of_a_format(magic: bytes, rest: bytes) -> None:
    survives(magic + rest)


@given(st.data())
@quick
def test_valid_files_cut_short(data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(seeds()))
    survives(file[: data.draw(st.integers(0, len(file)))])


@given(st.data())
@settings(quick, max_examples=400)
def test_valid_files_with_bytes_changed_taken_out_or_put_in(data: st.DataObject) -> None:
    file = bytearray(data.draw(st.sampled_from(seeds())))
    for _ in range(data.draw(st.integers(1, 6))):
        # Headers are where damage matters most.
        at = data.draw(st.one_of(st.integers(0, min(300, len(file) - 1)), st.integers(0, len(file) - 1)))
        how = data.draw(st.sampled_from(("change", "take", "put")))
        if how == "change":
            file[at] = data.draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFF)) | st.integers(0, 255))
        elif how == "take":
            del file[at : at + data.draw(st.integers(1, 8))]
        else:
            file[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        if not file:
            return
    survives(bytes(file))


@pytest.mark.parametrize("orientation", ["exif", "raw"])
def test_every_seed_is_a_picture_in_the_first_place(orientation: str) -> None:
    for data in seeds():
        assert decode(data, max_pixels=MAX_PIXELS, orientation=orientation).pixels.size


def test_a_decoder_that_fails_in_an_unheard_of_way_is_told_as_a_damaged_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for failure in (MemoryError(), SystemError("odd"), AssertionError(), ZeroDivisionError("x")):

        def fail(self: object, failure: Exception = failure) -> None:
            raise failure

        monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_end", fail)
        with pytest.raises(GatewayError):
            decode(file_of("png", scene()), max_pixels=MAX_PIXELS, orientation="exif")
