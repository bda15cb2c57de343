"""Several data sets as one."""

import json
from pathlib import Path

import numpy as np
import pytest
from fpan_training.data import FaceFolder
from fpan_training.data.folder import DataError
from fpan_training.data.label_space import DATASET_FILE, DatasetFile, read_dataset_file, write_dataset_file
from fpan_training.data.merge import Merge

from tests.unit.training.conftest import draw_face, write_pair


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two sets that share one name; the second has a licence."""
    rng = np.random.default_rng(3)
    roots = tmp_path / "one", tmp_path / "two"
    for root, names in zip(roots, (("a", "b"), ("b", "c")), strict=True):
        for name in names:
            write_pair(root, name, *draw_face(rng))
        (root / "split.json").write_text(json.dumps({"train": [names[0]], "val": [names[1]]}))
    write_dataset_file(roots[1] / DATASET_FILE, DatasetFile(name="Two", licence="CC0-1.0"))
    return roots


def test_pictures_and_splits_of_all_are_there_once(two: tuple[Path, Path], tmp_path: Path) -> None:
    out = Merge(two, tmp_path / "all")()
    assert FaceFolder.open(out, "train").names == ("a", "two-b")
    val = FaceFolder.open(out, "val")
    assert val.names == ("c", "one-b")
    assert (val[1].labels == FaceFolder.open(two[0], "val")[0].labels).all()
    assert (out / "images" / "a.png").is_symlink()
    assert Merge(two, tmp_path / "all")() == out


def test_terms_are_known_where_those_of_every_set_are(two: tuple[Path, Path], tmp_path: Path) -> None:
    assert read_dataset_file(Merge(two, tmp_path / "all")()).licence == ""
    write_dataset_file(two[0] / DATASET_FILE, DatasetFile(licence="MIT"))
    assert read_dataset_file(Merge(two, tmp_path / "all")()).licence == "MIT; CC0-1.0"


def test_sets_that_cannot_be_one_are_refused_together(two: tuple[Path, Path], tmp_path: Path) -> None:
    write_dataset_file(two[1] / DATASET_FILE, DatasetFile(labels={"0": "rest", "1": "hair"}))
    (two[0] / "split.json").unlink()
    with pytest.raises(DataError, match=r"(?s)one has no split.json.*two tell other classes apart"):
        Merge(two, tmp_path / "all")()
    assert not (tmp_path / "all").exists()
