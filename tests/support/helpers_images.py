"""Makers of test pictures: real files of every format, and files that lie."""

import io
import struct
import zlib
from collections.abc import Iterable, Sequence

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image

FORMATS = ("jpeg", "png", "webp", "avif", "heic", "gif", "tiff")
LOSSLESS = ("png", "webp", "tiff")
ORIENTATIONS = tuple(range(1, 9))

_SAVING = {
    "jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    "png": {"format": "PNG"},
    "webp": {"format": "WEBP", "lossless": True},
    "avif": {"format": "AVIF", "quality": 95, "subsampling": "4:4:4", "speed": 10},
    "gif": {"format": "GIF"},
    "tiff": {"format": "TIFF"},
}


def scene(width: int = 48, height: int = 32) -> NDArray[np.uint8]:
    """A smooth picture, uint8 (height, width, 3), whose four corners differ, so that every turn of it shows."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return np.stack([40 + 200 * x, 30 + 200 * y, 220 - 150 * x * y], axis=2).astype(np.uint8)


def file_of(kind: str, pixels: NDArray[np.uint8] | Image.Image, **saving: object) -> bytes:
    """A file of one of :data:`FORMATS`."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    if kind == "heic":
        pillow_heif.from_pillow(image).save(file, **{"quality": 95, "chroma": 444, **saving})
    else:
        image.save(file, **{**_SAVING[kind], **saving})
    return file.getvalue()


def exif(orientation: int) -> bytes:
    """An EXIF block that tells an orientation."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


_FIRST_ROW_AND_COLUMN = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}
"""The EXIF standard's own table: which side of the upright picture the stored row 0 and column 0 are."""


def stored_for(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Pixels as a camera of that orientation stores a picture that is meant to be seen ``upright``."""
    row, column = _FIRST_ROW_AND_COLUMN[orientation]
    stored = upright.swapaxes(0, 1) if row in ("left", "right") else upright
    stored = stored[::-1] if row in ("bottom", "right") else stored
    return np.ascontiguousarray(stored[:, ::-1] if column in ("bottom", "right") else stored)


def chunk(name: bytes, data: bytes = b"") -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(width: int, height: int, chunks: Iterable[bytes] = (), *, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG with a header and then the given chunks."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND")


def tiff_of(
    tags: dict[int, tuple[str, Sequence[int]]],
    pixels: bytes = b"",
    *,
    next_page: int = 0,
    claimed: dict[int, int] | None = None,
) -> bytes:
    """A little-endian TIFF of one directory: tag -> type (H, I or B) and values. Tag 273 becomes the pixels' offset.

    ``claimed`` is the number of values that a tag claims to have, where it lies.
    """
    codes = {"B": 1, "H": 3, "I": 4}
    entries = sorted(tags)
    directory_bytes = 2 + 12 * len(entries) + 4
    outside, body = b"", b""
    start = 8 + directory_bytes
    values = {tag: struct.pack(f"<{len(v)}{t}", *v) for tag, (t, v) in tags.items()}
    space = sum(len(v) for v in values.values() if len(v) > 4)
    if 273 in tags and len(tags[273][1]) == 1:
        values[273] = struct.pack("<I", start + space)
    for tag in entries:
        kind, numbers = tags[tag]
        data = values[tag]
        if len(data) > 4:
            field = struct.pack("<I", start + len(outside))
            outside += data
        else:
            field = data.ljust(4, b"\0")
        count = (claimed or {}).get(tag, len(numbers))
        body += struct.pack("<HHI", tag, codes[kind], count) + field
    return (
        b"II*\0"
        + struct.pack("<I", 8)
        + struct.pack("<H", len(entries))
        + body
        + struct.pack("<I", next_page)
        + outside
        + pixels
    )


def grey_tiff(
    width: int, height: int, pixels: bytes, bits: int, *, sample_format: int = 1, photometric: int = 1
) -> bytes:
    """An uncompressed grey TIFF of any kind of sample."""
    return tiff_of(
        {
            256: ("I", [width]),
            257: ("I", [height]),
            258: ("H", [bits]),
            259: ("H", [1]),
            262: ("H", [photometric]),
            273: ("I", [0]),
            277: ("H", [1]),
            278: ("I", [height]),
            279: ("I", [len(pixels)]),
        },
        pixels,
    )


def rgb_profile(primaries: Sequence[Sequence[float]], gamma: float, name: str) -> bytes:
    """An ICC profile of a matrix and a gamma. ``primaries``: XYZ (D50) of red, green and blue."""

    def fixed(values: Iterable[float]) -> bytes:
        return b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    ascii_name = name.encode("ascii") + b"\0"
    described = b"desc" + bytes(4) + struct.pack(">I", len(ascii_name)) + ascii_name + bytes(79)
    tags = {
        b"desc": described + bytes(-len(described) % 4),
        b"cprt": b"text" + bytes(4) + b"none" + bytes(4),
        b"wtpt": b"XYZ " + bytes(4) + fixed((0.9642, 1.0, 0.8249)),
        **{t: b"XYZ " + bytes(4) + fixed(p) for t, p in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        table += tag + struct.pack(">II", offset + len(body), len(data))
        body += data
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"none", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed((0.9642, 1.0, 0.8249)) + bytes(48)
    return header + struct.pack(">I", len(tags)) + table + body


DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841))
"""XYZ (D50) of the primaries of Display P3."""


def jpeg_of_scans(scans: int, size: int) -> bytes:
    """A progressive JPEG of ``size`` x ``size`` grey pixels with many scans that say next to nothing."""
    file = io.BytesIO()
    Image.new("L", (size, size), 128).save(file, "JPEG", progressive=True, quality=50)
    data = file.getvalue()
    start = data.rindex(b"\xff\xc4")
    last = data[start:-2]
    return data[:-2] + last * scans + b"\xff\xd9"
