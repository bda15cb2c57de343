"""`fpan-train report uvm`: does a face that is laid flat, completed and shown again keep its parts, colours, pose?"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch.utils.data import DataLoader

from fpan_training.data.folder import DataError, FaceFolder, Sample
from fpan_training.engine.plots import overlay
from fpan_training.engine.progress import track
from fpan_training.face3d.fit import FaceFit, fit
from fpan_training.face3d.model import FaceModel
from fpan_training.face3d.uv import render, unwrap
from fpan_training.landmarks import SCHEME
from fpan_training.landmarks.teacher import Teacher, task_bytes
from fpan_training.modules.dom.evaluate import psnr_inside
from fpan_training.modules.report import Report
from fpan_training.modules.training import stores_in
from fpan_training.modules.uvm.complete import Completer, Completion, without_occlusion
from fpan_training.modules.uvm.data import StoredMap, UvPairs, collate
from fpan_training.modules.uvm.evaluate import VAL_SEED
from fpan_training.modules.uvm.fill import mirror_labels
from fpan_training.modules.uvm.maps import MapsConfig, build_maps
from fpan_training.modules.uvm.model import UvGan
from fpan_training.modules.uvm.pose_augment import PoseAugment
from fpan_training.modules.uvm.step import colours, complete_batch, hidden
from fpan_training.taxonomy import TAXONOMY

BORDER_PX = 3
"""Half the width of the band along the parts' borders that the label round trip leaves out, in pixels of 512."""
YAWS_DEG = (-60.0, -45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0, 60.0)
"""At which renders are made and measured again: as far as the landmark teacher sees."""
_BINS_DEG = (25.0, 45.0, 60.0, 80.0)
"""Edges of the yaws by which hidden maps are counted."""
_FIGURE_YAWS_DEG = (-70.0, -35.0, 0.0, 35.0, 70.0)
_FIGURE_SIDE = 256
_BATCH = 8
_FULL_SIDE = 512

Image = NDArray[np.uint8]


class Figure(NamedTuple):
    """A line of the report."""

    figure: str
    value: float
    unit: str


