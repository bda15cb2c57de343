"""Makes the split of a folder that has none."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fpan_training.data.folder import SPLIT_FILE, DataError, list_pictures, read_splits
from fpan_training.engine.loop import write_whole


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
    try:
        write_whole(root / SPLIT_FILE, (json.dumps(splits, indent=1) + "\n").encode())
    except OSError as error:
        raise DataError(f"{root / SPLIT_FILE} cannot be written ({error.strerror}): write it yourself") from error
    print(
        f"{root} had no {SPLIT_FILE}: {len(splits['train'])} pictures are train and {count} val now, drawn with seed "
        f"{config.seed}. Where several pictures show one person, divide them by person instead"
    )
    return True
