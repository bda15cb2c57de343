"""The files of what a labelling tool exported, in a folder or in a zip, and the pictures among them."""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from fpan_training.data.folder import IMAGE_ENDINGS, DataError

ANY_ENDING = tuple(ending for lower in IMAGE_ENDINGS for ending in (lower, lower.upper()))
"""Endings that a picture named without one may have."""
_FOLDERS = ("", "images", "JPEGImages", "photos")
"""Where labelling tools put pictures, relative to their own file."""
_NO_PHOTOS = ("annotation", "label", "mask", "segmentation")
"""How folders are called that hold masks, which would pass for pictures of the same name."""
_OF_MACOS = "__MACOSX"


class Files(Protocol):
    """Files by their paths with ``/``. They are read from several threads."""

    def names(self) -> list[str]:
        """Paths of all files, in order; without hidden ones."""
        ...

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        ...

    def folders(self, path: str) -> Sequence[str]:
        """Names of the folders in a folder, in order, in which pictures may lie; none if it is not there."""
        ...

    def read(self, path: str) -> bytes:
        """The content of a file.

        Raises:
            DataError: there is none of this path, or it cannot be read.
        """
        ...


class Folder:
    """The files of a folder; ``looked_through``: pictures are looked for in all of its folders."""

    def __init__(self, root: Path, looked_through: bool = True) -> None:
        self._root = root
        self._looked_through = looked_through
        self._folders: dict[str, list[str]] = {}

    def __str__(self) -> str:
        return str(self._root)

    def names(self) -> list[str]:
        """See :class:`Files`."""
        paths = (path.relative_to(self._root) for path in self._root.rglob("*") if path.is_file())
        return sorted(path.as_posix() for path in paths if not is_hidden(path.as_posix()))

    def has(self, path: str) -> bool:
        """See :class:`Files`."""
        return (self._root / path).is_file()

    def folders(self, path: str) -> Sequence[str]:
        """See :class:`Files`."""
        # Listed once: it is asked for every picture, and there may be many in it.
        if path not in self._folders:
            folder = self._root / path
            known = self._looked_through and folder.is_dir()
            within = [one.name for one in folder.iterdir() if one.is_dir()] if known else []
            self._folders[path] = sorted(name for name in within if not is_hidden(name))
        return self._folders[path]

    def read(self, path: str) -> bytes:
        """See :class:`Files`."""
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError as error:
            raise DataError(f"{self._root} has no {path}") from error
        except OSError as error:
            raise DataError(f"{self._root / path} cannot be read: {error.strerror}") from error


class Zip:
    """The files of a zip."""

    def __init__(self, path: Path) -> None:
        """Raises DataError if it is no zip."""
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is no readable zip: {error}") from error

    def __str__(self) -> str:
        return str(self._path)

    def names(self) -> list[str]:
        """See :class:`Files`."""
        return sorted(self._names)

    def has(self, path: str) -> bool:
        """See :class:`Files`."""
        return path in self._names

    def folders(self, path: str) -> Sequence[str]:
        """See :class:`Files`."""
        return self._folders.get(path, ())

    def read(self, path: str) -> bytes:
        """See :class:`Files`."""
        try:
            return self._zip.read(path)
        except KeyError as error:
            raise DataError(f"{self._path} has no {path}") from error
        except (OSError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{path} in {self._path} cannot be read: {error}") from error

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(name for name in self._zip.namelist() if not name.endswith("/") and not is_hidden(name))

    @cached_property
    def _folders(self) -> dict[str, list[str]]:
        within: dict[str, set[str]] = {}
        for name in self._names:
            parts = PurePosixPath(name).parts
            for depth, folder in enumerate(parts[:-1]):
                within.setdefault("/".join(parts[:depth]), set()).add(folder)
        return {path: sorted(names) for path, names in within.items()}


def is_hidden(path: str) -> bool:
    """Whether a path is of what systems leave beside files: ``.DS_Store``, ``._NAME``, ``__MACOSX/``."""
    return any(part.startswith(".") or part == _OF_MACOS for part in PurePosixPath(path).parts)


def find_picture(
    file: str,
    places: Sequence[Files],
    subset: str = "",
    endings: Sequence[str] = ("",),
    shared: bool = False,
) -> bytes:
    """The content of a picture that a labelling tool's file names.

    It is looked for in the places, in their usual subfolders, there in the folder of the subset, and then in any one
    subfolder; then without the first folders of its path, since pictures are moved together.

    Args:
        file: path as it stands in the tool's file.
        places: what it may be relative to.
        subset: the tool's name for the split, which is that of the folder in which it puts the pictures.
        endings: what may follow the path.
        shared: other subsets have a picture of this name, so that only the one in the subset's folder will do.

    Raises:
        DataError: it is nowhere, or in several places of which none is more likely.
    """
    parts = PurePosixPath(file.replace("\\", "/")).parts
    for place in places:
        for dropped in range(len(parts)):
            tails = [PurePosixPath(*parts[dropped:-1], parts[-1] + ending) for ending in endings]
            for path in _usual(tails, subset, shared):
                if place.has(path):
                    return place.read(path)
            within = [] if shared else sorted({path for path in _deeper(tails, place) if place.has(path)})
            if len(within) > 1:
                raise DataError(f"{file} may be any of {', '.join(within)} in {place}: name its folder with --images")
            if within:
                return place.read(within[0])
    where = ", ".join(map(str, places))
    if shared:
        where = f"a folder {subset} of {where}, and others have its name"
    raise DataError(f"{file} is not in {where}: name the folder of the pictures with --images")


def _usual(tails: Sequence[PurePosixPath], subset: str, shared: bool) -> Iterator[str]:
    for within in ([subset] if subset else []) + ([] if shared else [""]):
        for folder in _FOLDERS:
            yield from (PurePosixPath(folder, within, tail).as_posix() for tail in tails)


def _deeper(tails: Sequence[PurePosixPath], place: Files) -> Iterator[str]:
    for folder in _FOLDERS:
        for within in place.folders(folder):
            if not within.lower().startswith(_NO_PHOTOS):
                yield from (PurePosixPath(folder, within, tail).as_posix() for tail in tails if _is_below(tail))


def _is_below(path: PurePosixPath) -> bool:
    return not path.is_absolute() and ".." not in path.parts
