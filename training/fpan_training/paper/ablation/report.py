"""The page of the experiments: tables beside the paper's figures, all figures as CSV, and the picture of table I."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Canvas

from fpan_training.engine.page import write_page
from fpan_training.evaluate.groups import OVERALL, PAPER_GROUPS
from fpan_training.files import write_whole
from fpan_training.modules.segm.weights import WeightConfig
from fpan_training.paper.ablation.figures import Difference, Figure
from fpan_training.paper.ablation.paper import paper_table
from fpan_training.paper.ablation.plan import OURS, Budget, Row
from fpan_training.paper.ablation.records import ALL, Record, Results
from fpan_training.paper.ablation.runs import HELDOUT
from fpan_training.taxonomy import TAXONOMY

COLUMNS = (*PAPER_GROUPS, OVERALL)
_SEED_DIGITS = 3


@dataclass(frozen=True)
class Setting:
    """What the page says about how the figures came about."""

    command: str
    budget: Budget
    lambdas: WeightConfig
    shares: tuple[float, ...]
    pictures: dict[str, int]
    """Of each test set."""


def write_report(found: Sequence[Record], results: Results, rows: Sequence[Row], setting: Setting, out: Path) -> Path:
    """Writes ``out`` (Markdown), and beside it the same name as ``.csv`` and ``.png``; returns ``out``."""
    out.parent.mkdir(parents=True, exist_ok=True)
    write_csv(found, out.with_suffix(".csv"))
    draw(found, [row.name for row in rows], out.with_suffix(".png"))
    lines = [
        *_head(setting, out),
        *_table_one(found, rows),
        *_strata(found, rows),
        *_peers(found, results, setting.budget),
    ]
    return write_page(out, "What each module adds", lines)


def write_csv(found: Sequence[Record], path: Path) -> None:
    """One line a figure: with its interval, its spread over seeds (of a difference: what they alone make of it), and
    the paper's own.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["table", "row", "test", "stratum", "name", "mean", "low", "high", "spread_or_chance", "seeds", "paper"]
    )
    for r in found:
        figure = r.figure
        seeds = figure.seeds if isinstance(figure, Figure) else ""
        numbers = (figure.mean, *figure.interval, figure.spread if isinstance(figure, Figure) else figure.chance)
        paper = "" if r.paper is None else r.paper
        shown = ["" if np.isnan(number) else f"{number:.5f}" for number in numbers]
        writer.writerow([r.table, r.row, r.test, r.stratum, r.name, *shown, seeds, paper])
    write_whole(path, text.getvalue().encode())


def draw(found: Sequence[Record], rows: Sequence[str], path: Path) -> None:
    """Table I as a picture: ours with intervals, every column beside the paper's."""
    canvas = Canvas(figsize=(11, 4), layout="constrained")
    for axes, column in zip(canvas.subplots(1, len(COLUMNS), sharey=True), COLUMNS, strict=True):
        mine = {r.row: r for r in found if r.table == "I" and r.test == "occluded" and r.name == column}
        at = [i for i, row in enumerate(rows) if row in mine and not np.isnan(mine[row].figure.mean)]
        chosen = [mine[rows[i]] for i in at]
        means = np.array([r.figure.mean for r in chosen])
        edges = np.array([r.figure.interval for r in chosen]).reshape(-1, 2)
        reach = np.abs(edges.T - means)
        axes.bar(at, means, yerr=reach, capsize=3, color="#5a6e8c", label="ours, 95 % over pictures")
        axes.plot(at, [r.paper for r in chosen], "o--", color="#dc3250", label="the paper, on its own data")
        axes.set_xticks(range(len(rows)), rows, rotation=45)
        axes.set_title(column)
        axes.grid(axis="y", alpha=0.3)
    canvas.axes[0].set_ylabel("mIoU on occluded faces")
    canvas.axes[0].set_ylim(0, 1)
    canvas.axes[0].legend(fontsize=7, loc="lower left")
    canvas.savefig(path, dpi=110)


