"""`fpan-train recipe shipped --budget smoke`: from nothing to a version in a repository, by every stage."""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fpan.contract import ModelRepository
from fpan_training.data.folder import DataError
from fpan_training.data.merge import Merge
from fpan_training.engine.stages import Stage
from fpan_training.recipes import recipe
from fpan_training.recipes.context import Context
from fpan_training.recipes.data import FULL, TrainingSets, prepare
from fpan_training.recipes.recipe import RunRecipe
from fpan_training.recipes.shipped import Shipped

RIGHT, WRONG = 0.12, 0.11
"""Of the mIoU: what right labels reach at least, and wrong ones at most (seen: 0.13 and 0.09)."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the recipe, done."""
    return RunRecipe("shipped", tmp_path_factory.mktemp("recipe") / "run", budget="smoke")()


def _context(run: Path) -> Context:
    return Context(run, None, "smoke", str(run / "models"), 0)


def _best_miou(run: Path) -> float:
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return max(row["miou"] for row in rows if "miou" in row)


@pytest.mark.timeout(600)
def test_its_product_is_a_version_that_learnt_from_labels_and_teacher(run: Path) -> None:
    card = ModelRepository(run / "models").card("segm", 1)
    assert [source.pictures for source in card.training_data][:3] == [20, 20, 20]
    config = json.loads((run / "segm-64/config.json").read_text())
    assert (config["soft"], config["start_from"]) == ("soft", "best.pt")
    assert {path.name for path in (run / "soft").iterdir()} == {"full", "wild", "unlabelled"}
    assert _best_miou(run / "segm-64") >= RIGHT


@pytest.mark.timeout(600)
def test_with_other_pictures_labels_it_does_not_come_as_far(run: Path, tmp_path: Path) -> None:
    """A check that broken labels pass is none: masks go to other pictures here, and the same training falls short."""
    context = _context(tmp_path / "run")
    shutil.copytree(run / "data", tmp_path / "run/data")
    masks = sorted((TrainingSets.of(context).full / "masks").glob("*.png"))
    contents = [path.read_bytes() for path in masks]
    for path, content in zip(masks, contents[7:] + contents[:7], strict=True):
        path.write_bytes(content)
    student = replace(Shipped.under(context).students[0], teacher=False)
    for stage in student.stages(context):
        stage.work()
    assert _best_miou(student.run(context)) <= WRONG


def test_a_second_call_does_nothing_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "segm-64/last.pt").stat().st_mtime_ns
    RunRecipe("shipped", run, budget="smoke")()
    assert (run / "segm-64/last.pt").stat().st_mtime_ns == before
    out = capsys.readouterr().out
    assert out.count("(done)") == len(Shipped.under(_context(run)).stages(_context(run)))


@pytest.mark.parametrize("status", [0, 1])
def test_a_stage_of_several_processes_is_a_program_of_its_own(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe is told here that one stage wants two processes, and starts `fpan-train recipe ... --only` for it."""
    done: list[str] = []
    stages = (
        Stage("first", "", lambda: done.append("first")),
        Stage("both", "", lambda: done.append("here"), processes=2),
        Stage("last", "", lambda: done.append("last")),
    )
    monkeypatch.setitem(recipe.RECIPES, "shipped", recipe.Recipe("", lambda _: stages))
    seen = tmp_path / "seen"
    program = f"import sys; open({str(seen)!r}, 'w').write(' '.join(sys.argv[1:])); sys.exit({status})"
    monkeypatch.setattr(recipe, "PROGRAM", (sys.executable, "-c", program))
    command = RunRecipe("shipped", tmp_path / "run", budget="smoke")
    if status:
        with pytest.raises(SystemExit):
            command()
    else:
        command()
    assert done == (["first"] if status else ["first", "last"])
    assert seen.read_text().startswith(f"recipe shipped --run {tmp_path / 'run'}")
    assert seen.read_text().endswith("--budget smoke --seed 0 --only both")
    assert replace(command, only="first")() == tmp_path / "run"
    assert done[-1] == "first"


def test_what_is_missing_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "celeba19/images").mkdir(parents=True)
    (tmp_path / "celeba19/images/a.png").touch()
    with pytest.raises(DataError, match=r"celeba19_more, ccp_wide.*occluders"):
        prepare(Context(tmp_path / "run", tmp_path, "full", "", 0))
    monkeypatch.delenv("FPAN_DATA", raising=False)
    with pytest.raises(DataError, match="--data-root"):
        RunRecipe("shipped", tmp_path / "run")()
    with pytest.raises(DataError, match="shipped: the weights that are served"):
        RunRecipe("shopped", tmp_path / "run")()
    with pytest.raises(DataError, match="registers nothing"):
        RunRecipe("learning-curve", tmp_path / "run", budget="smoke", deploy=True)()


def test_raw_folders_that_are_at_hand_become_data_sets(tmp_path: Path, fpan_data: Path) -> None:
    out = Merge(tuple(fpan_data / name for name in FULL), tmp_path / "celeba")()
    splits = json.loads((out / "split.json").read_text())
    assert {split: len(names) for split, names in splits.items()} == {"train": 4513, "val": 333}


def test_a_snapshot_is_all_that_another_machine_needs_of_the_trainings(run: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    half = tmp_path / "half"
    shutil.copytree(run, half)
    (half / "done/segm-64.json").unlink()
    RunRecipe("shipped", half, budget="smoke", keep=kept)()
    assert {path.name for path in kept.glob("*.pt")} >= {"teacher-32.best.pt", "segm-32.best.pt", "segm-64.resume.pt"}
    assert (
        max(path.stat().st_size for path in kept.glob("*.best.pt")) < 0.6 * (run / "teacher-32/best.pt").stat().st_size
    )
    new = tmp_path / "new"
    RunRecipe("shipped", new, budget="smoke", snapshot=kept, until="data")()
    done = {path.stem for path in (new / "done").iterdir()}
    assert done >= {"data", "teacher-32", "teacher-64", "segm-32"}
    assert "segm-64" not in done
    assert (new / "segm-64/resume_fp16.pt").is_file()
    weights = torch.load(new / "teacher-64/best.pt", weights_only=True)["network"]
    whole = torch.load(run / "teacher-64/best.pt", weights_only=True)["network"]
    assert all(torch.allclose(weights[name].float(), value.float(), atol=1e-2) for name, value in whole.items())
    with pytest.raises(DataError, match="is no snapshot"):
        RunRecipe("shipped", tmp_path / "newer", budget="smoke", snapshot=tmp_path)()
