"""Soft masks: coverage of pixels, at any size of face, where the network knows and nothing else errs."""

import io
from dataclasses import replace

import numpy as np
import pytest
from fpan.contract import FaceClass, Taxonomy
from fpan.serve.api.errors import TooLarge
from fpan.serve.pipeline.align import crop as align
from fpan.serve.pipeline.encode import alpha_png, arrays_npz, matte_png
from fpan.serve.pipeline.encode.pictures import face_matte, matte
from fpan.serve.pipeline.paste import labels as paste
from fpan.serve.pipeline.paste.soft_masks import soft_masks
from fpan.serve.pipeline.settings import PipelineSettings
from fpan.serve.pipeline.types import CropFrame, ParsedFace, ParseResult, SoftMask
from PIL import Image

from tests.support.parsed import parsed_face

SIZE, STRIDE = 64, 2
RULES = PipelineSettings()
NAMES = ("background", "skin", "hair")
TAXONOMY = Taxonomy(
    name="three",
    classes=tuple(FaceClass(id=i, name=n, title=n, colour=(i, i, i), partner=i) for i, n in enumerate(NAMES)),
)


def crop(matrix) -> align.Crop:
    return align.Crop(np.zeros((SIZE, SIZE, 3), np.uint8), np.asarray(matrix, float))


def disc(x: np.ndarray, y: np.ndarray, radius: float = 20.0) -> np.ndarray:
    """Coverage of pixels by a disc in the middle of the crop, in its pixels, by 8 x 8 samples a pixel's side apart."""
    return (np.hypot(x - 31.5, y - 31.5) <= radius).astype(np.float64)


def exact(enlargement: float, width: int, height: int, samples: int = 8) -> np.ndarray:
    """The disc's coverage of each of the photo's pixels, float (height, width)."""
    offsets = (np.arange(samples) + 0.5) / samples - 0.5
    at_x = (np.arange(width)[:, None] + offsets).ravel() / enlargement
    at_y = (np.arange(height)[:, None] + offsets).ravel() / enlargement
    fine = disc(*np.meshgrid(at_x, at_y))
    return fine.reshape(height, samples, width, samples).mean((1, 3))


