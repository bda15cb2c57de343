"""Redacted pictures: nothing of a face survives, and in doubt more is covered."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from fpan.serve.pipeline.encode import Redactor
from fpan.serve.pipeline.settings import PipelineSettings
from fpan.serve.pipeline.types import ParsedFace, ParseResult
from fpan_training.taxonomy import TAXONOMY

from tests.support.parsed import parsed_face

RULES = PipelineSettings()
WIDTH, HEIGHT = 240, 200
BOX = (80.0, 50.0, 160.0, 150.0)
WINDOW = (50, 20, 200, 190)
STYLES = ("blur", "pixelate", "fill")
SKIN, L_EYE, R_EYE, HAIR = (TAXONOMY.id_of(name) for name in ("skin", "l_eye", "r_eye", "hair"))
EYES = frozenset({L_EYE, R_EYE})


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def drawn() -> np.ndarray:
    """A face as large as its box, with eyes, and hair above it."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(labels, (120, 90), (55, 65), 0, 180, 360, HAIR, -1)
    cv2.ellipse(labels, (120, 100), (40, 50), 0, 0, 360, SKIN, -1)
    cv2.ellipse(labels, (138, 85), (8, 4), 0, 0, 360, L_EYE, -1)
    cv2.ellipse(labels, (102, 85), (8, 4), 0, 0, 360, R_EYE, -1)
    return labels


def face(labels: np.ndarray | None = None, sure: np.ndarray | None = None, kept=None, cut=(), box=BOX) -> ParsedFace:
    x0, y0, x1, y1 = WINDOW
    labels = drawn() if labels is None else labels
    sure = np.full((HEIGHT, WIDTH), 250, np.uint8) if sure is None else sure
    here = np.s_[y0:y1, x0:x1]
    return parsed_face(
        labels[here], WINDOW, TAXONOMY, confidence=sure[here], kept=kept, box=box, score=0.9, cut_by_crop=cut
    )


def result(*faces: ParsedFace, unparsed=()) -> ParseResult:
    nothing = np.zeros((HEIGHT, WIDTH), np.uint8)
    return ParseResult(WIDTH, HEIGHT, nothing, nothing, faces, unparsed=unparsed)


def redact(found: ParseResult, pixels=None, style="fill", kept=None, rules=RULES):
    return Redactor(TAXONOMY, kept, style, rules)(noise() if pixels is None else pixels, found)


def of_box(margin: int = 0, box=BOX) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    x0, y0, x1, y1 = (round(v) for v in box)
    mask[max(y0 - margin, 0) : y1 + margin, max(x0 - margin, 0) : x1 + margin] = True
    return mask


MARGIN = int(np.ceil(RULES.redact_margin * np.sqrt(80 * 100)))


@pytest.mark.parametrize("style", STYLES)
def test_no_pixel_of_the_face_survives_and_none_beyond_its_cover_changes(style):
    one, other = noise(1), noise(2)
    parts = np.isin(drawn(), [SKIN, L_EYE, R_EYE])
    found = redact(result(face()), one, style)
    assert found.faces[0].why is None
    assert (found.covered[parts] == 255).all()
    outside = found.covered == 0
    assert np.array_equal(found.pixels[outside], one[outside])
    # As often the same as another picture's pixels would be, that is by chance.
    by_chance = (redact(result(face()), other, style).pixels[parts] == one[parts]).all(1).mean()
    assert (found.pixels[parts] == one[parts]).all(1).mean() <= by_chance + 0.002


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("scale", [1, 3])
def test_what_is_left_depends_on_the_means_of_a_few_cells_alone(style, scale):
    """Two pictures whose cells have the same means look the same once they are redacted, at any size of face."""
    size = (WIDTH * scale, HEIGHT * scale)
    labels = cv2.resize(drawn(), size, interpolation=cv2.INTER_NEAREST)
    box = tuple(v * scale for v in BOX)
    window = tuple(v * scale for v in WINDOW)
    inside = labels[window[1] : window[3], window[0] : window[2]]
    sure = np.full(inside.shape, 255, np.uint8)
    found = result(parsed_face(inside, window, TAXONOMY, confidence=sure, box=box, score=0.9))
    flat = np.full((HEIGHT * scale, WIDTH * scale, 3), 120, np.uint8)
    plain = redact(found, flat, style)
    x, y, width, height = cv2.boundingRect(plain.covered)
    side = np.sqrt((box[2] - box[0]) * (box[3] - box[1]))
    cell = int(np.ceil(side / RULES.redact_cells))
    assert width / cell < 9
    # Details of mean zero within each cell: every other pixel brighter, the rest darker by as much.
    busy = flat.astype(int)
    for top in range(y, y + height, cell):
        for left in range(x, x + width, cell):
            part = busy[top : min(top + cell, y + height), left : min(left + cell, x + width)]
            if part.shape[:2] == (cell, cell):
                offsets = np.random.default_rng(top * 7919 + left).permutation(np.resize([70, -70], cell * cell))
                part += (offsets - round(offsets.mean())).reshape(cell, cell, 1)
    changed = redact(found, busy.clip(0, 255).astype(np.uint8), style)
    covered = plain.covered > 0
    assert np.abs(busy - 120)[covered].mean() > 40
    assert np.abs(changed.pixels[covered].astype(int) - plain.pixels[covered]).max() <= 2


