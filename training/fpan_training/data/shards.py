"""Data sets as tar files that are read from a path or a URL, picture by picture.

A shard is a tar as the library WebDataset writes and reads it: ``NAME.jpg`` (or another ending) and ``NAME.mask.png``
for each picture, one behind the other; a ``.`` in a name is written ``%2E``, because the first one ends the key there.
``shards.json`` beside the tars says at which byte each file begins. So pictures are read in any order, like those of a
folder, by one request for the bytes of both files: epochs, resuming and the shares of several processes are those of
:class:`fpan_training.data.loader.EpochSampler`, the same for folders and shards. With a cache whole shards are copied
when first used, and then read from there.

fsspec opens files, http(s), s3, gs and others by their URL. WebDataset itself only streams: the order of its pictures
depends on the number of workers and processes, and a run could not be resumed where it stopped.
"""

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import fsspec
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from fpan_training.data.check import check
from fpan_training.data.folder import (
    SHARDS_FILE,
    DataError,
    FaceFolder,
    Sample,
    decode_labels,
    decode_rgb,
    read_splits,
)
from fpan_training.data.label_space import DATASET_FILE, DatasetFile, LabelSpace
from fpan_training.engine.progress import track

ALL = "all"
"""The only split of data sets without ``split.json``; it stands for any split."""
_BLOCK = 512
"""Bytes that members of a tar are filled up to."""
_MEGABYTE = 1_000_000


class Entry(BaseModel):
    """Where a picture lies in its shard, in bytes."""

    model_config = ConfigDict(frozen=True)

    name: str
    image: tuple[int, int]
    """Offset and length."""
    mask: tuple[int, int]
    """Offset and length."""


class Shard(BaseModel):
    """One tar."""

    model_config = ConfigDict(frozen=True)

    file: str
    """Its name beside the manifest."""
    pictures: tuple[Entry, ...]


class Manifest(BaseModel):
    """``shards.json``."""

    model_config = ConfigDict(frozen=True)

    dataset: DatasetFile
    """What ``dataset.json`` says."""
    splits: dict[str, tuple[Shard, ...]]


