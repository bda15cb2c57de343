"""Makes the split of a folder that has none: at random, or by the pictures' names."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fpan_training.data.folder import SPLIT_FILE, DataError, list_pictures, read_splits
from fpan_training.files import write_whole


@dataclass(frozen=True)
class SplitConfig:
    """How pictures are divided where nobody has done so."""

    val_share: float = 0.2
    """Of the pictures that go to ``val``: few pictures need a larger share than many for a score to mean anything."""
    seed: int = 0


def ensure_split(root: Path, config: SplitConfig) -> bool:
    """Writes ``split.json`` with ``train`` and ``val`` into a folder that has none; whether it did.

    Raises:
        DataError: there are too few pictures to divide, or the folder cannot be written to.
    """
    if read_splits(root) is not None:
        return False
    names = np.array([path.stem for path in list_pictures(root)])
    count = round(len(names) * config.val_share)
    if not 0 < count < len(names):
        raise DataError(f"{len(names)} pictures in {root}/images cannot be divided into train and val")
    order = np.random.default_rng(config.seed).permutation(len(names))
    splits = {"train": sorted(names[order[count:]].tolist()), "val": sorted(names[order[:count]].tolist())}
    write_splits(root, splits)
    print(
        f"{root} had no {SPLIT_FILE}: {len(splits['train'])} pictures are train and {count} val now, drawn with seed "
        f"{config.seed}. Where several pictures show one person, divide them by person instead"
    )
    return True


@dataclass(frozen=True)
class Split:
    """Writes split.json of a data set that has none: pictures whose names fit a pattern are val, all others train.

    So pictures of one person or scene stay together where their names say whom they show.
    """

    data: Path
    """A data set with ``images/``."""
    val_pattern: str
    """Regular expression that is looked for in the names without their endings: ``[05]$`` is every fifth number,
    ``personne0[67]`` the people 06 and 07."""

    def __call__(self) -> dict[str, list[str]]:
        """Writes the file and returns what it says.

        Raises:
            DataError: there is a split already, the pattern is none, or either split would have no picture.
        """
        if read_splits(self.data) is not None:
            raise DataError(f"{self.data / SPLIT_FILE} is there already: remove it first")
        try:
            pattern = re.compile(self.val_pattern)
        except re.error as error:
            raise DataError(f"{self.val_pattern!r} is no regular expression: {error}") from error
        names = [path.stem for path in list_pictures(self.data)]
        val = [name for name in names if pattern.search(name)]
        if not 0 < len(val) < len(names):
            raise DataError(f"{self.val_pattern!r} fits {len(val)} of the {len(names)} names in {self.data}/images")
        splits = {"train": sorted(set(names) - set(val)), "val": val}
        write_splits(self.data, splits)
        print(f"{self.data}: {len(splits['train'])} pictures are train and {len(val)} val")
        return splits


def write_splits(root: Path, splits: dict[str, list[str]]) -> None:
    """Writes ``split.json``, whole or not at all.

    Raises:
        DataError: the folder cannot be written to.
    """
    try:
        write_whole(root / SPLIT_FILE, (json.dumps(splits, indent=1) + "\n").encode())
    except OSError as error:
        raise DataError(f"{root / SPLIT_FILE} cannot be written ({error.strerror}): write it yourself") from error