@dataclass(frozen=True)
class UvmReport(Report):
    """Measures a trained UVM on a data set's val split and draws pictures like the paper's figure 7."""

    occluders: Path | None = None
    """Folder of cut-outs that hide parts of maps; without one, they are drawn."""
    model: Path | None = None
    """The landmark teacher's file; without it, the one in the package that ships it."""
    renders: int = 20
    """Faces that are rendered at every yaw and measured again; 0: none, which needs no teacher."""
    shown: int = 4
    """Faces in the picture."""

    def __call__(self) -> Path:
        """Writes the report and returns the path of its page."""
        completion = Completion.load(self.checkpoint)
        folder, store = FaceFolder.open(self.data, "val"), self.store(self.data)
        faces: list[tuple[Sample, FaceFit]] = []
        for index, name in enumerate(folder.names):
            record = store.get(name)
            if record is not None:
                faces.append((folder[index], fit(record.mesh478)))
        if not faces:
            raise DataError(f"{store.folder} has no face of {self.data}: run `fpan-train landmarks`")
        self.out.mkdir(parents=True, exist_ok=True)
        rows = round_trip_rows(faces, completion)
        maps = build_maps(
            [self.data], stores_in(self.faces), self.out / "maps", completion.size, MapsConfig(), self.occluders
        )
        rows += completion_rows(completion.network, maps.val)
        if self.renders:
            some = faces[:: max(1, len(faces) // self.renders)][: self.renders]
            rows += yaw_rows(some, completion, Teacher(task_bytes(self.model)))
        write_csv(rows, self.out / "uvm.csv")
        figure(
            [faces[i] for i in range(0, len(faces), max(1, len(faces) // self.shown))][: self.shown],
            completion,
            self.out,
        )
        page = self.out / "uvm.md"
        page.write_text(markdown(rows, self.data.name), encoding="utf-8")
        return page


def round_trip(sample: Sample, face: FaceFit, completion: Completer) -> tuple[int, int, int, int]:
    """How many labels a face keeps that is laid flat and shown again where it was.

    Returns:
        right and counted pixels that the head covers, away from borders; and the same of the whole picture with its
        surroundings.
    """
    away = away_from_borders(sample.labels)
    flat = unwrap(sample.image, face, completion.size, sample.labels)
    alone = render(flat, face, face.angles, sample.labels.shape)
    if alone.labels is None:
        raise ValueError("labels went in and none came out")
    counted = alone.covered & away
    posed = PoseAugment(completion)(
        sample.image, sample.labels, face, np.random.default_rng(0), tuple(float(a) for a in face.angles)
    )
    everywhere = away & (posed.labels != TAXONOMY.ignore)
    return (
        int((alone.labels == sample.labels)[counted].sum()),
        int(counted.sum()),
        int((posed.labels == sample.labels)[everywhere].sum()),
        int(everywhere.sum()),
    )


def away_from_borders(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels farther than :data:`BORDER_PX` (at 512 pixels) from every border between parts, with a known label."""
    edge = np.zeros(labels.shape, bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    margin = BORDER_PX * max(labels.shape) / _FULL_SIDE
    return np.asarray((distance_transform_edt(~edge) > margin) & (labels != TAXONOMY.ignore))


def round_trip_rows(faces: Sequence[tuple[Sample, FaceFit]], completion: Completer) -> list[Figure]:
    """Shares of the labels that come back, over all faces."""
    counts = np.array([round_trip(sample, face, completion) for sample, face in track(faces, "round trip")]).sum(0)
    note = f"{len(faces)} faces, {BORDER_PX} px from borders"
    return [
        Figure("labels back at the original pose, head", counts[0] / counts[1], note),
        Figure("labels back at the original pose, picture", counts[2] / counts[3], note),
    ]


def completion_rows(network: UvGan, files: Sequence[Path]) -> list[Figure]:
    """PSNR of what another pose hides, by its yaw, of the network and of mirroring; and how right hidden labels are."""
    pairs = UvPairs(files, VAL_SEED, training=False)
    yaws = np.abs([StoredMap.load(path).yaws[0] for path in files])
    found: dict[str, list[float]] = {"network": [], "mirroring alone": []}
    right: dict[str, int] = {"label head": 0, "mirror and nearest": 0}
    asked = 0
    kept: list[bool] = []
    for batch in DataLoader(pairs, _BATCH, collate_fn=collate):
        texture, completed = complete_batch(network, batch)
        where, truth = hidden(batch), colours(batch.texture)
        kept += (where.flatten(1).sum(1) > 0).tolist()
        found["network"] += psnr_inside(texture.cpu(), truth, where)
        found["mirroring alone"] += psnr_inside(colours(batch.filled), truth, where)
        guesses = completed.labels.argmax(1).byte().cpu().numpy()
        for labels, visible, mask, guess in zip(
            batch.labels.numpy(), batch.visible.numpy(), where[:, 0].numpy() > 0, guesses, strict=True
        ):
            counted = mask & (labels != TAXONOMY.ignore)
            asked += int(counted.sum())
            right["label head"] += int((guess == labels)[counted].sum())
            right["mirror and nearest"] += int((mirror_labels(labels, visible) == labels)[counted].sum())
    yaws = yaws[np.array(kept)]
    rows: list[Figure] = []
    for low, high in [(_BINS_DEG[0], _BINS_DEG[-1]), *pairwise(_BINS_DEG)]:
        within = (yaws >= low) & (yaws < high)
        if within.any():
            for name, values in found.items():
                title = f"PSNR of what a yaw of {low:.0f} to {high:.0f} hides, {name}"
                rows.append(Figure(title, float(np.array(values)[within].mean()), f"dB, {within.sum()} maps"))
    rows += [
        Figure(f"hidden labels right, {name}", count / max(1, asked), "share of texels")
        for name, count in right.items()
    ]
    return rows


def yaw_rows(faces: Sequence[tuple[Sample, FaceFit]], completion: Completer, teacher: Teacher) -> list[Figure]:
    """How far the yaw of a render is from the one asked for: when the fit sees the landmarks where they were drawn, and
    when the landmark teacher has to find them in the picture first.
    """
    augment, model = PoseAugment(completion), FaceModel.load()
    drawn: dict[float, list[float]] = {yaw: [] for yaw in YAWS_DEG}
    seen: dict[float, list[float]] = {yaw: [] for yaw in YAWS_DEG}
    for yaw in track(YAWS_DEG, "renders"):
        for sample, face in faces:
            posed = augment(sample.image, sample.labels, face, np.random.default_rng(0), (yaw, 0.0, 0.0))
            own = SCHEME.from_mesh(model.mesh478(posed.fit.vertices))
            drawn[yaw].append(float(fit(own).angles[0]) - yaw)
            mesh = teacher.mesh(posed.image)
            if mesh is not None:
                seen[yaw].append(float(fit(SCHEME.from_mesh(mesh)).angles[0]) - yaw)
    rows: list[Figure] = []
    for how, errors in (("from its own landmarks", drawn), ("from the teacher's landmarks", seen)):
        everything = np.concatenate([errors[yaw] for yaw in YAWS_DEG])
        title = f"yaw of renders refitted {how}, mean absolute error"
        rows.append(Figure(title, float(np.abs(everything).mean()), f"degrees, {len(everything)} renders"))
        for yaw in YAWS_DEG:
            if errors[yaw]:
                unit = f"degrees, {len(errors[yaw])} of {len(faces)} found"
                rows.append(
                    Figure(f"yaw of renders at {yaw:.0f} refitted {how}, mean error", float(np.mean(errors[yaw])), unit)
                )
    return rows


def figure(faces: Sequence[tuple[Sample, FaceFit]], completion: Completer, out: Path) -> None:
    """Draws, as the paper's figure 7: picture, partial map, completed map, parts; then picture and parts at poses."""
    lines = []
    for sample, face in faces:
        flat = without_occlusion(unwrap(sample.image, face, completion.size, sample.labels))
        whole = completion.complete(flat)
        if whole.labels is None:
            raise ValueError("labels went in and none came out")
        partial = np.where(flat.visible[..., None], flat.texture, 0)
        first = [sample.image, partial, whole.texture, overlay(whole.texture, whole.labels, TAXONOMY)]
        second = [overlay(sample.image, sample.labels, TAXONOMY), *([np.zeros_like(partial)] * (len(first) - 1))]
        augment = PoseAugment(completion)
        for yaw in _FIGURE_YAWS_DEG:
            posed = augment(sample.image, sample.labels, face, np.random.default_rng(0), (yaw, 0.0, 0.0))
            first.append(posed.image)
            second.append(overlay(posed.image, posed.labels, TAXONOMY))
        lines += [np.concatenate([_thumbnail(picture) for picture in row], 1) for row in (first, second)]
    cv2.imwrite(str(out / "uvm.png"), cv2.cvtColor(np.concatenate(lines), cv2.COLOR_RGB2BGR))


def write_csv(rows: Sequence[Figure], path: Path) -> None:
    """Writes the figures as a table."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Figure._fields)
        writer.writerows(rows)


def markdown(rows: Sequence[Figure], name: str) -> str:
    """The page."""
    lines = [
        f"# UVM on {name}, val",
        "",
        "| figure | value | |",
        "|---|---|---|",
        *(f"| {row.figure} | {row.value:.4g} | {row.unit} |" for row in rows),
        "",
        "The label round trip lays a picture flat by its fitted face and shows it again where it was: *head* counts "
        "the pixels of the head alone, *picture* all of it, with completed texels and surroundings. PSNR counts what "
        "the source picture shows and the other pose hides, nothing that was filled in. The yaw of a render is fitted "
        "to its 264 landmarks once where they were drawn, which says whether it is drawn as asked, and once where the "
        "landmark teacher finds them, which errs in what it was not made for as well.",
        "",
        "![picture, partial map, completed map, parts, and poses](uvm.png)",
        "",
    ]
    return "\n".join(lines)


def _thumbnail(picture: Image) -> Image:
    side = (_FIGURE_SIDE, _FIGURE_SIDE)
    return np.asarray(cv2.resize(picture, side, interpolation=cv2.INTER_AREA), np.uint8)
