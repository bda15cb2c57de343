"""Checks the directories of a TIFF before a decoder reads them."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from fpan.serve.api.errors import Impossible, TooLarge
from fpan.serve.pipeline.decode.sniff import absurd, not_read

_MAX_PAGES = 10_000
"""Most pages that are counted."""
_MAX_SUB_DIRECTORIES = 16
_MAX_VALUES = 2**18
"""Most values of a tag, unless they are bytes. A picture of 64 megapixels in tiles of 16 x 16 has 250,000 tiles."""
_MAX_TILE_PIXELS = 2**24
"""Most pixels of a tile: a decoder allocates a whole tile even for a smaller picture."""

_MAX_ENTRIES = 2**12
"""Most tags of a directory; a few hundred are defined."""

_WHOLE_NUMBERS = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
"""TIFF field type -> format character of :mod:`struct`, for types of whole numbers."""
_BYTE_TYPES = frozenset({1, 2, 6, 7})
_NEW_SUBFILE_TYPE, _TILE_WIDTH, _TILE_LENGTH, _DNG_VERSION = 254, 322, 323, 50706
_SUB_DIRECTORIES = frozenset({330, 34665, 34853, 40965})
"""Tags that point to further directories: SubIFDs, Exif, GPS, interoperability."""
_REDUCED = 1
"""Bit of NewSubfileType for a reduced copy of another picture of the file."""


@dataclass(frozen=True)
class _Layout:
    """How a TIFF or a BigTIFF lays out its directories."""

    order: str
    count: str
    entry: str
    offset: str

    @property
    def entry_bytes(self) -> int:
        return struct.calcsize(self.order + self.entry)

    @property
    def value_bytes(self) -> int:
        return struct.calcsize(self.order + self.offset)


def survey_tiff(data: bytes, max_pixels: int) -> int:
    """Counts the pages of a TIFF and checks the first.

    Raises:
        TooLarge: tiles of more pixels than any picture needs.
        Impossible: tags with too many values, or too many directories.
        UnsupportedImage: a raw photo.
    """
    order = "<" if data[:1] == b"I" else ">"
    big = data[2:4] in (b"\x2b\0", b"\0\x2b")
    layout = _Layout(order, "Q", "HHQQ", "Q") if big else _Layout(order, "H", "HHII", "I")
    try:
        (offset,) = struct.unpack_from(order + layout.offset, data, 8 if big else 4)
        _check_first_page(data, layout, offset)
        return max(1, sum(1 for _ in _pages(data, layout, offset)))
    except struct.error:
        raise Impossible("this TIFF is truncated: its directory lies beyond its end") from None


def _check_first_page(data: bytes, layout: _Layout, offset: int) -> None:
    tile = {_TILE_WIDTH: 0, _TILE_LENGTH: 0}
    waiting, seen = [(offset, True)], 0
    while waiting:
        offset, is_page = waiting.pop()
        seen += 1
        if seen > _MAX_SUB_DIRECTORIES:
            raise absurd("tiff", f"more than {_MAX_SUB_DIRECTORIES} directories inside its first page")
        for tag, kind, count, value in _entries(data, layout, offset):
            if count > _MAX_VALUES and kind not in _BYTE_TYPES:
                raise absurd("tiff", f"{count} values in tag {tag}")
            if tag in _SUB_DIRECTORIES:
                waiting += [(sub, False) for sub in _numbers(data, layout, kind, count, value)[:_MAX_SUB_DIRECTORIES]]
            elif is_page and tag in tile:
                tile[tag] = _first(data, layout, kind, count, value)
            elif is_page and tag == _DNG_VERSION:
                raise not_read("a DNG raw photo")
            elif is_page and tag == _NEW_SUBFILE_TYPE and _first(data, layout, kind, count, value) & _REDUCED:
                raise not_read("a raw photo, or a TIFF that begins with the thumbnail of another picture")
    if tile[_TILE_WIDTH] * tile[_TILE_LENGTH] > _MAX_TILE_PIXELS:
        raise TooLarge(f"this TIFF has tiles of {tile[_TILE_WIDTH]} x {tile[_TILE_LENGTH]} pixels")


def _entries(data: bytes, layout: _Layout, offset: int) -> Iterator[tuple[int, int, int, int]]:
    """For each entry of a directory: tag, type, number of values, and position of the value field."""
    (entries,) = struct.unpack_from(layout.order + layout.count, data, offset)
    if entries > _MAX_ENTRIES:
        raise absurd("tiff", f"{entries} tags in a directory")
    first = offset + struct.calcsize(layout.order + layout.count)
    for i in range(entries):
        start = first + i * layout.entry_bytes
        tag, kind, count, _ = struct.unpack_from(layout.order + layout.entry, data, start)
        yield tag, kind, count, start + layout.entry_bytes - layout.value_bytes


def _numbers(data: bytes, layout: _Layout, kind: int, count: int, value: int) -> list[int]:
    """The values of an entry of whole numbers; empty for other types."""
    code = _WHOLE_NUMBERS.get(kind)
    if code is None:
        return []
    if count * struct.calcsize(layout.order + code) > layout.value_bytes:
        (value,) = struct.unpack_from(layout.order + layout.offset, data, value)
    return list(struct.unpack_from(f"{layout.order}{count}{code}", data, value))


def _first(data: bytes, layout: _Layout, kind: int, count: int, value: int) -> int:
    """The first value of an entry of whole numbers; 0 if there is none."""
    return next(iter(_numbers(data, layout, kind, count, value)), 0)


def _pages(data: bytes, layout: _Layout, offset: int) -> Iterator[int]:
    """Position of each page's directory. Stops at a directory visited already or beyond the file's end."""
    met: set[int] = set()
    while offset and offset not in met and len(met) < _MAX_PAGES:
        met.add(offset)
        yield offset
        try:
            (entries,) = struct.unpack_from(layout.order + layout.count, data, offset)
            after = offset + struct.calcsize(layout.order + layout.count) + entries * layout.entry_bytes
            (offset,) = struct.unpack_from(layout.order + layout.offset, data, after)
        except struct.error:
            return