@dataclass(frozen=True)
class ShardFolder:
    """A split of a data set in shards; to be used as :class:`fpan_training.data.folder.FaceFolder` is."""

    location: str
    names: tuple[str, ...]
    space: LabelSpace
    cache: Path | None
    _entries: tuple[tuple[str, Entry], ...] = field(repr=False)
    """Shard and place of each picture."""
    _systems: dict[int, tuple[Any, str]] = field(default_factory=dict, repr=False, compare=False)
    """fsspec's file system and the path there, by process: one made before a fork does not work after it."""

    @classmethod
    def open(cls, location: str, split: str, cache: Path | None = None) -> "ShardFolder":
        """Reads the manifest.

        Args:
            location: path or URL of the folder of shards. ``s3://`` needs the package s3fs, ``gs://`` gcsfs.
            split: ``train``, ``val``, ...
            cache: folder that shards are copied to when first used, for good; None: bytes are read where they lie.
                With many processes on a machine one cache serves them all.

        Raises:
            DataError: the manifest cannot be read, or has no such split.
        """
        manifest = read_manifest(location)
        shards = manifest.splits.get(split, manifest.splits.get(ALL))
        if shards is None:
            raise DataError(f"{location} has no split {split!r}; it has: {', '.join(sorted(manifest.splits))}")
        entries = sorted(((shard.file, e) for shard in shards for e in shard.pictures), key=lambda pair: pair[1].name)
        space = LabelSpace.of_file(manifest.dataset, location)
        return cls(location, tuple(entry.name for _, entry in entries), space, cache, tuple(entries))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Reads one pair.

        Raises:
            DataError: the bytes cannot be had, or are no picture and mask of one size.
        """
        shard, entry = self._entries[index]
        begin, end = min(entry.image[0], entry.mask[0]), max(sum(entry.image), sum(entry.mask))
        data = self._read(shard, begin, end)
        image, mask = (data[offset - begin : offset - begin + size] for offset, size in (entry.image, entry.mask))
        where = f"{self.location}/{shard}: {entry.name}"
        sample = Sample(entry.name, decode_rgb(image, where), decode_labels(mask, where))
        if sample.image.shape[:2] != sample.labels.shape:
            raise DataError(f"{where}: picture and mask differ in size")
        return sample

    def labels(self, index: int) -> NDArray[np.uint8]:
        """The mask of a picture alone, uint8 (H, W); DataError as for a pair."""
        shard, entry = self._entries[index]
        offset, size = entry.mask
        return decode_labels(self._read(shard, offset, offset + size), f"{self.location}/{shard}: {entry.name}")

    def state(self) -> str:
        """Text that changes when the shards are written anew with other pictures: a digest of where each lies."""
        return hashlib.sha256(repr(self._entries).encode()).hexdigest()

    def _read(self, shard: str, begin: int, end: int) -> bytes:
        try:
            if self.cache is not None:
                with self._cached(self.cache, shard).open("rb") as file:
                    file.seek(begin)
                    data = file.read(end - begin)
            else:
                system, path = self._system()
                data = bytes(system.cat_file(f"{path}/{shard}", start=begin, end=end))
        except (OSError, ValueError) as error:
            raise DataError(f"{self.location}/{shard} cannot be read: {error or type(error).__name__}") from error
        if len(data) != end - begin:
            raise DataError(
                f"{self.location}/{shard} gave {len(data)} bytes instead of {end - begin}: it is not whole, or the "
                "server does not know ranges of bytes (then name a cache)"
            )
        return data

    def _cached(self, cache: Path, shard: str) -> Path:
        """The copy of a shard; whole or not at all, whoever else is copying it too."""
        target = cache / shard
        if not target.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            system, path = self._system()
            handle, temporary = tempfile.mkstemp(dir=cache, prefix=f".{shard}.")
            os.close(handle)
            try:
                system.get_file(f"{path}/{shard}", temporary)
                Path(temporary).replace(target)
            finally:
                Path(temporary).unlink(missing_ok=True)
        return target

    def _system(self) -> tuple[Any, str]:
        process = os.getpid()
        if process not in self._systems:
            self._systems[process] = open_location(self.location)
        return self._systems[process]


def open_location(location: str) -> tuple[Any, str]:
    """The file system, by fsspec, of a path or URL, and the path there.

    Raises:
        DataError: nothing is installed that reads such URLs.
    """
    try:
        system, path = fsspec.core.url_to_fs(location)
    except (ImportError, ValueError) as error:
        raise DataError(f"{location} cannot be opened: {error}") from error
    return system, str(path).rstrip("/")


def read_manifest(location: str) -> Manifest:
    """Reads ``shards.json`` at a path or URL.

    Raises:
        DataError: it cannot be read, or is none.
    """
    system, path = open_location(location)
    try:
        return Manifest.model_validate_json(system.cat_file(f"{path}/{SHARDS_FILE}"))
    except OSError as error:
        raise DataError(f"{location}/{SHARDS_FILE} cannot be read ({error}): `fpan-train shard` writes it") from error
    except ValidationError as error:
        raise DataError(f"{location}/{SHARDS_FILE} is no manifest of shards: {error.errors()[0]['msg']}") from error


@dataclass(frozen=True)
class Sharding:
    """Writes a folder of labelled pictures as tar shards, for training from a path or an object store's URL."""

    data: Path
    """``images/``, ``masks/``, and ``split.json`` and ``dataset.json`` where there are such."""
    out: str
    """Path or URL of a folder: ``shards/``, ``s3://bucket/faces``."""
    megabytes: int = 256
    """Of a shard, about. The same pictures and size give the same bytes."""
    seed: int = 0
    """Of the order in which pictures go to shards, so that each shard is a fair sample."""

    def __call__(self) -> Manifest:
        """Writes the shards of every split, and last the manifest.

        Raises:
            DataError: the data set is not in order; everything that is wrong is listed.
        """
        check(self.data)
        system, path = open_location(self.out)
        system.makedirs(path, exist_ok=True)
        splits = sorted(read_splits(self.data) or {ALL: []})
        dataset = self.data / DATASET_FILE
        manifest = Manifest(
            dataset=DatasetFile.read(dataset) if dataset.is_file() else DatasetFile(),
            splits={split: tuple(self._write(split, system, path)) for split in splits},
        )
        system.pipe_file(f"{path}/{SHARDS_FILE}", manifest.model_dump_json().encode())
        shards = [shard for split in manifest.splits.values() for shard in split]
        print(f"{self.out}: {sum(len(s.pictures) for s in shards)} pictures in {len(shards)} shards")
        return manifest

    def _write(self, split: str, system: Any, path: str) -> Iterator[Shard]:
        folder = FaceFolder.open(self.data, split)
        order = np.random.default_rng(self.seed).permutation(len(folder))
        pending = list(reversed(order.tolist()))
        total, number = len(pending), 0
        bar = iter(track(range(total), f"writing {split}", total))
        while pending:
            file = f"{split}-{number:06}.tar"
            with tempfile.NamedTemporaryFile(suffix=".tar") as local:
                entries: list[Entry] = []
                with tarfile.open(fileobj=local, mode="w", format=tarfile.PAX_FORMAT) as tar:
                    while pending and (not entries or tar.offset < self.megabytes * _MEGABYTE):
                        entries.append(_add_pair(tar, folder, pending.pop()))
                        next(bar, None)
                local.flush()
                system.put_file(local.name, f"{path}/{file}")
            yield Shard(file=file, pictures=tuple(entries))
            number += 1
        next(bar, None)


def _add_pair(tar: tarfile.TarFile, folder: FaceFolder, index: int) -> Entry:
    name = folder.names[index]
    key = quote(name, safe=" +=@").replace(".", "%2E")
    image = _add(tar, key + folder.paths[index].suffix.lower(), folder.paths[index].read_bytes())
    mask = _add(tar, f"{key}.mask.png", (folder.root / "masks" / f"{name}.png").read_bytes())
    return Entry(name=name, image=image, mask=mask)


def name_of(member: str) -> str:
    """The name of the picture that a member of a shard belongs to."""
    return unquote(member.partition(".")[0])


def _add(tar: tarfile.TarFile, member: str, data: bytes) -> tuple[int, int]:
    info = tarfile.TarInfo(member)
    info.size = len(data)
    tar.addfile(info, BytesIO(data))
    return tar.offset - -(-len(data) // _BLOCK) * _BLOCK, len(data)
