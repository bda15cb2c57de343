"""What `fpan-train finetune` gains on few pictures of another domain, and what it forgets of the one it was made for.

    FPAN_DATA=... python -m benchmarks.studies.finetune --out RUNS

takes 50 pictures of data sets that the shipped network has never seen, fine-tunes it on them, and
compares it with itself before: on pictures of the same set that were held out (of other people, where it is known who
is who), and on the validation pictures that it was chosen by. Runs and counts that are there already are not made
again. Writes ``docs/results/finetune.md``.
"""

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from fpan_training.data.folder import FaceFolder, list_pictures
from fpan_training.data.label_space import DatasetFile, LabelSpace, write_dataset_file
from fpan_training.data.split import SplitConfig, ensure_split
from fpan_training.evaluate.bootstrap import bootstrap
from fpan_training.evaluate.confusion import Scores
from fpan_training.evaluate.grouped import Grouping
from fpan_training.evaluate.measure import Measured, measure
from fpan_training.modules.segm.checkpoint import load_network, read_config
from fpan_training.modules.segm.finetune import Finetune
from fpan_training.modules.segm.keep import DistillConfig
from fpan_training.modules.segm.step import SegmStep
from fpan_training.taxonomy import CELEBA19_CLASSES, TAXONOMY

from tests.support.service import ROOT

RESULT = ROOT / "docs" / "results" / "finetune.md"
HELD_OUT = 200
"""Pictures of a large set that are held out; of others what is left."""
HALF_AS_MANY = 10
"""Passes over 40 pictures: with rehearsal, which doubles a pass, the time is that of a run without."""
SEED = 0


@dataclass(frozen=True)
class Domain:
    """A data set with its label space's preset."""

    name: str
    about: str
    person: Callable[[str], str] | None = None
    """Who a picture shows, by its name; None: not known."""


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    domain: Domain
    pictures: int
    how: str
    """A key of :data:`WAYS`."""

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.domain.name}-{self.pictures}-{self.how}".replace(" ", "_")


STREET = Domain("ccp", "heads from street photos, 224 px; skin and features are one label")
POSED = Domain(
    "fasseg_posed", "7 people at yaws of -90 to 90 degrees; 6 groups", lambda name: name.removeprefix("train_")[:10]
)
WAYS: dict[str, Callable[[Finetune], Finetune]] = {
    "as it is": lambda tuning: tuning,
    "nothing kept": lambda tuning: replace(tuning, keep=DistillConfig()),
    "rehearsal": lambda tuning: replace(
        tuning, extra=(str(_data() / "celeba19"),), loop=replace(tuning.loop, epochs=HALF_AS_MANY)
    ),
}
CASES = (
    Case(POSED, 50, "as it is"),
    Case(STREET, 50, "as it is"),
    Case(STREET, 50, "nothing kept"),
    Case(POSED, 50, "rehearsal"),
)


