"""Kinds of pixel: grey, palette, alpha, 16 bits, floating point, CMYK, colour profiles."""

import io

import cv2
import numpy as np
import pytest
from fpan.serve.api.errors import UnsupportedImage
from fpan.serve.pipeline.decode import decode
from PIL import Image

from tests.support.helpers_images import DISPLAY_P3, file_of, grey_tiff, rgb_profile, scene

RAMP = np.linspace(0, 65535, 64).astype(np.uint16).reshape(4, 16)
SRGB = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))


def pixels(data: bytes) -> np.ndarray:
    return decode(data, max_pixels=1_000_000, orientation="exif").pixels


def grey(data: bytes) -> np.ndarray:
    """The one channel of a picture without colour."""
    read = pixels(data)
    assert (read == read[..., :1]).all()
    return read[..., 0].astype(int)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "avif", "gif", "tiff", "heic"])
def test_grey_pictures_have_three_equal_channels(kind: str) -> None:
    level = np.full((16, 16), 100, np.uint8)
    assert np.abs(pixels(file_of(kind, level)).astype(int) - 100).max() <= 2


@pytest.mark.parametrize("kind", ["png", "gif", "tiff"])
def test_one_bit_pictures_are_black_and_white(kind: str) -> None:
    bits = Image.fromarray(scene()[..., 0] > 140)
    assert set(np.unique(grey(file_of(kind, bits)))) == {0, 255}


@pytest.mark.parametrize("kind", ["png", "webp", "avif", "heic", "tiff"])
def test_transparency_shows_white_and_half_of_it_half_white(kind: str) -> None:
    rgba = np.zeros((32, 48, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[:, 16:32, 3] = 128
    rgba[:, 32:, 3] = 255
    read = pixels(file_of(kind, rgba)).astype(int)
    for column, expected in ((6, (255, 255, 255)), (24, (227, 127, 127)), (40, (200, 0, 0))):
        assert np.abs(read[16, column] - expected).max() <= 6, column


def test_grey_with_alpha_shows_white_where_transparent() -> None:
    picture = Image.merge("LA", [Image.new("L", (8, 8), 50), Image.new("L", (8, 8), 0)])
    picture.paste((50, 255), (0, 0, 4, 8))
    read = grey(file_of("png", picture))
    assert (read[:, :4] == 50).all()
    assert (read[:, 4:] == 255).all()


@pytest.mark.parametrize("kind", ["png", "gif"])
@pytest.mark.parametrize("transparency", [None, 1])
def test_palette_pictures_are_read_with_their_transparent_entry(kind: str, transparency: int | None) -> None:
    indices = np.tile(np.array([0, 1, 2], np.uint8), (6, 4))
    picture = Image.fromarray(indices).convert("P")
    picture.putdata(indices.ravel().tolist())
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    read = pixels(file_of(kind, picture, **({} if transparency is None else {"transparency": transparency})))
    middle = (0, 255, 0) if transparency is None else (255, 255, 255)
    assert [tuple(int(v) for v in c) for c in read[0, :3]] == [(255, 0, 0), middle, (0, 0, 255)]


def test_palette_png_with_an_alpha_of_every_entry_is_blended() -> None:
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 0, 0, 0])
    assert np.abs(grey(file_of("png", picture, transparency=bytes([255, 128]))) - 127).max() <= 1


def test_16_bit_grey_is_scaled() -> None:
    expected = np.round(RAMP / 257).astype(int)
    assert np.abs(grey(file_of("png", Image.fromarray(RAMP))) - expected).max() <= 1
    for order in ("<u2", ">u2"):
        data = grey_tiff(16, 4, RAMP.astype("<u2").tobytes(), 16)
        if order == ">u2":
            data = file_of("tiff", Image.frombytes("I;16B", (16, 4), RAMP.astype(">u2").tobytes()))
        assert np.abs(grey(data) - expected).max() <= 1, order


def test_transparent_level_of_16_bit_grey_shows_white() -> None:
    values = np.full((4, 4), 1000, np.uint16)
    values[0] = 65535 // 2
    read = grey(file_of("png", Image.fromarray(values), transparency=1000))
    assert (read[1:] == 255).all()
    assert (read[0] == 127).all() or (read[0] == 128).all()


