"""Whatever is wrong with a data set is found, all of it at once."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fpan_training.data.check import Check, check, problems
from fpan_training.data.folder import DataError
from fpan_training.data.label_space import LabelSpace
from PIL import Image

MakePair = Callable[..., None]


@pytest.fixture
def root(tmp_path: Path, make_pair: MakePair) -> Path:
    """Twelve good pairs."""
    rng = np.random.default_rng(0)
    for i in range(12):
        make_pair(
            tmp_path, f"p{i:02}", rng.integers(0, 256, (40, 50, 3), np.uint8), rng.integers(0, 20, (40, 50), np.uint8)
        )
    (tmp_path / "split.json").write_text(json.dumps({"train": ["p00", "p01"], "val": ["p02"]}))
    return tmp_path


def test_nothing_is_wrong_with_a_good_data_set(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert problems(root) == []
    check(root)
    Check((root,))()
    assert "nothing is wrong" in capsys.readouterr().out


def test_everything_that_is_wrong_is_said_at_once(root: Path, make_pair: MakePair) -> None:
    (root / "masks" / "p00.png").unlink()
    Image.new("RGB", (50, 40)).save(root / "images" / "p01.jpg")
    make_pair(root, "p02", np.zeros((40, 50, 3), np.uint8), np.zeros((50, 40), np.uint8))
    make_pair(root, "p03", np.zeros((40, 50, 3), np.uint8), np.full((40, 50), 77, np.uint8))
    whole = (root / "images" / "p04.png").read_bytes()
    (root / "images" / "p04.png").write_bytes(whole[: len(whole) // 2])
    (root / "images" / "p05.png").write_bytes(b"")
    Image.new("RGB", (50, 40)).save(root / "masks" / "p06.png")
    whole = (root / "masks" / "p07.png").read_bytes()
    (root / "masks" / "p07.png").write_bytes(whole[: len(whole) // 2])
    Image.new("I;16", (50, 40)).save(root / "masks" / "p08.png")
    Image.effect_noise((200, 200), 90).convert("RGB").save(root / "images" / "p09.jpg")
    (root / "images" / "p09.png").unlink()
    data = (root / "images" / "p09.jpg").read_bytes()
    (root / "images" / "p09.jpg").write_bytes(data[: len(data) // 2])
    (root / "landmarks").mkdir()
    (root / "landmarks" / "p10.json").write_text('{"points": [[1, 2]]}')
    (root / "split.json").write_text(json.dumps({"train": ["p00", "p00", "gone"], "val": ["p00"], "test": []}))
    (root / "dataset.json").write_text('{"labels": {"0": "hiar"}}')
    found = problems(root, LabelSpace.full())
    text = "\n".join(found)
    for words in (
        "p01: 2 pictures of this name",
        "split.json, train: gone has no picture",
        "split.json, train: p00 is listed more than once",
        "split.json, test: no name",
        "split.json: p00 is in several splits",
        "p00: no mask in masks/",
        "p02: picture and mask differ in size: 50 x 40 and 40 x 50",
        "p03: its mask has value 77, which the label space 'full' does not know",
        "images/p04.png is broken",
        "images/p05.png is broken",
        "p06: its mask is RGB: a label map has one channel of 8 bits",
        "masks/p07.png is broken",
        "p08: its mask is I;16",
        "images/p09.jpg is broken",
        "p10.json: needs",
    ):
        assert words in text
    assert not [line for line in found if "p11" in line]
    assert "neither class nor group" in problems(root)[0]
    with pytest.raises(DataError, match=f"{len(problems(root))} things are wrong"):
        check(root)


def test_the_message_of_training_is_not_endless(root: Path) -> None:
    for path in (root / "masks").glob("*"):
        path.unlink()
    (root / "split.json").write_text(json.dumps({"train": [f"q{i}" for i in range(60)]}))
    with pytest.raises(DataError) as caught:
        check(root)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("72 things are wrong")
    assert lines[-1] == "  ... and 22 more: see `fpan-train check`"


def test_the_command_prints_each_folder_and_ends_with_status_1(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "masks" / "p00.png").unlink()
    with pytest.raises(SystemExit) as ended:
        Check((root, root / "nowhere"))()
    assert ended.value.code == 1
    out = capsys.readouterr().out
    assert "p00: no mask" in out
    assert "nowhere: images/ has no pictures" in out


@pytest.mark.parametrize("content", ["{", "[]", '{"train": "p00"}', '{"train": [1]}'])
def test_a_wrong_split_file_is_told(root: Path, content: str) -> None:
    (root / "split.json").write_text(content)
    assert "split.json" in problems(root)[0]


def test_shards_were_checked_when_they_were_written(root: Path) -> None:
    (root / "masks" / "p00.png").unlink()
    (root / "shards.json").touch()
    check(root, "s3://bucket/faces")


def test_a_picture_that_lies_on_its_side_has_the_size_that_is_read(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 50)).save(root / "images" / "p00.jpg", exif=exif)
    (root / "images" / "p00.png").unlink()
    assert problems(root) == []


def test_the_own_data_sets_are_as_their_presets_say(fpan_data: Path) -> None:
    for name in ("fasseg_posed", "facesynthetics100"):
        assert problems(fpan_data / name, LabelSpace.preset(name)) == []