def _head(setting: Setting, out: Path) -> list[str]:
    b = setting.budget
    routed, posed = (f"{share:.0%}" for share in setting.shares)
    counts = ", ".join(f"{name} {count}" for name, count in setting.pictures.items())
    return [
        f"`{setting.command}`",
        "",
        f"Every run sees {b.pictures:,} pictures of {b.input_size} x {b.input_size} pixels in {b.steps:,} steps of "
        f"{b.loop.batch_size}, whatever it trains on, and is measured with its averaged weights after the last step: "
        f"no checkpoint is chosen. Pictures measured on: {counts}.",
        "",
        "What the rows train on. A network whose labels know no occlusion cannot say that class, and the paper's "
        "baseline says it (0.34), so, as in the paper's section IV, **every row trains on the occluded set, whose "
        "occlusions are labelled** (CelebAMaskOcc-HQ); augmentation adds no occluders of its own. SEGM: that, with the "
        "plain loss. +PPM: pictures of turned heads weigh more (lambda_p = "
        f"{setting.lambdas.lambda_p:g}). +LOM: so do pixels near hidden landmarks (lambda_o = "
        f"{setting.lambdas.lambda_o:g}). +DOM: a part of each epoch ({routed}) is pictures whose "
        f"occlusion nobody marked, with DOM's labels. +UVM: another part ({posed}) is faces turned "
        "to other poses. Neither lambdas nor shares were tuned. The paper's figures come from data that was never "
        "published: what can be compared is which way the rows go, not how high they are.",
        "",
        "In brackets: 95 % by bootstrap over the pictures, of the mean over seeds. Behind +-: standard deviation over "
        "seeds, where there are several. Eyes are both eyes without brows and glasses, mouth is the inner mouth and "
        "both lips; each is the mean over its classes. Predictions of occlusion on clean faces count as misses of what "
        "the truth says.",
        "",
        f"All figures: [{out.stem}.csv]({out.stem}.csv).",
        "",
        f"![Table I]({out.stem}.png)",
    ]


def _table_one(found: Sequence[Record], rows: Sequence[Row]) -> list[str]:
    lines = ["", "## Table I: mIoU on occluded faces, and the paper's", ""]
    lines += [*_header("row", [c for column in COLUMNS for c in (column, "paper")])]
    for row in rows:
        cells = []
        for column in COLUMNS:
            record = _one(found, "I", row.name, "occluded", ALL, column)
            cells += [_cell(record.figure), "-" if record.paper is None else f"{record.paper:.3f}"]
        lines.append(_line(row.name, cells))
    lines += _gains(found, rows, "occluded", COLUMNS)
    for test, title in ((HELDOUT, "faces under things that no training saw"), ("clean", "clean faces (19 classes)")):
        if not any(r.test == test for r in found):
            continue
        columns = [column for column in COLUMNS if test != "clean" or column != "occlusion"]
        lines += ["", f"## The same on {title}", "", *_header("row", columns)]
        for row in rows:
            figures = [_one(found, "I", row.name, test, ALL, column).figure for column in columns]
            lines.append(_line(row.name, [_cell(figure) for figure in figures]))
        lines += _gains(found, rows, test, columns)
    return lines


def _gains(found: Sequence[Record], rows: Sequence[Row], test: str, columns: Sequence[str]) -> list[str]:
    if len(rows) == 1:
        return []
    lines = [
        "",
        f"Differences to {rows[0].name}. In brackets: 95 % over the pictures; behind the semicolon, what seeds alone "
        "make of it in 95 of 100 cases. * where neither explains it:",
        "",
        *_header("row", columns),
    ]
    for row in rows[1:]:
        figures = [_one(found, "gain", row.name, test, ALL, column).figure for column in columns]
        lines.append(_line(row.name, [_difference(figure) for figure in figures]))
    return lines