def test_16_bit_colour_is_scaled() -> None:
    wide = (scene().astype(np.uint16) * 257)[..., ::-1]
    for extension in (".png", ".tiff"):
        read = pixels(cv2.imencode(extension, wide)[1].tobytes())
        assert np.abs(read.astype(int) - scene()).max() <= 1, extension


def test_white_is_zero_tiffs_are_not_negatives() -> None:
    assert np.abs(grey(grey_tiff(16, 4, RAMP.tobytes(), 16, photometric=0)) - (255 - np.round(RAMP / 257))).max() <= 1
    assert (grey(grey_tiff(4, 4, bytes([10] * 16), 8, photometric=0)) == 245).all()


def test_12_bit_tiff_is_scaled_to_its_own_range() -> None:
    white_then_black = bytes([0xFF, 0xF0, 0x00] * 8)
    assert grey(grey_tiff(4, 4, white_then_black, 12)).tolist() == [[255, 0, 255, 0]] * 4


def test_float_tiff_from_0_to_1_is_read() -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(4, 16)
    assert np.abs(grey(file_of("tiff", Image.fromarray(values))) - values * 255).max() <= 0.51


@pytest.mark.parametrize("odd", [-0.5, 1.5, float("nan"), float("inf")])
def test_float_tiff_of_an_unknown_range_is_refused_by_name(odd: float) -> None:
    values = np.full((4, 4), 0.5, np.float32)
    values[2, 2] = odd
    with pytest.raises(UnsupportedImage, match="floating point"):
        pixels(file_of("tiff", Image.fromarray(values)))


def test_32_bit_whole_numbers_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedImage, match="32 bit numbers"):
        pixels(file_of("tiff", Image.fromarray(np.full((4, 4), 7, np.int32))))


@pytest.mark.parametrize("kind", ["jpeg", "tiff"])
def test_cmyk_is_converted_and_not_inverted(kind: str) -> None:
    flat = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red = pixels(file_of(kind, flat, **({"subsampling": 0} if kind == "jpeg" else {}))).astype(int)
    assert np.abs(red - (255, 0, 0)).max() <= 6


def test_ycbcr_tiff_is_converted() -> None:
    data = file_of("tiff", Image.fromarray(scene()).convert("YCbCr"))
    assert np.abs(pixels(data).astype(int) - scene()).max() <= 3


def test_wide_gamut_profile_is_applied() -> None:
    profile = rgb_profile(DISPLAY_P3, 2.2, "Display P3")
    plain = np.full((8, 8, 3), (200, 100, 100), np.uint8)
    read = pixels(file_of("png", plain, icc_profile=profile)).astype(int)[0, 0]
    # The same numbers mean a stronger red in the wider gamut.
    assert read[0] > 205
    assert read[1] < 100


def test_profile_of_srgb_primaries_changes_next_to_nothing() -> None:
    profile = rgb_profile(SRGB, 2.2, "my monitor")
    data = file_of("png", scene(), icc_profile=profile)
    assert np.abs(pixels(data).astype(int) - scene()).mean() < 2


@pytest.mark.parametrize("profile", [b"nonsense", b"", b"\0" * 200, rgb_profile(DISPLAY_P3, 2.2, "P3")[:300]])
def test_broken_profile_is_ignored(profile: bytes) -> None:
    data = file_of("png", scene(), icc_profile=profile)
    assert (pixels(data) == scene()).all()


def test_profile_of_another_colour_space_is_ignored() -> None:
    level = np.full((8, 8), 90, np.uint8)
    data = file_of("png", level, icc_profile=rgb_profile(DISPLAY_P3, 2.2, "P3"))
    assert (pixels(data) == 90).all()


def test_pixels_are_read_only() -> None:
    assert not pixels(file_of("png", scene())).flags.writeable


def test_transparent_gif_smaller_than_its_canvas_is_read_on_the_whole_canvas() -> None:
    file = io.BytesIO()
    Image.new("P", (20, 10), 0).save(file, "GIF", transparency=0)
    data = bytearray(file.getvalue())
    data[6:10] = (40).to_bytes(2, "little") + (30).to_bytes(2, "little")
    assert pixels(bytes(data)).shape == (30, 40, 3)
