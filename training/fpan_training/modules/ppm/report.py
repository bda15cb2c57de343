"""`fpan-train report ppm`: how far a trained PPM is off, on faces of known pose; Markdown, CSV and a picture."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fpan_training.engine.page import table
from fpan_training.landmarks import FaceStore
from fpan_training.modules.ppm.evaluate import YAW_BINS, PoseErrors, measure
from fpan_training.modules.ppm.model import AXES, load
from fpan_training.modules.ppm.sources import LabelSource, PoseSet, from_aflw, from_fasseg, from_store
from fpan_training.modules.ppm.step import PoseStep
from fpan_training.modules.report import Report

_CIRCULAR = (
    "**What this does not say.** PPM learns from the angles of the landmark teacher or of the 3D face fitted to its "
    "mesh, and the validation faces are labelled in the same way: a small error there says that PPM has learnt its "
    "teacher, not that either is right. Only the sets whose truth is their own (AFLW2000-3D, FASSEG's file names) "
    "measure the pose. On AFLW2000-3D the teacher stands beside PPM where it saw the face: that is the error of the "
    "labels."
)


@dataclass(frozen=True)
class PpmReport(Report):
    """Measures a trained PPM by axis and by yaw, against the labels it learnt from and against others' truth."""

    aflw: Path | None = None
    """Folder of AFLW2000-3D pictures with their ``.mat`` files."""
    fasseg: Path | None = None
    """FASSEG's posed faces, with the yaw in the file names."""
    labels: tuple[LabelSource, ...] = ("fit", "teacher")
    """Whose angles ``val`` is measured against."""

    def __call__(self) -> Path:
        """Writes the report and returns the path of its page."""
        network, step = load(self.checkpoint), PoseStep()
        store = self.store(self.data)
        sets = [from_store(self.data, "val", store, source) for source in self.labels]
        teacher = None
        if self.aflw is not None:
            sets.append(from_aflw(self.aflw))
            teacher = teacher_errors(sets[-1], self.store(self.aflw))
        if self.fasseg is not None:
            sets.append(from_fasseg(self.fasseg, self.store(self.fasseg)))
        results = [measure(network, step, faces, network.config) for faces in sets]
        self.out.mkdir(parents=True, exist_ok=True)
        write_csv(sets, results, self.out / "ppm.csv")
        scatter(results, self.out / "ppm.png")
        page = self.out / "ppm.md"
        parameters = sum(p.numel() for p in network.parameters())
        head = f"`{network.config.head}` head, {network.config.input_size} pixels, {parameters:,} parameters"
        page.write_text("\n".join(lines(head, sets, results, teacher)) + "\n", encoding="utf-8")
        return page


def teacher_errors(faces: PoseSet, store: FaceStore) -> PoseErrors | None:
    """The landmark teacher's own errors on faces whose truth is known, where it saw them; None where it saw none."""
    records = [store.get(face.name) for face in faces.faces]
    seen = [(face.angles, record.angles) for face, record in zip(faces.faces, records, strict=True) if record]
    if not seen:
        return None
    truth, said = (np.array(column, np.float64) for column in zip(*seen, strict=True))
    return PoseErrors(f"{faces.name}, the teacher", truth, said)


def lines(head: str, sets: Sequence[PoseSet], results: Sequence[PoseErrors], teacher: PoseErrors | None) -> list[str]:
    """The report's page, line by line."""
    page = ["# PPM: head pose", "", f"Network: {head}. Errors in degrees, mean absolute.", "", _CIRCULAR, ""]
    page += table(
        ("faces", "truth", "n", "left out", *AXES, "mean", "geodesic", "bias (yaw, pitch, roll)"),
        [
            (faces.name, faces.truth, str(len(errors.truth)), str(faces.missing), *_figures(errors))
            for faces, errors in zip(sets, results, strict=True)
        ]
        + ([] if teacher is None else [(teacher.name, "the same", str(len(teacher.truth)), "", *_figures(teacher))]),
    )
    page += ["", "## By yaw", ""]
    rows = []
    for errors in results:
        for turned in YAW_BINS:
            count = int(errors.within(turned).sum())
            by_axis = (_number(errors.mae(axis, turned)) if axis in errors.axes else "-" for axis in AXES)
            rows.append((errors.name, f"{turned[0]:.0f} to {turned[1]:.0f}", str(count), *by_axis))
    page += table(("faces", "\\|yaw\\|", "n", *AXES), rows)
    return [*page, "", "![true against predicted angles](ppm.png)", "", "Every face's angles are in `ppm.csv`."]


def write_csv(sets: Sequence[PoseSet], results: Sequence[PoseErrors], path: Path) -> None:
    """A row a face: set, name, true and predicted angles in degrees; empty where the truth is not known."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["set", "name", *(f"true_{axis}" for axis in AXES), *AXES])
        for faces, errors in zip(sets, results, strict=True):
            known = [axis in errors.axes for axis in AXES]
            for face, truth, said in zip(faces.faces, errors.truth, errors.predicted, strict=True):
                true = [f"{value:.3f}" if k else "" for value, k in zip(truth, known, strict=True)]
                writer.writerow([errors.name, face.name, *true, *(f"{value:.3f}" for value in said)])


def scatter(results: Sequence[PoseErrors], path: Path) -> None:
    """Draws predicted over true angles, a panel an axis, a colour a set."""
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    for column, (axis, axes) in enumerate(zip(AXES, figure.subplots(1, len(AXES)), strict=True)):
        for errors in results:
            if axis in errors.axes:
                axes.scatter(errors.truth[:, column], errors.predicted[:, column], s=10, alpha=0.6, label=errors.name)
        low, high = axes.get_xlim()
        axes.plot([low, high], [low, high], color="grey", linewidth=0.8)
        axes.set(title=axis, xlabel="true, degrees", ylabel="predicted, degrees")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=110)


def _figures(errors: PoseErrors) -> tuple[str, ...]:
    by_axis = [_number(errors.mae(axis)) if axis in errors.axes else "-" for axis in AXES]
    bias = ", ".join(f"{errors.bias(axis):+.1f}" if axis in errors.axes else "-" for axis in AXES)
    return (*by_axis, _number(errors.mean()), _number(errors.geodesic()), bias)


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"
