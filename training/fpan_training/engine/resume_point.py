"""`fpan-train resume-point`: a run as one small file, from which it goes on on a machine that has nothing else of it.

It holds the averaged weights in float16, how far the run has come and its history, and no optimizer: a run that starts
from it warms a new one up.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fpan_training.engine.checkpoint import load, save
from fpan_training.engine.run import Run
from fpan_training.files import write_whole

_KIND = "resume_point"
_LEFT_OUT = ("average", "optimizer", "precision")
_HIGHEST = torch.finfo(torch.float16).max


@dataclass(frozen=True)
class ResumePoint:
    """Writes a run as one small file, to go on from elsewhere: with `--resume-from FILE` on the same training command,
    or with the file as ``resume_fp16.pt`` in the run's folder.
    """

    run: Path
    """Folder of the run, with its ``last.pt``; of a training in stages, the stage's own folder."""
    out: Path | None = None
    """File that is written; else ``resume_fp16.pt`` in the run's folder."""

    def __call__(self) -> Path:
        """Writes it and returns where.

        Raises:
            FileNotFoundError: the run has no checkpoint yet.
        """
        run = Run(self.run)
        if not run.last.is_file():
            raise FileNotFoundError(f"{run.last} is not there: name the folder of a run, or of a stage, that was begun")
        stored, out = load(run.last), self.out or run.resume
        out.parent.mkdir(parents=True, exist_ok=True)
        save(out, resume_point(stored))
        size = out.stat().st_size / 2**20
        print(f"{out}: {size:.1f} MB, {stored['epoch']} epochs and {stored['step']} steps of the next one done")
        return out


def resume_point(stored: dict[str, Any]) -> dict[str, Any]:
    """What a resume point holds of a ``last.pt``."""
    prefix = "module."
    weights = {name[len(prefix) :]: value for name, value in stored["average"].items() if name.startswith(prefix)}
    kept = {name: value for name, value in stored.items() if name not in _LEFT_OUT}
    return {**kept, "network": halved(weights), "kind": _KIND}


def halved(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with matrices and kernels in float16."""
    return {name: _small(value) for name, value in weights.items()}


def bring_resume_point(file: Path | None, folders: Mapping[str, Path]) -> None:
    """Puts a resume point into the run that goes on from it, unless that has already gone on.

    Args:
        file: the resume point; None: there is none.
        folders: the folders of the stages' runs by the stages' names.

    Raises:
        ValueError: the file is no resume point, or that of another module.
    """
    if file is None:
        return
    stored = load(file)
    if stored.get("kind") != _KIND:
        raise ValueError(f"{file} is no resume point: `fpan-train resume-point` makes one of a run")
    stage = stored.get("stage", "loop")
    if stage not in folders:
        raise ValueError(f"{file} is a resume point of another module: this one has no stage {stage!r}")
    run = Run(folders[stage])
    if not run.last.is_file():
        run.folder.mkdir(parents=True, exist_ok=True)
        if file.resolve() != run.resume.resolve():
            write_whole(run.resume, file.read_bytes())


def _small(value: Tensor) -> Tensor:
    """Matrices and kernels in float16 where they fit; vectors are few, and variances may be very small."""
    fits = value.is_floating_point() and value.ndim > 1 and bool((value.abs() <= _HIGHEST).all())
    return value.half() if fits else value
