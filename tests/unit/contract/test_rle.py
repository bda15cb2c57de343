"""COCO run lengths agree with pycocotools and survive the way there and back."""

import json

import numpy as np
import pytest
from fpan import rle
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco

NAMES = {i: f"part {i}" for i in range(1, 6)}
shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)
masks = hnp.arrays(np.bool_, shapes)
label_maps = hnp.arrays(np.uint8, shapes, elements=st.integers(0, 5))


def of_coco(mask: NDArray[np.bool_]) -> str:
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


@given(masks)
def test_masks_are_encoded_as_pycocotools_does_and_read_back(mask: NDArray[np.bool_]) -> None:
    counts = rle.encode(mask)
    assert counts == of_coco(mask)
    assert (rle.decode(counts, mask.shape) == mask).all()


@given(masks)
def test_uncompressed_counts_alternate_and_add_up(mask: NDArray[np.bool_]) -> None:
    counts = rle.mask_counts(mask).tolist()
    assert sum(counts) == mask.size
    assert sum(counts[1::2]) == mask.sum()
    assert all(counts[1:])
    compressed = coco.frPyObjects({"size": list(mask.shape), "counts": counts}, *mask.shape)
    assert compressed["counts"].decode() == rle.encode(mask)


@given(label_maps)
def test_label_maps_are_read_back_and_each_class_is_the_coco_mask_of_its_id(labels: NDArray[np.uint8]) -> None:
    encoded = rle.encode_classes(labels, NAMES)
    assert (rle.decode_classes(json.loads(json.dumps(encoded))) == labels).all()
    assert [c["id"] for c in encoded["classes"]] == sorted(set(labels.ravel().tolist()) - {0})
    for one in encoded["classes"]:
        assert one["name"] == NAMES[one["id"]]
        assert one["counts"] == of_coco(labels == one["id"])


@given(label_maps, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_a_window_is_encoded_as_the_whole_map_that_it_lies_in(
    labels: NDArray[np.uint8], left: int, top: int, right: int, bottom: int
) -> None:
    whole = np.pad(labels, ((top, bottom), (left, right)))
    window = (left, top, left + labels.shape[1], top + labels.shape[0])
    assert rle.encode_classes(labels, NAMES, window, whole.shape) == rle.encode_classes(whole, NAMES)


def test_ids_without_a_name_are_left_to_the_background() -> None:
    labels = np.array([[0, 1], [255, 2]], np.uint8)
    encoded = rle.encode_classes(labels, {2: "two"})
    assert [c["id"] for c in encoded["classes"]] == [2]
    assert rle.decode_classes(encoded, background=9).tolist() == [[9, 9], [9, 2]]


def test_the_object_is_the_documented_one() -> None:
    assert rle.encode_classes(np.array([[0, 3, 3]], np.uint8), NAMES) == {
        "encoding": "coco_rle",
        "order": "column-major",
        "size": [1, 3],
        "classes": [{"id": 3, "name": "part 3", "counts": "12"}],
    }


def test_an_empty_window_has_no_classes() -> None:
    empty = np.zeros((0, 0), np.uint8)
    assert rle.encode_classes(empty, NAMES, (0, 0, 0, 0), (4, 5))["classes"] == []


@pytest.mark.parametrize("window", [(0, 0, 3, 2), (-1, 0, 1, 2), (4, 0, 6, 2), (0, 3, 2, 5)])
def test_a_window_that_does_not_fit_is_refused(window: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="does not lie"):
        rle.encode_classes(np.zeros((2, 2), np.uint8), NAMES, window, (4, 5))


@given(st.text(st.characters(min_codepoint=1, max_codepoint=300), max_size=40))
@settings(max_examples=300)
def test_text_that_is_no_run_lengths_is_a_value_error(text: str) -> None:
    try:
        assert rle.decode(text, (3, 4)).shape == (3, 4)
    except ValueError:
        return


@pytest.mark.parametrize("counts", ["", "00", "d0", "=", "<1", "P" * 40 + "0", "~", "é", "o" * 11 + "0"])
def test_run_lengths_that_do_not_fit_the_size_are_a_value_error(counts: str) -> None:
    with pytest.raises(ValueError):
        rle.decode(counts, (3, 4))


def test_another_encoding_is_a_value_error() -> None:
    encoded = rle.encode_classes(np.ones((2, 2), np.uint8), NAMES)
    with pytest.raises(ValueError, match="polygons"):
        rle.decode_classes({**encoded, "encoding": "polygons"})


def test_long_runs_take_several_characters() -> None:
    mask = np.zeros((3000, 4000), np.bool_)
    mask[1000:2000, 1234:2345] = True
    assert rle.encode(mask) == of_coco(mask)
    assert (rle.decode(rle.encode(mask), mask.shape) == mask).all()
