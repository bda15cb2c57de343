"""A data set of some of the training pictures of another, without a second copy of them."""

import json
from pathlib import Path

import numpy as np

from fpan_training.data.folder import SPLIT_FILE, DataError, read_splits
from fpan_training.data.label_space import DATASET_FILE, derived, write_dataset_file
from fpan_training.files import write_whole


def subset(data: Path, out: Path, pictures: int, seed: int) -> Path:
    """Writes a folder with links to ``images/`` and ``masks/`` of another and a split of its own; returns it.

    Those of one seed lie within each other: the 50 are among the 200.

    Args:
        data: a data set with the splits ``train`` and ``val``.
        out: folder to write.
        pictures: how many of ``train`` it has; 0: there is no such split. ``val`` is whole.
        seed: which.

    Raises:
        DataError: there is no split, or too few pictures.
    """
    splits = read_splits(data)
    if splits is None or len(splits.get("train", ())) < pictures:
        raise DataError(f"{data} has no {pictures} pictures in the split train")
    order = np.random.default_rng(seed).permutation(sorted(splits["train"]))
    out.mkdir(parents=True, exist_ok=True)
    for name in ("images", "masks"):
        if not (out / name).is_symlink():
            (out / name).symlink_to((data / name).resolve())
    chosen = {split: names for split, names in splits.items() if split != "train"}
    if pictures:
        chosen["train"] = sorted(order[:pictures].tolist())
    write_whole(out / SPLIT_FILE, (json.dumps(chosen, indent=1) + "\n").encode())
    write_dataset_file(out / DATASET_FILE, derived(data, f"{pictures} of them", labels=None))
    return out
