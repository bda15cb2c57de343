"""`fpan-train merge`: several data sets of one label space as one, without a second copy of their pictures."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from fpan_training.data.folder import SPLIT_FILE, DataError, list_pictures, read_splits
from fpan_training.data.label_space import DATASET_FILE, DatasetFile, LabelSpace, read_dataset_file, write_dataset_file
from fpan_training.files import write_whole


@dataclass(frozen=True)
class Merge:
    """Makes one data set of several whose masks tell the same classes apart: links to their pictures and masks, and the
    splits of all. Run it again and it does the rest.

    Pictures keep their names; where two sets have a picture of one name, the name of its set comes before it.
    """

    data: tuple[Path, ...]
    """Folders with ``images/``, ``masks/`` and ``split.json``."""
    out: Path
    """Folder to write."""

    def __call__(self) -> Path:
        """Writes the folder and returns it.

        Raises:
            DataError: a data set has no pictures or no ``split.json``, or the label spaces differ; all is named.
        """
        pictures = {root: list_pictures(root) for root in self.data}
        splits = {root: read_splits(root) for root in self.data}
        problems = [f"{root}/images has no pictures" for root, found in pictures.items() if not found]
        problems += [f"{root} has no {SPLIT_FILE}" for root, found in splits.items() if found is None]
        spaces = {root: LabelSpace.of_folder(root) for root in self.data}
        first = spaces[self.data[0]]
        problems += [
            f"the masks of {root} tell other classes apart than those of {self.data[0]}"
            for root, space in spaces.items()
            if (space.declared, space.ignored) != (first.declared, first.ignored)
        ]
        if problems:
            raise DataError("these data sets cannot be merged:\n  " + "\n  ".join(problems))
        names = [path.stem for found in pictures.values() for path in found]
        double = {name for name, count in Counter(names).items() if count > 1}
        merged: dict[str, list[str]] = {}
        for root, found in pictures.items():
            renamed = {path.stem: f"{root.name}-{path.stem}" if path.stem in double else path.stem for path in found}
            for path in found:
                _link(path, self.out / "images" / f"{renamed[path.stem]}{path.suffix}")
                _link(root / "masks" / f"{path.stem}.png", self.out / "masks" / f"{renamed[path.stem]}.png")
            for split, chosen in (splits[root] or {}).items():
                merged.setdefault(split, []).extend(renamed.get(name, name) for name in chosen)
        write_whole(self.out / SPLIT_FILE, (json.dumps(merged, indent=1) + "\n").encode())
        files = [read_dataset_file(root) for root in self.data]
        file = DatasetFile(
            name=_joined([file.name or root.name for root, file in zip(self.data, files, strict=True)]),
            labels=first.labels(),
            source=_joined([file.source for file in files]),
            # Where one set does not say its terms, nobody knows those of all.
            licence=_joined([file.licence for file in files]) if all(file.licence for file in files) else "",
            frame=files[0].frame,
        )
        write_dataset_file(self.out / DATASET_FILE, file)
        return self.out


def _joined(texts: list[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))


def _link(target: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(target.resolve())
