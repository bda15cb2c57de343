"""A recipe's run as a few small files, from which it goes on on a machine that has nothing else of it.

Of every training that is done there are its best weights in float16 and its log; of one that was begun a resume point
(:mod:`fpan_training.engine.resume_point`). Data sets are made anew there: they come from the raw folders.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from fpan_training.data.folder import DataError
from fpan_training.engine.checkpoint import load, save
from fpan_training.engine.resume_point import halved, resume_point
from fpan_training.engine.run import CONFIG_FILE, RESUME_FILE, Run
from fpan_training.engine.stages import Stage, is_done, mark_done
from fpan_training.files import write_whole

BEST, RESUME = ".best.pt", ".resume.pt"
"""Endings of a stage's files: weights of a training that is done, and the resume point of one that is not."""
_LOG = "log.jsonl"
_KEPT = (_LOG, CONFIG_FILE)


def write_snapshot(run: Path, stages: Sequence[Stage], out: Path) -> Path:
    """Writes the snapshot of a run; files of it that are not of use any more go.

    Args:
        run: the run's folder.
        stages: all of the recipe's.
        out: folder to write.

    Raises:
        DataError: no training was begun.
    """
    begun = [stage for stage in stages if (run / stage.name / "last.pt").is_file()]
    if not begun:
        raise DataError(f"{run} has no training that was begun")
    out.mkdir(parents=True, exist_ok=True)
    kept: set[str] = set()
    for stage in begun:
        folder = Run(run / stage.name)
        if is_done(run, stage.name):
            best = load(folder.best)
            file = f"{stage.name}{BEST}"
            save(out / file, {**best, "network": halved(best["network"])})
        else:
            file = f"{stage.name}{RESUME}"
            save(out / file, resume_point(load(folder.last)))
        kept.add(file)
        for name in _KEPT:
            if (folder.folder / name).is_file():
                shutil.copyfile(folder.folder / name, out / f"{stage.name}.{name}")
                kept.add(f"{stage.name}.{name}")
    for path in out.iterdir():
        if path.suffix in (".pt", ".jsonl", ".json") and path.name not in kept:
            path.unlink()
    size = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    print(f"{out}: {size:.1f} MB, {', '.join(stage.name for stage in begun)}")
    return out


def take_snapshot(run: Path, stages: Sequence[Stage], snapshot: Path) -> None:
    """Puts what a snapshot has into a run, for stages that the run has not begun.

    Raises:
        DataError: the folder is none of this recipe's snapshots.
    """
    ours = [stage for stage in stages if any((snapshot / f"{stage.name}{end}").is_file() for end in (BEST, RESUME))]
    if not ours:
        raise DataError(f"{snapshot} is no snapshot of this recipe: it has none of its trainings")
    for stage in ours:
        folder = run / stage.name
        if is_done(run, stage.name) or (folder / "last.pt").is_file():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        for name in _KEPT:
            if (snapshot / f"{stage.name}.{name}").is_file():
                shutil.copyfile(snapshot / f"{stage.name}.{name}", folder / name)
        done = snapshot / f"{stage.name}{BEST}"
        if done.is_file():
            shutil.copyfile(done, folder / "best.pt")
            mark_done(run, stage.name, seconds=_seconds(folder / _LOG))
        else:
            write_whole(folder / RESUME_FILE, (snapshot / f"{stage.name}{RESUME}").read_bytes())


def _seconds(log: Path) -> float:
    """How long a training took, as its log says."""
    if not log.is_file():
        return 0.0
    return float(sum(json.loads(line)["seconds"] for line in log.read_text(encoding="utf-8").splitlines()))
