"""`fpan-train report lom`: how well a trained LOM places landmarks and tells covered ones; Markdown, CSV, pictures."""

import csv
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fpan_training.data.assets import Split
from fpan_training.data.folder import read_rgb
from fpan_training.engine.page import table
from fpan_training.engine.plots import contact_sheet, some
from fpan_training.landmarks import SCHEME
from fpan_training.modules.lom.clean import CleanConfig, CleanFaces
from fpan_training.modules.lom.data import EYE_CORNERS, LomData, marked_faces
from fpan_training.modules.lom.evaluate import (
    FAILURE,
    FOUND,
    CropPredictions,
    PointErrors,
    VisibilityFigures,
    ibug_errors,
    point_errors,
    predict_crops,
    visibility_figures,
)
from fpan_training.modules.lom.export import DeployedLom, export_lom
from fpan_training.modules.lom.int8 import CALIBRATED_ON, parity, quantise_lom
from fpan_training.modules.lom.model import INPUT_SIZE, Lom, deployed_parameters, load
from fpan_training.modules.lom.occluders import open_occluder
from fpan_training.modules.lom.pictures import draw_landmarks
from fpan_training.modules.lom.predict import FaceLandmarks
from fpan_training.modules.lom.youtube import read_youtube
from fpan_training.modules.report import Report
from fpan_training.modules.segm.cost import macs
from fpan_training.release.export.onnx_file import INPUT, open_session

_SEED = 11
"""Of the occluders that are put before the validation faces."""
_TIMED = 100
"""Faces that are timed, after a tenth of them that are not."""
_SHOWN, _PER_ROW = 18, 6
_GROUPS = ("brows", "eyes", "irises", "nose", "lips_outer", "lips_inner", "cheeks", "forehead", "outline", "ears")


