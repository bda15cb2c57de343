"""A moved pixel moves the landmark, and a mirrored picture gets the mirrored answer: of trained networks, asked.

Small networks learn drawn faces by heart, moved and mirrored by the augmentation of the real training. Each tolerance
is held against what a network says that does not look at the picture.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fpan_training.face3d.pose import rotation
from fpan_training.landmarks import SCHEME, face_crop, warp_points
from fpan_training.landmarks.canonical import canonical_mesh
from fpan_training.landmarks.teacher import record_of
from fpan_training.modules.lom import INPUT_SIZE, Lom, LomConfig
from fpan_training.modules.lom.data import LomAugmentConfig, LomData, MarkedFace, mean_shape
from fpan_training.modules.lom.data import collate as collate_lom
from fpan_training.modules.lom.loss import LomLossConfig
from fpan_training.modules.lom.pictures import draw_landmarks
from fpan_training.modules.lom.step import LomStep
from fpan_training.modules.lom.train import start_from_mean
from fpan_training.modules.ppm import PoseNetwork, PpmConfig
from fpan_training.modules.ppm.data import PoseAugmentConfig, PoseData, PosedFace
from fpan_training.modules.ppm.data import collate as collate_ppm
from fpan_training.modules.ppm.predict import crop
from fpan_training.modules.ppm.step import PoseStep
from numpy.typing import NDArray
from PIL import Image

pytestmark = pytest.mark.timeout(600)
_SIDE = 160
_MARGIN = 0.1
_SHIFTS = tuple(np.array(shift, np.float32) for shift in ((6, 0), (-6, 0), (0, 6), (0, -6)))
"""Of the face within the crop, in pixels of 112."""
_STILL = PoseAugmentConfig(flip=0, rotation_deg=0, p_large_rotation=0, scale=(1, 1), shift=0)
_LIGHT = replace(
    _STILL.light,
    gamma=(1, 1),
    contrast=0,
    brightness=0,
    saturation=0,
    tint=0,
    p_grey=0,
    p_low_resolution=0,
    p_noise=0,
    p_jpeg=0,
)
"""As it is."""


def _faces(folder: Path, angles: NDArray[np.float64]) -> list[MarkedFace]:
    """Drawn faces at poses (N, 3)."""
    folder.mkdir(exist_ok=True)
    faces = []
    for number, at in enumerate(angles):
        record = record_of((canonical_mesh().vertices @ rotation(at).T * 5.5 + [80, 80, 0]).astype(np.float32))
        grey = np.full((_SIDE, _SIDE, 3), 60, np.uint8)
        path = folder / f"{number}.png"
        Image.fromarray(draw_landmarks(grey, record.points264, np.ones(264, np.float32), zoom=1)).save(path)
        faces.append(MarkedFace(path.stem, path, record.points264, record.rotation.astype(np.float64)))
    return faces


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> MarkedFace:
    """A face that looks to one side: its mirror image is another."""
    return _faces(tmp_path_factory.mktemp("turned"), np.array([[12.0, -4.0, 5.0]]))[0]


@pytest.fixture(scope="module")
def lom(turned: MarkedFace) -> Lom:
    """LOM at a quarter of its width that has seen the face at many places of the crop, on both sides."""
    torch.manual_seed(0)
    network, steps = Lom(LomConfig(width=0.25)), 300
    start_from_mean(network, mean_shape([turned], _MARGIN))
    move = replace(_STILL, shift=0.06, flip=0.5, light=_LIGHT)
    data = LomData([turned], _MARGIN, augment=LomAugmentConfig(move, p_occluded=0))
    batches = [collate_lom([data[8 * i + j] for j in range(8)]) for i in range(240)]
    step = LomStep(loss=LomLossConfig(linear_beyond=None, joint=0))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    pace = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, steps)
    network.train()
    for turn in range(steps):
        step.train(network, batches[turn % len(batches)])["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        pace.step()
    return network.eval()


def _seen(face: MarkedFace, shift: NDArray[np.float32] | None = None) -> NDArray[np.uint8]:
    """The face in a crop that stays where it is, while the picture is shifted behind it."""
    matrix = face_crop(face.points, INPUT_SIZE, _MARGIN)
    if shift is not None:
        matrix[:, 2] += shift
    return crop(np.asarray(Image.open(face.path)), matrix, INPUT_SIZE)


def _say(network: Lom, seen: NDArray[np.uint8]) -> NDArray[np.float32]:
    return LomStep().predict(network, torch.from_numpy(seen.copy())[None]).points[0]


def _distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Mean over the landmarks, in pixels of the crop."""
    return float(np.linalg.norm(a - b, axis=1).mean())


def test_a_moved_pixel_moves_the_landmark(lom: Lom, turned: MarkedFace) -> None:
    plain = _say(lom, _seen(turned))
    assert _distance(plain, warp_points(turned.points, face_crop(turned.points, INPUT_SIZE, _MARGIN))) < 4
    off = []
    for shift in _SHIFTS:
        moved = _say(lom, _seen(turned, shift))
        off.append(_distance(moved, plain + shift))
        assert ((moved - plain) @ shift > 0).mean() > 0.95, shift
    # What does not look is all of the way off, 6 pixels.
    assert max(off) < 4, off
    assert np.mean(off) < 3, off


def test_landmarks_of_a_mirrored_picture_are_the_mirrored_landmarks(lom: Lom, turned: MarkedFace) -> None:
    plain = _say(lom, _seen(turned))
    expected = SCHEME.mirror(plain, INPUT_SIZE)
    assert _distance(_say(lom, _seen(turned)[:, ::-1]), expected) < 4
    # What does not look says the same again.
    assert _distance(plain, expected) > 8


def test_the_pose_of_a_mirrored_picture_is_the_mirrored_pose(tmp_path: Path) -> None:
    angles = np.random.default_rng(5).uniform((-60, -30, -30), (60, 30, 30), (8, 3))
    faces = [PosedFace(f.name, f.path, SCHEME.to68(f.points), f.rotation) for f in _faces(tmp_path / "f", angles)]
    config, steps = PpmConfig(input_size=64, pretrained=False, dropout=0.0), 120
    data = PoseData(faces, config, replace(_STILL, flip=0.5, light=_LIGHT))
    torch.manual_seed(0)
    network, step = PoseNetwork(config), PoseStep()
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    pace = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, steps)
    network.train()
    for turn in range(steps):
        step.train(network, collate_ppm([data[8 * turn + i] for i in range(8)]))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        pace.step()
    network.eval()
    images = collate_ppm([PoseData(faces, config)[i] for i in range(8)]).images
    plain, mirrored = step.predict(network, images), step.predict(network, images.flip(2))
    expected = plain * (-1, 1, -1)
    off, blind = (np.abs(answer - expected).mean(0) for answer in (mirrored, plain))
    assert (off < (10, 6, 6)).all(), off
    # What does not look says the same again, which is wrong in yaw and roll.
    assert blind[0] > 30, blind
    assert blind[2] > 15, blind
    # What is said is the pose, and the mirrored picture's the other one's.
    assert np.abs(plain - angles).mean() < 10
