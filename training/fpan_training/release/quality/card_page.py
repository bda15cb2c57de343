"""`fpan-train card-page`: the page of a version that a careful user reads, from its card and its figures."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from fpan.contract import ModelCard, Reference
from numpy.typing import NDArray

from fpan_training.data.folder import DataError
from fpan_training.engine.plots import overlay
from fpan_training.evaluate.quality import ModelQuality, Network, RowResult, parse
from fpan_training.evaluate.quality.strata import ALL, CORE, SIZES, greyed, names_of
from fpan_training.evaluate.quality.tone import TONES
from fpan_training.files import write_whole
from fpan_training.landmarks.aligned import align, read_template
from fpan_training.landmarks.teacher import Teacher, task_bytes
from fpan_training.release.quality.networks import alone, network_of
from fpan_training.release.quality.page import included, line, table_head, told
from fpan_training.taxonomy import TAXONOMY

_SIDE = 192
"""Of the pictures that are shown, in pixels."""
_ROLL_DEG = 75.0
_GAMMA = 4.0
_QUALITY = 88
_COLUMNS = ("pictures", "mean F1 of 10 parts", "mean F1 of 18 classes")


@dataclass(frozen=True)
class CardPage:
    """Writes the page of a version: data and licences, figures by stratum, known failures, what it is not for.

    What people write stands in ``NAME.prose.md`` beside the page, which includes it. The picture shows one person,
    whose photo is in the public domain (scikit-image's ``astronaut``).
    """

    repository: str = "model_repository"
    """The model repository: a folder, or ``s3://BUCKET/PREFIX``."""
    model: str = "segm"
    """The version: ``NAME:VERSION``, ``NAME@ALIAS``, or ``NAME`` for the one that answers."""
    quality: Path = Path("docs/results/quality")
    """Folder of the figures that `fpan-train measure` has written."""
    out: Path = Path("docs/models/segm.md")
    """The page."""

    def __call__(self) -> Path:
        """Writes page and picture, and returns the page's path.

        Raises:
            DataError: the version has no figures yet.
            RepositoryError: there is no such version, or it is broken.
        """
        with tempfile.TemporaryDirectory() as work:
            folder = Path(work)
            card = alone(self.repository, Reference.parse(self.model), folder)
            figures = self.quality / f"{card.name}-{card.version}.json"
            if not figures.is_file():
                model = f"{card.name}:{card.version}"
                raise DataError(f"{figures} is missing: run `fpan-train measure --model {model}` first")
            quality = ModelQuality.read(figures)
            self.out.parent.mkdir(parents=True, exist_ok=True)
            shown = draw_examples(network_of(card, folder))
        bgr = cv2.cvtColor(shown, cv2.COLOR_RGB2BGR)
        _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        write_whole(self.out.with_suffix(".jpg"), jpeg.tobytes())
        write_whole(self.out, ("\n".join(self._lines(card, quality)).rstrip() + "\n").encode())
        return self.out

    def _lines(self, card: ModelCard, quality: ModelQuality) -> list[str]:
        model = f"{card.name}:{card.version}"
        lines = [
            f"# Model card: {card.name} version {card.version}",
            "",
            f"Made by `fpan-train card-page --model {model}` from the version's card, from the figures of `fpan-train "
            f"measure --model {model}`, and from what people have written.",
            "",
            *table_head("", ""),
            line("network", card.title),
            line("input", f"RGB, {card.input_size} x {card.input_size} pixels"),
            line("classes", f"{len(TAXONOMY)}: {', '.join(c.title for c in TAXONOMY.classes)}"),
            line("parameters, multiplications", f"{card.parameters:,}, {card.macs:,}"),
            line("licence of the code", card.code_licence),
            line("**terms of the weights**", f"**{card.weights_licence}**"),
            line("made", card.created),
            "",
            "## Trained on",
            "",
            *table_head("pictures", "number", "terms", "remarks"),
            *(line(s.name, f"{s.pictures:,}", s.licence, s.note) for s in card.training_data),
            "",
            *included(self.out.with_suffix(".prose.md")),
            f"![What it says of one person in seven pictures]({self.out.stem}.jpg)",
            "",
            "One person (NASA, public domain) and what the version says of her: as she is, turned by "
            f"{_ROLL_DEG:.0f} degrees, {SIZES[-1]} pixels wide, without colours, dark, behind a bar, half outside.",
            "",
            "## Figures by stratum",
            "",
            f"{_pictures(quality)} Mean F1 of 10 parts is that of what nearly every picture shows "
            f"({', '.join(_titles(CORE))}): the mean over all 18 classes hangs on classes that a stratum may have in "
            "one picture. In brackets: 95 % by bootstrap over pictures; where they are wide, nothing can be concluded.",
            "",
        ]
        lines += _tones(quality) + _yaw(quality) + _shares(quality) + _sizes(quality) + _grey(quality)
        return [*lines, f"All other figures: [quality](../results/{self.quality.name}.md)."]


def _pictures(quality: ModelQuality) -> str:
    row = quality.rows.get("strata")
    if row is None:
        return "Not measured yet."
    return f"On {row.pictures} pictures of CelebAMask-HQ held out of training, where nothing else is said."


def _titles(names: Sequence[str]) -> list[str]:
    return [TAXONOMY.classes[TAXONOMY.id_of(name)].title for name in names]


def _tones(quality: ModelQuality) -> list[str]:
    text = (
        "By the individual typology angle of the median colour of the pixels labelled skin, `atan((L* - 50) / b*)`, in "
        "the usual six steps. That is the skin's colour **in the picture**: light, camera, make-up and editing change "
        "it by more than a step, faces in shadow count as darker, and nobody was asked. It can show that a version "
        "fails on dark pixels of skin; it cannot show that it is fair to people. The pictures are of celebrities, few "
        "of whom have dark skin."
    )
    return _section(quality, "strata", "Skin tone", text, "tone", [name for name, _ in TONES] + ["unknown"])


def _yaw(quality: ModelQuality) -> list[str]:
    row = quality.rows.get("strata")
    text = "Yaw to either side, as the landmark teacher sees it. Heads turned further are in the row `posed` of "
    text += "[quality](../results/quality.md)."
    return _section(quality, "strata", "Pose", text, "yaw", [] if row is None else names_of(list(row.figures), "yaw"))


def _shares(quality: ModelQuality) -> list[str]:
    row = quality.rows.get("occluders")
    if row is None:
        return []
    lines = [
        "### Occlusion",
        "",
        "By the share of the face that is covered, by things that no training saw, put there by program.",
        "",
        *table_head("covered", "pictures", "mean F1 of 18 classes", "IoU of the occluding object"),
    ]
    for name in names_of(list(row.figures), "share"):
        figures = [row.figures[f"share/{name}/{figure}"] for figure in ("mean_f1", "occlusion_iou")]
        lines.append(line(name, _count(row, f"share/{name}"), *map(told, figures)))
    return [*lines, ""]


def _sizes(quality: ModelQuality) -> list[str]:
    text = (
        "Side in pixels of the face's frame in the photo; the face itself is about 0.7 of it high. The same pictures, "
        "shrunk."
    )
    return _section(quality, "size", "Size", text, "", [f"{side}" for side in SIZES])


def _grey(quality: ModelQuality) -> list[str]:
    lines = _section(quality, "grey", "Grey pictures", "The same pictures without their colours.", "", ["grey"])
    coloured = quality.rows.get("strata")
    return lines if not lines or coloured is None else [*lines[:-1], _stratum(coloured, ALL, "in colour"), ""]


def _section(quality: ModelQuality, row: str, title: str, text: str, kind: str, names: Sequence[str]) -> list[str]:
    found = quality.rows.get(row)
    if found is None:
        return []
    keys = {name: f"{kind}/{name}" if kind else name for name in names}
    there = {name: key for name, key in keys.items() if f"{key}/pictures" in found.figures}
    rows = [_stratum(found, key, name) for name, key in there.items()]
    return [f"### {title}", "", text, "", *table_head(title.lower(), *_COLUMNS), *rows, ""]


def _stratum(row: RowResult, key: str, name: str) -> str:
    """A line of a table."""
    return line(name, _count(row, key), *(told(row.figures[f"{key}/{figure}"]) for figure in ("core_f1", "mean_f1")))


def _count(row: RowResult, key: str) -> str:
    return f"{row.figures[f'{key}/pictures'].value or 0:.0f}"


def draw_examples(network: Network) -> NDArray[np.uint8]:
    """One person in pictures that get harder, and what a network says of each, RGB uint8 (2 * 192, 7 * 192, 3).

    Raises:
        DataError: the landmark teacher is not installed.
    """
    found = align(np.asarray(skimage.data.astronaut(), np.uint8), Teacher(task_bytes(None)), read_template(), _SIDE)
    assert found is not None
    shown = _harder(found[0])
    columns = [np.concatenate([each, overlay(each, parse(network, each).labels, network.taxonomy)]) for each in shown]
    return np.concatenate(columns, 1)


def _harder(face: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    side = face.shape[0]
    turn = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), _ROLL_DEG, 1)
    small = cv2.resize(face, (SIZES[-1], SIZES[-1]), interpolation=cv2.INTER_AREA)
    dark = np.rint(255 * (face / 255) ** _GAMMA)
    bar, outside = face.copy(), np.zeros_like(face)
    cv2.rectangle(bar, (side // 5, round(side * 0.62)), (side, round(side * 0.85)), (70, 120, 60), -1)
    outside[:, : side // 2] = face[:, side // 2 :]
    made = (face, cv2.warpAffine(face, turn, (side, side)), cv2.resize(small, (side, side)), greyed(face), dark, bar)
    return [np.asarray(each, np.uint8) for each in (*made, outside)]
