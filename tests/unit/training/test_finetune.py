"""Fine-tuning a registered version on few pictures, with a tiny network and the tiny faces in two domains."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fpan.contract import ModelCard, RepositoryError, TrainingData
from fpan.contract.card import Tensor
from fpan.registry import FolderStore, Registry
from fpan_training.data import AugmentConfig, FaceFolder
from fpan_training.data.folder import DataError
from fpan_training.data.label_space import DatasetFile, LabelSpace, write_dataset_file
from fpan_training.data.split import SplitConfig, ensure_split
from fpan_training.engine.run import Run
from fpan_training.engine.settings import LoopConfig
from fpan_training.modules.segm import SegmConfig
from fpan_training.modules.segm.checkpoint import load_network, read_config
from fpan_training.modules.segm.finetune import Finetune, passes
from fpan_training.modules.segm.groups import Groups
from fpan_training.modules.segm.keep import DistillConfig, Distiller
from fpan_training.modules.segm.loss import PartialLabels
from fpan_training.modules.segm.model import build
from fpan_training.modules.segm.settings import SegmSettings
from fpan_training.modules.segm.step import SegmStep
from fpan_training.modules.segm.train import SegmTraining
from fpan_training.nets.lite_fpn import LiteFpnConfig
from fpan_training.release.gates import Gates
from fpan_training.release.gates.calibration import CalibrationLimit
from fpan_training.release.register import Register
from fpan_training.taxonomy import TAXONOMY
from torch import nn

from tests.unit.training.conftest import SIDE, draw_face, write_pair

_LOOP = LoopConfig(
    epochs=9,
    batch_size=4,
    lr=1.5e-2,
    ema_decay=0.9,
    validate_every=3,
    workers=0,
    precision="32-true",
    accelerator="cpu",
)
_TUNING = replace(_LOOP, epochs=6, lr=2e-3, ema_decay=0.8)
_KEEP = DistillConfig(weight=3.0, norms=True)
_AUGMENT = AugmentConfig(p_large_rotation=0, rotation_deg=4, p_low_resolution=0, p_background=0, p_occluder=0)
_SEGM = SegmConfig("lite_fpn", input_size=SIDE, lite_fpn=LiteFpnConfig((16, 16, 16, 32, 32), dropout=0))
_OWN = 30
"""Pictures of the new domain: 24 for training, 6 for validation."""
_EYES = ("l_eye", "r_eye")
_LABELS: dict[str, str | list[str]] = {"0": "rest", "13": "hair", "1": ["skin", "eyes", "nose", "all_mouth"]}
"""The new domain tells neither eyes nor nose nor lips from skin."""


@pytest.fixture(scope="module")
def repository(faces_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with one version, trained on the tiny faces."""
    work = tmp_path_factory.mktemp("first")
    settings = SegmSettings(segm=_SEGM, augment=_AUGMENT, loop=_LOOP)
    run = SegmTraining((faces_root,), work / "run", settings=settings)()
    weights = torch.load(run.best, weights_only=True)
    halved = {k: v.half() if v.is_floating_point() else v for k, v in weights["network"].items()}
    torch.save({"network": halved, "segm": weights["segm"]}, work / "checkpoint_fp16.pt")
    files = {"checkpoint_fp16.pt": work / "checkpoint_fp16.pt", "config.json": work / "run" / "config.json"}
    card = ModelCard(
        name="segm",
        version=1,
        task="segmentation",
        title="a tiny network",
        inputs=(Tensor(name="images", dtype="UINT8", shape=(SIDE, SIDE, 3)),),
        outputs=(Tensor(name="labels", dtype="UINT8", shape=(SIDE, SIDE)),),
        input_size=SIDE,
        weights_licence="CC0",
        training_data=(TrainingData(name="tiny faces", licence="CC0", pictures=32),),
        files={},
    )
    root = work / "models"
    Registry(FolderStore(root, create=True)).publish(card, files)
    return root


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of people whose hair is of another colour, with few labels and no ``split.json``; in ``test`` what they
    would be with all labels.
    """
    root = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(3)
    inside = [TAXONOMY.id_of(name) for name in ("l_eye", "r_eye", "nose", "u_lip")]
    for i in range(_OWN):
        image, labels = draw_face(rng)
        hair = labels == TAXONOMY.id_of("hair")
        image[hair] = 255 - image[hair] // 2
        write_pair(root / "test", f"own{i:02}", image, labels)
        labels[np.isin(labels, inside)] = TAXONOMY.id_of("skin")
        write_pair(root, f"own{i:02}", image, labels)
    write_dataset_file(root / "dataset.json", DatasetFile(name="own", labels=_LABELS, licence="mine"))
    return root


@pytest.fixture(scope="module")
def tuned(repository: Path, own: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The version fine-tuned on them, to the end."""
    run = _tuning(repository, own, tmp_path_factory.mktemp("tuned"))()
    shutil.copy(own / "split.json", own / "test")
    return run


