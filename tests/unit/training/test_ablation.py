"""The experiments on tiny drawn faces: the plan, what is compared with what, and the whole command."""

import csv
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from fpan_training.data.folder import DataError
from fpan_training.evaluate import Confusion, Interval
from fpan_training.evaluate.groups import group_ious
from fpan_training.evaluate.strata import yaw_of
from fpan_training.landmarks.scheme import POINTS
from fpan_training.modules.predictions import FacePrediction, PredictionStore
from fpan_training.modules.segm.weights import WeightConfig
from fpan_training.paper.ablation import ablate
from fpan_training.paper.ablation.ablate import Ablation
from fpan_training.paper.ablation.figures import Difference, differences, figures_of, noise_of
from fpan_training.paper.ablation.inputs import Inputs
from fpan_training.paper.ablation.paper import paper_table
from fpan_training.paper.ablation.plan import BUDGETS, OURS, ROWS, jobs, weights_of
from fpan_training.taxonomy import TAXONOMY

from tests.unit.training.conftest import draw_face, write_pair

_OCCLUSION = TAXONOMY.id_of("occlusion")


def test_rows_add_one_module_each_in_the_papers_order() -> None:
    assert [row.name for row in ROWS] == list(paper_table("I").rows)
    switches = [(row.pose, row.occlusion, row.routed, row.posed) for row in ROWS]
    assert [sum(s) for s in switches] == [0, 1, 2, 3, 4]
    assert all(not before or after for a, b in pairwise(switches) for before, after in zip(a, b, strict=True))


def test_a_row_without_a_module_has_its_lambda_at_zero() -> None:
    lambdas = WeightConfig(lambda_o=2, lambda_p=3, tau=0.1)
    found = [(w.lambda_o, w.lambda_p, w.tau) for w in (weights_of(row, lambdas) for row in ROWS)]
    assert found == [(0, 0, 0.1), (0, 3, 0.1), (2, 3, 0.1), (2, 3, 0.1), (2, 3, 0.1)]
    assert weights_of(ROWS[0], lambdas).plain


def test_the_first_seed_of_every_row_comes_before_the_second_of_any() -> None:
    found = jobs(ROWS, ("unet",), 3, 1, 1)
    assert len(found) == len({job.name for job in found}) == 2 * 3 + 3 + 1
    assert [job.seed for job in found] == sorted(job.seed for job in found)
    assert sum(job.architecture != OURS for job in found) == 1


def test_every_preset_gives_all_networks_one_size_that_they_take() -> None:
    for budget in BUDGETS.values():
        assert {config.input_size for config in budget.networks.values()} == {budget.input_size}
        assert budget.epoch_pictures >= budget.loop.batch_size
        assert budget.augment.p_occluder == 0
        assert budget.training_loop.validate_every == budget.training_loop.epochs == budget.epochs


def test_the_papers_figures_are_those_of_its_text() -> None:
    assert paper_table("I").rows["+DOM"] == {"eyes": 0.8015, "mouth": 0.8305, "occlusion": 0.8523, "overall": 0.8453}
    assert paper_table("III").rows["Ours"]["occlusion"] == pytest.approx(0.901)
    assert "90.1" in paper_table("III").note
    assert paper_table("II").rows["Luo et al. 2012"]["occlusion"] is None


def _runs(count: int, wrong: float, pictures: int = 12) -> list[Confusion]:
    found = []
    for seed in range(count):
        rng, confusion = np.random.default_rng((seed, int(wrong * 100))), Confusion(len(TAXONOMY))
        for picture in range(pictures):
            truth = np.random.default_rng(picture).integers(0, len(TAXONOMY), (32, 32), np.uint8)
            noise = rng.random(truth.shape) < wrong
            confusion.add(truth, np.where(noise, (truth + 1) % len(TAXONOMY), truth).astype(np.uint8))
        found.append(confusion)
    return found


def test_figures_are_means_over_seeds_with_their_spread() -> None:
    seeds = _runs(3, 0.3)
    figure = figures_of(seeds, group_ious)["overall"]
    single = [confusion.scores().miou for confusion in seeds]
    assert figure.mean == pytest.approx(np.mean(single))
    assert figure.spread == pytest.approx(np.std(single, ddof=1))
    assert figure.interval.low < figure.mean < figure.interval.high
    assert figure.seeds == 3
    assert np.isnan(figures_of(seeds[:1], group_ious)["overall"].spread)


