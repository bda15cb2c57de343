"""The gates of `fpan-train register`: each lets through what it should, and stops what it must."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from fpan.contract import GOLDEN_FILE, GateResult, GoldenPictures, ModelCard, ModelRepository, RepositoryError
from fpan.contract.gate import Verdict
from fpan.contract.network import full, quantised_nodes
from fpan.registry import FolderStore, Registry
from fpan_training.data.folder import FaceFolder
from fpan_training.modules.segm import SegmConfig, build
from fpan_training.modules.segm.loss import LossConfig, segm_loss
from fpan_training.modules.segm.preprocess import Normalise
from fpan_training.nets.unet import UNetConfig
from fpan_training.release.export.onnx_file import Agreement
from fpan_training.release.gate import Gate
from fpan_training.release.gates import GateError, GateInputs, Gates, refuse_failed
from fpan_training.release.gates.calibration import CalibrationLimit
from fpan_training.release.gates.contender import EvaluatedModel, find_champion
from fpan_training.release.gates.int8 import Int8
from fpan_training.release.gates.latency import Latency
from fpan_training.release.gates.licence import Licence
from fpan_training.release.gates.metrics import Metrics
from fpan_training.release.gates.parity import Parity
from fpan_training.release.gates.size import Size
from fpan_training.release.gates.strata import Strata, open_set
from fpan_training.release.gates.taxonomy import taxonomy
from fpan_training.release.quantise import Quantise
from fpan_training.release.register import Register
from fpan_training.taxonomy import CELEBA19_CLASSES, TAXONOMY

from tests.support.service import ROOT
from tests.unit.training.conftest import SIDE, draw_face, write_pair

_CONFIG = SegmConfig(architecture="unet", input_size=SIDE, unet=UNetConfig(width=4))
_LOOSE = Gates(
    min_pictures=8,
    int8=Int8(margin=0.5, pictures=4),
    latency=Latency(ratio=20, budget_ms=60_000, rounds=3),
    calibration=CalibrationLimit(1),
    licence=Licence(""),
)
"""For a network that has seen a few dozen drawings: only what compares it with the champion is held tight."""
_ALL = (
    *("mIoU", "mean F1", "mIoU, occluded faces", "mean F1, occluded faces", "mIoU, turned faces"),
    *("mean F1, turned faces", "export parity", "int8 loss", "latency", "latency ratio", "size", "taxonomy"),
    *("calibration", "licence", "temperature"),
)


@pytest.fixture(scope="module")
def weights(faces: FaceFolder) -> dict[str, torch.Tensor]:
    """A network that can tell hair from skin."""
    torch.manual_seed(0)
    network, normalise = build(_CONFIG), Normalise()
    samples = [faces[i] for i in range(len(faces))]
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    labels = torch.from_numpy(np.stack([sample.labels for sample in samples]))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-2)
    for _ in range(40):
        chosen = torch.randint(len(images), (8,))
        loss = segm_loss(network(normalise(images[chosen])), labels[chosen], LossConfig())["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.state_dict()


def write_run(folder: Path, weights: dict[str, torch.Tensor]) -> Path:
    """A run's folder as training leaves it, as far as registering reads it."""
    folder.mkdir()
    stored = {"architecture": "unet", "classes": _CONFIG.classes, "input_size": SIDE, "unet": {"width": 4}}
    torch.save({"network": weights, "segm": stored, "epoch": 1}, folder / "best.pt")
    sources = [{"name": "drawn faces", "licence": "CC0-1.0", "pictures": 32}]
    (folder / "config.json").write_text(json.dumps({"data": "faces", "sources": sources}))
    return folder