def _tuning(repository: Path, own: Path, run: Path, loop: LoopConfig = _TUNING, **options: object) -> Finetune:
    return replace(Finetune(own, run, repository=str(repository), keep=_KEEP, augment=_AUGMENT, loop=loop), **options)


def _network(checkpoint: Path) -> nn.Module:
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return load_network(read_config(stored["segm"]), stored["network"])


def _iou(network: nn.Module, root: Path, split: str, *names: str) -> float:
    """Mean IoU of classes."""
    folder, step = FaceFolder.open(root, split), SegmStep(TAXONOMY)
    truth = np.stack([folder[i].labels for i in range(len(folder))])
    said = np.stack([step.label(network, folder[i].image, SIDE) for i in range(len(folder))])
    found = []
    for c in map(TAXONOMY.id_of, names):
        found.append(((truth == c) & (said == c)).sum() / ((truth == c) | (said == c)).sum())
    return float(np.mean(found))


def test_the_new_domain_is_learnt_and_what_its_labels_leave_open_is_kept(
    tuned: Run, repository: Path, own: Path, faces_root: Path, tmp_path: Path
) -> None:
    """Hair goes from nothing to 0.78; eyes, on old and new pictures, from 0.82 to 0.72, and to less than 0.5 without
    what is kept."""
    free = _tuning(repository, own, tmp_path, keep=replace(_KEEP, weight=0))()
    start, best, loose = map(_network, (tuned.folder / "start" / "checkpoint_fp16.pt", tuned.best, free.best))
    assert _iou(best, own / "test", "val", "hair") > _iou(start, own / "test", "val", "hair") + 0.5
    for root in (own / "test", faces_root):
        kept = _iou(best, root, "val", *_EYES)
        assert kept > 0.75 * _iou(start, root, "val", *_EYES)
        assert kept > _iou(loose, root, "val", *_EYES) + 0.05