def test_a_difference_is_clear_where_there_is_one_and_unclear_where_there_is_none() -> None:
    better, worse, alike = _runs(2, 0.1), _runs(1, 0.4), _runs(2, 0.1)
    noise = dict.fromkeys(("eyes", "mouth", "occlusion", "overall"), noise_of([[0.70, 0.71, 0.72], [0.8], [0.9, 0.9]]))
    gain = differences(better, worse, group_ious, noise)["overall"]
    assert gain.interval.low > 0
    assert gain.clear
    assert gain.mean == pytest.approx(
        np.mean([c.scores().miou for c in better]) - np.mean([c.scores().miou for c in worse])
    )
    none = differences(better, alike, group_ious, noise)["overall"]
    assert none.mean == none.interval.low == none.interval.high == 0
    assert not none.clear


def test_a_difference_that_other_seeds_could_have_made_is_not_clear() -> None:
    noise = noise_of([[0.70, 0.71, 0.72], [0.8], [0.90, 0.92]])
    # Squares about the rows' means: 2e-4 with 2 degrees of freedom, 2e-4 with 1.
    assert noise.deviation == pytest.approx((4e-4 / 3) ** 0.5)
    assert noise.freedom == 3
    # Student's t with 3 degrees of freedom: 3.182.
    assert noise.chance(1, 3) == pytest.approx(3.182 * noise.deviation * (1 + 1 / 3) ** 0.5, rel=1e-3)
    assert not Difference(0.03, Interval(0.02, 0.04), noise.chance(1, 3)).clear
    assert Difference(0.06, Interval(0.02, 0.09), noise.chance(1, 3)).clear
    assert np.isnan(noise_of([[0.7], [0.8]]).chance(1, 1))
    assert not Difference(0.06, Interval(0.02, 0.09), float("nan")).clear


def test_runs_measured_on_other_pictures_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same pictures"):
        differences(_runs(1, 0.1), _runs(1, 0.1, pictures=5), group_ious, {})


@pytest.mark.parametrize(("name", "degrees"), [("a_yaw-45", 45), ("a_yaw+90", 90), ("b_yaw0", 0), ("c_yaw15", 15)])
def test_the_yaw_stands_in_the_name(name: str, degrees: float) -> None:
    assert yaw_of(name) == degrees
    assert np.isnan(yaw_of("nothing"))


def test_whatever_is_missing_is_named_at_once_with_its_command(tmp_path: Path, faces_root: Path) -> None:
    inputs = Inputs(occluded=tmp_path / "none", clean=faces_root, posed_test=tmp_path / "posed_test")
    with pytest.raises(DataError) as error:
        inputs.check(ROWS)
    for word in (
        "inputs.occluded",
        "fpan-train route",
        "fpan-train pose-augment",
        "fpan-train predictions",
        "posed-test",
    ):
        assert word in str(error.value)
    replace(inputs, occluded=faces_root, posed_test=None).check(ROWS[:1])
    with pytest.raises(DataError, match=f"fpan-train predictions --data {faces_root}"):
        replace(inputs, occluded=faces_root, posed_test=None, predictions=tmp_path).check(ROWS[:2])