def logits(sharpness: float = 6.0) -> np.ndarray:
    """What a network that knows where the disc is says of it: the logit grows with the distance to its edge."""
    centre = (np.arange(SIZE // STRIDE) + 0.5) * STRIDE - 0.5
    x, y = np.meshgrid(centre, centre)
    inside = (20.0 - np.hypot(x - 31.5, y - 31.5)) * sharpness
    return np.stack([0 * inside, inside, 0 * inside - 30]).astype(np.float32)


def whole(masks: tuple[SoftMask, ...], number: int, shape: tuple[int, int]) -> np.ndarray:
    values = np.zeros(shape)
    for mask in masks:
        if mask.id == number:
            x0, y0, x1, y1 = mask.window
            values[y0:y1, x0:x1] = mask.values / 255
    return values


@pytest.mark.parametrize("enlargement", [0.25, 0.5, 0.8, 1.0, 2.5, 6.0])
def test_a_disc_covers_pixels_as_far_as_it_does(enlargement):
    side = int(SIZE * enlargement)
    matrix = np.array([[1 / enlargement, 0, 0], [0, 1 / enlargement, 0]])
    masks = soft_masks(crop(matrix), (0, 0, side, side), logits(), (1, 2))
    found, truth = whole(masks, 1, (side, side)), exact(enlargement, side, side)
    assert [mask.id for mask in masks] == [1]  # hair is nowhere
    edge = (truth > 0) & (truth < 1)
    # Small faces: the mean over a pixel. Large ones: the network's own width of an edge, a crop's pixel or so.
    assert np.abs(found - truth)[edge].mean() < 0.1 + 0.05 * max(0, enlargement - 1)
    assert np.abs(found - truth).mean() < 0.02
    assert abs(found.sum() - truth.sum()) / truth.sum() < 0.02


def test_small_faces_are_averaged_and_not_sampled():
    """Stripes as narrow as the crop's pixels are grey, all of them, in a photo of a quarter of its size."""
    stripes = np.tile([8.0, -8.0], SIZE // 2 // STRIDE).astype(np.float32)
    maps = np.stack([np.zeros((SIZE // STRIDE,) * 2), np.tile(stripes, (SIZE // STRIDE, 1))]).astype(np.float32)
    masks = soft_masks(crop([[4, 0, 1.5], [0, 4, 1.5]]), (0, 0, 16, 16), maps, (1,))
    values = whole(masks, 1, (16, 16))[2:-2, 2:-2]
    assert np.abs(values - 0.5).max() < 0.1


def test_soft_masks_of_all_classes_add_up_to_one():
    matrix = np.array([[0.3, 0.05, -3], [-0.05, 0.3, 8]])
    maps = np.random.default_rng(0).normal(0, 2, (3, 32, 32)).astype(np.float32)
    window = paste.window_of(crop(matrix), 200, 200)
    masks = soft_masks(crop(matrix), window, maps, (0, 1, 2))
    total = sum(whole(masks, number, (200, 200)) for number in range(3))
    labels, _ = paste.paste_probabilities(crop(matrix), window, maps)
    x0, y0, x1, y1 = window
    here = total[y0:y1, x0:x1]
    assert set(np.round(here[here > 0], 1)) == {1.0}
    # The likeliest class is the label.
    best = np.stack([whole(masks, number, (200, 200)) for number in range(3)]).argmax(0)[y0:y1, x0:x1]
    assert (best == labels)[here > 0].mean() > 0.99


def test_tiles_leave_no_seam(monkeypatch):
    matrix = np.array([[0.11, 0.02, 3], [-0.02, 0.11, 8]])
    window = paste.window_of(crop(matrix), 500, 450)
    once = soft_masks(crop(matrix), window, logits(), (1,))
    monkeypatch.setattr("fpan.serve.pipeline.paste.soft_masks._TILE", 37)
    tiled = soft_masks(crop(matrix), window, logits(), (1,))
    assert np.abs(whole(once, 1, (450, 500)) - whole(tiled, 1, (450, 500))).max() <= 1 / 255


def test_masks_are_no_larger_than_what_they_hold():
    [mask] = soft_masks(crop([[1, 0, 0], [0, 1, 0]]), (0, 0, SIZE, SIZE), logits(), (1,))
    assert mask.values[0].any()
    assert mask.values[:, -1].any()
    assert 9 <= mask.window[0] <= 12


@pytest.mark.parametrize("enlargement", [0.5, 2.0])
def test_a_face_of_background_alone_has_no_masks(enlargement):
    assert soft_masks(crop([[enlargement, 0, 0], [0, enlargement, 0]]), (0, 0, 64, 64), logits(), []) == ()


def test_beyond_the_crop_is_nothing():
    maps = np.stack([np.zeros((32, 32)), np.full((32, 32), 9.0)]).astype(np.float32)
    for scale in (0.5, 2.0):
        masks = soft_masks(crop([[scale, 0, -20], [0, scale, -20]]), (0, 0, 200, 200), maps, (1,))
        x0, _, x1, _ = masks[0].window
        assert x0 == pytest.approx(20 / scale, abs=1)
        assert x1 == pytest.approx((20 + SIZE) / scale, abs=1)


def test_computing_stops_at_the_next_tile_when_it_is_given_up():
    def check() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        soft_masks(crop([[0.1, 0, 0], [0, 0.1, 0]]), (0, 0, 640, 640), logits(), (1,), check)


def face(number: int, window, *masks: SoftMask, frame: CropFrame | None = None) -> ParsedFace:
    x0, y0, x1, y1 = window
    labels = np.full((y1 - y0, x1 - x0), 1, np.uint8)
    box, score = tuple(map(float, window)), None if number else 0.75
    made = parsed_face(labels, window, TAXONOMY, confidence=labels, id=number, box=box, score=score)
    return replace(made, alpha=masks, crop=frame)


def flat(number: int, window, value: int) -> SoftMask:
    return SoftMask(number, window, np.full((window[3] - window[1], window[2] - window[0]), value, np.uint8))


SKIN, HAIR = flat(1, (2, 2, 8, 8), 200), flat(2, (4, 2, 8, 6), 100)
BOTH = ParseResult(
    20,
    16,
    np.zeros((16, 20), np.uint8),
    np.full((16, 20), 9, np.uint8),
    (face(0, (0, 0, 10, 10), SKIN, HAIR), face(1, (6, 6, 20, 16), flat(1, (7, 7, 12, 12), 50))),
)


def test_a_matte_is_the_sum_of_a_faces_masks_and_the_largest_of_several_faces():
    total = matte(BOTH)
    assert (total[3, 3], total[3, 5], total[7, 7], total[10, 10], total[0, 0]) == (200, 255, 200, 50, 0)
    with Image.open(io.BytesIO(matte_png(BOTH))) as image:
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), total)
    assert face_matte(BOTH.faces[1]).shape == (10, 14)


def test_a_mask_is_a_grey_png_of_its_window():
    with Image.open(io.BytesIO(alpha_png(HAIR))) as image:
        assert (image.mode, image.size) == ("L", (4, 4))
        assert (np.asarray(image) == 100).all()


def loaded(result: ParseResult, rules: PipelineSettings = RULES) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(arrays_npz(result, TAXONOMY, rules)), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def test_arrays_hold_labels_confidence_alpha_and_names():
    arrays = loaded(BOTH)
    assert np.array_equal(arrays["labels"], BOTH.labels)
    assert np.array_equal(arrays["confidence"], BOTH.confidence)
    assert arrays["class_names"].tolist() == list(NAMES)
    assert str(arrays["taxonomy"]) == "three"
    assert arrays["alpha_ids"].tolist() == [1, 2]
    assert arrays["alpha"].shape == (2, 16, 20)
    assert (arrays["alpha"][0, 7, 7], arrays["alpha"][0, 11, 11], arrays["alpha"][1, 3, 5]) == (200, 50, 100)
    assert arrays["box"].tolist() == [[0, 0, 10, 10], [6, 6, 20, 16]]
    assert arrays["score"][0] == 0.75
    assert np.isnan(arrays["score"][1])
    assert np.isnan(arrays["landmarks"]).all()


def test_arrays_of_no_face_are_empty_and_the_same_twice():
    nobody = replace(BOTH, faces=())
    arrays = loaded(nobody)
    assert arrays["box"].shape == (0, 4)
    assert arrays["landmarks"].shape == (0, 5, 2)
    assert "alpha" not in arrays
    assert arrays_npz(nobody, TAXONOMY, RULES) == arrays_npz(nobody, TAXONOMY, RULES)


def test_arrays_of_crops_are_stacked():
    own = (0, 0, 16, 16)
    frame = CropFrame(np.zeros((16, 16, 3), np.uint8), np.eye(2, 3) * 2)
    faces = (face(0, own, flat(2, (1, 1, 5, 5), 9), frame=frame), face(1, own, frame=frame))
    nothing = np.zeros((0, 0), np.uint8)
    arrays = loaded(replace(BOTH, labels=nothing, confidence=nothing, faces=faces, frame="crop"))
    assert arrays["labels"].shape == arrays["confidence"].shape == (2, 16, 16)
    assert arrays["matrix"].shape == (2, 2, 3)
    assert arrays["alpha"].shape == (2, 1, 16, 16)
    assert (arrays["alpha"][0, 0, 2, 2], arrays["alpha"][1].max()) == (9, 0)
    assert loaded(replace(BOTH, labels=nothing, faces=(), frame="crop"))["labels"].shape == (0, 0, 0)


def test_soft_masks_that_would_fill_the_memory_are_refused():
    with pytest.raises(TooLarge, match="640 bytes"):
        arrays_npz(BOTH, TAXONOMY, RULES.model_copy(update={"max_alpha_bytes": 600}))
