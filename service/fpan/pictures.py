"""Which files are pictures, and names for what is made of them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".avif", ".heic", ".heif", ".gif", ".tif", ".tiff"})
"""Of the files that a folder is searched for. A file that is named itself is sent whatever it is called."""


def unlike(names: Sequence[PurePath]) -> list[PurePath]:
    """A stem for each file name, all unlike even where case does not count.

    ``photo.jpg`` becomes ``photo``; where ``photo.png`` is there too, ``photo-jpg`` and ``photo-png``; where that is
    not enough, a number follows.
    """
    short = Counter(_key(name.with_suffix("")) for name in names)
    taken: set[str] = set()
    stems = []
    for name in names:
        plain = name.with_suffix("")
        alone = short[_key(plain)] == 1 or not name.suffix
        stem = plain if alone else plain.with_name(f"{plain.name}-{name.suffix[1:]}")
        candidate, number = stem, 2
        while _key(candidate) in taken or (candidate != plain and _key(candidate) in short):
            candidate, number = stem.with_name(f"{stem.name}-{number}"), number + 1
        taken.add(_key(candidate))
        stems.append(candidate)
    return stems


def _key(name: PurePath) -> str:
    return name.as_posix().casefold()
