"""Several processes learn what one does: the gradients of a batch that they share are those of the whole batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fpan_training.data import EpochSampler
from fpan_training.loop import LoopConfig, launch

_SCRIPT = Path(__file__).with_name("several_processes.py")


def _train(folder: Path, *launcher: str) -> dict[str, torch.Tensor]:
    """The weights after a training by ``launcher``."""
    words = [sys.executable, *launcher, str(_SCRIPT), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    weights: dict[str, torch.Tensor] = torch.load(folder / "last.pt", weights_only=True)["network"]
    return weights


def test_two_processes_under_torchrun_learn_what_one_does(tmp_path: Path) -> None:
    alone = _train(tmp_path / "one")
    together = _train(tmp_path / "two", "-m", "torch.distributed.run", "--nproc-per-node", "2")
    assert alone.keys() == together.keys()
    for name, weight in alone.items():
        torch.testing.assert_close(together[name], weight, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


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
