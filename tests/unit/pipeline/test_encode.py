"""Pictures that go out read back to what went in."""

import io

import numpy as np
import pytest
from fpan.contract import FaceClass, Taxonomy
from fpan.serve.pipeline.encode import confidence_png, cutout_png, indexed_png, overlay_png
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from tests.support.helpers_images import scene

COLOURS = ((0, 0, 0), (250, 10, 20), (30, 240, 50), (60, 70, 230))
TAXONOMY = Taxonomy(
    name="test",
    classes=tuple(
        FaceClass(id=i, name=n, title=n, colour=COLOURS[i], partner=i)
        for i, n in enumerate(("background", "skin", "hair", "cloth"))
    ),
    groups={"head": ("skin", "hair")},
)
shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG"
    image.load()
    return image


def blocks() -> NDArray[np.uint8]:
    """A label map of the size of the scene: skin left, hair beside it, cloth at the right end, background below."""
    labels = np.zeros((32, 48), np.uint8)
    labels[:20, 4:20], labels[:20, 20:36], labels[:20, 36:] = 1, 2, 3
    return labels


@given(hnp.arrays(np.uint8, shapes))
def test_indexed_png_reads_back_to_the_same_ids(labels: NDArray[np.uint8]) -> None:
    image = opened(indexed_png(labels, TAXONOMY))
    assert image.mode == "P"
    assert (np.asarray(image) == labels).all()


def test_indexed_png_has_the_256_colours_of_the_taxonomy_and_8_bits() -> None:
    data = indexed_png(np.zeros((4, 4), np.uint8), TAXONOMY)
    assert data[24:26] == b"\x08\x03"
    assert opened(data).getpalette() == TAXONOMY.palette.ravel().tolist()


def test_indexed_png_takes_a_view_that_is_not_contiguous() -> None:
    labels = blocks()
    assert (np.asarray(opened(indexed_png(labels.T, TAXONOMY))) == labels.T).all()


def test_indexed_png_of_large_areas_is_small() -> None:
    labels = np.kron(blocks(), np.ones((64, 64), np.uint8))
    assert len(indexed_png(labels, TAXONOMY)) < labels.size / 100


@given(hnp.arrays(np.uint8, shapes, elements=st.integers(0, 255)))
def test_confidence_png_reads_back_in_grey(confidence: NDArray[np.uint8]) -> None:
    image = opened(confidence_png(confidence))
    assert image.mode == "L"
    assert (np.asarray(image) == confidence).all()


@pytest.mark.parametrize(("keep", "ids"), [(None, {1, 2}), ({3}, {3}), ([], set()), ((0, 1), {0, 1})])
def test_cutout_keeps_the_pixels_of_the_classes_and_nothing_of_the_rest(keep: list[int] | None, ids: set[int]) -> None:
    image = opened(cutout_png(scene(), blocks(), TAXONOMY, keep))
    assert image.mode == "RGBA"
    pixels = np.asarray(image)
    kept = np.isin(blocks(), list(ids))
    assert (pixels[..., 3] == np.where(kept, 255, 0)).all()
    assert (pixels[kept][:, :3] == scene()[kept]).all()
    assert (pixels[~kept] == 0).all()


def test_cutout_without_a_head_group_keeps_all_but_the_background() -> None:
    image = opened(cutout_png(scene(), blocks(), TAXONOMY.model_copy(update={"groups": {}})))
    assert (np.asarray(image)[..., 3] == np.where(blocks() > 0, 255, 0)).all()


def test_overlay_tints_parts_outlines_them_and_leaves_the_rest() -> None:
    pixels = np.asarray(opened(overlay_png(scene(), blocks(), TAXONOMY))).astype(int)
    assert pixels.shape == scene().shape
    outside = blocks() == 0
    assert (pixels[outside] == scene()[outside]).all()
    for label, column in ((1, 12), (2, 28), (3, 42)):
        blend = (scene()[10, column].astype(int) + COLOURS[label]) / 2
        assert np.abs(pixels[10, column] - blend).max() <= 1, label
    for label, column in ((1, 4), (1, 19), (2, 20), (2, 35), (3, 36)):
        assert tuple(pixels[10, column]) == COLOURS[label], column
    assert tuple(pixels[19, 12]) == COLOURS[1]


def test_overlay_leaves_unknown_pixels_and_pictures_without_parts_alone() -> None:
    for labels in (np.zeros((32, 48), np.uint8), np.full((32, 48), 255, np.uint8)):
        assert (np.asarray(opened(overlay_png(scene(), labels, TAXONOMY))) == scene()).all()


def test_overlay_of_a_single_pixel_and_of_read_only_arrays() -> None:
    pixels, labels = scene(1, 1), np.ones((1, 1), np.uint8)
    pixels.flags.writeable = labels.flags.writeable = False
    assert opened(overlay_png(pixels, labels, TAXONOMY)).size == (1, 1)
    assert opened(cutout_png(pixels, labels, TAXONOMY)).size == (1, 1)


def test_borders_grow_with_the_picture() -> None:
    labels = np.kron(blocks(), np.ones((64, 64), np.uint8))
    photo = np.zeros((*labels.shape, 3), np.uint8)
    row = np.asarray(opened(overlay_png(photo, labels, TAXONOMY)))[600]
    full = (row[4 * 64 : 20 * 64] == COLOURS[1]).all(axis=1)
    assert full.sum() == 2 * round(labels.shape[0] / 800)