def test_it_is_told_whether_it_was_worth_it(
    repository: Path, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _tuning(repository, own, tmp_path / "better", replace(_TUNING, epochs=2))()
    assert re.search(r"val score 0\.\d+ at the start, 0\.\d+ after epoch 2\n", capsys.readouterr().out)
    _tuning(repository, own, tmp_path / "same", replace(_TUNING, epochs=1, lr=1e-9))()
    assert "this is no better, keep the version that it started from" in capsys.readouterr().out


def test_the_run_is_registered_with_the_terms_of_all_pictures_and_trained_on(
    tuned: Run, own: Path, tmp_path: Path
) -> None:
    assert json.loads((tuned.folder / "config.json").read_text())["start_from"] == "segm:1"
    gates = Gates(calibration=CalibrationLimit(1))  # so few steps make no network that is fit to be served
    models = str(tmp_path / "models")
    card = Register(tuned.folder, own, models, mirrored=False, gates=gates, allow_unmeasured=True)()
    assert [(data.name, data.licence) for data in card.training_data] == [("own", "mine"), ("tiny faces", "CC0")]
    assert card.weights_licence == "mine (from own); CC0 (from tiny faces)"
    assert len(card.evaluations[0].iou) == len(_LABELS)
    assert card.evaluations[0].iou["hair"] > 0.5
    assert len(_tuning(tmp_path / "models", own, tmp_path / "next", replace(_TUNING, epochs=1))().history) == 1


def test_a_resumed_run_goes_on_from_where_it_began_though_the_champion_has_moved(
    tuned: Run, repository: Path, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = _tuning(repository, own, tmp_path / "run", replace(_TUNING, epochs=3))()
    assert len(half.history) == 3
    gone = FolderStore(tmp_path / "elsewhere", create=True)
    whole = _tuning(gone.root, own, tmp_path / "run")()
    assert "goes on as it was begun, from segm version 1" in capsys.readouterr().out
    assert len(whole.history) == _TUNING.epochs
    with pytest.raises(ValueError, match="was begun from segm version 1, not segm version 2: name another --run"):
        _tuning(repository, own, tmp_path / "run", version="2")()


def test_a_missing_split_is_made_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for i in range(10):
        write_pair(tmp_path, f"{i}", *draw_face(rng))
    assert ensure_split(tmp_path, SplitConfig())
    assert "had no split.json: 8 pictures are train and 2 val now, drawn with seed 0" in capsys.readouterr().out
    made = json.loads((tmp_path / "split.json").read_text())
    assert sorted(made["train"] + made["val"]) == [str(i) for i in range(10)]
    assert not ensure_split(tmp_path, SplitConfig(seed=5))
    (tmp_path / "split.json").unlink()
    ensure_split(tmp_path, SplitConfig())
    assert json.loads((tmp_path / "split.json").read_text()) == made
    write_pair(tmp_path / "one", "0", *draw_face(rng))
    with pytest.raises(DataError, match="cannot be divided"):
        ensure_split(tmp_path / "one", SplitConfig())


def test_a_version_that_was_changed_is_refused(repository: Path, own: Path, tmp_path: Path) -> None:
    path = repository / "segm" / "1" / "checkpoint_fp16.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    try:
        with pytest.raises(RepositoryError, match=r"checkpoint_fp16\.pt was changed"):
            _tuning(repository, own, tmp_path)()
    finally:
        path.write_bytes(whole)
    assert not (tmp_path / "start").exists()


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("challenger", "no version of segm is challenger: `fpan models promote segm VERSION --to challenger` makes"),
        ("7", "segm has no version 7 in .*; it has 1"),
        ("newest", "names no version"),
    ],
)
def test_a_version_that_is_not_there_is_told(
    version: str, message: str, repository: Path, own: Path, tmp_path: Path
) -> None:
    with pytest.raises((RepositoryError, ValueError), match=message):
        _tuning(repository, own, tmp_path, version=version)()


def test_what_is_kept_is_the_starts_division_of_a_group_and_nothing_of_single_classes() -> None:
    torch.manual_seed(0)
    network = build(SegmConfig(input_size=32, lite_fpn=LiteFpnConfig((8, 8, 8, 8, 8), pretrained=False, dropout=0)))
    network.eval()
    space = LabelSpace.from_labels("two", {"0": "rest", "1": ["skin", "nose"], "13": "hair", "255": "ignore"})
    partial = PartialLabels(Groups((space,)), torch.zeros(1, dtype=torch.long))
    keeper = Distiller(network, DistillConfig(1.0))
    x = torch.randn(1, 3, 32, 32)
    logits = network(x).logits.detach()

    def loss(changed: torch.Tensor, value: int) -> float:
        labels = torch.from_numpy(space.encode(np.full((1, 32, 32), value, np.uint8), ""))
        return float(keeper.loss(changed, x, labels, partial))

    skin, nose, hair = map(TAXONOMY.id_of, ("skin", "nose", "hair"))
    group, one, all_known = logits.clone(), logits.clone(), logits.clone()
    group[:, [skin, nose]] += 3  # more of the group, divided as before
    one[:, skin] += 3
    all_known[:, hair] += 3
    assert loss(logits, 255) == pytest.approx(0, abs=1e-6)
    assert loss(group, 1) == pytest.approx(0, abs=1e-5)
    assert loss(one, 1) > 0.1
    assert loss(all_known, 13) == loss(one, 13) == 0
    assert loss(all_known, 255) > 0.01


def test_norms_keep_their_statistics_only_where_asked() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    for norms in (True, False):
        network.train()
        Distiller(network, DistillConfig(norms=norms)).hold(network)
        assert [layer.training for layer in network] == [True, not norms, True]


def test_passes_fall_with_the_root_of_the_number_of_pictures() -> None:
    assert [passes(n) for n in (40, 160, 4000)] == [20, 10, 4]


def test_keeping_needs_a_start(faces_root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to keep"):
        SegmTraining((faces_root,), tmp_path, settings=SegmSettings(segm=_SEGM), keep=DistillConfig(1.0)).fit()
