"""Worn things are cut out of labelled pictures and put on other faces, with their labels."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from fpan_training.data import FaceFolder
from fpan_training.data.folder import DataError
from fpan_training.data.label_space import LabelSpace
from fpan_training.data.paste.anchors import LEFT, RIGHT, Head, head_of
from fpan_training.data.paste.build import PartsBuild
from fpan_training.data.paste.cut import cut_parts
from fpan_training.data.paste.hair import cover_hair
from fpan_training.data.paste.necklaces import draw_necklace
from fpan_training.data.paste.part import CLASS_OF, PartBank
from fpan_training.data.paste.paster import PartPaster, PasteConfig
from fpan_training.taxonomy import TAXONOMY
from numpy.typing import NDArray

from tests.unit.training.conftest import write_pair
from tests.unit.training.occluded_faces import face

Image = NDArray[np.uint8]
IDS = {c.name: c.id for c in TAXONOMY.classes}
SIDE = 240
CENTRE, TOP, CHIN = SIDE // 2, 60, 160
"""Of the face: middle, top and chin of its drawn outline."""
_NONE = {"earring": 0.0, "necklace": 0.0, "hat": 0.0, "glasses": 0.0}
KINDS = tuple(_NONE)


def only(kind: str) -> PasteConfig:
    """Puts on that kind alone, wherever there is a place for it."""
    p = {**_NONE, kind: 1.0}
    return PasteConfig(p["earring"], p["necklace"], p["hat"], p["glasses"], p_pair=1, p_shadow=0, necklace_on_neck=True)


def draw(image: Image, labels: Image, name: str, mask: Image, colour: tuple[int, int, int]) -> None:
    """Paints a thing into a picture and its labels, with some grain."""
    grain = np.random.default_rng(IDS[name]).integers(-20, 21, image.shape)
    painted = np.clip(np.array(colour) + grain, 0, 255)
    image[mask > 0] = painted[mask > 0]
    labels[mask > 0] = IDS[name]


def ellipse(at: tuple[int, int], axes: tuple[int, int], thick: int = -1) -> Image:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(mask, at, axes, 0, 0, 360, 1, thick)
    return mask


def box(x0: int, y0: int, x1: int, y1: int) -> Image:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[y0:y1, x0:x1] = 1
    return mask


def person(seed: int = 0, worn: tuple[str, ...] = ()) -> tuple[Image, Image, NDArray[np.float32]]:
    """A head with hair, ears, neck and clothes, and what it wears: picture, labels and landmarks."""
    inner, inner_labels, points = face(seed)
    off = (SIDE - inner.shape[0]) // 2
    low, size = off - 10, inner.shape[0]
    points = points + np.array([off, low], np.float32)
    image = np.full((SIDE, SIDE, 3), (60, 90, 110), np.uint8)
    labels = np.zeros((SIDE, SIDE), np.uint8)
    draw(image, labels, "hair", ellipse((CENTRE, 95), (58, 70)), (70, 45, 30))
    draw(image, labels, "neck", box(CENTRE - 30, 140, CENTRE + 30, 215), (205, 165, 140))
    draw(image, labels, "cloth", box(30, 212, SIDE - 30, SIDE), (40, 60, 120))
    for side, name in ((-1, "r_ear"), (1, "l_ear")):
        draw(image, labels, name, ellipse((CENTRE + side * 47, 110), (9, 18)), (200, 150, 125))
    part = (slice(low, low + size), slice(off, off + size))
    inside = inner_labels > 0
    image[part][inside], labels[part][inside] = inner[inside], inner_labels[inside]
    head = head_of(labels, None, TAXONOMY)
    assert head is not None
    for eye, name in zip(head.frame.eyes, ("r_brow", "l_brow"), strict=True):
        x, y = np.rint(eye).astype(int).tolist()
        draw(image, labels, name, ellipse((x, y - 15), (12, 3)), (80, 55, 40))
    if "hat" in worn:
        draw(image, labels, "hat", ellipse((CENTRE, 62), (66, 34)) & box(0, 0, SIDE, 78), (150, 30, 40))
    if "ear_r" in worn:
        for side in (-1, 1):
            draw(image, labels, "ear_r", ellipse((CENTRE + side * 50, 138), (5, 10)), (250, 230, 40))
    if "eye_g" in worn:
        eyes = [tuple(np.rint(eye).astype(int).tolist()) for eye in head.frame.eyes]
        for eye in eyes:
            draw(image, labels, "eye_g", ellipse(eye, (17, 9)), (10, 10, 12))
        draw(image, labels, "eye_g", box(eyes[0][0], eyes[0][1] - 3, eyes[1][0], eyes[0][1] + 3), (10, 10, 12))
    return image, labels, points


@pytest.fixture(scope="module")
def bank() -> PartBank:
    image, labels, _ = person(1, ("hat", "ear_r", "eye_g"))
    return PartBank(tuple(cut_parts(image, labels, TAXONOMY, "drawn/1")))


def put(bank: PartBank, kind: str, seed: int = 0, **given: Image) -> tuple[Image, Image, Image]:
    """A face with something on: picture, labels, and labels before."""
    image, labels, _ = person(2)
    labels = given.get("labels", labels)
    worn, marked = PartPaster(bank, only(kind))(image, labels, None, np.random.default_rng(seed))
    return worn, marked, labels


# Cutting out


def test_what_is_whole_and_sharp_is_cut_out_with_the_points_it_hangs_by(bank: PartBank) -> None:
    assert {role: len(parts) for role, parts in bank.by_role.items()} == {"earring": 2, "hat": 1, "glasses": 1}
    right, left = sorted(bank.by_role["earring"], key=lambda part: part.side)
    assert (right.side, left.side) == (LEFT, RIGHT)
    # The lobe is above the earring, and the second point straight below it.
    assert right.pins[0, 1] < right.label.shape[0] / 3
    assert abs(right.pins[1, 0] - right.pins[0, 0]) < 3
    hat = bank.by_role["hat"][0]
    assert hat.pins[:, 1].min() > hat.label.shape[0]
    assert np.all(hat.rgba[hat.label == 255][:, 3] == 255)


def test_what_is_cut_off_blurred_or_not_told_from_its_surroundings_is_left_out() -> None:
    image, labels, _ = person(1, ("ear_r",))
    assert len(cut_parts(image, labels, TAXONOMY)) == 2
    assert cut_parts(cv2.GaussianBlur(image, (0, 0), 6), labels, TAXONOMY) == []
    plain, _, _ = person(1)
    assert cut_parts(plain, labels, TAXONOMY) == []
    # Cut off by the picture's border.
    assert len(cut_parts(image[:, : CENTRE + 52], np.ascontiguousarray(labels[:, : CENTRE + 52]), TAXONOMY)) == 1


def test_a_hat_that_was_cut_off_says_where() -> None:
    image, labels, _ = person(1, ("hat",))
    (part,) = cut_parts(image[40:], np.ascontiguousarray(labels[40:]), TAXONOMY)
    assert part.cut == (True, False, False, False)
    whole, cut = person(2), PartBank((part,))
    # Where the new head is as far from the border, nothing shows; in the middle of a picture it would.
    assert (PartPaster(cut, only("hat"))(*whole[:2], None, np.random.default_rng(0))[1] == whole[1]).all()
    close = np.ascontiguousarray(whole[1][48:])
    marked = PartPaster(cut, only("hat"))(np.ascontiguousarray(whole[0][48:]), close, None, np.random.default_rng(0))[1]
    assert (marked == IDS["hat"]).any()


def test_a_mirrored_part_is_for_the_other_side(bank: PartBank) -> None:
    for part in bank.parts:
        again = part.mirrored.mirrored
        assert np.array_equal(again.rgba, part.rgba)
        assert np.allclose(again.pins, part.pins)
        assert part.mirrored.side == -part.side
    hat = bank.by_role["hat"][0].mirrored
    assert hat.pins[0, 0] < hat.pins[1, 0]


def test_a_bank_comes_back_from_its_file(bank: PartBank, tmp_path: Path) -> None:
    bank.save(tmp_path / "parts.npz")
    for before, after in zip(bank.parts, PartBank.load(tmp_path / "parts.npz").parts, strict=True):
        assert (before.role, before.side, before.cut, before.source) == (
            after.role,
            after.side,
            after.cut,
            after.source,
        )
        assert np.array_equal(before.rgba, after.rgba)
        assert np.array_equal(before.label, after.label)
        assert np.allclose(before.pins, after.pins)
        assert before.yaw == pytest.approx(after.yaw)
    (tmp_path / "broken.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match="no bank of parts"):
        PartBank.load(tmp_path / "broken.npz")


# Putting on


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_seen_and_labelled_and_chance_comes_from_the_generator_alone(bank: PartBank, kind: str) -> None:
    name = CLASS_OF.get(kind, "neck_l")  # type: ignore[call-overload]
    image, labels, _ = person(2)
    kept = image.copy(), labels.copy()
    paster = PartPaster(bank, only(kind))
    worn, marked = paster(image, labels, None, np.random.default_rng(3))
    assert worn.dtype == marked.dtype == np.uint8
    where = marked == IDS[name]
    assert where.sum() > 20
    assert np.array_equal(image, kept[0])
    assert np.array_equal(labels, kept[1])
    changed = np.abs(worn.astype(int) - image).max(-1) > 12
    assert (changed & where).sum() > 0.4 * where.sum()
    again = paster(image, labels, None, np.random.default_rng(3))
    assert np.array_equal(again[0], worn)
    assert np.array_equal(again[1], marked)


def test_earrings_hang_below_both_lobes(bank: PartBank) -> None:
    _, marked, labels = put(bank, "earring")
    head = head_of(labels, None, TAXONOMY)
    assert head is not None
    rows, columns = np.nonzero(marked == IDS["ear_r"])
    for side in (LEFT, RIGHT):
        lobe = head.lobe(side)
        assert lobe is not None
        near = np.abs(columns - lobe[0]) < 15
        assert near.any()
        assert lobe[1] - 4 < rows[near].mean() < lobe[1] + 25


def test_a_hat_takes_the_hair_above_it_away_and_leaves_eyes_and_the_hair_below(bank: PartBank) -> None:
    _, marked, labels = put(bank, "hat")
    hat = np.argwhere(marked == IDS["hat"])
    hair = np.argwhere(marked == IDS["hair"])
    # Some hair was above it.
    assert (np.argwhere(labels == IDS["hair"])[:, 0] < hat[:, 0].min()).any()
    assert np.quantile(hair[:, 0], 0.02) > hat[:, 0].mean()
    assert len(hair) > 500
    assert ((marked == IDS["l_eye"]) == (labels == IDS["l_eye"])).all()


def test_hair_that_goes_gives_way_to_the_background_beside_it() -> None:
    image, labels, _ = person(2)
    head = head_of(labels, None, TAXONOMY)
    assert head is not None
    hat = (ellipse((CENTRE, 70), (66, 28)) & box(0, 0, SIDE, 84)).astype(bool)
    bare = cover_hair(image, labels, hat, head)
    assert bare is not None
    gone = (labels == IDS["hair"]) & (bare[1] == IDS["background"])
    assert gone.sum() > 100
    assert np.abs(bare[0][gone].mean(0) - (60, 90, 110)).max() < 12
    # All of the hair at once would leave a hole; and with nothing but hair about, there is nothing to put there.
    assert cover_hair(image, labels, ellipse((CENTRE, 82), (40, 3)).astype(bool), head) is None
    assert cover_hair(image, np.where(labels == 0, IDS["cloth"], labels).astype(np.uint8), hat, head) is None


def test_a_hat_that_is_too_large_for_the_head_is_not_put_on() -> None:
    image, labels, _ = person(2)
    labels[labels == IDS["hair"]] = IDS["background"]
    head = head_of(labels, None, TAXONOMY)
    assert head is not None
    ring = ellipse((CENTRE, 95), (75, 80)) & (1 - ellipse((CENTRE, 110), (62, 75))) & box(0, 0, SIDE, 110)
    assert cover_hair(image, labels, ring.astype(bool), head) is None


def test_behind_clear_glass_eyes_keep_their_label_behind_dark_glass_not(bank: PartBank) -> None:
    _, marked, labels = put(bank, "glasses")
    assert not (marked == IDS["l_eye"]).any()
    image, labels, _ = person(2)
    drawn = PasteConfig(earring=0, necklace=0, hat=0, glasses=1, p_drawn_glasses=1, p_dark=0, p_tinted=0.5)
    for seed in range(4):
        marked = PartPaster(bank, drawn)(image, labels, None, np.random.default_rng(seed))[1]
        glasses = np.argwhere(marked == IDS["eye_g"])
        assert len(glasses) > 300
        assert (marked == IDS["l_eye"]).sum() > 0.6 * (labels == IDS["l_eye"]).sum()


def test_necklaces_lie_below_the_chin_behind_hair_and_before_the_neck() -> None:
    image, labels, _ = person(2)
    strand = box(CENTRE - 30, 100, CENTRE - 14, 239).astype(bool)
    labels[strand & (labels == IDS["neck"])] = IDS["hair"]
    kinds = set()
    for seed in range(12):
        head = head_of(labels, None, TAXONOMY)
        assert head is not None
        drawn = draw_necklace(image, head, np.random.default_rng(seed))
        if drawn is None:
            continue
        kinds.add(drawn.kind)
        where = np.zeros(labels.shape, bool)
        where[drawn.layer.part] = drawn.label
        assert set(np.unique(labels[where])) <= {IDS["neck"], IDS["cloth"]}
        assert np.argwhere(where)[:, 0].mean() > head.frame.chin[1]
        assert drawn.layer.alpha.max() <= 1
    assert len(kinds) >= 3


def test_a_necklace_is_labelled_beyond_the_neck_and_on_it_only_where_that_is_asked_for(bank: PartBank) -> None:
    image, labels, _ = person(2)
    marked = {
        on_neck: PartPaster(bank, replace(only("necklace"), necklace_on_neck=on_neck))(
            image, labels, None, np.random.default_rng(1)
        )[1]
        for on_neck in (False, True)
    }
    necklace = {on_neck: found == IDS["neck_l"] for on_neck, found in marked.items()}
    assert (labels[necklace[True]] == IDS["neck"]).any()
    assert np.array_equal(necklace[False], necklace[True] & (labels != IDS["neck"]))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_lies_over_what_occludes_nor_where_nothing_is_known(bank: PartBank, kind: str) -> None:
    image, labels, _ = person(2)
    half = box(CENTRE, 0, SIDE, SIDE).astype(bool)
    for value in (IDS["occlusion"], TAXONOMY.ignore):
        hidden = labels.copy()
        hidden[half & ~np.isin(labels, [IDS["l_eye"], IDS["skin"], IDS["l_ear"]])] = value
        worn, marked = PartPaster(bank, only(kind))(image, hidden, None, np.random.default_rng(1))
        assert ((marked == value) == (hidden == value)).all()
        # The seam about a part is blurred by a pixel or two.
        inner = cv2.erode((hidden == value).astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
        assert np.array_equal(worn[inner], image[inner])


def test_on_a_turned_face_things_are_turned_with_it(bank: PartBank) -> None:
    image, labels, _ = person(2)
    turned, turned_labels = np.rot90(image), np.ascontiguousarray(np.rot90(labels))
    marked = PartPaster(bank, only("hat"))(np.ascontiguousarray(turned), turned_labels, None, np.random.default_rng(0))[
        1
    ]
    # The top of the head is at the left now.
    hat = np.argwhere(marked == IDS["hat"])
    assert len(hat) > 1000
    assert hat[:, 1].mean() < CENTRE - 30
    assert abs(hat[:, 0].mean() - SIDE / 2) < 15


def test_landmarks_say_where_parts_are_as_labels_do(bank: PartBank) -> None:
    image, labels, points = person(2)
    for kind in ("hat", "glasses"):
        by_labels = PartPaster(bank, only(kind))(image, labels, None, np.random.default_rng(0))[1]
        by_points = PartPaster(bank, only(kind))(image, labels, points, np.random.default_rng(0))[1]
        one, other = (marked == IDS[CLASS_OF[kind]] for marked in (by_labels, by_points))
        assert (one & other).sum() > 0.6 * (one | other).sum()


def test_a_picture_without_a_face_or_with_such_a_thing_stays_as_it_is(bank: PartBank) -> None:
    paster = PartPaster(bank, PasteConfig(1, 1, 1, 1))
    blank = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    assert all(a is b for a, b in zip(blank, paster(*blank, None, np.random.default_rng(0)), strict=True))
    image, labels, _ = person(3, ("hat",))
    assert PartPaster(bank, only("hat"))(image, labels, None, np.random.default_rng(0))[1] is labels


def test_labels_that_merge_classes_get_what_is_put_on_as_well(bank: PartBank) -> None:
    space = LabelSpace.preset("facesynthetics100")
    image, labels, _ = person(2)
    codes = space.encode(labels, "person")
    marked = PartPaster(bank, only("hat"), space.coded)(image, codes, None, np.random.default_rng(0))[1]
    assert (marked == IDS["hat"]).sum() > 1000


# The command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(2):
        write_pair(tmp_path / "faces", f"p{number}", *person(number, ("hat", "ear_r"))[:2])
    write_pair(tmp_path / "faces", "q", *person(5)[:2])
    (tmp_path / "faces" / "split.json").write_text('{"train": ["p0", "p1", "q"], "val": []}')
    return tmp_path / "faces"


def test_the_command_writes_a_bank_and_two_sheets(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "bank" / "parts.npz"
    bank = PartsBuild((folder,), out)()
    assert len(PartBank.load(out)) == len(bank) == 6
    assert {part.source for part in bank.parts} == {"faces/p0", "faces/p1"}
    for sheet in ("parts.parts.png", "parts.faces.png"):
        assert cv2.imread(str(out.parent / sheet)) is not None


def test_nothing_is_cut_out_of_merged_labels_or_of_plain_faces(faces: FaceFolder, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing can be cut out"):
        PartsBuild((faces.root,), tmp_path / "parts.npz")()
    (folder / "dataset.json").write_text('{"labels": {"0": "rest", "1": ["skin", "hat"]}}')
    with pytest.raises(DataError, match="merge classes"):
        PartsBuild((folder,), tmp_path / "parts.npz")()


def test_heads_say_where_their_parts_are() -> None:
    _, labels, points = person(0)
    for given in (None, points):
        head = head_of(labels, given, TAXONOMY)
        assert isinstance(head, Head)
        assert abs(head.yaw) < 0.03
        assert head.temples()[0, 0] < CENTRE < head.temples()[1, 0]
        sides = head.neck_sides()
        assert np.allclose(head.at(sides[-1, 1], sides[-1, 0])[0], CENTRE - 30, atol=2)
    labels[labels == IDS["l_ear"]] = IDS["hair"]
    hidden = head_of(labels, None, TAXONOMY)
    assert hidden is not None
    assert hidden.lobe(RIGHT) is None
    assert hidden.lobe(LEFT) is not None