def _strata(found: Sequence[Record], rows: Sequence[Row]) -> list[str]:
    lines = []
    for table, test, title in (
        ("hidden", "occluded", "By the share of the face that is hidden: mIoU on occluded faces"),
        ("yaw", "posed", "By yaw: mIoU on posed faces, over the groups of classes that their labels tell apart"),
    ):
        mine = [r for r in found if r.table == table and r.test == test]
        names = list(dict.fromkeys(r.stratum for r in mine))
        if names:
            lines += ["", f"## {title}", "", *_header("row", names)]
        for row in rows if names else ():
            figures = [_one(found, table, row.name, test, name, OVERALL).figure for name in names]
            lines.append(_line(row.name, [_cell(figure) for figure in figures]))
    return lines


def _peers(found: Sequence[Record], results: Results, budget: Budget) -> list[str]:
    lines = []
    for table, test in (("II", "clean"), ("III", "occluded")):
        mine = [r for r in found if r.table == table]
        names = list(dict.fromkeys(r.row for r in mine))
        columns = [c for c in (*COLUMNS, "mIoU") if any(r.name == c and not np.isnan(r.figure.mean) for r in mine)]
        paper = paper_table(table)
        lines += ["", f"## Table {table}: F1 on {test} faces, other kinds of network on the same data and budget", ""]
        lines += _header("network", [*columns, "boundary F1", "calibration error", "parameters", "GMAC"])
        for name in names:
            architecture = OURS if name.startswith("ours") else name
            cost = results.costs[architecture]
            figures = [_one(found, table, name, test, ALL, column).figure for column in columns]
            quality = [
                _one(found, "quality", name, test, ALL, kind).figure for kind in ("boundary F1", "calibration error")
            ]
            cells = [_cell(figure) for figure in (*figures, *quality)]
            lines.append(_line(name, [*cells, f"{cost.parameters:,}", f"{cost.macs / 1e9:.2f}"]))
        for name, row in paper.rows.items():
            shown = ["-" if (value := row.get(column)) is None else f"{value:.3f}" for column in columns]
            lines.append(_line(f"the paper: {name}", [*shown, "-", "-", "-", "-"]))
        lines += ["", *([paper.note, ""] if paper.note else [])]
        lines += [f"F1 by class on {test} faces:", "", *_header("class", names)]
        known = {r.name for r in found if r.table == "classes" and r.test == test}
        for c in (c for c in TAXONOMY.classes if c.name in known):
            figures = [_one(found, "classes", name, test, ALL, c.name).figure for name in names]
            lines.append(_line(c.title, [_number(figure.mean) for figure in figures]))
    context = budget.networks["bisenet"].bisenet.context
    light = "EfficientNet-Lite0 with the ImageNet weights that ours starts from" if context != "resnet18" else context
    lines += [
        "",
        f"The other kinds train on the first row's data with the plain loss. BiSeNet's context path is {light}. What "
        "starts from nothing (U-Net, RTFormer-Slim, ResNet-18) has a handicap at a short budget, which says little of "
        "the architecture.",
    ]
    return lines


def _one(found: Sequence[Record], table: str, row: str, test: str, stratum: str, name: str) -> Record:
    key = (table, row, test, stratum, name)
    return next(r for r in found if (r.table, r.row, r.test, r.stratum, r.name) == key)


def _header(first: str, names: Sequence[str]) -> list[str]:
    return [f"| {first} | {' | '.join(names)} |", "|" + "---|" * (len(names) + 1)]


def _line(first: str, cells: Sequence[str]) -> str:
    return f"| {first} | {' | '.join(cells)} |"


def _cell(figure: Figure | Difference) -> str:
    spread = (
        "" if isinstance(figure, Difference) or np.isnan(figure.spread) else f" +- {figure.spread:.{_SEED_DIGITS}f}"
    )
    if np.isnan(figure.mean):
        return "-"
    return f"{figure.mean:.3f} ({figure.interval.low:.3f} to {figure.interval.high:.3f}){spread}"


def _difference(figure: Figure | Difference) -> str:
    if isinstance(figure, Figure) or np.isnan(figure.mean):
        return "-"
    low, high = figure.interval
    return f"{figure.mean:+.3f} ({low:+.3f} to {high:+.3f}; {figure.chance:.3f}){'*' if figure.clear else ''}"


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"
