"""Small files that ask for a lot: refused or read, in bounded time and memory."""

import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fpan.serve.api.errors import Impossible, TooLarge
from fpan.serve.pipeline.decode import decode
from PIL import Image

from tests.support.helpers_images import chunk, file_of, jpeg_of_scans, png_of, scene, tiff_of

MAX_PIXELS = 64_000_000
AT_ONCE_S = 1.0
SOON_S = 10.0
"""Of processor time, which a busy machine does not stretch."""
LITTLE_MIB = 64
SIDE = 30_000


def read(data: bytes) -> object:
    return decode(data, max_pixels=MAX_PIXELS, orientation="exif")


def huge_png() -> bytes:
    rows = zlib.compressobj(9)
    data = rows.compress(bytes(SIDE * 100)) + rows.flush()
    return png_of(SIDE, SIDE, [chunk(b"IDAT", data)])


def huge_jpeg() -> bytes:
    data = bytearray(file_of("jpeg", scene()))
    header = data.index(b"\xff\xc0")
    data[header + 5 : header + 9] = struct.pack(">HH", SIDE, SIDE)
    return bytes(data)


def huge_gif() -> bytes:
    data = bytearray(file_of("gif", scene()))
    data[6:10] = struct.pack("<HH", SIDE, SIDE)
    return bytes(data)


def gif_whose_frame_is_huge() -> bytes:
    """The frame is far larger than the canvas, and is disposed of, for which Pillow allocates it at once."""
    frame = b"!\xf9\4\x08\0\0\0\0,\0\0\0\0" + struct.pack("<HHB", 65535, 65535, 0) + b"\x02\x02\x4c\x01\0;"
    return b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0x80, 0, 0) + bytes(6) + frame


def huge_webp_canvas() -> bytes:
    def riff(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data

    extended = riff(b"VP8X", b"\x02\0\0\0" + (16383).to_bytes(3, "little") * 2)
    return riff(b"RIFF", b"WEBP" + extended + riff(b"ANIM", bytes(6)))


def huge_webp(mode: str) -> bytes:
    data = bytearray(file_of("webp", scene(), lossless=mode == "VP8L"))
    assert data[12:16] == mode.encode().ljust(4)
    if mode == "VP8L":
        data[21:25] = struct.pack("<I", 16382 | 16382 << 14)
    else:
        data[26:30] = struct.pack("<HH", 16383, 16383)
    return bytes(data)


def huge_box(kind: str) -> bytes:
    data = bytearray(file_of(kind, scene()))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">II", SIDE, SIDE)
    return bytes(data)


def huge_tiff() -> bytes:
    return tiff_of({256: ("I", [SIDE]), 257: ("I", [SIDE]), 258: ("H", [8]), 262: ("H", [1]), 273: ("I", [8])})


HUGE: dict[str, Callable[[], bytes]] = {
    "png": huge_png,
    "jpeg": huge_jpeg,
    "gif": huge_gif,
    "gif frame": gif_whose_frame_is_huge,
    "webp canvas": huge_webp_canvas,
    "webp lossy": lambda: huge_webp("VP8"),
    "webp lossless": lambda: huge_webp("VP8L"),
    "avif": lambda: huge_box("avif"),
    "heic": lambda: huge_box("heic"),
    "tiff": huge_tiff,
}


@pytest.mark.parametrize("name", HUGE)
def test_a_tiny_file_that_claims_a_huge_picture_is_refused_at_once(name: str) -> None:
    data = HUGE[name]()
    assert len(data) < 10_000
    begin = time.process_time()
    with pytest.raises((TooLarge, Impossible)) as caught:
        read(data)
    assert time.process_time() - begin < AT_ONCE_S
    # libavif and libheif know limits of their own, and call what exceeds them broken.
    assert isinstance(caught.value, TooLarge) or name in ("avif", "heic")


def png_with_a_huge_profile() -> bytes:
    return png_of(4, 4, [chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(200 << 20), 9)), chunk(b"IDAT", pixel_rows())])


def png_with_huge_texts() -> bytes:
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 20), 9))
    return png_of(4, 4, [*[text] * 500, chunk(b"IDAT", pixel_rows())])


def png_of_nothing_but_chunks() -> bytes:
    return png_of(4, 4, [chunk(b"teSt") * 2_000_000, chunk(b"IDAT", pixel_rows())])


def png_in_tiny_pieces() -> bytes:
    return png_of(4, 4, [chunk(b"IDAT") * 2_000_000, chunk(b"IDAT", pixel_rows())])


def pixel_rows() -> bytes:
    return zlib.compress(bytes(20))


def jpeg_of_nothing_but_comments() -> bytes:
    data = file_of("jpeg", scene())
    return data[:2] + b"\xff\xfe\0\2" * 5_000_000 + data[2:]


def jpeg_full_of_junk() -> bytes:
    data = file_of("jpeg", scene())
    return data[:2] + b"\xff" * 20_000_000 + data[2:]


