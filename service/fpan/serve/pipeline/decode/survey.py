"""Checks a file's structure before it is decoded and rejects files that would cost a decoder unbounded work.

Decoders limit the number of pixels, but not the number of markers, chunks, tags or scans, which cost far more than
their few bytes suggest. The limits here are far above what cameras and programs write.
"""

import re
import struct
from collections.abc import Callable

from fpan.serve.api.errors import TooLarge
from fpan.serve.pipeline.decode.heic import survey_heic
from fpan.serve.pipeline.decode.sniff import Format, absurd
from fpan.serve.pipeline.decode.tiff import survey_tiff

_MAX_SEGMENTS = 10_000
"""Most segments of a JPEG."""
_MAX_SCANS = 30
"""Most scans of a progressive JPEG. Encoders write about ten; each takes 0.1 s in a picture of 64 megapixels."""
_MAX_JUNK = 2**16
"""Most bytes of a JPEG that lie between segments and belong to none."""
_MAX_CHUNKS = 2**16
"""Most chunks of a PNG. Encoders write chunks of at least a few kB each."""
_MAX_BLOCKS = 2**20
"""Most parts (images and extensions) of a GIF, and most blocks, of up to 255 bytes each, of one part."""

_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A JPEG marker that is neither a stuffed byte nor a restart marker."""
_LONE_MARKERS = frozenset({0x01, 0xD8})
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_GIF_EXTENSION, _GIF_IMAGE, _GIF_TRAILER = 0x21, 0x2C, 0x3B


def survey(kind: Format, data: bytes, max_pixels: int) -> int | None:
    """Checks the structure of a file.

    Returns:
        The number of its frames, or None if only the decoder can count them.

    Raises:
        TooLarge: a canvas of more than ``max_pixels``, in formats whose decoder allocates the canvas at once.
        Impossible: a structure that no encoder writes and that takes a decoder very long.
        UnsupportedImage: a raw photo stored as TIFF.
    """
    look = _SURVEYS.get(kind)
    return None if look is None else look(data, max_pixels)


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Rejects a picture of more than ``max_pixels`` pixels.

    Raises:
        TooLarge: the picture has more pixels.
    """
    if width * height > max_pixels:
        raise TooLarge(
            f"the picture says it has {width} x {height} pixels ({width * height / 1e6:.1f} megapixels); "
            f"the limit is {max_pixels / 1e6:g} megapixels"
        )


def _survey_jpeg(data: bytes, max_pixels: int) -> int:
    position, segments, scans, junk = 2, 0, 0, 0
    while marker := _MARKER.search(data, position):
        if not scans:
            junk += marker.start() - position
        position = marker.end()
        code = data[position - 1]
        if code == _END_OF_IMAGE:
            break
        if code in _LONE_MARKERS:
            continue
        segments += 1
        scans += code == _START_OF_SCAN
        if segments > _MAX_SEGMENTS or scans > _MAX_SCANS or junk > _MAX_JUNK:
            raise absurd("jpeg", f"more than {_MAX_SCANS} scans, {_MAX_SEGMENTS} segments or {_MAX_JUNK} stray bytes")
        position += int.from_bytes(data[position : position + 2], "big")
    # A second picture in a JPEG file is a depth map, a gain map or a preview, not a frame.
    return 1


def _survey_png(data: bytes, max_pixels: int) -> int:
    position, chunks, frames = 8, 0, 0
    while position + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        position += length + 12
        chunks += 1
        frames += name == b"fcTL"
        if chunks > _MAX_CHUNKS:
            raise absurd("png", f"more than {_MAX_CHUNKS} chunks")
        if name == b"IEND":
            break
    return max(frames, 1)


def _survey_gif(data: bytes, max_pixels: int) -> int:
    """Checks the canvas together with the first frame, which may extend it, and counts the frames."""
    if len(data) < 13:
        return 1
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position, frames, blocks = 13 + _palette_bytes(flags), 0, 0
    while position < len(data) and (kind := data[position]) != _GIF_TRAILER:
        position += 1
        if kind == _GIF_IMAGE and position + 9 <= len(data):
            x, y, w, h, flags = struct.unpack_from("<HHHHB", data, position)
            if not frames:
                check_pixels(max(width, x + w), max(height, y + h), max_pixels)
            frames += 1
            position = _after_blocks(data, position + 9 + _palette_bytes(flags) + 1)
        elif kind == _GIF_EXTENSION:
            position = _after_blocks(data, position + 1)
        blocks += 1
        if blocks > _MAX_BLOCKS:
            raise absurd("gif", f"more than {_MAX_BLOCKS} blocks")
    return max(frames, 1)


def _after_blocks(data: bytes, position: int) -> int:
    """The position after a chain of length-prefixed blocks, which ends with an empty block."""
    blocks = 0
    while position < len(data) and (size := data[position]):
        position += size + 1
        blocks += 1
        if blocks > _MAX_BLOCKS:
            raise absurd("gif", f"more than {_MAX_BLOCKS} blocks in a row")
    return position + 1


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _survey_webp(data: bytes, max_pixels: int) -> None:
    """Checks the canvas, which the decoder allocates when it is created."""
    chunk, head = data[12:16], data[:30]
    if chunk == b"VP8X" and len(head) == 30:
        width, height = (1 + int.from_bytes(head[i : i + 3], "little") for i in (24, 27))
        check_pixels(width, height, max_pixels)
    elif chunk == b"VP8L" and len(head) >= 25:
        bits = int.from_bytes(head[21:25], "little")
        check_pixels((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, max_pixels)
    elif chunk == b"VP8 " and len(head) == 30:
        width, height = (v & 0x3FFF for v in struct.unpack_from("<HH", head, 26))
        check_pixels(width, height, max_pixels)


_SURVEYS: dict[Format, Callable[[bytes, int], int | None]] = {
    "jpeg": _survey_jpeg,
    "png": _survey_png,
    "gif": _survey_gif,
    "webp": _survey_webp,
    "tiff": survey_tiff,
    "heic": survey_heic,
}
