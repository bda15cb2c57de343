"""References and the index that compares faces with them."""

import numpy as np
import pytest
from fpan.contract import ModelRepository, ReferenceHistogram, read_card, write_card
from fpan.contract.drift import MIN_BIN_FACES, MIN_SHARE, count, grid_of, psi, quantities
from fpan.contract.figures import crop_figures
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.known_face import CARD, HAIR, NOSE, OCCLUSION, SIZE, SKIN, TAXONOMY, drawn
from tests.support.service import ROOT

QUANTITIES = quantities(TAXONOMY)
counted = st.sampled_from(QUANTITIES).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.lists(st.integers(0, 400), min_size=len(grid_of(name)) + 1, max_size=len(grid_of(name)) + 1).filter(any),
    )
)


def referred(name: str, counts: np.ndarray) -> ReferenceHistogram:
    return ReferenceHistogram.of(name, grid_of(name), counts, "here")


@settings(deadline=None)
@given(counted)
def test_bins_are_merged_until_each_holds_enough_and_no_more(drawn_counts):
    name, counts = drawn_counts[0], np.array(drawn_counts[1])
    found = referred(name, counts)
    assert set(found.edges) <= set(grid_of(name))
    assert sum(found.shares) == pytest.approx(1, abs=1e-4)
    assert found.faces == counts.sum()
    assert len(found.shares) <= 1 / MIN_SHARE + 3  # one for the absent, one for either side of what was seen
    inner = list(found.shares[1:] if name.startswith("area") or name == "occluded" else found.shares)
    while inner and not inner[0]:
        inner.pop(0)
    while inner and not inner[-1]:
        inner.pop()
    if len(inner) > 1:
        assert min(inner) >= max(MIN_SHARE, MIN_BIN_FACES / found.faces) - 1e-5


@settings(deadline=None)
@given(counted)
def test_faces_do_not_differ_from_themselves(drawn_counts):
    name, counts = drawn_counts[0], np.array(drawn_counts[1])
    assert referred(name, counts).psi(grid_of(name), counts) == pytest.approx(0, abs=1e-4)
    if counts.sum() >= 100:  # as every reference has: of few faces, the half that each bin is given beside weighs much
        assert referred(name, counts).psi(grid_of(name), 50 * counts) < 0.2


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 999), st.integers(0, 999)), min_size=1, max_size=12))
def test_the_index_is_finite_never_negative_and_the_same_both_ways(pairs):
    one, other = np.array(pairs).T
    assert 0 <= psi(one, other) < 20
    assert psi(one, other) == pytest.approx(psi(other, one))


@pytest.mark.parametrize(("reference", "faces"), [(100, 300), (400, 2000), (2000, 300)])
def test_chance_alone_moves_the_index_as_far_as_the_bound_says(reference, faces):
    rng = np.random.default_rng(5)
    indices, bounds = [], []
    for _ in range(200):
        counts = count(grid_of("yaw"), rng.normal(3, 15, reference))
        found = referred("yaw", counts)
        indices.append(found.psi(grid_of("yaw"), count(grid_of("yaw"), rng.normal(3, 15, faces))))
        bounds.append((len(found.shares) - 1) * (1 / reference + 1 / faces))
    assert 0.4 < np.mean(indices) / np.mean(bounds) < 1.1
    assert np.mean(np.array(indices) > 0.25) == 0


def test_a_shift_by_one_deviation_is_drift():
    rng = np.random.default_rng(6)
    found = referred("pitch", count(grid_of("pitch"), rng.normal(0, 10, 1000)))
    assert found.psi(grid_of("pitch"), count(grid_of("pitch"), rng.normal(10, 10, 1000))) > 0.25


def test_what_was_never_seen_has_a_bin_of_its_own():
    frontal = referred("yaw", count(grid_of("yaw"), np.full(500, 2.0)))
    assert frontal.edges == (0.0, 5.0)
    assert frontal.psi(grid_of("yaw"), count(grid_of("yaw"), np.full(500, 60.0))) > 5
    hatless = referred("area_hat", count(grid_of("area_hat"), np.zeros(500)))
    some = np.where(np.arange(500) < 50, 0.2, 0.0)
    assert hatless.psi(grid_of("area_hat"), count(grid_of("area_hat"), some)) > 0.25


def test_figures_are_those_of_the_pixels():
    labels = drawn()
    labels[150:] = OCCLUSION
    confidence = np.random.default_rng(1).integers(0, 256, labels.shape, np.uint8)
    figures = crop_figures(labels, confidence, TAXONOMY)
    assert set(figures) == set(QUANTITIES) - {"yaw", "pitch", "roll", "face_size"}
    for c in TAXONOMY.classes:
        assert figures[f"area_{c.name}"] == np.mean(labels == c.id)
    assert figures["confidence"] == pytest.approx(confidence[labels != 0].mean() / 255)
    face = np.isin(labels, [TAXONOMY.id_of(name) for name in TAXONOMY.groups["face"]]).sum()
    assert figures["occluded"] == pytest.approx((labels == OCCLUSION).sum() / (face + (labels == OCCLUSION).sum()))
    assert {SKIN, NOSE, HAIR, OCCLUSION} <= set(np.unique(labels).tolist())


def test_of_a_crop_without_a_face_there_is_no_confidence():
    nothing = np.zeros((SIZE, SIZE), np.uint8)
    figures = crop_figures(nothing, nothing, TAXONOMY)
    assert "confidence" not in figures
    assert (figures["area_background"], figures["occluded"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"edges": (1.0, 1.0)}, "ascend"),
        ({"shares": (0.5, 0.5)}, "one share more"),
        ({"shares": (0.5, 0.4, 0.0)}, "add up"),
    ],
)
def test_a_histogram_that_does_not_add_up_is_refused(change, why):
    plain = {"quantity": "yaw", "edges": (0.0, 5.0), "shares": (0.2, 0.5, 0.3), "faces": 100, "source": "here"}
    assert ReferenceHistogram.model_validate(plain).faces == 100
    with pytest.raises(ValueError, match=why):
        ReferenceHistogram.model_validate({**plain, **change})


def test_a_card_keeps_its_reference_and_old_cards_have_none():
    made = tuple(referred(name, count(grid_of(name), [0.1] * 40)) for name in QUANTITIES)
    assert read_card(write_card(CARD.model_copy(update={"reference": made}))).reference == made
    shipped = ModelRepository(ROOT / "model_repository")
    assert shipped.card("detector", shipped.current("detector")).reference == ()
