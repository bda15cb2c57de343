"""Which photos a command line means, and what their answers are called."""

from pathlib import Path, PurePath

import pytest
from fpan.cli._photos import find
from fpan.pictures import unlike
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def tree(tmp_path):
    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        return tmp_path

    return make


def stems(photos):
    return [photo.stem.as_posix() for photo in photos]


def test_folders_are_searched_with_all_below_them_and_keep_their_shape(tree):
    root = tree("album/b.JPG", "album/a.png", "album/deep/er/c.heic", "album/notes.txt", "album/README")
    photos, missing = find([root / "album"], root / "out")
    assert stems(photos) == ["a", "b", "deep/er/c"]
    assert missing == []


def test_hidden_files_and_folders_are_left_out(tree):
    root = tree("album/a.jpg", "album/.b.jpg", "album/.cache/c.jpg")
    assert stems(find([root / "album"], root / "out")[0]) == ["a"]


def test_a_file_that_is_named_is_taken_whatever_it_is_called(tree):
    root = tree("odd.dat")
    assert stems(find([root / "odd.dat"], root / "out")[0]) == ["odd"]


def test_a_photo_that_is_named_twice_is_parsed_once(tree):
    root = tree("album/a.jpg")
    photos, _ = find([root / "album/a.jpg", root / "album", root / "album" / ".." / "album" / "a.jpg"], root / "out")
    assert stems(photos) == ["a"]


def test_what_is_not_there_and_empty_folders_are_told(tree):
    root = tree("empty/notes.txt")
    photos, missing = find([root / "no.jpg", root / "empty"], root / "out")
    assert photos == []
    assert [(m.path.name, m.why) for m in missing] == [
        ("no.jpg", "no such file or folder"),
        ("empty", "no photos in this folder"),
    ]


def test_answers_of_an_earlier_run_inside_the_folder_are_no_photos(tree):
    root = tree("album/a.jpg", "album/out/a.labels.png", "album/out/a.overlay.png")
    assert stems(find([root / "album"], root / "album" / "out")[0]) == ["a"]


def test_answers_of_an_earlier_run_beside_the_photos_are_no_photos(tree):
    root = tree("album/a.jpg", "album/a.labels.png", "album/a.cutout.png", "album/b.png")
    assert stems(find([root / "album"], root / "album")[0]) == ["a", "b"]
    elsewhere, _ = find([root / "album"], root / "elsewhere")
    assert sorted(stems(elsewhere)) == ["a", "a.cutout", "a.labels", "b"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.jpg", "b.jpg"], ["a", "b"]),
        (["a.jpg", "a.png"], ["a-jpg", "a-png"]),
        (["a.jpg", "A.JPG"], ["a-jpg", "A-JPG-2"]),
        (["x/a.jpg", "y/a.jpg"], ["x/a", "y/a"]),
        (["a.jpg", "a.jpg", "a.jpg"], ["a-jpg", "a-jpg-2", "a-jpg-3"]),
        (["a.jpg", "a.png", "a-jpg.gif"], ["a-jpg-2", "a-png", "a-jpg"]),
        (["my.photo.jpg", "my.jpg"], ["my.photo", "my"]),
        (["a", "a"], ["a", "a-2"]),
    ],
)
def test_stems_are_short_and_unlike(names, expected):
    assert [stem.as_posix() for stem in unlike([PurePath(name) for name in names])] == expected


name = st.builds(
    lambda folder, stem, suffix: PurePath(folder) / (stem + suffix),
    st.sampled_from(["", "x", "X"]),
    st.sampled_from(["a", "A", "a-2", "a-jpg", "a-jpg-2", "b"]),
    st.sampled_from(["", ".jpg", ".JPG", ".png", ".2"]),
)


@given(st.lists(name, max_size=12))
def test_no_two_photos_share_a_stem_even_where_case_does_not_count(names):
    found = unlike(names)
    assert len({stem.as_posix().casefold() for stem in found}) == len(names)
    assert [stem.parent for stem in found] == [each.parent for each in names]


def test_stems_stay_inside_the_folder_for_answers(tree):
    root = tree("album/a.jpg")
    photos, _ = find([Path(root / "album" / ".." / "album")], root / "out")
    assert all(".." not in photo.stem.parts and not photo.stem.is_absolute() for photo in photos)
