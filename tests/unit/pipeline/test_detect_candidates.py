"""Candidates lead back into the picture, and those of one face become one."""

import cv2
import numpy as np
import pytest
from fpan.serve.pipeline.detect.candidates import Candidates, uncut
from fpan.serve.pipeline.detect.second_look import FACE_HEIGHT, PACKED, ROOMY, Pose, Sheet, sheets

SIZES = ((640, 640), (480, 480))


def row(x0=100.0, y0=100.0, x1=180.0, y1=200.0, score=0.9) -> np.ndarray:
    w, h = x1 - x0, y1 - y0
    points = [(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]
    flat = [v for u, t in points for v in (x0 + u * w, y0 + t * h)]
    return np.array([x0, y0, x1, y1, *flat, score], np.float32)


def candidates(*rows: np.ndarray, matrix: np.ndarray | None = None) -> Candidates:
    return Candidates.of_view(np.array(rows, np.float32).reshape(-1, 15), np.eye(2, 3) if matrix is None else matrix)


def test_an_upright_box_stays_what_it_is():
    np.testing.assert_allclose(candidates(row()).boxes, [[100, 100, 180, 200]])


def test_a_quarter_turn_swaps_width_and_height():
    turned = candidates(row(), matrix=np.array([[0.0, -1.0, 500.0], [1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(turned.boxes, [[301, 100, 401, 180]])
    np.testing.assert_allclose(turned.upright, [np.pi / 2], atol=1e-6)


def test_scaling_keeps_edges_between_pixels():
    doubled = candidates(row(), matrix=np.array([[2.0, 0.0, 0.5], [0.0, 2.0, 0.5]]))
    np.testing.assert_allclose(doubled.boxes, [[200, 200, 360, 400]])


def test_a_mirrored_view_gives_the_same_face():
    flip = np.array([[-1.0, 0.0, 639.0], [0.0, 1.0, 0.0]])
    plain = candidates(row())
    seen = row(640 - 180, 100, 640 - 100, 200)
    turned = candidates(seen, matrix=flip)
    np.testing.assert_allclose(turned.boxes, plain.boxes)
    assert turned.points[0, 0, 0] < turned.points[0, 1, 0], "the right eye is to the left in the picture"
    np.testing.assert_allclose(turned.points, plain.points, atol=1.01)


def test_overlapping_boxes_are_one_face_and_the_best_scored_is_kept():
    merged = candidates(row(score=0.5), row(102, 101, 181, 203, score=0.8), row(400, 100, 480, 200, score=0.6)).merged()
    np.testing.assert_allclose(merged.score, [0.8, 0.6])


def test_a_box_inside_another_is_the_same_face_unless_told_otherwise():
    nested = candidates(row(0, 0, 200, 200, score=0.9), row(50, 50, 100, 100, score=0.5))
    assert len(nested.merged()) == 1
    assert len(nested.merged(same_inside=1.0)) == 2


def test_blending_gives_the_mean_of_what_overlaps_but_not_of_what_lies_inside():
    three = candidates(row(0, 0, 100, 100), row(4, 0, 104, 100, score=0.8), row(30, 30, 50, 50, score=0.85))
    (box,) = three.merged(blend=True).boxes
    np.testing.assert_allclose(box, [2, 0, 102, 100])


def test_detections_come_largest_first_then_from_left_to_right():
    found = candidates(row(300, 0, 350, 50), row(0, 0, 50, 50), row(100, 100, 200, 200)).detections()
    assert [d.box[0] for d in found] == [100, 0, 300]
    assert [d.box[0] for d in candidates(row(0, 0, 50, 50), row(100, 100, 200, 200)).detections(1)] == [100]
    assert found[0].landmarks.shape == (5, 2)
    assert found[0].landmarks.dtype == np.float32


def test_nothing_is_merged_from_nothing():
    assert candidates().merged().detections() == []
    assert Candidates.join([]).merged(blend=True).detections() == []


def test_boxes_that_the_view_cuts_are_told():
    rows = np.array([row(-30, 10, 60, 110), row(-5, 10, 85, 110), row(600, 10, 700, 110)])
    assert uncut(rows, np.zeros(2), np.full(2, 640.0)).tolist() == [False, True, False]


def corner(sheet: Sheet, place: int) -> np.ndarray:
    columns = len(sheet.pixels) // sheet.cell
    return sheet.cell * np.array([place % columns, place // columns])


@pytest.mark.parametrize(("copies", "cell", "side"), [(1, ROOMY, 480), (7, PACKED, 640)])
def test_a_candidate_stands_upright_in_the_middle_of_its_cell(copies, cell, side):
    turn = np.radians(50)
    matrix = np.array([[np.cos(turn), -np.sin(turn), 300.0], [np.sin(turn), np.cos(turn), 50.0]])
    face = candidates(row(), matrix=matrix)
    picture = np.zeros((600, 600, 3), np.uint8)
    leans = (0, 40)
    (sheet,) = sheets(picture, face, SIZES, [Pose(lean) for lean in leans] * copies)
    assert sheet.cell == cell
    assert sheet.pixels.shape == (side, side, 3)
    for index, lean in enumerate(leans):
        to_picture, first = sheet.to_picture[index], corner(sheet, index)
        inside = np.linalg.solve(to_picture[:, :2], (face.points[0] - to_picture[:, 2]).T).T - first
        up = inside[:2].mean(0) - inside[3:].mean(0)
        assert np.degrees(np.arctan2(up[0], -up[1])) == pytest.approx(-lean, abs=1e-3)
        centre = np.linalg.solve(to_picture[:, :2], face.centre[0] - to_picture[:, 2]) - first
        np.testing.assert_allclose(centre, (cell - 1) / 2, atol=1e-6)
        scale = np.hypot(*to_picture[:, 0])
        assert face.size[0].max() / scale == pytest.approx(FACE_HEIGHT)


def test_a_sheet_reads_only_what_is_in_the_middle_of_its_cells():
    face = candidates(row(), row(300, 300, 380, 400))
    (sheet,) = sheets(np.zeros((600, 600, 3), np.uint8), face, SIZES, [Pose()])

    def inside(place: int, x: float, y: float, score: float = 0.9) -> np.ndarray:
        """A face of 60 x 80 pixels whose centre lies that far from the middle of a cell."""
        left, top = corner(sheet, place) + sheet.cell / 2 - (30, 40) + (x, y)
        return row(left, top, left + 60, top + 80, score)

    wide = corner(sheet, 0)[0]
    middle, aside, unused, low = inside(0, 0, 0), inside(0, 45, 0), inside(2, 0, 0), inside(1, 0, 0, score=0.2)
    cut, elsewhere = row(wide - 60, 60, wide + sheet.cell + 60, 180), row(-400, -400, -300, -300)
    found = sheet.read(np.array([middle, aside, unused, low, cut, elsewhere]), 0.5)
    assert len(found) == 1
    np.testing.assert_allclose(found.centre, [face.centre[0]], atol=1.0)


def test_each_cell_leads_back_to_where_it_was_taken_from():
    faces = candidates(row(100, 100, 180, 200), row(300, 300, 380, 400))
    (sheet,) = sheets(np.zeros((600, 600, 3), np.uint8), faces, SIZES, [Pose(), Pose(mirrored=True)])
    middles = [corner(sheet, place) + sheet.cell / 2 for place in range(4)]
    found = sheet.read(np.array([row(x - 30, y - 40, x + 30, y + 40) for x, y in middles]), 0.5)
    np.testing.assert_allclose(found.centre, np.repeat(faces.centre, 2, axis=0), atol=1e-3)


def test_a_mirrored_cell_is_what_the_network_sees_of_a_mirrored_picture():
    picture = np.random.default_rng(3).integers(0, 256, (400, 400, 3), np.uint8)
    picture = cv2.GaussianBlur(picture, (0, 0), 3)
    face = candidates(row(150, 120, 250, 260))
    leans = [Pose(20), Pose(20, mirrored=True)]
    (sheet,) = sheets(picture, face, SIZES, leans)
    plain, mirrored = sheet.pixels[:ROOMY, :ROOMY], sheet.pixels[:ROOMY, ROOMY:]
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])
    x, y = 30, 70  # a pixel of the mirrored cell, and where its map says that it lies
    at = sheet.to_picture[1] @ (ROOMY + x, y, 1)
    np.testing.assert_allclose(mirrored[y, x], picture[round(at[1]), round(at[0])], atol=12)


@pytest.mark.parametrize(("faces", "filled"), [(1, [1]), (5, [4, 1]), (12, [4, 4, 4]), (13, [13]), (20, [16, 4])])
def test_few_candidates_fill_small_sheets_and_many_large_ones(faces, filled):
    many = candidates(*(row(10.0 * i, 10, 10.0 * i + 80, 110) for i in range(faces)))
    packed = list(sheets(np.zeros((300, 600, 3), np.uint8), many, SIZES, [Pose()]))
    assert [len(sheet.to_picture) for sheet in packed] == filled
    assert {len(sheet.pixels) for sheet in packed} == {480 if faces <= 12 else 640}


def test_a_candidate_outside_of_the_picture_gets_an_empty_cell():
    (sheet,) = sheets(np.zeros((50, 50, 3), np.uint8), candidates(row(4000, 4000, 4050, 4050)), SIZES, [Pose()])
    assert (sheet.pixels == sheet.pixels[0, 0]).all()