@dataclass(frozen=True)
class LomReport(Report):
    """Measures a trained LOM against the landmark teacher, against others' labels, and on occluders it never saw. The
    network as ONNX files in float32 and in eight bits, which are timed, and the main figures as ``lom.json`` lie beside
    the page.
    """

    youtube: Path | None = None
    """Face crops with the usual 68 landmarks: ``images/`` and ``landmarks.csv``."""
    backgrounds: Path | None = None
    occluders: Path | None = None
    """Cut-outs with alpha, of which the parts ``val`` and ``heldout`` are used; without them, occluders are drawn, and
    none is held out."""
    masked: Path | None = None
    """Data set whose masks mark what covers its faces: its ``val`` is measured too."""
    export: bool = True
    """Write and time the ONNX files; ranges of the one in eight bits come from training faces."""
    threads: int = 2
    """For the timing."""

    def __call__(self) -> Path:
        """Writes the report and returns the path of its page."""
        network = load(self.checkpoint)
        self.out.mkdir(parents=True, exist_ok=True)
        every = CleanFaces(CleanConfig(clean_data=(self.data.name,)))
        faces = every.faces(self.data, "val", self.store(self.data))
        margin = network.config.margin
        clean = predict_crops(network, LomData(faces, margin))
        splits: tuple[Split, ...] = ("val",) if self.occluders is None else ("val", "heldout")
        occluded = {
            split: predict_crops(
                network, LomData(faces, margin, open_occluder(self.backgrounds, self.occluders, split), seed=_SEED)
            )
            for split in splits
        }
        errors = _errors(f"{self.data.name} val", clean)
        errors += [
            point_errors(f"{self.data.name} val, 264, {split} occluders", said.points, said.truth, EYE_CORNERS)
            for split, said in occluded.items()
        ]
        notes: list[str] = []
        own: list[PointErrors] = []
        if self.youtube is not None:
            rows, text = self._youtube(network)
            own = rows[:2]
            errors += rows
            notes.append(text)
        figures = {f"{s}": visibility_figures(said.visibility, said.covered) for s, said in occluded.items()}
        if self.masked is not None:
            covered = CleanFaces().faces(self.masked, "val", self.store(self.masked))
            said = predict_crops(network, LomData([face for face in covered if face.covered is not None], margin))
            figures[f"{self.masked.name}, as labelled"] = visibility_figures(said.visibility, said.covered)
        alarms = visibility_figures(clean.visibility, clean.covered).false_alarms
        times: list[Timing] = []
        key = {"nme": float(errors[0].interocular.mean()), "pictures": float(len(faces))}
        for name, row in figures.items():
            key |= {f"auc/{name}": row.auc, f"alarms/{name}": row.alarms_at_found}
        key |= {f"youtube/{row.name.rpartition(', ')[2]}": float(row.interocular.mean()) for row in own}
        if self.export:
            times, text = self._exported(network, clean, occluded[splits[-1]])
            notes.append(text)
        _picture(clean, occluded[splits[-1]], self.out / "lom.png")
        _write_errors(errors, self.out / "lom.csv")
        _write_points(figures, self.out / "lom-points.csv")
        (self.out / "lom.json").write_text(json.dumps(key, indent=1) + "\n", encoding="utf-8")
        page = self.out / "lom.md"
        lines = _lines(network, errors, notes, figures, alarms, times, self.threads)
        page.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return page

    def _exported(self, network: Lom, clean: CropPredictions, covered: CropPredictions) -> tuple[list["Timing"], str]:
        """Writes both files; returns their times, and in words how far they agree, without and with occluders."""
        whole, small = self.out / "lom.onnx", self.out / "lom_int8.onnx"
        times = timing(network, whole, clean.images, self.threads)
        margin = network.config.margin
        faces = marked_faces(self.data, "train", self.store(self.data))
        data = LomData(faces[:: -(-len(faces) // CALIBRATED_ON)], margin)
        quantise_lom(whole, small, np.stack([data[i].images.numpy() for i in range(len(data))]))
        session = open_session(small, self.threads)
        times.append(_timed("ONNX Runtime, int8", lambda image: session.run(None, {INPUT: image}), clean.images))
        distance, said = parity(whole, small, clean)
        hidden, said_covered = parity(whole, small, covered)
        nme = _errors("int8", said)[0].interocular.mean()
        figures = visibility_figures(said_covered.visibility, said_covered.covered)
        return times, (
            f"In eight bits (`lom_int8.onnx`, {small.stat().st_size / whole.stat().st_size:.0%} of the bytes) "
            f"landmarks lie {distance.pixels:.2f} pixels of {INPUT_SIZE} from those in float32, NME is "
            f"{nme * 100:.2f} %; with occluders both call {hidden.agreeing:.2%} of the landmarks the same, and the "
            f"AUC is {figures.auc:.3f}."
        )

    def _youtube(self, network: Lom) -> tuple[list[PointErrors], str]:
        """The errors on the public 68, of LOM and of its teacher, and what has been left out."""
        assert self.youtube is not None
        store, model = self.store(self.youtube), FaceLandmarks(network)
        truth, said, taught = [], [], []
        labelled = read_youtube(self.youtube)
        for path, points in labelled.items():
            record = store.get(path.stem)
            if record is not None:
                truth.append(points)
                taught.append(SCHEME.to68(record.points264))
                said.append(SCHEME.to68(model(read_rgb(path), record.points264).points))
        name = f"{self.youtube.name}, 68"
        lom, teacher = ibug_errors(name, said, truth), ibug_errors(f"{name}, the teacher", taught, truth)
        right = teacher.interocular <= FAILURE
        text = (
            f"{self.youtube.name}: {len(labelled)} labelled faces, of which the teacher saw {len(truth)} (its "
            "landmarks say where to crop; the rest is left out). Some of the labels are wrong and nothing was "
            "corrected: the median is what to read, the mean holds every outlier. As a check, the rows 'where the "
            "teacher agrees' "
            f"leave out the {int((~right).sum())} faces whose label is further than {FAILURE:g} from the teacher's "
            "landmarks too; they flatter both."
        )
        agreeing = [_part(row, right, f"{row.name}, where the teacher agrees") for row in (lom, teacher)]
        return [lom, teacher, *agreeing], text


@dataclass(frozen=True)
class Timing:
    """Milliseconds a face, batches of one."""

    name: str
    milliseconds: NDArray[np.float64] = field(repr=False)


def timing(network: Lom, onnx: Path, images: NDArray[np.uint8], threads: int) -> list[Timing]:
    """Times PyTorch and ONNX Runtime on crops, uint8 (N, 112, 112, 3); writes the ONNX file."""
    export_lom(network, onnx)
    session, deployed = open_session(onnx, threads), DeployedLom(network)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            return [
                _timed("PyTorch", lambda image: deployed(torch.from_numpy(image)), images),
                _timed("ONNX Runtime", lambda image: session.run(None, {INPUT: image}), images),
            ]
    finally:
        torch.set_num_threads(before)


def _timed(name: str, ask: Callable[[NDArray[np.uint8]], object], images: NDArray[np.uint8]) -> Timing:
    taken = []
    for i in range(_TIMED + _TIMED // 10):
        at = i % len(images)
        began = time.perf_counter()
        ask(images[at : at + 1])
        taken.append((time.perf_counter() - began) * 1e3)
    return Timing(name, np.array(taken[_TIMED // 10 :]))


def _errors(name: str, said: CropPredictions) -> list[PointErrors]:
    truth68, said68 = ([SCHEME.to68(points) for points in column] for column in (said.truth, said.points))
    return [
        point_errors(f"{name}, 264", said.points, said.truth, EYE_CORNERS),
        ibug_errors(f"{name}, 68", said68, truth68),
    ]


def _part(errors: PointErrors, chosen: NDArray[np.bool_], name: str) -> PointErrors:
    return PointErrors(name, errors.interocular[chosen], errors.box[chosen])


def _picture(clean: CropPredictions, occluded: CropPredictions, path: Path) -> None:
    """The same faces without and with occluders."""
    tiles = []
    for i in some(range(len(clean.images)), _SHOWN):
        tiles += [draw_landmarks(said.images[i], said.points[i], said.visibility[i]) for said in (clean, occluded)]
    contact_sheet(tiles, path, _PER_ROW)


def _write_errors(errors: Sequence[PointErrors], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["set", "face", "nme_interocular", "nme_box"])
        for row in errors:
            for i, (between, box) in enumerate(zip(row.interocular, row.box, strict=True)):
                writer.writerow([row.name, i, f"{between:.5f}", f"{box:.5f}"])


def _write_points(figures: dict[str, VisibilityFigures], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["landmark", *(f"{name}_{split}" for split in figures for name in ("auc", "f1"))])
        for i, name in enumerate(SCHEME.names):
            cells = (value for row in figures.values() for value in (row.point_auc[i], row.point_f1[i]))
            writer.writerow([name, *(f"{value:.4f}" for value in cells)])


def _lines(
    network: Lom,
    errors: Sequence[PointErrors],
    notes: Sequence[str],
    figures: dict[str, VisibilityFigures],
    alarms: float,
    times: Sequence[Timing],
    threads: int,
) -> list[str]:
    page = [
        "# LOM: landmarks and their occlusion",
        "",
        f"PFLD of width {network.config.width:g}: {deployed_parameters(network):,} parameters, "
        f"{macs(network, INPUT_SIZE) / 1e6:.0f} MMAC at {INPUT_SIZE} x {INPUT_SIZE} pixels.",
        "",
        "## Landmarks",
        "",
        "Normalised mean errors in per cent: between the outer corners of the eyes, and by the side of a square of the "
        "area of the landmarks' box. Validation faces are labelled by the same teacher that labelled the training "
        "faces: their rows say how well it is imitated, not how right it is.",
        "",
    ]
    head = ("faces", "n", "mean", "median", f"above {FAILURE * 100:.0f}", "mean, by box", "median, by box")
    page += table(
        head,
        [
            (
                row.name,
                str(len(row.interocular)),
                *(_percent(value) for value in (row.interocular.mean(), np.median(row.interocular))),
                f"{row.failures * 100:.1f} %",
                *(_percent(value) for value in (row.box.mean(), np.median(row.box))),
            )
            for row in errors
        ],
    )
    page += [line for note in notes for line in ("", note)]
    page += [
        "",
        "## Covered landmarks",
        "",
        "Pasted occluders on the validation faces: `val` are shapes drawn anew and other files of the families that "
        "training saw, `heldout` a family that it never saw. Whatever really covers these faces is in no label and "
        f"counts as visible. On the faces without occluders, {alarms * 100:.1f} % of the landmarks are called covered.",
        "",
    ]
    page += table(
        (
            "occluders",
            "covered",
            "AUC",
            "mean AUC of a landmark",
            "F1",
            "mean F1 of a landmark",
            "false alarms",
            f"at {FOUND:.0%} found",
        ),
        [
            (
                split,
                f"{row.covered * 100:.1f} %",
                *(f"{v:.3f}" for v in (row.auc, np.nanmean(row.point_auc), row.f1, np.nanmean(row.point_f1))),
                f"{row.false_alarms * 100:.1f} %",
                f"{row.alarms_at_found * 100:.1f} %",
            )
            for split, row in figures.items()
        ],
    )
    page += ["", "Means of the landmarks' own figures by group; every landmark is in `lom-points.csv`.", ""]
    page += table(
        ("group", *(f"{name}, {split}" for split in figures for name in ("AUC", "F1"))),
        [
            (
                group,
                *(
                    f"{np.nanmean(values[SCHEME.groups[group]]):.3f}"
                    for row in figures.values()
                    for values in (row.point_auc, row.point_f1)
                ),
            )
            for group in _GROUPS
        ],
    )
    if times:
        page += ["", "## Time", "", f"Milliseconds a face on {threads} threads, crops one by one.", ""]
        page += table(
            ("run by", "median", "90 % within"),
            [(t.name, f"{np.median(t.milliseconds):.1f}", f"{np.percentile(t.milliseconds, 90):.1f}") for t in times],
        )
    return [*page, "", "![landmarks, green visible, red covered](lom.png)"]


def _percent(value: float) -> str:
    return f"{value * 100:.2f}"
