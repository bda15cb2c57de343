"""Broken pictures: valid files of every format, damaged in the way that a number says.

    python -m tests.fuzz.corpus NUMBER > FILE

writes one that a failed test has named.
"""

import struct
import sys
from collections.abc import Callable
from functools import cache
from random import Random

import numpy as np
from fpan.serve.api.errors import GatewayError
from fpan.serve.pipeline.decode import decode
from PIL import Image

from tests.fuzz.tally import Fault
from tests.support.helpers_images import (
    DISPLAY_P3,
    FORMATS,
    chunk,
    exif,
    file_of,
    grey_tiff,
    jpeg_of_scans,
    png_of,
    rgb_profile,
    scene,
)

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
MAX_PIXELS = 4_000_000
"""What decoding is held to."""
WIDTH, HEIGHT = 48, 32
"""Of every valid file."""
_HEADER_BYTES = 300
"""Where damage matters most."""
_LENGTHS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF)
_SIDES = (0, 1, 2001, 0x7FFF, 0xFFFF, 100_000, 0x7FFF_FFFF, 0xFFFF_FFFF)


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


def broken(number: int) -> bytes:
    """The broken picture of that number; with the same libraries the same bytes each time."""
    rng = Random(number)
    damage = rng.choices(tuple(_DAMAGES), tuple(_DAMAGES.values()))[0]
    return damage(rng, rng.choice(seeds()))


def verdict(data: bytes, orientation: str = "exif") -> int:
    """What decoding says of a picture, as an HTTP status; 200 for one that it has decoded.

    Raises:
        Fault: it says nothing that a caller may be told, or the picture is none.
    """
    try:
        photo = decode(data, max_pixels=MAX_PIXELS, orientation=orientation)
    except GatewayError as error:
        if error.status >= 500:
            raise Fault(repr(error)) from error
        return error.status
    height, width, channels = photo.pixels.shape
    if photo.pixels.dtype != np.uint8 or channels != 3 or not 0 < height * width <= MAX_PIXELS:
        raise Fault(f"a picture of {photo.pixels.dtype}, {photo.pixels.shape}")
    return 200


def _at(rng: Random, file: bytes) -> int:
    return rng.randrange(min(_HEADER_BYTES, len(file)) if rng.random() < 0.5 else len(file))


def _cut_short(rng: Random, file: bytes) -> bytes:
    return file[: rng.randrange(len(file))]


def _changed(rng: Random, file: bytes) -> bytes:
    """Bytes changed, taken out or put in."""
    data = bytearray(file)
    for _ in range(rng.randint(1, 6)):
        at = _at(rng, data)
        how = rng.randrange(4)
        if how == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif how == 2 and len(data) > 16:
            del data[at : at + rng.randint(1, 8)]
        else:
            data[at:at] = rng.randbytes(rng.randint(1, 8))
    return bytes(data)


def _spliced(rng: Random, file: bytes) -> bytes:
    """The beginning of one file and the end of another, of whatever format."""
    other = rng.choice(seeds())
    return file[: _at(rng, file)] + other[_at(rng, other) :]


def _repeated(rng: Random, file: bytes) -> bytes:
    """A piece of it many times."""
    begin, end = sorted((_at(rng, file), _at(rng, file)))
    times = min(rng.choice((2, 10, 1000)), 200_000 // max(1, end - begin))
    return file[:begin] + file[begin:end] * times + file[end:]


def _wrong_length(rng: Random, file: bytes) -> bytes:
    """A number somewhere that is far too large, far too small, or off by one."""
    form = rng.choice(("<H", ">H", "<I", ">I"))
    size = struct.calcsize(form)
    at = min(_at(rng, file), len(file) - size)
    (was,) = struct.unpack_from(form, file, at)
    number = rng.choice((*_LENGTHS, was + 1, was - 1, len(file), len(file) - at)) % 2 ** (8 * size)
    return file[:at] + struct.pack(form, number) + file[at + size :]


def _wrong_sides(rng: Random, file: bytes) -> bytes:
    """Another width or height, wherever the file tells its own."""
    width, height = rng.choice(_SIDES), rng.choice(_SIDES)
    for form, told, lied in (
        (">II", (WIDTH, HEIGHT), (width, height)),
        ("<HH", (WIDTH, HEIGHT), (width, height)),
        (">HH", (HEIGHT, WIDTH), (height, width)),
        ("<HHI", (4, 1, WIDTH), (4, 1, width)),
        ("<HHI", (4, 1, HEIGHT), (4, 1, height)),
    ):
        most = 2 ** (8 * struct.calcsize(form[-1])) - 1
        file = file.replace(struct.pack(form, *told), struct.pack(form, *(min(side, most) for side in lied)))
    return file


def _after_a_magic(rng: Random, file: bytes) -> bytes:
    rest = rng.randbytes(rng.randrange(400)) if rng.random() < 0.5 else file[_at(rng, file) :]
    return rng.choice(MAGICS) + rest


def _noise(rng: Random, file: bytes) -> bytes:
    return rng.randbytes(rng.randrange(400))


def _bomb(rng: Random, file: bytes) -> bytes:
    """Much behind little: pixels, chunks, scans, tags."""
    side = rng.choice((1, 300, 2001, 60_000, 0x7FFF_FFFF))
    return _BOMBS[rng.randrange(len(_BOMBS))](side, rng.randrange(256))


_BOMBS: tuple[Callable[[int, int], bytes], ...] = (
    lambda side, value: png_of(side, side, [chunk(b"IDAT", bytes([value]) * 500)]),
    lambda side, value: png_of(WIDTH, HEIGHT, [chunk(b"tEXt", b"a\0" + bytes([value]))] * min(side, 2001)),
    lambda side, value: b"GIF89a" + struct.pack("<HHBBB", side & 0xFFFF, side & 0xFFFF, value, 0, 0) + b"," * 40,
    lambda side, value: grey_tiff(side, side, bytes([value]) * 100, 8),
    lambda side, value: jpeg_of_scans(min(side, 300), 1 + value),
)
_DAMAGES: dict[Callable[[Random, bytes], bytes], int] = {
    _cut_short: 3,
    _changed: 8,
    _spliced: 2,
    _repeated: 1,
    _wrong_length: 5,
    _wrong_sides: 2,
    _after_a_magic: 2,
    _noise: 1,
    _bomb: 1,
}
"""How often each."""

if __name__ == "__main__":
    sys.stdout.buffer.write(broken(int(sys.argv[1])))
