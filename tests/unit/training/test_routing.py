"""Routing of one picture: the three kinds, where each goes, and what DOM's answer is merged to."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from fpan_training.face3d import pose
from fpan_training.landmarks import SCHEME
from fpan_training.landmarks.aligned import aligned, read_template
from fpan_training.landmarks.canonical import canonical_mesh
from fpan_training.paper.routing import Kind, Route, Router, merge
from fpan_training.paper.routing.modules import AlignedDom

from tests.unit.training.routing_doubles import (
    CONFIG,
    FULL,
    GLASSES,
    OCCLUSION,
    SIDE,
    SKIN,
    UNKNOWN,
    FixedDom,
    FixedLom,
    NoDom,
    face_points,
    marked_labels,
    plain_image,
    plain_labels,
)

# The three kinds (Mask-FPAN, figure 2)


def test_a_naked_face_goes_to_uvm_and_segm_as_it_is() -> None:
    routing = Router(FixedLom(0.0), NoDom())("a", plain_image(), plain_labels(), face_points())
    assert (routing.decision.kind, routing.decision.route) == (Kind.NAKED, Route.UVM_SEGM)
    assert np.array_equal(routing.labels, plain_labels())


def test_a_marked_occlusion_goes_to_uvm_and_segm_as_it_is() -> None:
    routing = Router(FixedLom(0.3), NoDom())("a", plain_image(), marked_labels(), face_points())
    assert (routing.decision.kind, routing.decision.route) == (Kind.MARKED, Route.UVM_SEGM)
    assert np.array_equal(routing.labels, marked_labels())


def test_an_unmarked_occlusion_goes_through_dom_which_marks_it() -> None:
    dom = FixedDom()
    routing = Router(FixedLom(0.3), dom)("a", plain_image(7), plain_labels(), face_points())
    assert (routing.decision.kind, routing.decision.route) == (Kind.UNMARKED, Route.DOM_SEGM)
    assert dom.asked == [7]
    expected = plain_labels()
    expected[:16], expected[16] = OCCLUSION, UNKNOWN
    assert np.array_equal(routing.labels, expected)


@pytest.mark.parametrize("hidden", [0.0, 0.04, 0.3, 1.0])
def test_a_marked_occlusion_never_reaches_dom(hidden: float) -> None:
    assert (
        Router(FixedLom(hidden), NoDom())("a", plain_image(), marked_labels(), face_points()).decision.kind
        is Kind.MARKED
    )
    assert Router(FixedLom(hidden), NoDom())("a", plain_image(), marked_labels(), None).decision.kind is Kind.MARKED


def test_an_occluded_picture_without_labels_gets_dom_s_alone() -> None:
    routing = Router(FixedLom(0.3), FixedDom())("a", plain_image(), None, face_points())
    assert routing.decision.route is Route.DOM_SEGM
    assert set(np.unique(routing.labels)) == {0, OCCLUSION, UNKNOWN}
    assert (routing.labels[17:] == 0).all()  # what is no occlusion is learnt from, too


def test_a_naked_picture_without_labels_teaches_nothing() -> None:
    routing = Router(FixedLom(0.0), NoDom())("a", plain_image(), None, face_points())
    assert (routing.decision.kind, routing.decision.route) == (Kind.NAKED, Route.NOWHERE)
    assert routing.labels is None


@pytest.mark.parametrize(("labels", "route"), [(plain_labels(), Route.SEGM), (None, Route.NOWHERE)])
def test_without_a_face_nobody_is_asked(labels: np.ndarray | None, route: Route) -> None:
    lom = FixedLom(1.0)
    decision = Router(lom, NoDom())("a", plain_image(), labels, None).decision
    assert (decision.kind, decision.route) == (Kind.NO_FACE, route)
    assert lom.asked == 0


def test_landmarks_behind_labelled_glasses_are_marked_and_those_beside_them_are_not() -> None:
    covered = plain_labels()
    covered[:12] = GLASSES  # over all of the rows that are hidden
    assert Router(FixedLom(0.25), NoDom())("a", plain_image(), covered, face_points()).decision.kind is Kind.MARKED
    covered[:, :16] = SKIN
    assert Router(FixedLom(0.25), FixedDom())("a", plain_image(), covered, face_points()).decision.kind is Kind.UNMARKED


def test_landmarks_outside_the_picture_need_no_mark() -> None:
    above = face_points() - (0, 12)  # the hidden ones lie above the upper edge
    assert Router(FixedLom(0.25), NoDom())("a", plain_image(), plain_labels(), above).decision.kind is Kind.MARKED


@pytest.mark.parametrize(("points", "kind"), [(13, Kind.NAKED), (14, Kind.UNMARKED)])
def test_a_face_is_occluded_from_five_in_a_hundred_landmarks_on(points: int, kind: Kind) -> None:
    decision = Router(FixedLom(points / 264), FixedDom())("a", plain_image(), plain_labels(), face_points()).decision
    assert decision.kind is kind
    assert decision.evidence.hidden_share == pytest.approx(points / 264)


def test_a_speck_of_occlusion_marks_nothing() -> None:
    labels = plain_labels()
    labels[0, :2] = OCCLUSION
    assert Router(FixedLom(0.3), FixedDom())("a", plain_image(), labels, face_points()).decision.kind is Kind.UNMARKED


# Merging


def test_the_merge_is_right_to_the_pixel() -> None:
    occluded = np.array([[0, 0.05, 0.09, 0.1], [0.5, 0.9, 0.91, 1]], np.float32)
    labels = np.array([[1, 2, 3, 4], [5, 13, 13, 1]], np.uint8)
    plain = replace(CONFIG, covering=())
    expected = [[1, 2, 3, UNKNOWN], [UNKNOWN, UNKNOWN, OCCLUSION, OCCLUSION]]
    assert merge(labels, occluded, plain, FULL).tolist() == expected


def test_classes_that_cover_faces_themselves_are_not_overwritten() -> None:
    labels = np.array([[GLASSES, SKIN, UNKNOWN]], np.uint8)
    for probability, result in ((0.95, [GLASSES, OCCLUSION, OCCLUSION]), (0.5, [GLASSES, UNKNOWN, UNKNOWN])):
        merged = merge(labels, np.full((1, 3), probability, np.float32), CONFIG, FULL)
        assert merged.tolist() == [result]


def test_merging_leaves_its_arguments_alone_and_wants_one_size() -> None:
    labels, occluded = plain_labels(), np.full((SIDE, SIDE), 1, np.float32)
    merge(labels, occluded, CONFIG, FULL)
    assert (labels == SKIN).all()
    with pytest.raises(ValueError, match="labels are"):
        merge(labels[:-1], occluded, CONFIG, FULL)


# DOM, asked about pictures of any framing


class _Remover:
    """In place of a trained DOM: what is bright is occluded."""

    def __init__(self) -> None:
        self.sides: list[tuple[int, ...]] = []

    def remove(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.sides.append(image.shape)
        return image, image[..., 0].astype(np.float32) / 255


@pytest.mark.parametrize("roll", [0.0, 40.0])
def test_what_dom_sees_in_its_crop_comes_back_to_its_place_in_the_picture(roll: float) -> None:
    mesh = canonical_mesh().vertices @ pose.rotation((0, 0, roll)).T * 8
    points = SCHEME.from_mesh(mesh + np.array([150, 90, 0]))
    image = np.zeros((180, 260, 3), np.uint8)
    image[80:100, 140:160] = 255
    remover = _Remover()
    dom = AlignedDom(remover, read_template())
    occluded = dom(image, points)
    assert occluded.shape == image.shape[:2]
    assert occluded[84:96, 144:156].min() > 0.9
    blurred = cv2.dilate(image[..., 0], np.ones((7, 7)))
    assert occluded[blurred == 0].max() < 0.05
    height, width, _ = remover.sides[0]
    assert height == width


def test_an_aligned_crop_has_the_eyes_and_the_mouth_where_the_template_has_them() -> None:
    template = read_template()
    mesh = canonical_mesh().vertices @ pose.rotation((0, 0, -30)).T * 5 + np.array([99, 40, 0])
    points = SCHEME.from_mesh(mesh)
    matrix, side = aligned(points, template)
    moved = SCHEME.to68(points) @ matrix[:, :2].T + matrix[:, 2]
    shares = np.stack([moved[36:42].mean(0), moved[42:48].mean(0), moved[48], moved[54]])
    np.testing.assert_allclose((shares + 0.5) / side, np.array(template.points)[[0, 1, 3, 4]], atol=0.05)
    assert np.sqrt(np.linalg.det(matrix[:, :2])) == pytest.approx(1, abs=0.01)