@pytest.fixture(scope="module")
def register(weights: dict[str, torch.Tensor], faces_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Register:
    folder = tmp_path_factory.mktemp("gates")
    run = write_run(folder / "run", weights)
    return Register(run, faces_root, str(folder / "models"), mirrored=False, gates=_LOOSE, allow_unmeasured=True)


@pytest.fixture(scope="module")
def first(register: Register) -> ModelCard:
    """The first version, which is champion then."""
    card = register()
    Registry(FolderStore(register.repository)).promote("segm", card.version, "champion", "promote")
    return card


@pytest.fixture
def trial(first: ModelCard, register: Register, faces: FaceFolder, tmp_path: Path) -> GateInputs:
    """The first version as a candidate against itself."""
    return GateInputs(
        model="segm",
        candidate=EvaluatedModel("the candidate", Path(register.repository) / "segm/1/model.onnx", SIDE, TAXONOMY),
        champion=find_champion(register.repository, "segm", tmp_path),
        agreement=Agreement(10_000, 3, 1e-4),
        val=open_set("faces, val", register.data, CELEBA19_CLASSES),
        train=faces,
        sources=first.training_data,
        work=tmp_path,
    )


@pytest.fixture
def blind(trial: GateInputs) -> GateInputs:
    """The candidate with the labels of its pictures exchanged: what it would say if it had learnt nothing."""
    folder = trial.val.folder
    shuffled = trial.work / "shuffled"
    for i, name in enumerate(folder.names):
        other = folder[(i + 1) % len(folder)]
        write_pair(shuffled, name, folder[i].image, np.ascontiguousarray(other.labels[::-1]))
    return replace(trial, val=open_set("shuffled", shuffled, CELEBA19_CLASSES))


def state(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def only(results: Iterator[GateResult]) -> GateResult:
    (result,) = results
    return result


def verdicts(results: Iterator[GateResult]) -> dict[str, Verdict]:
    return {result.name: result.verdict for result in results}


def test_a_first_version_has_nothing_to_be_worse_than_and_its_card_says_so(first: ModelCard) -> None:
    said = {gate.name: gate for gate in first.gates}
    assert tuple(said) == _ALL
    assert all(gate.verdict == "passed" for name, gate in said.items() if "faces" not in name)
    for name in ("mIoU", "mean F1", "taxonomy", "latency ratio"):
        assert "segm has no champion to compare with" in said[name].evidence
    for name in ("mIoU, occluded faces", "mIoU, turned faces"):
        assert said[name].verdict == "not measured"
        assert "no --gates.strata." in said[name].evidence


def test_the_same_network_passes_against_itself_and_measuring_publishes_nothing(
    first: ModelCard, register: Register, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state(Path(register.repository))
    measuring = Gate(
        register.run, register.data, register.repository, mirrored=False, gates=_LOOSE, allow_unmeasured=True
    )
    results = measuring()
    assert [r.figure for r in results if r.name in ("mIoU", "mean F1")] == [0, 0]
    assert not any(result.verdict == "failed" for result in results)
    assert state(Path(register.repository)) == before
    table = capsys.readouterr().out
    assert all(name in table for name in _ALL)


def test_a_version_whose_classes_are_permuted_is_refused_and_the_registry_stays_as_it_was(
    first: ModelCard, register: Register, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    skin, hair = TAXONOMY.id_of("skin"), TAXONOMY.id_of("hair")
    order = list(range(len(TAXONOMY)))
    order[skin], order[hair] = hair, skin
    permuted = {k: v[order] if k.startswith("classifier.") else v for k, v in weights.items()}
    before = state(Path(register.repository))
    with pytest.raises(GateError) as refused:
        replace(register, run=write_run(tmp_path / "permuted", permuted))()
    for words in ("fails 2 gates", "mIoU: -0.", "mean F1: -0.", "(at least -0.0100)", "against", "segm version 1"):
        assert words in str(refused.value)
    assert state(Path(register.repository)) == before
    repository = ModelRepository(register.repository)
    assert (repository.versions("segm"), repository.current("segm")) == ([1], 1)


def test_paired_pictures_of_the_same_network_differ_by_nothing(trial: GateInputs) -> None:
    for result in Metrics()(trial):
        assert (result.verdict, result.figure) == ("passed", 0)
        assert "+0.0000 (+0.0000 to +0.0000)" in result.evidence


def test_a_candidate_that_is_worse_by_more_than_the_margin_is_refused(trial: GateInputs, blind: GateInputs) -> None:
    """Both say the same of the same pictures; the candidate's counts are those of shuffled labels."""
    assert trial.champion is not None
    counts = blind.measured(blind.candidate, blind.val)
    trial._counts[trial.candidate.path, trial.val.name] = counts
    results = list(Metrics()(trial))
    assert [r.verdict for r in results] == ["failed", "failed"]
    lower = results[0].figure
    assert lower is not None
    assert lower < -0.1
    wide = verdicts(Metrics(margin=1 - lower)(trial))
    assert (wide["mIoU"], wide["mean F1"]) == ("passed", "passed")


def write_strata(root: Path) -> tuple[Path, Path]:
    """Faces under a box that is labelled as such, clean ones among them, and faces whose names tell their yaw."""
    rng = np.random.default_rng(3)
    occluded, posed = root / "occluded", root / "posed"
    for i in range(6):
        image, labels = draw_face(rng)
        write_pair(posed, f"face{i}_yaw{(0, 45, -60)[i % 3]:+}", image, labels)
        if i % 2:
            image[20:40, 20:40], labels[20:40, 20:40] = 255, TAXONOMY.id_of("occlusion")
        write_pair(occluded, f"face{i}", image, labels)
    return occluded, posed


def test_occluded_and_turned_faces_are_compared_where_they_are_given(trial: GateInputs, tmp_path: Path) -> None:
    occluded, posed = write_strata(tmp_path)
    strata = Strata(occluded, posed)
    found = {r.name: r for r in Metrics().of_strata(trial, strata, 3)}
    assert {r.verdict for r in found.values()} == {"passed"}
    assert "on 3 pictures of occluded faces" in found["mIoU, occluded faces"].evidence
    assert "on 4 pictures of turned faces" in found["mIoU, turned faces"].evidence
    (occluded / "manifest.jsonl").write_text(
        "".join(json.dumps({"name": f"face{i}", "share": i / 10}) + "\n" for i in range(6))
    )
    assert len(strata.of_occluded(trial.val, 3).folder) == 5
    few = {r.name: r for r in Metrics().of_strata(trial, strata, 6)}
    assert few["mIoU, turned faces"].verdict == "not measured"
    assert "4 of 6 pictures of posed are known to show turned faces" in few["mIoU, turned faces"].evidence


def test_a_candidate_that_is_worse_on_occluded_faces_alone_is_refused(trial: GateInputs, tmp_path: Path) -> None:
    occluded, _ = write_strata(tmp_path)
    strata = Strata(occluded)
    test = strata.of_occluded(trial.val, 3)
    upside_down = tmp_path / "upside_down"
    for i, name in enumerate(test.folder.names):
        write_pair(upside_down, name, test.folder[i].image, np.ascontiguousarray(test.folder[i].labels[::-1]))
    wrong = open_set("upside down", upside_down, test.classes)
    trial._counts[trial.candidate.path, test.name] = trial.measured(trial.candidate, wrong)
    assert verdicts(Metrics()(trial))["mIoU"] == "passed"
    assert verdicts(Metrics().of_strata(trial, strata, 3))["mIoU, occluded faces"] == "failed"


_OF_VAL = ("mIoU", "mean F1", "export parity", "int8 loss", "calibration")
"""Gates whose figures are measured on the pictures of ``val``."""


def test_figures_of_fewer_pictures_than_the_least_are_not_measured(trial: GateInputs) -> None:
    assert (Gates().min_pictures, len(trial.val.folder)) == (100, 8)
    found = {r.name: r for r in replace(_LOOSE, min_pictures=9)(trial)}
    assert {r.verdict for name, r in found.items() if name in _OF_VAL or "faces" in name} == {"not measured"}
    for name in _OF_VAL:
        assert "faces, val has 8 pictures, less than 9 (--gates.min-pictures)" in found[name].evidence
    assert found["size"].verdict == "passed"
    assert {r.verdict for r in _LOOSE(trial) if r.name in _OF_VAL} == {"passed"}


def test_a_version_that_was_not_measured_is_refused_unless_that_is_allowed(
    first: ModelCard, register: Register, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    other = {name: value * 0.999 if value.is_floating_point() else value for name, value in weights.items()}
    strict = replace(register, run=write_run(tmp_path / "other", other), allow_unmeasured=False)
    before = state(Path(register.repository))
    with pytest.raises(GateError) as refused:
        strict()
    for words in ("4 gates could not be measured", "mIoU, occluded faces: not measured: ", "--allow-unmeasured"):
        assert words in str(refused.value)
    assert state(Path(register.repository)) == before


def test_parity_is_a_share_of_the_pixels(trial: GateInputs) -> None:
    assert only(Parity()(trial)).verdict == "passed"
    worse = only(Parity()(replace(trial, agreement=Agreement(10_000, 11, 1.0))))
    assert (worse.verdict, worse.told) == ("failed", "0.9989 (at least 0.9990)")


def test_int8_is_quantised_with_training_pictures_alone(trial: GateInputs) -> None:
    found = only(Int8(margin=0.5, pictures=4)(trial))
    assert found.verdict == "passed"
    assert "ranges from 4 training pictures" in found.evidence
    assert quantised_nodes(onnx.load(trial.work / "int8.onnx"))
    assert only(Int8(margin=-1, pictures=4)(trial)).verdict == "failed"
    assert only(Int8()(replace(trial, train=trial.train.only(())))).verdict == "not measured"


def test_a_version_in_int8_says_what_that_costs_and_gives_float32_again(
    first: ModelCard, register: Register, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    gates = replace(_LOOSE, int8=Int8(served_margin=0.5))
    run, models = write_run(tmp_path / "run", weights), str(tmp_path / "models")
    quantise = Quantise(pictures=8, judged=4, least_agreement=0.5)
    card = replace(register, run=run, repository=models, precision="int8", quantise=quantise, gates=gates)()
    said = {gate.name: gate for gate in card.gates}
    assert (card.precision, said["int8 loss"].verdict) == ("int8", "passed")
    assert "in int8 against" in said["int8 loss"].evidence
    agreement = said["labels in int8"].figure
    assert agreement is not None
    assert 0.9 < agreement < 1
    assert said["export parity"].figure is not None
    assert said["export parity"].figure >= 0.999
    assert (card.temperature, said["temperature"].figure) == (first.temperature, first.temperature)
    # The weights stand once: the same as those of the version in float32, which the file gives again.
    again, plain = (full(onnx.load(Path(root) / "segm/1/model.onnx")) for root in (models, register.repository))
    assert sorted(map(str, again.graph.node)) == sorted(map(str, plain.graph.node))
    assert sorted(i.SerializeToString() for i in again.graph.initializer) == sorted(
        i.SerializeToString() for i in plain.graph.initializer
    )
    assert len(quantised_nodes(onnx.load(Path(models) / "segm/1/model.onnx"))) > 5


def test_latency_has_a_budget_and_a_ratio(trial: GateInputs, tmp_path: Path) -> None:
    assert verdicts(Latency(ratio=20, budget_ms=60_000, rounds=3)(trial)) == {
        "latency": "passed",
        "latency ratio": "passed",
    }
    assert verdicts(Latency(ratio=1e-3, budget_ms=1e-3, rounds=3)(trial)) == {
        "latency": "failed",
        "latency ratio": "failed",
    }


def test_size_is_that_of_the_file(trial: GateInputs) -> None:
    size = trial.candidate.path.stat().st_size
    assert only(Size(size / 1e6)(trial)).verdict == "passed"
    assert only(Size((size - 1) / 1e6)(trial)).verdict == "failed"


def with_classes(trial: GateInputs, change: Callable[[list[dict[str, object]]], None]) -> GateInputs:
    """The trial against a champion with other classes."""
    champion = trial.champion
    assert champion is not None
    members = TAXONOMY.model_dump(exclude={"groups", "remaps"})
    members["classes"] = list(members["classes"])
    change(members["classes"])
    return replace(trial, champion=replace(champion, taxonomy=type(TAXONOMY).model_validate(members)))


def test_a_taxonomy_with_another_class_is_refused_and_told_to_take_another_name(trial: GateInputs) -> None:
    assert only(taxonomy(trial)).verdict == "passed"
    recoloured = with_classes(trial, lambda classes: classes[1].update(colour=(1, 2, 3), title="the skin"))
    assert only(taxonomy(recoloured)).verdict == "passed"
    other = with_classes(trial, lambda classes: classes[-1].update(name="mask"))
    found = only(taxonomy(other))
    assert (found.verdict, found.figure) == ("failed", 2)
    assert "mask, occlusion differ from those of segm version 1" in found.evidence
    assert "--name" in found.evidence
    # Figures over other classes would be of no use.
    assert verdicts(Metrics()(other))["mIoU"] == "not measured"


def test_partners_are_part_of_what_a_class_means(trial: GateInputs) -> None:
    def apart(classes: list[dict[str, object]]) -> None:
        for name in ("l_eye", "r_eye"):
            classes[TAXONOMY.id_of(name)]["partner"] = TAXONOMY.id_of(name)

    found = only(taxonomy(with_classes(trial, apart)))
    assert (found.verdict, found.figure) == ("failed", 2)


def test_calibration_is_held_against_its_limit(trial: GateInputs) -> None:
    found = only(CalibrationLimit(1)(trial))
    assert found.verdict == "passed"
    assert found.figure is not None
    assert only(CalibrationLimit(found.figure / 2)(trial)).verdict == "failed"


def test_terms_with_a_comma_stand_in_quotes(trial: GateInputs) -> None:
    source = trial.sources[0].model_copy(update={"licence": "Apache-2.0, as this project"})
    rendered = replace(trial, sources=(source,))
    assert only(Licence('MIT, "apache-2.0, as this project"')(rendered)).verdict == "passed"
    assert only(Licence("MIT, Apache-2.0, as this project")(rendered)).verdict == "failed"


@pytest.mark.parametrize(
    ("allowed", "verdict"),
    [
        ("", "passed"),
        (" cc0-1.0 ,MIT", "passed"),
        ("MIT, CC0", "failed"),
        ("CC0-1.0 or later", "failed"),
        (",", "passed"),
    ],
)
def test_only_licences_on_the_operators_list_are_let_through(
    trial: GateInputs, monkeypatch: pytest.MonkeyPatch, allowed: str, verdict: Verdict
) -> None:
    monkeypatch.setenv("ALLOWED_LICENCES", allowed)
    found = only(Licence()(trial))
    assert found.verdict == verdict
    if not allowed.strip(","):
        assert "not restricted" in found.evidence
    if verdict == "failed":
        assert (found.figure, found.limit) == (1, 0)
        assert "drawn faces is under 'CC0-1.0'" in found.evidence


def test_every_failed_gate_is_named_with_figure_and_limit() -> None:
    results = [
        GateResult.of("size", 120.5, "at most", 100, "evidence", "MB"),
        GateResult.of("latency", 3, "at most", 5, "evidence", "ms"),
        GateResult.of("mIoU", float("nan"), "at least", -0.01, "evidence"),
        GateResult.unmeasured("mIoU, turned faces", "evidence"),
    ]
    with pytest.raises(GateError) as refused:
        refuse_failed(results, allow_unmeasured=True)
    assert "size: 120.5 MB (at most 100 MB)" in str(refused.value)
    assert "mIoU: no number (at least -0.0100)" in str(refused.value)
    assert "latency" not in str(refused.value)
    assert "turned" not in str(refused.value)
    refuse_failed(results[1:2], allow_unmeasured=False)


def test_a_broken_champion_and_a_model_of_another_kind_are_named(
    first: ModelCard, register: Register, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    assert find_champion(str(models), "segm", tmp_path) is None
    shutil.copytree(register.repository, models)
    assert find_champion(str(models), "other", tmp_path) is None
    with (models / "segm/1/model.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(RepositoryError, match="was changed"):
        find_champion(str(models), "segm", tmp_path)
    shipped = ROOT / "model_repository"
    with pytest.raises(RepositoryError, match=r"detector is a model for detection.*--name"):
        find_champion(str(shipped), "detector", tmp_path)


def test_golden_pictures_say_again_what_the_file_said(first: ModelCard, register: Register, tmp_path: Path) -> None:
    assert GOLDEN_FILE in first.files
    folder = Path(register.repository) / "segm/1"
    golden = GoldenPictures.read(folder / GOLDEN_FILE)
    assert golden.images.shape == (8, SIDE, SIDE, 3)
    assert len(np.unique(golden.images.reshape(8, -1), axis=0)) == 8
    labels, _ = EvaluatedModel("again", folder / "model.onnx", SIDE, TAXONOMY).run(golden.images)
    assert (labels == golden.labels).all()
    assert len(np.unique(golden.labels)) > 1
    golden.write(tmp_path / GOLDEN_FILE)
    assert (tmp_path / GOLDEN_FILE).read_bytes() == (folder / GOLDEN_FILE).read_bytes()
