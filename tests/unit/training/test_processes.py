"""Several processes learn what one does: the gradients of a batch that they share are those of the whole batch."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fpan_training import cli
from fpan_training.data import EpochSampler
from fpan_training.engine.loop import launch
from fpan_training.engine.settings import LoopConfig
from fpan_training.modules.segm.train import SegmTraining
from torch.distributed.run import get_args_parser

from tests.support.service import ROOT
from tests.unit.training.small_modules import MODULES

_SCRIPT = Path(__file__).with_name("several_processes.py")
_PAGE = ROOT / "docs/training/modules.md"
_SMALL = (
    "--loop.epochs=1 --loop.batch-size=16 --loop.workers=0 --loop.precision=32-true --loop.accelerator=cpu"
    " --segm.input-size=64 --segm.lite-fpn.widths 8 8 8 8 8 --segm.lite-fpn.no-pretrained"
)
"""What makes seconds of the documented training."""


def _documented() -> list[str]:
    """The words of the page's command for several processes."""
    (line,) = (line for line in _PAGE.read_text().splitlines() if line.startswith("    torchrun "))
    return shlex.split(line)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What the script leaves alone, and on two processes."""
    folder = tmp_path_factory.mktemp("processes")
    launchers: dict[str, list[str]] = {"one": [], "two": ["-m", "torch.distributed.run", "--nproc-per-node", "2"]}
    for name, launcher in launchers.items():
        words = [sys.executable, *launcher, str(_SCRIPT), str(folder / name)]
        # The script takes its modules from tests/, as this file does.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
        done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False, env=environment)
        assert done.returncode == 0, done.stderr
    return folder / "one", folder / "two"


@pytest.mark.timeout(500)
def test_two_processes_under_torchrun_learn_what_one_does(folders: tuple[Path, Path]) -> None:
    alone, together = (torch.load(folder / "last.pt", weights_only=True)["network"] for folder in folders)
    assert alone.keys() == together.keys()
    for name, weight in alone.items():
        torch.testing.assert_close(together[name], weight, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.timeout(500)
@pytest.mark.parametrize("module", MODULES)
def test_gradients_of_two_processes_are_those_of_one(folders: tuple[Path, Path], module: str) -> None:
    alone, together = (torch.load(folder / "gradients.pt", weights_only=True)[module] for folder in folders)
    for what, tolerance in (("losses", 1e-5), ("gradients", 1e-4)):
        assert alone[what].keys() == together[what].keys()
        for name, value in alone[what].items():
            error = (together[what][name] - value).abs().max()
            assert error <= tolerance * value.abs().max(), (what, name)
    assert any(value.abs().max() > 0 for value in alone["gradients"].values())


def test_torchrun_leaves_the_documented_trainings_own_words_alone() -> None:
    given = get_args_parser().parse_args(_documented()[1:])
    assert (given.module, given.training_script) == (True, "fpan_training.cli")
    assert given.training_script_args == ["train", "segm", "--data", "FACES", "--run", "runs/mine"]
    training = cli.read(given.training_script_args)
    assert isinstance(training, SegmTraining)
    assert training.run == Path("runs/mine")


def test_the_documented_command_trains_on_two_processes(faces_root: Path, tmp_path: Path) -> None:
    places = {"FACES": str(faces_root), "runs/mine": str(tmp_path / "run")}
    torchrun, *words = (places.get(word, word) for word in _documented())
    assert torchrun == "torchrun"
    launcher = [sys.executable, "-m", "torch.distributed.run", *words, *_SMALL.split()]
    done = subprocess.run(launcher, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    (row,) = (json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines())
    assert row["epoch"] == 1
    assert "miou" in row
    assert (tmp_path / "run/last.pt").is_file()


def test_batches_of_the_processes_are_together_the_batch_of_one() -> None:
    alone = EpochSampler(11, seed=2)
    shares = [EpochSampler(11, seed=2, share=(rank, 2)) for rank in range(2)]
    whole, parts = list(alone), [list(share) for share in shares]
    for batch in range(2):
        of_all = whole[4 * batch : 4 * batch + 4]
        assert sorted(of_all) == sorted(i for part in parts for i in part[2 * batch : 2 * batch + 2])
    assert [len(part) for part in parts] == [len(share) for share in shares] == [5, 5]


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be shared evenly by 3"):
        launch(LoopConfig(batch_size=8, devices=3, accelerator="cpu"))
