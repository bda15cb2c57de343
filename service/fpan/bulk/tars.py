"""A shard as a tar of WebDataset: ``KEY.labels.png``, ``KEY.json`` and, if wanted, the picture, one behind the other.

Only pictures that have labels are in it. Where pictures are in it, ``shards.json`` beside the shards says at which byte
each file begins: by that :mod:`fpan_training` trains from it.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from PIL import Image
from pydantic import BaseModel, ConfigDict

from fpan.bulk.labeller import Labelled
from fpan.bulk.spec import LabelSpec
from fpan.client import Result

SUFFIX = ".tar"
MANIFEST_FILE = "shards.json"
"""What training looks for."""
_BLOCK = 512
"""Bytes that members of a tar are filled up to."""
_TRAINED_ON = ("JPEG", "PNG", "WEBP")
_ORIENTATION = 0x0112
"""EXIF's tag; 1 is upright."""
_DRAWN = ("png", "confidence")
_VAL_SHARE = 0.1
"""Of the pictures that training can read, how many are its ``val``."""
_PASSING = ("request_id", "timing_ms")
"""Members of an answer that say nothing of the picture."""


class Entry(BaseModel):
    """Where a picture that can be trained on lies in its shard: offset and length in bytes of its two files."""

    model_config = ConfigDict(frozen=True)

    name: str
    image: tuple[int, int]
    mask: tuple[int, int]


class TarShard:
    """Collects members; see :class:`fpan.bulk.shard.Writer`."""

    def __init__(self, order: LabelSpec) -> None:
        self._order = order
        self._file = BytesIO()
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - by finish
        self.entries: list[Entry] = []
        """Of the pictures that can be trained on."""

    def add(self, done: Labelled) -> None:
        """The members of a picture; none where it failed."""
        if done.result is None:
            return
        key, result = key_of(done.picture.name), done.result
        image = None
        if done.data is not None:
            image = self._add(key + PurePosixPath(done.picture.path).suffix.lower(), done.data)
        mask = self._add(f"{key}.labels.png", result.pictures["png"])
        if self._order.confidence:
            self._add(f"{key}.confidence.png", result.pictures["confidence"])
        words = {"key": done.picture.name, "path": done.picture.path, "sha256": done.sha256, **_words(result)}
        self._add(f"{key}.json", json.dumps(words).encode())
        if image is not None and done.data is not None and result.faces and self._is_read_alike(done.data):
            self.entries.append(Entry(name=done.picture.name, image=image, mask=mask))

    def finish(self) -> bytes:
        """The file."""
        self._tar.close()
        return self._file.getvalue()

    def _add(self, member: str, data: bytes) -> tuple[int, int]:
        info = tarfile.TarInfo(member)
        info.size = len(data)
        self._tar.addfile(info, BytesIO(data))
        return self._tar.offset - -(-len(data) // _BLOCK) * _BLOCK, len(data)

    def _is_read_alike(self, data: bytes) -> bool:
        """Whether training reads the picture, and turns it as the gateway did."""
        try:
            with Image.open(BytesIO(data), formats=_TRAINED_ON) as image:
                upright = image.getexif().get(_ORIENTATION, 1) == 1
                jpeg = image.format != "PNG" and image.format != "WEBP"
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return False
        return upright or (jpeg and self._order.orientation == "exif")


def key_of(name: str) -> str:
    """The key of a picture in a tar: up to the first ``.`` of a member's name, so that it has none itself."""
    key = quote(name, safe="/ +=@").replace(".", "%2E")
    # WebDataset passes over `__NAME__` as its own.
    return "/".join(f"%5F{part[1:]}" if part.startswith("__") else part for part in key.split("/"))


def manifest(order: LabelSpec, shards: Iterable[tuple[str, Iterable[Entry]]]) -> bytes:
    """``shards.json`` of all shards: their file names and what can be trained on in each."""
    taxonomy, kept = order.taxonomy, order.kept
    background = taxonomy.background
    labels: dict[str, str] = {str(c.id): c.name for c in taxonomy.classes if not kept or c.name in kept}
    if kept:
        labels[str(background)] = "rest"
    made = f"labelled by {order.model.pinned} (sha256 {order.model.sha256}) with fpan batch"
    dataset = {"name": "labelled in bulk", "labels": labels, "source": made, "licence": ""}
    listed = [(file, list(entries)) for file, entries in shards]
    splits = {
        split: [
            {"file": file, "pictures": [e.model_dump() for e in some if (split == "val") == _validates(e.name)]}
            for file, some in listed
        ]
        for split in ("train", "val")
    }
    return json.dumps({"dataset": dataset, "splits": splits}).encode()


def _validates(name: str) -> bool:
    """By a hash of the name, as `fpan-train import` does it: a picture stays in its split whatever else is there."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64 < _VAL_SHARE


def _words(result: Result) -> dict[str, Any]:
    return {name: value for name, value in result.raw.items() if name not in (*_DRAWN, *_PASSING)}
