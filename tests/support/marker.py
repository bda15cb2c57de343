"""Pictures of noise that no other file can have by chance, and a search that knows them in whatever form they lie."""

import base64
import io
import json
import secrets
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.support.helpers_images import chunk, file_of, png_of

CROP, VIEW = 256, 640
"""Sides of what the networks take: pictures of these sizes reach them pixel by pixel."""
SLICE_BYTES = 32
_STEP_BYTES = 992
"""A slice every so many bytes: a run of 1024 bytes that is left of a picture is always found, often a shorter one."""
_NOTE_BYTES = 4096
_HEAD_BYTES = 8
_CHUNK_BYTES = 2**18
_TABLE_BITS = 22
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_DESCRIPTION, _USER_COMMENT = 0x010E, 0x9286
_COLOUR_TYPE_RGB = 2
_SCAN = b"\xff\xda"
"""After it comes what of a JPEG no other has."""
_HEADER_BYTES = 512
"""What pictures of one size may have in common at their beginnings."""


@dataclass
class Marker:
    """Pictures of random pixels, other ones in each run, in files that hold random bytes beside them."""

    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(secrets.randbits(128)))

    def __post_init__(self) -> None:
        self.crop = self._noise(CROP)
        """RGB, uint8 (256, 256, 3)."""
        self.view = self._noise(VIEW)
        """RGB, uint8 (640, 640, 3)."""
        self.note = self.random.bytes(_NOTE_BYTES)
        self.words = secrets.token_hex(12)
        """Of 24 characters: short enough for a log that shows short values only."""
        self.address = f"{secrets.token_hex(20)}.png"
        """A file's name, in a URL or in a form."""
        exif = Image.Exif()
        exif[_DESCRIPTION] = self.words
        exif.get_ifd(0x8769)[_USER_COMMENT] = self.words.encode()
        self.files = {
            "png": _stored(self.crop, self.note),
            "large png": _stored(self.view, self.note),  # more than a megabyte: where a server would begin to spool
            "jpeg": file_of("jpeg", self.crop, comment=self.note, exif=exif.tobytes()),
            "tiff": file_of("tiff", self.crop, description=self.words),
        }

    def _noise(self, side: int) -> NDArray[np.uint8]:
        return self.random.integers(0, 256, (side, side, 3), np.uint8)

    def pieces(self) -> Iterator[tuple[str, bytes]]:
        """All that a trace of these pictures could be made of, by name."""
        for name, data in self.files.items():
            yield f"file of the {name}", data[data.rindex(_SCAN) if name == "jpeg" else _HEADER_BYTES :]
        jpeg = np.asarray(Image.open(io.BytesIO(self.files["jpeg"])).convert("RGB"))
        for name, rgb in (("crop", self.crop), ("view", self.view), ("jpeg", jpeg)):
            yield f"RGB of the {name}", rgb.tobytes()
            yield f"BGR of the {name}", rgb[..., ::-1].tobytes()
            yield f"RGBA of the {name}", np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]).tobytes()
            yield f"planes of the {name}", rgb.transpose(2, 0, 1).tobytes()
        yield "note", self.note
        for name in ("words", "address"):
            yield name, getattr(self, name).encode()

    def search(self) -> "Search":
        """What finds them."""
        return Search((name, each) for name, piece in self.pieces() for each in _slices(piece))


def _stored(rgb: NDArray[np.uint8], note: bytes) -> bytes:
    """A PNG whose rows lie in it as they are: neither filtered nor compressed."""
    height, width = rgb.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in rgb)
    chunks = [chunk(b"noTe", note), chunk(b"IDAT", zlib.compress(rows, level=0))]
    return png_of(width, height, chunks, colour=_COLOUR_TYPE_RGB)


def _slices(piece: bytes) -> Iterator[bytes]:
    if len(piece) < _STEP_BYTES:
        yield piece
    for start in range(0, len(piece) - SLICE_BYTES, _STEP_BYTES):
        if (
            len(set(piece[start : start + SLICE_BYTES])) > SLICE_BYTES // 2
        ):  # no header, nor zeros, that others have too
            yield piece[start : start + SLICE_BYTES]


def forms(piece: bytes) -> dict[str, bytes]:
    """A piece of a picture as programs write bytes down, by the name of the form."""
    text = piece.decode("latin-1")
    words = [str(value) for value in piece]
    found = {
        "raw": piece,
        "hex": piece.hex().encode(),
        "HEX": piece.hex().upper().encode(),
        "percent": quote(piece, safe="").encode(),
        "JSON": json.dumps(text)[1:-1].encode(),
        "UTF-8": text.encode(),
        "JSON of surrogates": json.dumps(piece.decode("utf-8", "surrogateescape"))[1:-1].encode(),
        "repr": repr(piece)[2:-1].encode(),
        "backslashes": "".join(f"\\x{value:02x}" for value in piece).encode(),
        "numbers": ",".join(words).encode(),
        "spaced numbers": ", ".join(words).encode(),
    }
    for skipped in range(3):  # base64 writes three bytes together: of a piece within a file, any of these
        aligned = piece[skipped:]
        aligned = aligned[: len(aligned) // 3 * 3]
        found[f"base64 from {skipped}"] = base64.b64encode(aligned)
        found[f"URL-safe base64 from {skipped}"] = base64.urlsafe_b64encode(aligned)
    return found


class Search:
    """Finds any form of any of many pieces, in one pass over bytes."""

    def __init__(self, pieces: Iterable[tuple[str, bytes]]) -> None:
        self._by_head: dict[int, dict[bytes, str]] = {}
        for name, piece in pieces:
            for form, written in forms(piece).items():
                head = int.from_bytes(written[:_HEAD_BYTES], "little")
                self._by_head.setdefault(head, {})[written] = f"{name}, {form}"
        self._longest = max(len(written) for found in self._by_head.values() for written in found)
        self._table = np.zeros(2**_TABLE_BITS, bool)
        self._table[_hashed(np.array(list(self._by_head), np.uint64))] = True

    def found(self, data: bytes) -> set[str]:
        """What of the pieces is there: their names and forms."""
        names: set[str] = set()
        for start in range(0, len(data), _CHUNK_BYTES):
            names |= self._found_within(data[start : start + _CHUNK_BYTES + self._longest])
        return names

    def _found_within(self, data: bytes) -> set[str]:
        names = set()
        for offset in range(min(_HEAD_BYTES, len(data))):
            words = np.frombuffer(data, "<u8", count=(len(data) - offset) // _HEAD_BYTES, offset=offset)
            likely = np.flatnonzero(self._table[_hashed(words)])
            for place, word in zip(likely.tolist(), words[likely].tolist(), strict=True):
                for written, name in self._by_head.get(word, {}).items():
                    if data.startswith(written, place * _HEAD_BYTES + offset):
                        names.add(name)
        return names


def _hashed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return (words * _FACTOR) >> np.uint64(64 - _TABLE_BITS)