def test_cells_grow_with_the_face():
    found = redact(result(face()), style="pixelate").pixels
    rows = found[100, 80:160].astype(int)
    changes = np.flatnonzero(np.abs(np.diff(rows, axis=0)).sum(1))
    assert np.diff(changes).min() >= 80 / RULES.redact_cells


def test_fill_leaves_one_colour():
    found = redact(result(face()))
    assert (found.pixels[found.covered > 0] == 0).all()


def test_a_trusted_mask_is_covered_with_its_margin_and_gaps_and_hair_stays():
    labels = drawn()
    labels[95:105, 115:125] = 0  # a gap in the middle of the face
    found = redact(result(face(labels)))
    assert found.faces[0].why is None
    assert (found.covered[95:105, 115:125] == 255).all()
    grown = cv2.dilate((np.isin(drawn(), [SKIN, L_EYE, R_EYE])).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert (found.covered[grown] == 255).all()
    assert found.covered[30, 120] == 0


def test_doubtful_pixels_in_the_box_are_covered_too():
    sure = np.full((HEIGHT, WIDTH), 250, np.uint8)
    sure[52:60, 82:90] = 100  # a corner of the box, far from the mask
    found = redact(result(face(sure=sure)))
    assert found.faces[0].why is None
    assert (found.covered[52:60, 82:90] == 255).all()


@pytest.mark.parametrize(
    ("doubted", "why"),
    [
        (face(sure=np.full((HEIGHT, WIDTH), 150, np.uint8)), "uncertain"),
        (face(cut=("skin",)), "skin goes on beyond"),
        (face(np.zeros((HEIGHT, WIDTH), np.uint8)), "none of what is to be covered"),
        (face(np.where(drawn() == SKIN, 0, drawn()).astype(np.uint8)), "fills"),
    ],
)
def test_an_uncertain_mask_has_the_whole_box_covered(doubted, why):
    found = redact(result(doubted))
    assert why in found.faces[0].why
    assert (found.covered[of_box()] == 255).all()
    assert (found.pixels[of_box()] == 0).all()


def test_a_face_cut_by_the_crop_is_covered_as_far_as_the_crop_goes():
    found = redact(result(face(cut=("nose",))))
    x0, y0, x1, y1 = WINDOW
    assert (found.covered[y0:y1, x0:x1] == 255).all()


def test_hair_that_is_cut_does_not_matter_to_a_face():
    assert redact(result(face(cut=("hair", "neck")))).faces[0].why is None


def test_named_parts_alone_are_covered():
    found = redact(result(face(kept=EYES)), kept=EYES)
    assert found.faces[0].why is None
    assert (found.covered[np.isin(drawn(), list(EYES))] == 255).all()
    assert found.covered[120, 120] == 0
    assert found.covered.mean() / 255 < 0.05


def test_one_eye_of_two_is_no_mask_to_be_trusted():
    labels = np.where(drawn() == L_EYE, SKIN, drawn()).astype(np.uint8)
    found = redact(result(face(labels, kept=EYES)), kept=EYES)
    assert "l_eye was not found" in found.faces[0].why
    assert (found.covered[of_box()] == 255).all()


def test_one_uncertain_part_of_those_named_has_the_box_covered():
    sure = np.full((HEIGHT, WIDTH), 250, np.uint8)
    sure[drawn() == L_EYE] = 120
    found = redact(result(face(sure=sure, kept=EYES)), kept=EYES)
    assert "uncertain" in found.faces[0].why
    assert (found.covered[of_box()] == 255).all()


def test_found_faces_that_could_not_be_parsed_are_covered_whole():
    found = redact(result(unparsed=(BOX,)))
    assert np.array_equal(found.covered > 0, of_box(MARGIN))


@pytest.mark.parametrize("box", [(-9e8, -9e8, 9e8, 9e8), (-50.0, -60.0, 90.0, 100.0), (0.0, 0.0, 1.0, 1.0)])
@pytest.mark.parametrize("style", STYLES)
def test_boxes_of_any_size_are_covered_where_they_lie_in_the_picture(box, style):
    found = redact(result(face(box=box, cut=("skin",)), unparsed=(box,)), style=style)
    inside = np.zeros((HEIGHT, WIDTH), np.bool_)
    x0, y0, x1, y1 = (int(np.clip(v, 0, most)) for v, most in zip(box, (WIDTH, HEIGHT) * 2, strict=True))
    inside[y0:y1, x0:x1] = True
    assert (found.covered[inside] == 255).all()


def test_every_face_is_covered_and_told():
    second = replace(face(sure=np.full((HEIGHT, WIDTH), 90, np.uint8), box=(10.0, 10.0, 60.0, 70.0)), id=1)
    found = redact(result(face(), second))
    assert [(one.id, one.why is None) for one in found.faces] == [(0, True), (1, False)]
    assert (found.covered[10:70, 10:60] == 255).all()


def test_the_photo_itself_is_left_as_it_is():
    pixels = noise()
    pixels.flags.writeable = False
    redact(result(face()), pixels, "blur")
    assert np.array_equal(pixels, noise())


def test_a_picture_without_a_face_stays_as_it_is():
    found = redact(result())
    assert np.array_equal(found.pixels, noise())
    assert not found.covered.any()


def test_without_a_face_group_all_but_the_background_is_covered():
    bare = TAXONOMY.model_copy(update={"groups": {}})
    found = Redactor(bare, None, "fill", RULES)(noise(), result(face()))
    assert (found.covered[drawn() > 0] == 255).all()
