"""Routing of folders, ahead of training and in the loop: log, counts, resuming; and the predictions of LOM and PPM."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fpan_training.data import FaceFolder
from fpan_training.data.folder import DataError, read_labels
from fpan_training.data.label_space import LabelSpace
from fpan_training.data.mixture import MixedData, Part
from fpan_training.landmarks import SCHEME, FaceRecord, FaceStore
from fpan_training.landmarks.canonical import canonical_mesh
from fpan_training.modules.dom.model import RLA_SMOKE, DomNetwork
from fpan_training.modules.lom.model import Lom, LomConfig
from fpan_training.modules.ppm import PoseNetwork, PpmConfig
from fpan_training.modules.predictions import FacePrediction, PredictionsBuild, PredictionStore, ask_all
from fpan_training.modules.segm.in_loop import RouteInLoop
from fpan_training.modules.segm.train import SegmTraining
from fpan_training.paper.routing import Decision, DecisionLog, Kind, Route, Router, RoutingConfig, routed
from fpan_training.paper.routing.decision import Evidence, count
from fpan_training.paper.routing.folder import LOG
from fpan_training.paper.routing.route import RouteData, route_folder
from torch.utils.data import DataLoader

from tests.unit.training.routing_doubles import (
    CONFIG,
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

# Log


def _decision(name: str, kind: Kind = Kind.NAKED) -> Decision:
    return Decision(name, kind, Route.UVM_SEGM, Evidence(True, 0.0, 0.25, 0.0))


def test_a_log_is_read_again_as_it_was_written(tmp_path: Path) -> None:
    written = [
        _decision("b"),
        _decision("ä", Kind.MARKED),
        replace(_decision("c"), evidence=Evidence(False, 0, None, None)),
    ]
    log = DecisionLog(tmp_path / LOG, CONFIG)
    for decision in written:
        log.add(decision)
    again = DecisionLog(tmp_path / LOG, CONFIG)
    assert sorted(again.decisions(), key=lambda d: d.name) == sorted(written, key=lambda d: d.name)
    assert again.get("b") == written[0]
    assert again.get("z") is None


def test_a_log_sees_what_another_process_adds(tmp_path: Path) -> None:
    one, other = (DecisionLog(tmp_path / LOG, CONFIG) for _ in range(2))
    one.add(_decision("a"))
    other.add(_decision("b"))
    assert one.get("b") == _decision("b")
    assert other.get("a") == _decision("a")
    assert one.decisions() == other.decisions()


def test_a_line_that_was_cut_off_is_dropped(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / LOG, CONFIG)
    log.add(_decision("a"))
    log.add(_decision("b"))
    whole = (tmp_path / LOG).read_bytes()
    (tmp_path / LOG).write_bytes(whole[:-20])
    resumed = DecisionLog(tmp_path / LOG, CONFIG)
    assert [d.name for d in resumed.decisions()] == ["a"]
    resumed.add(_decision("b"))
    assert (tmp_path / LOG).read_bytes() == whole


def test_a_log_of_other_settings_is_refused(tmp_path: Path) -> None:
    DecisionLog(tmp_path / LOG, CONFIG)
    with pytest.raises(DataError, match="other settings"):
        DecisionLog(tmp_path / LOG, replace(CONFIG, hidden_share=0.2))
    (tmp_path / LOG).write_text("nothing of the kind\n")
    with pytest.raises(DataError, match="no log"):
        DecisionLog(tmp_path / LOG, CONFIG)


# Ahead of training


@pytest.fixture
def data(tmp_path: Path, make_pair: Callable[..., None]) -> Path:
    """Eight training pictures whose brightness says how much of the face is hidden, and two of val."""
    root = tmp_path / "data"
    for i in range(8):
        make_pair(root, f"p{i}", plain_image(i), marked_labels() if i in (1, 5) else plain_labels())
    for name in ("v0", "v1"):
        make_pair(root, name, plain_image(7), plain_labels())
    names = [f"p{i}" for i in range(8)]
    (root / "split.json").write_text(json.dumps({"train": names, "val": ["v0", "v1"]}))
    return root


def _lom() -> FixedLom:
    return FixedLom({i: 0.3 if i >= 4 else 0.0 for i in range(8)})


def _points_of(name: str) -> np.ndarray | None:
    return None if name == "p3" else face_points()


_EXPECTED = {
    (Kind.NAKED, Route.UVM_SEGM): 2,  # p0 and p2
    (Kind.MARKED, Route.UVM_SEGM): 2,  # p1 and p5
    (Kind.NO_FACE, Route.SEGM): 1,  # p3
    (Kind.UNMARKED, Route.DOM_SEGM): 3,  # p4, p6 and p7
}


def test_a_routed_folder_is_a_data_set_whose_counts_add_up(data: Path, tmp_path: Path) -> None:
    dom = FixedDom()
    page = route_folder(data, Router(_lom(), dom), _points_of, tmp_path / "out")
    decisions = DecisionLog(tmp_path / "out" / LOG, CONFIG).decisions()
    assert count(decisions) == _EXPECTED
    assert sum(count(decisions).values()) == 8
    assert dom.asked == [4, 6, 7]
    written = json.loads((tmp_path / "out" / "counts.json").read_text())
    assert {(row["kind"], row["route"]): row["pictures"] for row in written} == _EXPECTED
    train = FaceFolder.open(tmp_path / "out", "train")
    assert len(train) == 8
    for sample in (train[i] for i in range(8)):
        own = read_labels(data / "masks" / f"{sample.name}.png")
        if sample.name in ("p4", "p6", "p7"):
            assert (sample.labels[:16] == OCCLUSION).all()
            assert (sample.labels[17:] == own[17:]).all()
        else:
            assert np.array_equal(sample.labels, own)
    sheets = {f"{kind.name.lower()}.jpg" for kind in Kind}
    assert sheets <= {path.name for path in page.parent.iterdir()}
    assert "| occluded, not marked | DOM, then SEGM | 3 | 37.5% | 29.9% |" in page.read_text()


def test_other_splits_are_not_routed(data: Path, tmp_path: Path) -> None:
    route_folder(data, Router(_lom(), FixedDom()), _points_of, tmp_path / "out")
    val = FaceFolder.open(tmp_path / "out", "val")
    assert val.names == ("v0", "v1")
    assert (val[0].labels == SKIN).all()


def test_routing_goes_on_where_it_stopped(data: Path, tmp_path: Path) -> None:
    first, second = _lom(), _lom()
    route_folder(data, Router(first, FixedDom()), _points_of, tmp_path / "out")
    log, masks = (tmp_path / "out" / LOG).read_bytes(), _bytes(tmp_path / "out" / "masks")
    # As if it had broken off after three pictures.
    (tmp_path / "out" / LOG).write_bytes(b"".join(log.splitlines(keepends=True)[:4]))
    route_folder(data, Router(second, FixedDom()), _points_of, tmp_path / "out")
    assert (first.asked, second.asked) == (7, 4)
    assert (tmp_path / "out" / LOG).read_bytes() == log
    assert _bytes(tmp_path / "out" / "masks") == masks


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_unlabelled_pictures_that_teach_nothing_are_left_out(
    tmp_path: Path, data: Path, make_pair: Callable[..., None]
) -> None:
    route_folder(data / "images", Router(_lom(), FixedDom()), _points_of, tmp_path / "out")
    # p4 to p7 and the two of val, which nothing tells from the others here: naked ones have no label.
    assert {path.stem for path in (tmp_path / "out" / "images").iterdir()} == {"p4", "p5", "p6", "p7", "v0", "v1"}
    train = FaceFolder.open(tmp_path / "out", "train")
    assert train.names == ("p4", "p5", "p6", "p7", "v0", "v1")
    # DOM says where the occlusion is and where it is not: both are learnt from.
    space = LabelSpace.of_folder(tmp_path / "out")
    codes = space.encode(train[0].labels, "p4")
    assert (codes[:16] == OCCLUSION).all()
    (rest,) = np.unique(codes[17:])
    assert space.groups[rest] == tuple(i for i in range(20) if i != OCCLUSION)


def test_a_data_set_is_not_routed_onto_itself(data: Path) -> None:
    with pytest.raises(DataError, match="itself"):
        route_folder(data, Router(_lom(), FixedDom()), _points_of, data)


def test_labels_of_another_order_are_understood(data: Path, tmp_path: Path) -> None:
    fasseg = LabelSpace.preset("fasseg_posed")  # 2 is hair and brows, 3 the nose, which are no covering classes
    nose = Router(FixedLom(0.3), FixedDom(), space=fasseg)("a", plain_image(), plain_labels(3), face_points())
    assert nose.decision.kind is Kind.UNMARKED
    assert set(np.unique(nose.labels)) == {3, OCCLUSION, UNKNOWN}
    fasseg.encode(nose.labels, "a")
    glasses = Router(FixedLom(0.3), NoDom(), space=LabelSpace.preset("ccp"))(
        "a", plain_image(), plain_labels(3), face_points()
    )
    assert glasses.decision.kind is Kind.MARKED
    (data / "dataset.json").write_text('{"labels": "fasseg_posed"}')
    route_folder(data, Router(_lom(), FixedDom(), space=fasseg), _points_of, tmp_path / "out")
    assert LabelSpace.of_folder(tmp_path / "out") == fasseg


# In the loop


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loop_sees_the_same_labels_as_a_folder_routed_ahead(data: Path, tmp_path: Path, workers: int) -> None:
    route_folder(data, Router(_lom(), FixedDom()), _points_of, tmp_path / "ahead")
    ahead = MixedData((Part.open(tmp_path / "ahead", "train"),), SIDE)
    part, pictures = routed(Part.open(data, "train"), Router(_lom(), FixedDom()), tmp_path / "cache", _points_of)
    inline = MixedData((part,), SIDE)
    batches = [list(DataLoader(each, 4, num_workers=workers)) for each in (ahead, inline)]
    for (images_a, labels_a, _), (images_b, labels_b, _) in zip(*batches, strict=True):
        assert images_a.equal(images_b)
        assert labels_a.equal(labels_b)
    by_kind = {kind.value: number for (kind, _), number in _EXPECTED.items()}
    assert pictures.take_counts() == by_kind
    assert pictures.take_counts() == dict.fromkeys(by_kind, 0)
    assert count(pictures.cache.log.decisions()) == _EXPECTED


def test_a_picture_is_decided_about_once_and_counted_each_epoch(data: Path, tmp_path: Path) -> None:
    lom, dom = _lom(), FixedDom()
    part, pictures = routed(Part.open(data, "train"), Router(lom, dom), tmp_path / "cache", _points_of)
    inline = MixedData((part,), SIDE)
    assert len(pictures.prepare()) == 8
    assert sum(pictures.take_counts().values()) == 0  # nothing was trained on yet
    for epoch in range(3):
        for picture in range(8):
            inline[epoch * 8 + picture]
        assert sum(pictures.take_counts().values()) == 8
    assert lom.asked == 7
    assert len(dom.asked) == 3


def _networks(folder: Path) -> dict[str, Path]:
    """Untrained LOM, DOM and PPM as checkpoints, by name."""
    torch.manual_seed(0)
    networks = {"lom": Lom(LomConfig(width=0.25)), "dom": DomNetwork(RLA_SMOKE)}
    networks["ppm"] = PoseNetwork(PpmConfig(input_size=32, pretrained=False))
    described = {"lom": LomConfig(width=0.25), "dom": RLA_SMOKE, "ppm": networks["ppm"].config}
    for name, network in networks.items():
        torch.save({"network": network.state_dict(), "epoch": 0, name: asdict(described[name])}, folder / name)
    return {name: folder / name for name in networks}


def _faces(store: FaceStore, names: tuple[str, ...]) -> None:
    points = SCHEME.from_mesh(canonical_mesh().vertices * 1.3 + np.array([15, 15, 0]))
    for name in names:
        store.put(name, replace(FaceRecord.nothing(), points264=points, found=True))


def test_segm_routes_while_it_trains_and_logs_what_went_where(data: Path, tmp_path: Path) -> None:
    networks = _networks(tmp_path)
    _faces(FaceStore(tmp_path / "faces" / "data"), ("p0", "p1"))
    smoke = SegmTraining.presets["smoke"]
    training = SegmTraining(
        (data,),
        tmp_path / "run",
        tmp_path / "faces",
        settings=replace(smoke, loop=replace(smoke.loop, epochs=2, batch_size=4, validate_every=1)),
        route=RouteInLoop(networks["lom"], networks["dom"]),
    )
    history = training().history
    kinds = [f"routed/{kind.value}" for kind in Kind]
    assert [sum(row[kind] for kind in kinds) for row in history] == [8, 8]
    decisions = DecisionLog(tmp_path / "run/routed/data" / LOG, CONFIG).decisions()
    for kind in Kind:
        of_kind = sum(decision.kind is kind for decision in decisions)
        assert [row[f"routed/{kind.value}"] for row in history] == [of_kind] * 2
    with pytest.raises(DataError, match=r"--route\.dom"):
        replace(training, run=tmp_path / "other", route=RouteInLoop(networks["lom"]))()


# PredictionsBuild


def test_answers_are_kept_for_pictures_with_a_face_and_asked_for_once(
    data: Path, tmp_path: Path, make_pair: Callable[..., None]
) -> None:
    faces, store, lom = FaceStore(tmp_path / "faces"), PredictionStore(tmp_path / "predictions"), FixedLom(0.5)
    nothing = FaceRecord.nothing()
    faces.put("p0", replace(nothing, points264=face_points(), found=True))
    faces.put("p1", nothing)
    pictures = sorted((data / "images").glob("*"))

    def ppm(image: np.ndarray, points: np.ndarray) -> np.ndarray:
        return np.array([10, 20, 30], np.float32)

    for _ in range(2):
        ask_all(pictures, faces, lom, ppm, store)
    assert lom.asked == 1
    prediction = store.get("p0")
    assert prediction is not None
    assert np.array_equal(prediction.points, face_points())
    assert (prediction.visibility < 0.5).sum() == 132
    assert prediction.angles.tolist() == [10, 20, 30]
    assert store.get("p1") is None


def test_a_file_that_is_no_answer_is_named(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path)
    store.put("a", FacePrediction(face_points(), np.ones(264, np.float32), np.zeros(2, np.float32)))
    with pytest.raises(DataError, match=r"angles is \(2,\), not \(3,\)"):
        store.get("a")
    store.path("a").write_bytes(b"nothing")
    with pytest.raises(DataError, match="no prediction"):
        store.get("a")


def test_the_real_networks_answer_what_routing_asks(tmp_path: Path, data: Path) -> None:
    _networks(tmp_path)
    faces = FaceStore(tmp_path / "faces")
    _faces(faces, ("p0", "p1", "p2"))
    store = PredictionsBuild(data, faces.folder, tmp_path / "lom", tmp_path / "ppm", tmp_path / "predictions")()
    prediction = store.get("p0")
    assert prediction is not None
    assert ((prediction.visibility >= 0) & (prediction.visibility <= 1)).all()
    assert np.abs(prediction.angles).max() < 99
    # Everything counts as hidden, so that DOM is asked.
    config = RoutingConfig(visible=1.01)
    page = RouteData(data, faces.folder, tmp_path / "lom", tmp_path / "dom", tmp_path / "out", config)()
    assert "| occluded, not marked | DOM, then SEGM | 2 |" in page.read_text()
    assert len(FaceFolder.open(tmp_path / "out", "train")) == 8
