"""What is refused, as which error, in which words; and that Pillow's remarks reach nobody."""

import io
import threading
import warnings
import zlib

import numpy as np
import pytest
from fpan.serve.api.errors import BadRequest, GatewayError, Impossible, TooLarge, UnsupportedImage
from fpan.serve.pipeline.decode import decode
from fpan.serve.pipeline.types import Photo
from PIL import Image

from tests.support.helpers_images import FORMATS, chunk, file_of, grey_tiff, png_of, scene, tiff_of


def read(data: bytes, max_pixels: int = 1_000_000) -> Photo:
    return decode(data, max_pixels=max_pixels, orientation="exif")


def test_no_bytes_are_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="empty"):
        read(b"")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"dear reader, this is a text file and no picture", "text"),
        ("Grüße aus Zürich, ohne ein Bild".encode(), "text"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "HTML page"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b'{"error": "not found"}', "JSON"),
        (b"data:image/png;base64,iVBORw0KGgoAAAANSUhEUg", "base64"),
        (b"/9j/4AAQSkZJRgABAQAAAQABAAD", "base64"),
        (b"%PDF-1.7\n", "PDF"),
        (b"PK\x03\x04" + bytes(30), "ZIP"),
        (b"8BPS\0\1" + bytes(30), "Photoshop"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(20), "MP4"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "QuickTime"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "CR3"),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(30), "CR2"),
        (b"\x1a\x45\xdf\xa3" + bytes(30), "WebM"),
        (b"RIFF\0\0\0\0AVI LIST", "AVI"),
        (bytes(range(128, 192)), "no known format"),
        (b"\xff", "no known format"),
    ],
)
def test_anything_else_is_unsupported_and_named(data: bytes, name: str) -> None:
    with pytest.raises(UnsupportedImage, match=name) as caught:
        read(data)
    assert "JPEG, PNG, WebP, AVIF, HEIC, GIF and TIFF" in str(caught.value)


@pytest.mark.parametrize("name", ["BMP", "ICO", "PPM", "JPEG2000", "TGA", "PCX", "DDS", "ICNS"])
def test_formats_that_pillow_knows_but_the_list_does_not_are_unsupported(name: str) -> None:
    file = io.BytesIO()
    Image.fromarray(scene(64, 64)).save(file, name)
    with pytest.raises(UnsupportedImage):
        read(file.getvalue())


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_cut_short_is_impossible_and_says_so(kind: str) -> None:
    data = file_of(kind, np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    with pytest.raises(Impossible, match="truncated"):
        read(data[: len(data) * 3 // 5])


@pytest.mark.parametrize("kind", FORMATS)
def test_more_pixels_than_allowed_are_too_large_and_the_sentence_has_both_figures(kind: str) -> None:
    data = file_of(kind, scene(100, 80))
    with pytest.raises(TooLarge, match=r"100 x 80 pixels .* limit is 0\.007999 megapixels"):
        read(data, 7999)
    assert read(data, 8000).width == 100


def test_a_limit_above_that_of_pillow_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read(file_of("png", scene())).width == 48


def test_lossless_jpeg_is_not_read_but_answered() -> None:
    data = file_of("jpeg", scene()).replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c")
    with pytest.raises(Impossible, match="variety"):
        read(data)


def test_raw_photos_in_the_clothes_of_a_tiff_are_unsupported() -> None:
    dng = tiff_of({256: ("I", [8]), 257: ("I", [8]), 50706: ("B", [1, 4, 0, 0])})
    with pytest.raises(UnsupportedImage, match="DNG"):
        read(dng)
    thumbnail_first = tiff_of({254: ("I", [1]), 256: ("I", [8]), 257: ("I", [8])})
    with pytest.raises(UnsupportedImage, match="thumbnail"):
        read(thumbnail_first)


def test_a_size_of_nothing_is_impossible() -> None:
    for data in (png_of(0, 10, [chunk(b"IDAT", b"x")]), grey_tiff(0, 4, b"", 8)):
        with pytest.raises(Impossible):
            read(data)


def remark_of_pillow() -> bytes:
    """A picture of whose metadata Pillow warns while it reads it."""
    return png_of(4, 4, [chunk(b"acTL", bytes(8)), chunk(b"IDAT", zlib.compress(bytes(20)))])


def test_a_remark_of_pillow_is_neither_shown_nor_a_failure() -> None:
    with pytest.warns(UserWarning, match="Invalid APNG"):
        Image.open(io.BytesIO(remark_of_pillow()))
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("error")
        assert read(remark_of_pillow()).width == 4
    assert shown == []


def test_many_threads_decode_at_once_without_a_remark(capfd: pytest.CaptureFixture[str]) -> None:
    files = [remark_of_pillow(), *(file_of(kind, scene()) for kind in FORMATS)]
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for data in files * 3:
                read(data)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert capfd.readouterr() == ("", "")


def test_broken_files_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for kind in FORMATS:
        data = file_of(kind, scene())
        for cut in range(1, len(data), max(1, len(data) // 20)):
            try:
                read(data[:cut])
            except GatewayError:
                continue
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "data",
    [
        file_of("tiff", scene(), compression="tiff_lzw")[:-200] + bytes(200),
        file_of("tiff", scene(), compression="tiff_deflate")[:-200] + bytes(200),
        tiff_of({256: ("I", [4]), 257: ("I", [4]), 258: ("H", [8]), 262: ("H", [1]), 277: ("H", [7])}),
    ],
)
def test_what_is_wrong_with_a_picture_is_written_nowhere(
    data: bytes, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(GatewayError):
        read(data)
    assert not "".join(capfd.readouterr())
    assert not caplog.records