def main() -> None:
    """Trains, measures, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--cases", type=int, default=len(CASES), help="the first so many")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows, classes = [], {}
    for case in CASES[: options.cases]:
        row, (before, after) = _row(case, options.out)
        rows.append(row)
        print(row, flush=True)
        classes["start"] = before.confusion.scores().iou
        classes[f"{case.domain.name}, {case.how}"] = after.confusion.scores().iou
        RESULT.write_text(_report(rows, classes))


def _data() -> Path:
    return Path(os.environ["FPAN_DATA"])


def divide(domain: Domain) -> tuple[list[str], list[str]]:
    """Names to fine-tune on, those of fewer pictures first, and names that are held out."""
    names = np.array([path.stem for path in list_pictures(_data() / domain.name)])
    rng = np.random.default_rng(SEED)
    if domain.person is None:
        order = names[rng.permutation(len(names))].tolist()
        held = min(HELD_OUT, len(order) // 2)
        return order[held:], order[:held]
    people = [domain.person(name) for name in names]
    taught = sorted(set(people))[:2]
    mine = names[[person in taught for person in people]]
    return rng.permutation(mine).tolist(), [n for n, person in zip(names, people, strict=True) if person not in taught]


def folder_of(case: Case, out: Path) -> Path:
    """The pictures of a case as a user would have them, and ``test``, those that are held out."""
    folder = out / "data" / f"{case.domain.name}-{case.pictures}"
    if folder.is_dir():
        return folder
    pool, held = divide(case.domain)
    source = _data() / case.domain.name
    images = {path.stem: path for path in list_pictures(source)}
    for where, names in ((folder, pool[: case.pictures]), (folder / "test", held)):
        for part in ("images", "masks"):
            (where / part).mkdir(parents=True)
        for name in names:
            (where / "images" / images[name].name).symlink_to(images[name])
            (where / "masks" / f"{name}.png").symlink_to(source / "masks" / f"{name}.png")
        write_dataset_file(where / "dataset.json", DatasetFile(name=case.domain.name, labels=case.domain.name))
    ensure_split(folder, SplitConfig(seed=SEED))
    return folder


def _row(case: Case, out: Path) -> tuple[str, list[Measured]]:
    """The line of the table, and the counts on the usual pictures before and after."""
    folder = folder_of(case, out)
    run = out / case.name
    tuning = WAYS[case.how](Finetune(folder, run, repository=str(ROOT / "model_repository")))
    if not (run / "done").is_file():
        tuning()
        (run / "done").touch()
    start = run / "start" / "checkpoint_fp16.pt"
    space = LabelSpace.of_folder(folder)
    groups = None if space.plain else Grouping(space)
    own = [_counts(path, folder / "test", None, out, groups) for path in (start, run / "best.pt")]
    usual = [_counts(path, _data() / "celeba19", "val", out, None) for path in (start, run / "best.pt")]
    best = max(json.loads(line).get("score", 0.0) for line in (run / "log.jsonl").read_text().splitlines())
    steps = sum(1 for _ in (run / "log.jsonl").open())
    cells = (
        case.domain.name,
        str(case.pictures),
        case.how,
        str(steps),
        f"{best:.3f}",
        *_difference(*own),
        *_difference(*usual),
    )
    return f"| {' | '.join(cells)} |", usual


def _counts(checkpoint: Path, root: Path, split: str | None, out: Path, groups: Grouping | None) -> Measured:
    """What the network of a checkpoint says of a set's pictures; kept beside it, once for all of the start."""
    which = out / "start" if checkpoint.parent.name == "start" else checkpoint.parent
    which.mkdir(exist_ok=True)
    file = which / f"counts-{root.parent.name.split('-')[0] if split is None else root.name}.npz"
    if file.is_file():
        return Measured.load(file)
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
    config = read_config(stored["segm"])
    network, step = load_network(config, stored["network"]), SegmStep(TAXONOMY)
    found = measure(
        lambda image: step.answer(network, image, config.input_size),
        FaceFolder.open(root, split or "test"),
        root.name,
        config.input_size,
        CELEBA19_CLASSES if groups is None else len(groups),
        TAXONOMY,
        groups,
    )
    found.save(file)
    return found


def _difference(before: Measured, after: Measured) -> tuple[str, str]:
    """MIoU before and after, and the gain with its interval: the same pictures are drawn for both."""
    pairs = np.stack([np.array(before.confusion.matrices), np.array(after.confusion.matrices)], 1)
    interval = bootstrap(pairs, lambda total: {"gain": Scores.of(total[1]).miou - Scores.of(total[0]).miou})["gain"]
    first, second = before.confusion.scores().miou, after.confusion.scores().miou
    return f"{first:.3f} -> {second:.3f}", f"{second - first:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


def _report(rows: list[str], classes: dict[str, np.ndarray]) -> str:
    domains = dict.fromkeys(case.domain for case in CASES)
    return "\n".join(
        [
            "# Fine-tuning on few pictures",
            "",
            f"Made by `python -m benchmarks.studies.finetune --out RUNS` on {datetime.now(UTC):%Y-%m-%d}, one thread "
            "of a CPU: what the shipped `segm` version 2 gains when `fpan-train finetune --from champion` gives it 50 "
            "pictures (40 to train on, 10 to choose the epoch by) of a set that it has never seen, and what it loses "
            "on celeba19 val. mIoU at 256 px without mirroring, of what each set's masks tell apart; in brackets 95 % "
            "intervals of the difference, by drawing pictures (1,000 times, the same for both networks).",
            "",
            *(f"- `{d.name}`: {d.about}" + (". Held out are other people" if d.person else "") for d in domains),
            "",
            "| set | pictures | how | epochs | best val score | held out: mIoU | gain | celeba19 val: mIoU | change |",
            "|---|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            "`nothing kept`: `--keep.weight 0 --keep.no-norms`. `rehearsal`: `--extra celeba19`, whose training "
            f"pictures make up half of an epoch, with {HALF_AS_MANY} passes over the 40 instead of 20: the same time.",
            "",
            "What `ccp` merges (all features are skin there) is kept: with nothing kept several times as much is lost, "
            "and the gain is about the same. What `fasseg_posed` rules out (glasses, hats) or draws otherwise (eyes, "
            "brows) is forgotten in part where nothing is rehearsed; ears, lips and neck, which it merges, are kept.",
            "Rehearsal keeps all of it and leaves two thirds of the gain. One run a row, seed 0; those held out of "
            "`fasseg_posed` are five people, whom intervals by picture take for many.",
            "",
            "## celeba19 val, IoU by class",
            "",
            f"| class | {' | '.join(classes)} |",
            "|" + "---|" * (len(classes) + 1),
            *(
                f"| {TAXONOMY.classes[c].title} | {' | '.join(f'{iou[c]:.2f}' for iou in classes.values())} |"
                for c in range(CELEBA19_CLASSES)
            ),
            "",
        ]
    )


if __name__ == "__main__":
    main()
