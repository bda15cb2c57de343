"""Each figure by itself: from faces and a trained module to one picture, RGB uint8 (H, W, 3)."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.data.assets import Assets
from fpan_training.engine.plots import grid, overlay
from fpan_training.face3d.uv import unwrap
from fpan_training.modules.dom.pseudo import DeOcclusion
from fpan_training.modules.lom.pictures import draw_landmarks
from fpan_training.modules.uvm.complete import Completer
from fpan_training.modules.uvm.pose_augment import PoseAugment
from fpan_training.paper.figures.faces import Face, Image, cover
from fpan_training.paper.routing.protocols import LandmarkModel
from fpan_training.taxonomy import TAXONOMY

Parser = Callable[[Image], NDArray[np.uint8]]
"""A picture, uint8 (H, W, 3), to its label map, uint8 (H, W)."""
CELL = 256
"""Side of each picture in a figure, in pixels."""
VARIANTS = 3
"""Ways in which each face is covered."""
YAWS_DEG = (-75.0, -50.0, -25.0, 25.0, 50.0, 75.0)
"""To which heads are turned."""


def figure_5(faces: Sequence[Face], lom: LandmarkModel, assets: Assets) -> Image:
    """Covered faces with LOM's landmarks, green where it sees them and red where it does not."""
    cells = []
    for face in faces:
        for seed in range(VARIANTS):
            image = cover(face, assets, seed).image
            answer = lom(image, face.points)
            cells.append(draw_landmarks(_cell(image), _in_cell(answer.points, len(image)), answer.visibility, zoom=2))
    return grid(cells, VARIANTS)


def figure_6(faces: Sequence[Face], dom: DeOcclusion, assets: Assets) -> Image:
    """Covered faces; what DOM makes of them; its mask; the true mask; the face as it is."""
    cells = []
    for face in faces:
        for seed in range(VARIANTS):
            covered = cover(face, assets, seed)
            recovered, probability = dom.remove(covered.image)
            masks = [np.repeat(np.rint(255 * mask)[..., None], 3, 2) for mask in (probability, covered.alpha)]
            row = [covered.image, recovered, *(mask.astype(np.uint8) for mask in masks), face.image]
            cells += [_cell(picture) for picture in row]
    return grid(cells, len(row))


def figure_7(faces: Sequence[Face], completion: Completer, parse: Parser) -> Image:
    """The picture and its parts; the UV map that it shows, the completed one and its parts; the head at other poses."""
    cells, augment = [], PoseAugment(completion)
    for face in faces:
        labels, fitted = parse(face.image), face.fit()
        flat = unwrap(face.image, fitted, completion.size, labels)
        whole = completion.complete(flat)
        first = [face.image, np.where(flat.visible[..., None], flat.texture, 0), whole.texture]
        second = [overlay(face.image, labels, TAXONOMY), np.zeros_like(face.image)]
        second.append(whole.texture if whole.labels is None else overlay(whole.texture, whole.labels, TAXONOMY))
        for yaw in YAWS_DEG:
            posed = augment(face.image, labels, fitted, np.random.default_rng(0), (yaw, 0.0, 0.0))
            first.append(posed.image)
            second.append(overlay(posed.image, posed.labels, TAXONOMY))
        cells += [_cell(picture) for picture in (*first, *second)]
    return grid(cells, 3 + len(YAWS_DEG))


def figure_11(faces: Sequence[Face], parse: Parser, assets: Assets) -> Image:
    """Hands before faces, and what Mask-FPAN says of them."""
    return _parsed(faces, assets, [parse], "hand")


def figure_12(faces: Sequence[Face], baseline: Parser, assets: Assets) -> Image:
    """Covered faces, and what the plain network says of them: where modules are to help."""
    return _parsed(faces, assets, [baseline], None)


def figure_13(faces: Sequence[Face], completion: Completer, baseline: Parser, parse: Parser) -> Image:
    """Turned heads; what the plain network says of them; what Mask-FPAN says of them."""
    cells, augment = [], PoseAugment(completion)
    for face in faces:
        labels, fitted = parse(face.image), face.fit()
        turned = [
            augment(face.image, labels, fitted, np.random.default_rng(0), (yaw, 0.0, 0.0)).image for yaw in YAWS_DEG
        ]
        cells += [_cell(image) for image in turned]
        for network in (baseline, parse):
            cells += [_cell(overlay(image, network(image), TAXONOMY)) for image in turned]
    return grid(cells, len(YAWS_DEG))


def _parsed(faces: Sequence[Face], assets: Assets, parsers: Sequence[Parser], kind: str | None) -> Image:
    cells = []
    for face in faces:
        for seed in range(VARIANTS):
            image = cover(face, assets, seed, kind).image
            cells += [_cell(image), *(_cell(overlay(image, parse(image), TAXONOMY)) for parse in parsers)]
    return grid(cells, VARIANTS * (1 + len(parsers)))


def _cell(picture: Image) -> Image:
    if picture.shape[0] == CELL:
        return picture
    how = cv2.INTER_AREA if picture.shape[0] > CELL else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (CELL, CELL), interpolation=how), np.uint8)


def _in_cell(points: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Points of a picture of ``side`` pixels in its cell."""
    zoom = CELL / side
    return np.asarray((points + 0.5) * zoom - 0.5, np.float32)
