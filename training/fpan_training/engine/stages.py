"""A run of several stages: each is done once, and a run that was stopped goes on at the first that is not done."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fpan_training.data.folder import DataError
from fpan_training.files import write_whole

_DONE, _PLAN = "done", "plan.json"


@dataclass(frozen=True)
class Stage:
    """A step of a run."""

    name: str
    about: str
    """What it does, in a line that is shown."""
    work: Callable[[], object]
    """Does it; where it was begun before, it goes on."""
    processes: int = 1
    """That share the work. Several are started by the program calling itself: such a stage has a program of its own."""


def run_stages(
    run: Path,
    stages: Sequence[Stage],
    plan: Mapping[str, object],
    until: str = "",
    apart: Callable[[Stage], None] | None = None,
) -> None:
    """Does the stages that are not done yet, in order, and says how long each took.

    Args:
        run: the run's folder, which remembers what is done.
        stages: all of them.
        plan: what the run is made from; a run that was begun with another plan is not gone on with.
        until: stop after the stage of this name; empty: after the last.
        apart: does a stage that several processes share, in a program of its own; None: they are done like all others.

    Raises:
        DataError: the run was begun with another plan.
        ValueError: no stage is called ``until``.
    """
    names = [stage.name for stage in stages]
    if until and until not in names:
        raise ValueError(f"no stage is called {until!r}: they are {', '.join(names)}")
    keep_plan(run, plan)
    (run / _DONE).mkdir(parents=True, exist_ok=True)
    for number, stage in enumerate(stages, 1):
        mark = run / _DONE / f"{stage.name}.json"
        print(f"{number}/{len(stages)} {stage.name}: {stage.about}{' (done)' if mark.is_file() else ''}", flush=True)
        if not mark.is_file():
            began = time.monotonic()
            if apart is not None and stage.processes > 1:
                apart(stage)
            else:
                stage.work()
            write_whole(mark, json.dumps({"seconds": round(time.monotonic() - began, 1)}).encode())
        if stage.name == until:
            break


def keep_plan(run: Path, plan: Mapping[str, object]) -> None:
    """Writes what a run is made from; refuses to go on with a run of another plan, whose stages would count as done.

    Raises:
        DataError: the run was begun with another plan.
    """
    file = run / _PLAN
    text = json.dumps(dict(plan), indent=2) + "\n"
    if file.is_file() and file.read_text(encoding="utf-8") != text:
        raise DataError(f"{run} was begun with other data or settings ({file}): name another --run")
    run.mkdir(parents=True, exist_ok=True)
    write_whole(file, text.encode())