def jpeg_of_many_scans() -> bytes:
    return jpeg_of_scans(20_000, 512)


def gif_of_tiny_blocks() -> bytes:
    data = file_of("gif", scene())
    return data[:13] + b"!\xfe" + b"\1x" * 10_000_000 + b"\0" + data[13:]


def gif_of_empty_extensions() -> bytes:
    data = file_of("gif", scene())
    return data[:13] + b"!\xfe\0" * 8_000_000 + data[13:]


def gif_of_stray_bytes() -> bytes:
    data = file_of("gif", scene())
    return data[:13] + b"\0" * 20_000_000 + data[13:]


def tiff_of_many_strips() -> bytes:
    strips = {256: ("I", [4]), 257: ("I", [4]), 258: ("H", [8]), 262: ("H", [1]), 278: ("I", [1])}
    return tiff_of({**strips, 273: ("I", [8] * 4_000_000)})


def tiff_of_huge_tiles() -> bytes:
    tiles = {322: ("I", [2**31 - 16]), 323: ("I", [2**20]), 324: ("I", [8]), 325: ("I", [8])}
    return tiff_of({256: ("I", [4]), 257: ("I", [4]), 258: ("H", [8]), 259: ("H", [8]), 262: ("H", [1]), **tiles})


def tiff_that_claims_values_it_has_not() -> bytes:
    return tiff_of(
        {256: ("I", [4]), 257: ("I", [4]), 258: ("H", [8]), 262: ("H", [1]), 273: ("I", [8])},
        claimed={258: 2**32 - 1},
    )


def tiff_of_many_pages() -> bytes:
    """A million directories of no tags, each of which leads to the next."""
    first = tiff_of({256: ("I", [4]), 257: ("I", [4])})
    start = len(first)
    first = first[:-4] + struct.pack("<I", start)
    pages = np.zeros(1_000_000, [("tags", "<u2"), ("next", "<u4")])
    pages["next"] = start + 6 * np.arange(1, len(pages) + 1)
    return first + pages.tobytes()


def webp_that_ends_in_its_header() -> bytes:
    return file_of("webp", scene())[:29]


BOMBS = {
    bomb.__name__: bomb
    for bomb in (
        png_with_a_huge_profile,
        png_with_huge_texts,
        png_of_nothing_but_chunks,
        png_in_tiny_pieces,
        jpeg_of_nothing_but_comments,
        jpeg_full_of_junk,
        jpeg_of_many_scans,
        gif_of_tiny_blocks,
        gif_of_empty_extensions,
        gif_of_stray_bytes,
        tiff_of_many_strips,
        tiff_of_huge_tiles,
        tiff_that_claims_values_it_has_not,
        tiff_of_many_pages,
        webp_that_ends_in_its_header,
    )
}

PROBE = """
import resource, sys, time
from pathlib import Path
from fpan.serve.api.errors import GatewayError
from fpan.serve.pipeline.decode import decode
data = Path(sys.argv[1]).read_bytes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin = time.process_time()
try:
    decode(data, max_pixels=int(sys.argv[2]), orientation="exif")
    outcome = "read"
except GatewayError as error:
    outcome = type(error).__name__
seconds = time.process_time() - begin
print(outcome, seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def probe(data: bytes, tmp_path: Path) -> tuple[str, float, float]:
    """Outcome, seconds, and MiB by which the peak of a fresh process grew."""
    file = tmp_path / "bomb"
    file.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(file), str(MAX_PIXELS)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    outcome, seconds, mib = done.stdout.split()
    return outcome, float(seconds), float(mib)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_neither_time_nor_memory(name: str, tmp_path: Path) -> None:
    outcome, seconds, mib = probe(BOMBS[name](), tmp_path)
    assert outcome in ("Impossible", "TooLarge", "UnsupportedImage")
    assert seconds < SOON_S
    # The texts of a PNG, which Pillow bounds, are held until it gives up.
    assert mib < (3 * LITTLE_MIB if name == "png_with_huge_texts" else LITTLE_MIB)


@pytest.mark.parametrize(("kind", "side"), [("avif", 2048), ("heic", 256)])
def test_a_picture_far_larger_than_its_header_says_stays_bounded(kind: str, side: int, tmp_path: Path) -> None:
    data = bytearray(file_of(kind, Image.new("RGB", (side, side), (90, 120, 30)), quality=30))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">II", 64, 64)
    _, seconds, mib = probe(bytes(data), tmp_path)
    assert seconds < SOON_S
    assert mib < LITTLE_MIB


def test_the_pages_of_a_tiff_that_lead_in_a_circle_are_counted_once() -> None:
    data = bytearray(file_of("tiff", scene()))
    first = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, first)[0]
    struct.pack_into("<I", data, first + 2 + 12 * entries, first)
    assert decode(bytes(data), max_pixels=MAX_PIXELS, orientation="exif").frames == 1
