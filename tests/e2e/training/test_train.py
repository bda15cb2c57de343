"""`fpan-train paper --preset smoke`: every stage of the paper's figure 2, on people who do not exist."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fpan.contract import ModelRepository
from fpan.contract.drift import FACE_SIZE, POSE_ANGLES, quantities
from fpan_training.data.folder import DataError
from fpan_training.modules.predictions import PredictionStore
from fpan_training.paper.pipeline import Paper
from fpan_training.paper.report import PaperReport, published
from fpan_training.paper.stages import Sources, Stages
from fpan_training.release.gates import Gates
from fpan_training.release.gates.calibration import CalibrationLimit
from fpan_training.release.gates.int8 import Int8
from fpan_training.release.register import Register

from tests.support.service import ROOT

LEARNT = (
    ("dom/stage1", "loss", 0.97),
    ("dom", "loss", 0.97),
    ("uvm", "loss", 0.9),
    ("ppm", "mae_yaw", 0.9),
    ("segm", "loss", 0.85),
)
"""Training, figure that falls, and what share of its first value it has to fall below."""


@pytest.fixture(scope="module")
def run(smoke_run: Path) -> Path:
    return smoke_run


def stages(run: Path) -> list[str]:
    return [stage.name for stage in Stages(run, Sources(run, run, None, None), "smoke", 0).all()]


@pytest.mark.timeout(600)
def test_every_stage_is_done_and_leaves_finite_weights(run: Path) -> None:
    assert {path.stem for path in (run / "done").glob("*.json")} == set(stages(run))
    for module in ("lom", "dom", "uvm", "ppm", "segm"):
        checkpoint = torch.load(run / module / "best.pt", map_location="cpu", weights_only=True)
        assert all(torch.isfinite(v).all() for v in checkpoint["network"].values() if v.is_floating_point())


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("training", "figure", "share"), LEARNT, ids=[training for training, *_ in LEARNT])
def test_every_module_has_learnt_something(run: Path, training: str, figure: str, share: float) -> None:
    rows = [json.loads(line) for line in (run / training / "log.jsonl").read_text().splitlines()]
    # Of a loss the last; of a validation figure the best, whose weights are kept.
    figures = [row[figure] for row in rows if figure in row]
    now = figures[-1] if figure == "loss" else min(figures)
    assert now < share * figures[0], figures


@pytest.mark.timeout(600)
def test_lom_tells_hidden_landmarks_from_visible_ones(run: Path) -> None:
    rows = [json.loads(line) for line in (run / "lom/log.jsonl").read_text().splitlines()]
    assert max(row["auc"] for row in rows if "auc" in row) > 0.58  # 0.5 is chance


def test_segm_learns_from_covered_routed_and_turned_pictures_with_the_weights_of_eq_2(run: Path) -> None:
    config = json.loads((run / "segm/config.json").read_text())
    assert config["data"] == ["occluded", "routed", "posed"]
    assert config["weights"]["lambda_o"] > 0 < config["weights"]["lambda_p"]
    for name in ("occluded", "routed", "posed"):
        names = [path.stem for path in (run / name / "images").iterdir()]
        predictions = PredictionStore(run / "predictions" / name)
        assert sum(predictions.get(each) is not None for each in names) > len(names) / 2


def test_a_second_call_does_nothing_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (run / "segm").iterdir()}
    Paper(run, preset="smoke")()
    assert {path: path.stat().st_mtime_ns for path in (run / "segm").iterdir()} == before
    assert capsys.readouterr().out.count("(done)") == len(stages(run))


def test_a_run_is_reported_without_its_pictures_of_faces(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "modules.md"
    PaperReport(run, run / "rendered", run / "unlabelled", (ROOT / "docs/astronaut.jpg",), out)()
    for page in (out, *(out.with_suffix("") / f"{name}.md" for name in ("lom", "dom", "uvm", "ppm", "routing"))):
        text = page.read_text()
        assert re.search(r"--- ?\|", text)
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            assert (page.parent / link).is_file() or link == "ablation.md", (page, link)
    pictures = {path.name for path in out.with_suffix("").rglob("*") if path.suffix in (".png", ".jpg")}
    curves = {f"{name}-curve.png" for name in ("lom", "dom", "uvm", "ppm")}
    assert pictures == {"figure5.jpg", "figure6.jpg", "weights.jpg", "ppm.png"} | curves


def test_a_picture_that_may_not_be_published_is_named_in_words() -> None:
    assert published("a ![b](face.jpg) c ![d](plot.png)", ("plot.png",)) == (
        "a (`face.jpg` shows faces that are not for publication: it lies in the run.) c ![d](plot.png)"
    )


def test_a_version_says_what_it_was_made_from_and_under_which_terms(run: Path, tmp_path: Path) -> None:
    # A minute of training makes no network that is fit to be served: what is asked here is where it comes from.
    gates = Gates(calibration=CalibrationLimit(1), int8=Int8(margin=1))
    register = Register(run / "segm", run / "rendered", str(tmp_path / "models"), gates=gates, allow_unmeasured=True)
    with pytest.raises(DataError, match=r"the terms of unlabelled, occlusion by DOM are not known.*--data-licence"):
        register()
    card = replace(register, data_licence="none: nobody is shown")()
    assert card == ModelRepository(tmp_path / "models").card("segm", 1)
    terms = json.loads((run / "rendered/dataset.json").read_text())["licence"]
    names = {source.name: source.licence for source in card.training_data}
    assert len(names) == 3
    assert list(names.values()).count(terms) == 2  # covered and turned ones, which are made of the rendered
    assert names["unlabelled, occlusion by DOM"] == "none: nobody is shown"
    assert terms in card.weights_licence
    assert card.evaluations[0].data.endswith(", val")
    assert "none: nobody is shown" in next(gate for gate in card.gates if gate.name == "licence").evidence
    assert {h.source for h in card.reference} == {card.evaluations[0].data}
    assert {h.quantity for h in card.reference} == set(quantities(card.taxonomy)) - {*POSE_ANGLES, FACE_SIZE}


def test_a_run_of_other_data_is_not_gone_on_with(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="other data or settings"):
        Paper(run, preset="smoke", seed=7)()


def test_a_run_without_data_is_told_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--unlabelled"):
        Paper(tmp_path, preset="cpu")()
    with pytest.raises(DataError, match="--data"):
        Paper(tmp_path, data=tmp_path, preset="smoke")()


def test_an_unknown_last_stage_is_answered_with_those_there_are(run: Path) -> None:
    with pytest.raises(ValueError, match="landmarks, occluded, lom"):
        Paper(run, preset="smoke", until="dessert")()
