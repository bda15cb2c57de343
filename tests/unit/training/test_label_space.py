"""What masks can tell apart: declared, put in codes, mirrored, and in the loss."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fpan_training.data.folder import DataError
from fpan_training.data.label_space import PRESETS, DatasetFile, LabelSpace, write_dataset_file
from fpan_training.modules.segm.groups import Groups, dice_sums, group_log_probabilities
from fpan_training.modules.segm.loss import ce_and_dice
from fpan_training.taxonomy import TAXONOMY
from torch import Tensor

_IGNORE = TAXONOMY.ignore
_ID = {c.name: c.id for c in TAXONOMY.classes}
FULL = LabelSpace.full()
HAIR = LabelSpace.preset("celeba_hair")
CCP = LabelSpace.preset("ccp")
SIDED = LabelSpace.from_labels("sided", {"0": "rest", "1": ["l_eye", "l_brow"], "2": "r_eye"})
"""One side of a pair is merged, the other is not."""


def _codes(space: LabelSpace, values: list[list[int]]) -> np.ndarray:
    return space.encode(np.array(values, np.uint8), "test")


# Declaring


def test_values_become_the_class_or_a_code_beyond_the_classes() -> None:
    rest = tuple(sorted(set(range(20)) - {_ID["hair"]}))
    assert HAIR.merged == (rest,)
    assert _codes(HAIR, [[0, 13, 255]]).tolist() == [[20, 13, _IGNORE]]
    assert HAIR.groups[20] == rest
    assert HAIR.name_of(rest) == "not hair"


def test_what_the_generators_paint_is_itself_in_every_space() -> None:
    assert _codes(HAIR, [[19]]).tolist() == [[19]]
    assert _codes(LabelSpace.from_labels("own", {"0": "rest", "19": "hair"}), [[19]]).tolist() == [[13]]


def test_a_full_space_changes_nothing() -> None:
    values = [[*range(20), _IGNORE]]
    assert _codes(FULL, values).tolist() == values
    assert FULL.coded is TAXONOMY


def test_every_preset_gives_each_class_a_home_or_says_that_there_is_none_of_it() -> None:
    absent = {
        name: {c.name for c in TAXONOMY.classes} - {TAXONOMY.classes[i].name for _, g in space.declared for i in g}
        for name, space in ((name, LabelSpace.preset(name)) for name in PRESETS)
    }
    assert {name: missing for name, missing in absent.items() if missing} == {
        "celeba19": {"occlusion"},
        "facesynthetics100": {"occlusion"},
        "fasseg_posed": {"eye_g", "hat", "occlusion"},
    }


def test_values_that_the_space_does_not_know_are_named() -> None:
    with pytest.raises(DataError, match=r"a: its mask has values 2, 77.*name them in dataset\.json"):
        HAIR.encode(np.array([[2, 77, 0]], np.uint8), "a")


def test_a_dataset_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    labels = {"0": "rest", "3": ["eyes", "nose"], "4": "ignore"}
    write_dataset_file(tmp_path / "dataset.json", DatasetFile(name="mine", labels=labels, licence="MIT"))
    space = LabelSpace.of_folder(tmp_path)
    assert space.declared[1] == (3, (2, 4, 5))
    assert _codes(space, [[3, 4, 255]]).tolist() == [[21, _IGNORE, _IGNORE]]
    # And so does what a space says of itself.
    assert LabelSpace.from_labels("mine", space.labels()) == space
    (tmp_path / "dataset.json").write_text('{"labels": "figaro"}')
    assert LabelSpace.of_folder(tmp_path) == LabelSpace.preset("figaro")
    (tmp_path / "dataset.json").unlink()
    assert LabelSpace.of_folder(tmp_path) == FULL
    assert LabelSpace.of_folder(tmp_path / "ccp") == CCP


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"labels": {"0": "hiar", "x": "hair"}}, r"'x' is no value.*'hiar' is neither class nor group"),
        ({"labels": {"300": "hair"}}, "'300' is no value"),
        ({"labels": {"0": []}}, "say 'ignore'"),
        ({"labels": {"1": [c.name for c in TAXONOMY.classes], "0": "rest"}}, "no class is left"),
        ({"labels": {"0": "ignore"}}, "no value of the masks stands for any class"),
        ({"labels": "lapaa"}, r"'lapaa'; there are: full, .*lapa"),
        ({"label": "lapa"}, "label: Extra inputs"),
        ([], "the file"),
    ],
)
def test_a_wrong_dataset_file_is_refused_with_what_is_wrong(tmp_path: Path, content: object, says: str) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=says):
        LabelSpace.of_folder(tmp_path)


# Mirroring


def test_merged_groups_mirror_to_the_group_of_the_other_side() -> None:
    left, right = (20 + SIDED.merged.index(g) for g in ((4, 6), (5, 7)))
    codes = np.array([[left, 5, 0]], np.uint8)
    mirrored = SIDED.coded.mirror(codes)
    assert mirrored.tolist() == [[0, 4, right]]
    assert np.array_equal(SIDED.coded.mirror(mirrored), codes)


def test_a_group_of_both_sides_is_its_own_mirror_image() -> None:
    fasseg = LabelSpace.preset("fasseg_posed")
    codes = _codes(fasseg, [[0, 1, 2, 3, 4, 5]])
    # Its values 4 and 5 are eyes and mouth: exchanging them as ids would be wrong.
    assert np.array_equal(fasseg.coded.mirror(codes), codes[:, ::-1])


def test_groups_of_parts_count_as_face_and_groups_with_background_do_not() -> None:
    face = {_id for name in CCP.coded.groups["face"] for _id in [CCP.coded.id_of(name)]}
    assert CCP.code_of(CCP.declared[1][1]) in face
    assert face.isdisjoint({CCP.code_of(CCP.declared[0][1])})


# Loss


def _logp(rows: list[list[float]]) -> Tensor:
    """Log-probabilities of one picture of one row of pixels, from the probabilities of the first classes."""
    p = torch.full((1, len(TAXONOMY), 1, len(rows)), 0.0)
    for x, row in enumerate(rows):
        p[0, : len(row), 0, x] = torch.tensor(row)
        p[0, len(row) :, 0, x] = (1 - sum(row)) / (len(TAXONOMY) - len(row))
    return p.log()


def _three() -> tuple[Groups, LabelSpace]:
    space = LabelSpace.from_labels("three", {"0": ["background", "nose"], "1": "skin"})
    return Groups((FULL, space)), space


def test_a_group_has_the_sum_of_the_probabilities_of_its_classes() -> None:
    groups, space = _three()
    logp = _logp([[0.5, 0.2, 0.1], [0.1, 0.7, 0.1], [0.3, 0.3, 0.3]])
    found = group_log_probabilities(logp, torch.from_numpy(_codes(space, [[0, 1, 0]]))[None], groups, torch.tensor([1]))
    assert found.exp().flatten().tolist() == pytest.approx([0.6, 0.7, 0.6])


def test_each_picture_of_a_batch_is_read_in_its_own_space() -> None:
    groups = Groups((FULL, HAIR, SIDED))
    logp = torch.randn(3, 20, 4, 5).log_softmax(1)
    labels = torch.full((3, 4, 5), 20, dtype=torch.uint8)
    labels[0] = 7
    found = group_log_probabilities(logp, labels, groups, torch.tensor([0, 1, 2]))
    p = logp.exp()
    torch.testing.assert_close(found[0], logp[0, 7])
    torch.testing.assert_close(found[1], (1 - p[1, 13]).log())
    # Code 20 of this space is all but the two eyes and the left brow.
    torch.testing.assert_close(found[2], (1 - p[2, [4, 5, 6]].sum(0)).log())


def test_the_gradient_raises_the_classes_of_the_group_and_lowers_the_others() -> None:
    groups, space = _three()
    logits = torch.zeros(1, 20, 1, 1, requires_grad=True)
    labels = torch.from_numpy(_codes(space, [[0]]))[None]
    group_log_probabilities(logits.log_softmax(1), labels, groups, torch.tensor([1])).sum().backward()
    gradient = logits.grad.flatten()
    # d log(p0 + p2) / dx: p_i / P - p_i for its classes, -p_i for all others.
    assert gradient[[0, 2]].tolist() == pytest.approx([1 / 2 - 1 / 20] * 2)
    assert gradient[1].item() == pytest.approx(-1 / 20)
    # No class of the group is preferred: the label does not say which it is.
    assert gradient[0] == gradient[2]


def test_hopeless_pixels_still_have_a_gradient() -> None:
    groups, space = _three()
    logits = torch.zeros(1, 20, 1, 1)
    logits[0, 5] = 300
    logits.requires_grad_()
    labels = torch.from_numpy(_codes(space, [[0]]))[None]
    loss = -group_log_probabilities(logits.log_softmax(1), labels, groups, torch.tensor([1])).sum()
    loss.backward()
    assert math.isfinite(loss.item())
    assert logits.grad[0, 0].item() == pytest.approx(-0.5, abs=1e-3)


def test_a_full_space_gives_plain_cross_entropy_and_dice_to_the_bit() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 20, 16, 16, requires_grad=True)
    labels = torch.randint(0, 20, (3, 16, 16), dtype=torch.uint8)
    labels[:, :3] = _IGNORE
    cross_entropy, dice = ce_and_dice(logits, labels, _IGNORE)
    (cross_entropy + dice).backward()
    expected, logits.grad = logits.grad, None

    for spaces in ((FULL,), (FULL, LabelSpace.preset("celeba19"))):
        groups, numbers = Groups(spaces), torch.tensor([0, len(spaces) - 1, 0])
        logp = F.log_softmax(logits, 1)
        found = group_log_probabilities(logp, labels, groups, numbers)
        weight = groups.valid(labels).float()
        mine = -(found * weight).sum() / weight.sum()
        overlap, sizes, predicted = dice_sums(logp, found, labels, groups, numbers)
        present = sizes > 0
        ratio = 2 * overlap / (sizes + predicted).clamp(min=1)
        my_dice = ((1 - ratio) * present).sum() / present.sum()
        assert torch.equal(mine, cross_entropy)
        assert torch.equal(my_dice, dice)
        (mine + my_dice).backward()
        assert torch.equal(logits.grad, expected)
        logits.grad = None


def test_dice_counts_a_class_only_where_it_is_known_by_hand() -> None:
    groups, _ = _three()
    # Group {background, nose}, skin, and a painted nose, which lies within the group.
    labels = torch.from_numpy(np.array([[[20, 1, 2, 255]]], np.uint8))
    logp = _logp([[0.5, 0.2, 0.1], [0.1, 0.7, 0.1], [0.2, 0.2, 0.4], [0.9, 0.05, 0.05]])
    numbers = torch.tensor([1])
    found = group_log_probabilities(logp, labels, groups, numbers)
    overlap, sizes, predicted = dice_sums(logp, found, labels, groups, numbers)
    assert groups.members[20:] == ((0, 2),)
    # The group: its own pixel (0.6) and the painted nose's (0.2 + 0.4); skin's pixel is surely none of it (0.1 + 0.1).
    assert (overlap[20].item(), sizes[20].item(), predicted[20].item()) == pytest.approx((1.2, 2, 1.4))
    # Skin is known everywhere but at the ignored pixel.
    assert (overlap[1].item(), sizes[1].item(), predicted[1].item()) == pytest.approx((0.7, 1, 1.1))
    # A nose is unclear at the group's pixel.
    assert (overlap[2].item(), sizes[2].item(), predicted[2].item()) == pytest.approx((0.4, 1, 0.5))
    assert (overlap[0].item(), sizes[0].item(), predicted[0].item()) == pytest.approx((0, 0, 0.3), abs=1e-6)


def test_dice_agrees_with_one_hot_maps_of_everything() -> None:
    torch.manual_seed(1)
    space = LabelSpace.preset("facesynthetics100")
    groups = Groups((FULL, CCP, space, SIDED))
    numbers = torch.tensor([2, 0, 1, 3, 2])
    logp = torch.randn(5, 20, 12, 9).log_softmax(1)
    labels = torch.zeros(5, 12, 9, dtype=torch.uint8)
    for i, number in enumerate(numbers.tolist()):
        labels[i] = torch.randint(0, len(groups.spaces[number].groups), (12, 9))
        labels[i, 0] = _IGNORE
    found = group_log_probabilities(logp, labels, groups, numbers)
    sums = torch.stack(dice_sums(logp, found, labels, groups, numbers))
    expected = torch.zeros_like(sums)
    for row, members in enumerate(groups.members):
        for i, number in enumerate(numbers.tolist()):
            mine = groups.spaces[number].groups
            if len(members) > 1 and members not in mine:
                continue
            p = logp[i, list(members)].exp().sum(0)
            for code, group in enumerate(mine):
                at = labels[i] == code
                if set(group) <= set(members):
                    expected[:, row] += torch.stack([p[at].sum(), at.sum().float(), p[at].sum()])
                elif not set(group) & set(members):
                    expected[2, row] += p[at].sum()
    torch.testing.assert_close(sums, expected, rtol=1e-4, atol=1e-4)


def test_weights_of_classes_make_weights_of_groups() -> None:
    groups = Groups((FULL, SIDED))
    weights = groups.weights([1.0 + i for i in range(20)])
    assert weights[:20] == tuple(1.0 + i for i in range(20))
    assert dict(zip(groups.members, weights, strict=True))[(4, 6)] == 5
    assert groups.weights(()) == ()