def _write_faces(root: Path, count: int, seed: int, names: str = "face{}", *, covered: bool) -> None:
    rng = np.random.default_rng(seed)
    written = [names.format(i) for i in range(count)]
    for name in written:
        image, labels = draw_face(rng)
        if covered:
            top = int(rng.integers(20, 40))
            image[top : top + 14, 16:48], labels[top : top + 14, 16:48] = (20, 200, 20), _OCCLUSION
        write_pair(root, name, image, labels)
    (root / "split.json").write_text(json.dumps({"train": written[2:], "val": written[:2]}))


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    """Everything that the experiments read, drawn."""
    names = {"clean": False, "occluded": True, "routed": True, "posed": False}
    for seed, (name, covered) in enumerate(names.items()):
        _write_faces(tmp_path / name, 12, seed, covered=covered)
    _write_faces(tmp_path / "turned", 6, 9, "person{}_yaw-60", covered=False)
    splits = json.loads((tmp_path / "occluded" / "split.json").read_text())
    splits["heldout"] = [splits["train"].pop() for _ in range(2)]
    (tmp_path / "occluded" / "split.json").write_text(json.dumps(splits))
    rows = [json.dumps({"name": f"face{i}", "share": i / 20}) for i in range(12)]
    (tmp_path / "occluded" / "manifest.jsonl").write_text("\n".join(rows) + "\n")
    (tmp_path / "turned" / "dataset.json").write_text(json.dumps({"labels": "celeba_hair"}))
    (tmp_path / "turned" / "split.json").unlink()
    for mask in (tmp_path / "turned" / "masks").iterdir():
        rng = np.random.default_rng(0)
        write_pair(tmp_path / "turned", mask.stem, *_only_hair(*draw_face(rng)))
    for name in ("occluded", "routed", "posed"):
        for i in range(12):
            rng = np.random.default_rng(i)
            prediction = FacePrediction(
                rng.uniform(16, 48, (POINTS, 2)).astype(np.float32),
                rng.random(POINTS).astype(np.float32),
                rng.uniform(-60, 60, 3).astype(np.float32),
            )
            PredictionStore(tmp_path / "predictions" / name).put(f"face{i}", prediction)
    return Inputs(
        occluded=tmp_path / "occluded",
        clean=tmp_path / "clean",
        posed_test=tmp_path / "turned",
        predictions=tmp_path / "predictions",
        routed=tmp_path / "routed",
        posed=tmp_path / "posed",
    )


def _only_hair(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return image, np.where(labels == TAXONOMY.id_of("hair"), labels, 0).astype(np.uint8)


class _PowerCut(Exception):
    pass


def test_the_whole_command_goes_on_where_it_was_stopped_and_reports_every_row(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = Ablation(inputs, tmp_path / "runs", tmp_path / "ablation.md", "smoke", peers=("bisenet", "unet"), seeds=2)
    train, calls = ablate.train, []

    def cut(*args: object) -> None:
        calls.append(args)
        if len(calls) == 3:
            raise _PowerCut
        train(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(ablate, "train", cut)
        with pytest.raises(_PowerCut):
            command()
    done = {path: path.read_bytes() for path in (tmp_path / "runs").glob("*/last.pt")}
    assert len(done) == 2
    page = command().read_text()
    assert all(path.read_bytes() == before for path, before in done.items())
    assert len(list((tmp_path / "runs").glob("*/best.pt"))) == 2 * 2 + 3 + 2
    for row in ROWS:
        assert f"| {row.name} |" in page
    for word in (
        "## Table I:",
        "## Table II:",
        "## Table III:",
        "bisenet",
        "By yaw",
        "0.343",
        "every row trains on",
        "no training saw",
    ):
        assert word in page
    assert (tmp_path / "ablation.png").stat().st_size > 0
    with (tmp_path / "ablation.csv").open() as file:
        found = list(csv.DictReader(file))
    overall = [r for r in found if r["table"] == "I" and r["test"] == "occluded" and r["name"] == "overall"]
    assert [r["row"] for r in overall] == [row.name for row in ROWS]
    assert [r["seeds"] for r in overall] == ["2", "1", "1", "1", "2"]
    assert overall[0]["paper"] == "0.7353"
    # The builder says that of the two faces of val 0 and 5 % are hidden.
    assert {r["stratum"] for r in found if r["table"] == "hidden"} == {"0%", "0% to 5%"}
    assert {r["stratum"] for r in found if r["table"] == "yaw"} == {"all", "50° to 90°"}
    config = json.loads((tmp_path / "runs" / "uvm-lite_fpn-seed0" / "config.json").read_text())
    assert config["data"][1:] == ["routed", "posed"]
    assert config["weights"]["lambda_o"] == 1
    logs = [path.read_text().splitlines() for path in (tmp_path / "runs").glob("*/log.jsonl")]
    assert {len(log) for log in logs} == {1}
    with pytest.raises(DataError, match="other settings"):
        replace(command, shares=(0.1, 0.1))()
