"""The page of quality: versions side by side, from their JSON files and from what people have written."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fpan_training.data.folder import DataError
from fpan_training.evaluate.quality.results import Figure, ModelQuality, RowResult
from fpan_training.evaluate.quality.table import TABLE
from fpan_training.files import write_whole
from fpan_training.taxonomy import CELEBA19_CLASSES, TAXONOMY

OTHER_PICTURES = "other pictures"
NOT_MEASURED = ""
COST_FILE = "cost.md"
"""In the figures' folder: lines about what versions cost, made by another command, which the page includes."""
_COMMAND = "fpan-train measure --repository model_repository --model {model} --data-root $FPAN_DATA"

Lines = list[str]
Naming = Callable[[str], str]

_DEFINITIONS = """\
Truth and label maps are compared at the labels' own size, 512 pixels where nothing else is said. The network runs
once on the whole picture, shrunk by area to its input, as the service does it with `faces=full`; its logits are
sampled linearly where the picture's pixels lie. Sums go over all pictures before figures are made of them; intervals
are 95 %, by bootstrap over pictures. **Bold** is what reaches "hold".

- **parts**: `val` of `celeba19` and `celeba19_more` together. mIoU over 19 classes, background included; mean F1 over
  the other 18; boundary F1 is the mean over the same 18 of how many outline pixels lie within 3 pixels of the other
  map's. "At the input size" both are compared at the network's input size.
- **occluders**: the same pictures, each covered twice by the occlusion generator (seed 12 and the picture's name):
  with files that are kept for validation, and with the family `wearables`, which no training sees. The drop is mean
  F1 over the 18 classes on the uncovered pictures less that on the covered ones, in points.
- **posed**: `fasseg_posed`, mIoU over the six groups of classes that its labels tell apart, by yaw to either side as
  the file names tell it. Nothing is trained on people 06 and 07. The figure is how far the worst of the bins is below
  the frontal faces.
- **street**, **news**, **masked**: `val` of `ccp_wide`, `lfw_parts` and `maskedface500`, whole pictures at their own
  size. *Through the service*: what a started `fpan serve` with its default settings answers, `faces=auto`; a picture
  without a face counts as wholly background. *As one face*: one run of the network on the whole picture. Where the
  truth merges classes, so do the figures; a pixel that several groups may have counts as the true one.
- **calibration**: expected calibration error in 15 bins over all pixels, background included. The temperature that
  makes the truth likeliest is fitted on every second picture and the error measured on the rest, both ways; the
  figure is the mean of both.
- **agreement**: share of the pixels on which the label maps of a picture and of the same picture moved agree, one run
  of the network on each. The moved picture is black where the other has nothing, and its logits are sampled where the
  other's pixels lie. Counted are pixels that both show and where at least one of the maps says something else than
  background. *Mirror*: left and right exchanged back. *Shift*: the frame by 15 % of its side to the left, right, top
  or bottom, the pictures taking turns. *Roll*: by 30 degrees to either side about the middle.
- **strata**, **size**, **grey**: see the [model card](../models/segm.md)."""


def read_all(folder: Path) -> list[ModelQuality]:
    """The versions whose figures are in a folder, by name and number.

    Raises:
        DataError: a file holds something else, or there is none.
    """
    found = [ModelQuality.read(path) for path in sorted(folder.glob("*.json"))]
    if not found:
        raise DataError(f"{folder} has no figures yet: run `fpan-train measure` first")

    def order(each: ModelQuality) -> tuple[str, int]:
        name, _, version = each.model.partition(":")
        return name, int(version or 0)

    return sorted(found, key=order)


def write_page(path: Path) -> Path:
    """Writes the page from the JSON files in the folder of the same name, and from ``NAME.prose.md`` beside it.

    Raises:
        DataError: see :func:`read_all`.
    """
    folder = path.with_suffix("")
    models = read_all(folder)
    lines = ["# Quality", "", *included(path.with_suffix(".prose.md")), "## Measured so", ""]
    lines += [f"    {_COMMAND.format(model=each.model)}" for each in models]
    lines += ["", *(f"`{each.model}`: {each.title}. On {each.machine}." for each in models), ""]
    lines += _table(models)
    lines += ["## Cost", "", *cost] if (cost := included(folder / COST_FILE)) else []
    for title, row, names, naming in _sections(models):
        lines += _section(models, title, row, names, naming)
    lines += ["## What each row measures", "", _DEFINITIONS, "", *_pictures(models)]
    write_whole(path, ("\n".join(lines).rstrip() + "\n").encode())
    return path


def included(path: Path) -> Lines:
    """The lines of a file that people write, with an empty one behind; none where there is no such file."""
    return [path.read_text(encoding="utf-8").strip(), ""] if path.is_file() else []


def told(figure: Figure, points: bool = False) -> str:
    """A figure with its interval, as a cell of a table."""
    if figure.value is None:
        return "-"
    digits = 1 if points else 3
    interval = "" if figure.low is None else f" ({figure.low:.{digits}f} to {figure.high:.{digits}f})"
    return f"{figure.value:.{digits}f}{interval}"


