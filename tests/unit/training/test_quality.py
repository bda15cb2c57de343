"""The table of quality: every row on pictures whose figures are known."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from fpan.client import Client
from fpan.serve.pipeline.align import crop as align
from fpan.serve.pipeline.paste import labels as paste
from fpan.serve.pipeline.types import Photo
from fpan_training.data.folder import DataError, FaceFolder
from fpan_training.evaluate.quality import Answer, ModelQuality, QualityData, RowResult, Subject, parse
from fpan_training.evaluate.quality.agreement import Agreement
from fpan_training.evaluate.quality.calibration import TemperatureScaling, fit_temperature
from fpan_training.evaluate.quality.network import whole
from fpan_training.evaluate.quality.occluders import Occluders
from fpan_training.evaluate.quality.parts import Parts
from fpan_training.evaluate.quality.photos import News
from fpan_training.evaluate.quality.pictures import PictureSet
from fpan_training.evaluate.quality.posed import Posed
from fpan_training.evaluate.quality.results import Figure
from fpan_training.evaluate.quality.strata import Grey, Size
from fpan_training.evaluate.quality.tone import is_grey, tone_of, typology_angle
from fpan_training.taxonomy import TAXONOMY
from numpy.typing import NDArray

from tests.support.service import ROOT, Service
from tests.unit.training.conftest import draw_face, write_pair
from tests.unit.training.knowing import STEP, Knowing, drawn
from tests.unit.training.occluded_faces import face

_ID = {c.name: c.id for c in TAXONOMY.classes}


def subject(folder: Path, network: Knowing | None = None, **changes: object) -> Subject:
    return replace(Subject(network or Knowing(), None, folder / "sheets"), **changes)


def write_drawn(root: Path, name: str, labels: NDArray[np.uint8]) -> None:
    write_pair(root, name, drawn(labels), labels)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> PictureSet:
    """Four faces of two folders, whose pixels say their class."""
    rng, roots = np.random.default_rng(1), [tmp_path_factory.mktemp("known") for _ in range(2)]
    for number in range(4):
        write_drawn(roots[number % 2], f"face{number}", draw_face(rng)[1])
    return PictureSet.open("val", *roots)


@pytest.fixture
def smooth() -> NDArray[np.float32]:
    """Logits of 20 classes without sudden changes, float32 (20, 32, 32)."""
    noise = np.random.default_rng(0).normal(0, 40, (32, 32, 20)).astype(np.float32)
    return np.ascontiguousarray(cv2.GaussianBlur(noise, (0, 0), 3).transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(64, 64), (90, 70), (51, 200)])
def test_a_whole_picture_is_cropped_and_pasted_as_the_service_does_it(
    smooth: NDArray[np.float32], shape: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    crop = align.crop_whole(Photo(image, "png"), 64)
    pixels, matrix = whole(image, 64)
    assert (pixels == crop.pixels).all()
    np.testing.assert_allclose(matrix, crop.matrix)
    window = paste.window_of(crop, shape[1], shape[0])
    served, _ = paste.paste_probabilities(crop, window, smooth)
    network = replace(Knowing(64))
    object.__setattr__(network, "logits", lambda crop: smooth)
    assert (parse(network, image).labels == served).mean() > 0.995


def test_several_folders_are_one_set_and_its_digest_tells_other_pictures(known: PictureSet, tmp_path: Path) -> None:
    assert known.names == ("face0", "face2", "face1", "face3")
    assert [sample.name for sample in known] == list(known.names)
    (last,) = known.only(lambda name: name == "face3")
    assert last.name == "face3"
    before = PictureSet.open("val", known.folders[0].root).digest
    assert before == PictureSet.open("val", known.folders[0].root).digest
    other = tmp_path / "other"
    for sample in PictureSet.open("val", known.folders[0].root):
        labels = sample.labels.copy()
        labels[0, 0] ^= sample.name == "face0"
        write_pair(other, sample.name, sample.image, labels)
    assert PictureSet.open("val", other).digest != before


def test_parts_of_a_network_that_knows_all_are_right_and_a_class_it_never_says_is_not(
    known: PictureSet, tmp_path: Path
) -> None:
    found = Parts(known)(subject(tmp_path))
    assert found.pictures == 4
    assert {found.figures[n].value for n in ("miou", "mean_f1", "f1/nose", "input/miou", "boundary_f1")} == {1.0}
    assert found.figures["f1/hat"] == Figure(None)  # none is drawn
    assert (tmp_path / "sheets" / "parts.png").is_file()

    def noseless(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.where(labels == _ID["nose"], _ID["skin"], labels).astype(np.uint8)

    worse = Parts(known)(subject(tmp_path, Knowing(change=noseless)))
    assert worse.digest == found.digest
    assert worse.figures["f1/nose"].value == 0
    assert worse.figures["f1/hair"].value == 1


def test_a_network_that_looks_at_pixels_alone_agrees_with_itself_wherever_the_picture_moves(
    known: PictureSet, tmp_path: Path
) -> None:
    def symmetric(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.where(labels == _ID["l_eye"], _ID["r_eye"], labels).astype(np.uint8)

    def by_side(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        left = np.arange(labels.shape[1])[None] >= labels.shape[1] / 2  # of the person
        eyes = (labels == _ID["l_eye"]) | (labels == _ID["r_eye"])
        return np.where(eyes, np.where(left, _ID["l_eye"], _ID["r_eye"]), labels).astype(np.uint8)

    row = Agreement(known)
    sided = row(subject(tmp_path, Knowing(change=by_side))).figures
    assert sided["mirror"].value == 1  # left and right are exchanged back
    assert sided["shift"].value is not None
    assert sided["shift"].value > 0.9
    assert sided["roll"].value is not None
    assert 0.8 < sided["roll"].value < 1  # drawn edges are turned with the picture
    blind = row(subject(tmp_path, Knowing(change=symmetric))).figures
    assert blind["shift"].value == 1
    assert blind["mirror"].value is not None
    assert blind["mirror"].value < 1  # one eye is the other one's, whichever way it is looked at


def test_the_temperature_that_logits_were_multiplied_with_is_found() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 5)).astype(np.float32)
    noise = rng.gumbel(size=logits.shape)
    truth = (logits + noise).argmax(1)  # a draw of the softmax
    assert fit_temperature(3 * logits, truth) == pytest.approx(3, rel=0.05)


def test_a_network_too_sure_of_itself_is_calibrated_by_the_other_half(known: PictureSet, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def often_wrong(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.where(rng.random(labels.shape) < 0.3, 0, labels).astype(np.uint8)

    figures = TemperatureScaling(known)(subject(tmp_path, Knowing(change=often_wrong))).figures
    before, after = figures["error"].value, figures["scaled"].value
    assert before is not None
    assert after is not None
    assert after < before / 2
    assert figures["temperature/first half"].value != figures["temperature/second half"].value


def test_the_worst_bin_of_people_that_no_training_saw_is_told_in_points_below_frontal(tmp_path: Path) -> None:
    root = tmp_path / "fasseg_posed"
    values = np.array([[0, 1, 2, 3], [0, 1, 4, 5]], np.uint8).repeat(16, 0).repeat(8, 1)
    first = np.array([0, _ID["skin"], _ID["hair"], _ID["nose"], _ID["l_eye"], _ID["mouth"]], np.uint8)
    for person in ("05", "06", "07"):
        for yaw in ("0", "+15", "-90"):
            name = f"train_personne{person}_yaw{yaw}"
            said = first[values]
            if yaw == "-90" and person == "06":
                said[values == 3] = 0  # no nose
            write_pair(root, name, drawn(said), values)
    figures = Posed(PictureSet.open("val", root))(subject(tmp_path, Knowing(32))).figures
    assert figures["yaw/0°"].value == figures["yaw/0° to 20°"].value == 1
    # One of the two noses is taken for background, of which there is twice as much in each picture.
    assert figures["yaw/50° to 90°"].value == pytest.approx((4 + 1 / 2 + 4 / 5) / 6, abs=1e-4)
    assert figures["below_frontal"].value == pytest.approx(100 * (1 - figures["yaw/50° to 90°"].value), abs=0.01)
    assert figures["all people/below_frontal"].value < figures["below_frontal"].value
    assert figures["step/90"] == figures["yaw/50° to 90°"]


@pytest.fixture
def news(tmp_path: Path) -> PictureSet:
    root = tmp_path / "news"
    for number in range(2):
        labels = np.zeros((40, 60), np.uint8)
        labels[10:30, 20:40], labels[5:10, 20:40] = _ID["skin"], _ID["hair"]
        write_drawn(root, f"photo{number}", labels)
    space = {"0": "rest", "1": ["skin", "nose"], "13": ["hair", "skin"]}
    (root / "dataset.json").write_text(json.dumps({"labels": space}))
    return PictureSet.open("val", root)


def test_photos_are_measured_as_one_face_and_through_the_service(news: PictureSet, tmp_path: Path) -> None:
    asked: list[Path] = []

    def service(path: Path, faces: str) -> Answer:
        asked.append(path)
        assert faces == "auto"
        found = path.stem == "photo0"
        truth = news[news.paths.index(path)].labels
        return Answer(truth if found else np.zeros_like(truth), int(found))

    figures = News(news)(subject(tmp_path, Knowing(60), service=service)).figures
    assert asked == list(news.paths)
    assert figures["full/face_iou"].value == figures["full/hair_iou"].value == 1
    assert figures["auto/face_iou"].value == figures["auto/hair_iou"].value == figures["found"].value == 0.5
    alone = News(news)(subject(tmp_path, Knowing(60)))
    assert not any(name.startswith(("auto", "found")) for name in alone.figures)


def test_what_the_service_says_of_a_whole_picture_is_what_is_measured(
    service: Service, astronaut: NDArray[np.uint8], tmp_path: Path
) -> None:
    from fpan_training.release.quality import OnnxNetwork

    path = tmp_path / "wide.png"
    image = np.ascontiguousarray(astronaut[:330])
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    network = OnnxNetwork(ROOT / "model_repository/segm/2/model.onnx", 256)
    with Client(service.url) as client:
        served = client.parse(path, faces="full").labels
    assert (parse(network, image).labels == served).mean() > 0.998


@pytest.fixture
def occluders(tmp_path: Path) -> Occluders:
    for seed in range(3):
        write_drawn(tmp_path / "faces", f"face{seed}", face(seed)[1])
    for family in ("things", "wearables"):
        (tmp_path / "occluders" / family).mkdir(parents=True)
        for i in range(2):
            rgba = np.full((30, 40, 4), (_ID["occlusion"] * STEP,) * 3 + (255,), np.uint8)
            cv2.imwrite(str(tmp_path / "occluders" / family / f"thing_{i}.png"), rgba)
    (tmp_path / "backgrounds").mkdir()
    cv2.imwrite(str(tmp_path / "backgrounds" / "grey.jpg"), np.full((32, 32, 3), 128, np.uint8))
    faces = PictureSet.open("val", tmp_path / "faces")
    return Occluders(faces, tmp_path / "occluders", tmp_path / "backgrounds", tmp_path / "covered")


def test_covered_faces_are_the_same_at_every_run_and_held_against_the_uncovered_ones(
    occluders: Occluders, tmp_path: Path
) -> None:
    def blind(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.where(labels >= _ID["occlusion"], _ID["hair"], labels).astype(np.uint8)

    found = occluders(subject(tmp_path, Knowing(160, change=blind)))
    assert found.pictures == 6
    assert found.figures["mean_f1/uncovered"].value == 1
    assert found.figures["occlusion_iou"].value == 0
    drop = found.figures["drop"].value
    assert drop is not None
    assert drop > 0
    for kind in ("kind", "share"):
        counts = [f.value or 0 for name, f in found.figures.items() if name.startswith(kind) and "pictures" in name]
        assert sum(counts) == 6
    again = occluders(subject(tmp_path))
    afresh = replace(occluders, folder=tmp_path / "afresh")(subject(tmp_path))
    assert found.digest == again.digest == afresh.digest
    assert {path.name for path in (tmp_path / "covered" / "images").iterdir()} >= {"face0_val0.jpg"}


def test_the_angle_of_skin_is_that_of_its_median_colour() -> None:
    def patch(*rgb: int) -> NDArray[np.uint8]:
        return np.full((8, 8, 3), rgb, np.uint8)

    skin = np.ones((8, 8), bool)
    tones = [tone_of(typology_angle(patch(*rgb), skin)) for rgb in ((245, 222, 205), (175, 125, 95), (70, 45, 35))]
    assert tones == ["very light", "tan", "dark"]
    assert tone_of(typology_angle(patch(120, 120, 121), skin)) == "unknown"
    assert is_grey(patch(120, 120, 121))
    assert tone_of(typology_angle(patch(200, 150, 120), ~skin)) == "unknown"
    assert [tone_of(angle) for angle in (55.1, 55.0, 28.5, -29.0, -90.0)] == [
        *("very light", "light", "intermediate", "brown", "dark"),
    ]


def test_small_and_grey_pictures_are_compared_at_the_labels_own_size(known: PictureSet, tmp_path: Path) -> None:
    small = Size(known)(subject(tmp_path)).figures
    assert small["32/pictures"].value == 4
    one, other = small["128/core_f1"].value, small["32/core_f1"].value
    assert one is not None
    assert other is not None
    assert other < one
    grey = Grey(known)(subject(tmp_path)).figures
    assert grey["grey/core_f1"].value == 1  # the drawings are grey already


def test_figures_are_kept_a_line_each_and_read_again(tmp_path: Path) -> None:
    figures = {"miou": Figure.of(0.123456789, None), "f1/hat": Figure.of(float("nan"))}
    row = RowResult(definition=1, pictures=3, digest="ab", figures=figures)
    quality = ModelQuality(model="segm:2", sha256="cd", input_size=256).with_row("parts", row).with_row("posed", row)
    path = quality.write(tmp_path)
    assert path.name == "segm-2.json"
    assert ModelQuality.read(path) == quality
    assert '   "miou": [0.12346, null, null],\n' in path.read_text()
    path.write_text("{}")
    with pytest.raises(DataError, match="measure again"):
        ModelQuality.read(path)


def test_an_unknown_row_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no row hair; there are: parts, occluders"):
        QualityData(tmp_path, tmp_path).rows(("hair",))


def test_the_sets_of_a_data_root_are_found_by_name(faces: FaceFolder, tmp_path: Path) -> None:
    for name in ("celeba19", "celeba19_more"):
        for i in range(2):
            write_pair(tmp_path / name, f"{name}{i}", faces[i].image, faces[i].labels)
    (row,) = QualityData(tmp_path, tmp_path / "work").rows(("grey",))
    assert row.name == "grey"
    assert len(QualityData(tmp_path, tmp_path).faces) == 4