def _cell(models: Sequence[ModelQuality], each: ModelQuality, row: str, figure: str) -> Figure | str:
    """The figure of a version, or why there is none: only what is measured on the newest one's pictures is set beside
    it.
    """
    newest = _newest(models, row)
    found = each.rows.get(row)
    if newest is None or found is None or figure not in found.figures:
        return NOT_MEASURED
    return found.figures[figure] if found.comparable(newest) else OTHER_PICTURES


def _newest(models: Sequence[ModelQuality], row: str) -> RowResult | None:
    return next((each.rows[row] for each in reversed(models) if row in each.rows), None)


def _table(models: Sequence[ModelQuality]) -> Lines:
    lines = ["## The table", "", *table_head("measure", "hold", "aim", *(each.model for each in models))]
    for measure in TABLE:
        digits = 0 if measure.points else 3
        cells = []
        for each in models:
            found = _cell(models, each, measure.row, measure.figure)
            if isinstance(found, str):
                cells.append(found)
            else:
                text = told(found, measure.points)
                cells.append(f"**{text}**" if found.value is not None and measure.reached(found.value) else text)
        limits = (f"{measure.hold:.{digits}f}", f"{measure.aim:.{digits}f}")
        lines.append(line(measure.title, *limits, *cells))
    return [*lines, ""]


def _sections(models: Sequence[ModelQuality]) -> list[tuple[str, str, list[str], Naming]]:
    """Title, row, figures and how they are called."""
    titles = {c.name: c.title for c in TAXONOMY.classes}

    def of(row: str, *beginnings: str) -> list[str]:
        newest = _newest(models, row)
        return [] if newest is None else [name for name in newest.figures if name.startswith(beginnings)]

    classes = [f"f1/{c.name}" for c in TAXONOMY.classes[:CELEBA19_CLASSES]]
    return [
        ("F1 by class", "parts", classes, lambda name: titles[name.removeprefix("f1/")]),
        ("At the input size", "parts", of("parts", "input/"), _plain),
        ("Under occluders", "occluders", of("occluders", "mean_f1", "occlusion_iou", "drop"), _plain),
        ("By what covers the face", "occluders", of("occluders", "kind/"), _plain),
        ("By the share of the face that is covered", "occluders", of("occluders", "share/"), _plain),
        ("Turned heads, people 06 and 07", "posed", of("posed", "miou", "below", "yaw/", "step/"), _plain),
        ("Turned heads, all seven people", "posed", of("posed", "all people/"), _plain),
        ("Street photos", "street", of("street", ""), _plain),
        ("News photos", "news", of("news", ""), _plain),
        ("Masked faces", "masked", of("masked", ""), _plain),
        ("Calibration", "calibration", of("calibration", ""), _plain),
        ("Agreement", "agreement", of("agreement", ""), _plain),
    ]


def _section(models: Sequence[ModelQuality], title: str, row: str, names: list[str], naming: Naming) -> Lines:
    if not names:
        return []
    lines = [f"## {title}", "", *table_head("figure", *(each.model for each in models))]
    for name in names:
        whole = name.endswith("pictures")
        points = any(word in name for word in ("drop", "below_frontal"))
        cells = []
        for each in models:
            found = _cell(models, each, row, name)
            if isinstance(found, Figure):
                found = f"{found.value:.0f}" if whole and found.value is not None else told(found, points)
            cells.append(found)
        lines.append(line(naming(name), *cells))
    return [*lines, ""]


_WORDS = {
    "auto": "through the service",
    "full": "as one face",
    "found": "share of pictures in which a face is found",
    "iou": "IoU",
    "miou": "mIoU",
    "f1": "F1",
    "below frontal": "worst bin below frontal, points",
    "drop": "drop of mean F1, points",
    "error": "as it is",
    "scaled": "after temperature scaling",
    "input": "",
}
_PREFIXES = {"step/": "at {}°", "yaw/": "bin {}", "kind/": "under: {}", "share/": "{} covered"}


def _plain(name: str) -> str:
    """``auto/hair_iou``: through the service, hair IoU."""
    name = name.removeprefix("all people/")
    for prefix, form in _PREFIXES.items():
        if name.startswith(prefix):
            stratum, _, figure = name.removeprefix(prefix).partition("/")
            return ", ".join(filter(None, (form.format(stratum), _plain(figure))))
    parts = [part.replace("_", " ") for part in name.split("/")]
    words = [_WORDS.get(part, " ".join(_WORDS.get(word, word) for word in part.split(" "))) for part in parts]
    return ", ".join(filter(None, words))


def _pictures(models: Sequence[ModelQuality]) -> Lines:
    """How many pictures each row is measured on, and their digest, so that another set is told from this one."""
    rows = list(dict.fromkeys(name for each in models for name in each.rows))
    lines = ["## Pictures", "", *table_head("row", "pictures", "sha256 of pictures and truth")]
    for row in rows:
        newest = _newest(models, row)
        assert newest is not None
        lines.append(line(row, f"{newest.pictures}", f"`{newest.digest[:16]}`"))
    return [*lines, ""]


def table_head(*titles: str) -> Lines:
    """The first two lines of a table."""
    return [line(*titles), "|" + "---|" * len(titles)]


def line(*cells: str) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"
