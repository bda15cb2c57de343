"""Fits the mean head that poses are solved with, and measures the poses: ``python -m benchmarks.studies.pose``.

Needs the environment variable FPAN_DATA. Prints the points for ``fpan/serve/pipeline/align/pose.py`` and writes
``docs/results/pose.md``.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from fpan.contract import ModelRepository
from fpan.serve.config import Settings
from fpan.serve.pipeline.align.pose import solve
from fpan.serve.pipeline.detect.detector import FaceDetector
from fpan_training.data.folder import FaceFolder, read_rgb
from fpan_training.engine.machine import machine
from fpan_training.engine.progress import track
from fpan_training.face3d import pose
from fpan_training.landmarks.teacher import Teacher, task_bytes
from fpan_training.modules.ppm.sources import from_aflw
from numpy.typing import NDArray

from benchmarks.studies.detector import Network

MIRRORED = [1, 0, 2, 4, 3]
_ROUNDS = 50
AXES = ("yaw", "pitch", "roll")


@dataclass(frozen=True)
class PoseStudy:
    """Runs the study."""

    pictures: int = 150
    """Of CelebAMask-HQ's training split that the head is fitted to, spread evenly; with their mirror images."""
    out: Path = Path("docs/results/pose.md")

    def __call__(self) -> None:
        data, repository = Path(os.environ["FPAN_DATA"]), ModelRepository(Path("model_repository"))
        card = repository.card("detector", repository.latest("detector"))
        network = Network(repository.folder("detector", card.version) / "model.onnx")
        with ThreadPoolExecutor(1) as pool:
            detector = FaceDetector(card, network, pool, Settings.model_fields["detector_threshold"].default)

            def points_of(image: NDArray[np.uint8]) -> NDArray[np.float64] | None:
                found = asyncio.run(detector.find(image, max_faces=1))
                return np.asarray(found[0].landmarks, np.float64) if found else None

            teacher = Teacher(task_bytes(None))
            train = FaceFolder.open(data / "celeba19", "train").paths
            learnt = _pairs(train[:: max(1, len(train) // self.pictures)], points_of, teacher)
            print(np.round(fit_head(*learnt), 3).tolist())
            val = _pairs(FaceFolder.open(data / "celeba19", "val").paths, points_of, teacher)
            rows = [("CelebAMask-HQ val, against the landmark teacher", *val)]
            aflw = from_aflw(data / "photos/aflw2000").faces
            found = [(points_of(read_rgb(face.path)), face.rotation) for face in aflw]
            known = [(points, turn) for points, turn in found if points is not None]
            title = f"AFLW2000-3D, its own angles ({len(aflw) - len(known)} of {len(aflw)} not found)"
            rows.append((title, np.stack([p for p, _ in known]), np.stack([r for _, r in known])))
        self.out.write_text("\n".join(_page(rows, self.pictures)) + "\n", encoding="utf-8")


def _pairs(paths, points_of, teacher) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # type: ignore[no-untyped-def]
    points, turns = [], []
    for path in track(paths, "faces"):
        image = read_rgb(path)
        found, record = points_of(image), teacher(image)
        if found is not None and record.found:
            points.append(found)
            turns.append(record.rotation.astype(np.float64))
    return np.stack(points), np.stack(turns)


def fit_head(points: NDArray[np.float64], turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """The head (5, 3) whose turned points, scaled and shifted, lie nearest to those that were found: least squares in
    turns of head and frames. Every face counts with its mirror image, so that the head is symmetric.

    Args:
        points: the detector's, float (N, 5, 2).
        turns: rotations of the heads, float (N, 3, 3).
    """
    flip = np.diag([-1.0, 1, 1])
    points = np.concatenate([points, points[:, MIRRORED] * (-1, 1)])
    turns = np.concatenate([turns, flip @ turns @ flip])
    points = points - points.mean(1, keepdims=True)
    head = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.6, -0.4], [-0.4, 1.1, 0], [0.4, 1.1, 0]])
    for _ in range(_ROUNDS):
        shown = np.einsum("nij,pj->npi", turns[:, :2], head - head.mean(0))
        scale = (shown * points).sum((1, 2)) / (shown**2).sum((1, 2))
        left, right = np.zeros((3, 3)), np.zeros((3, 5))
        for r, p, s in zip(turns[:, :2], points, scale, strict=True):
            left += s * s * r.T @ r
            right += s * r.T @ p.T
        head = np.linalg.solve(left, right).T
        head = head / np.linalg.norm(head[0] - head[1])
    return np.asarray(head - head[:2].mean(0))


def _page(rows: list[tuple[str, NDArray[np.float64], NDArray[np.float64]]], pictures: int) -> list[str]:
    lines = [
        "# Pose from five points",
        "",
        f"`python -m benchmarks.studies.pose`, {machine()}.",
        "",
        f"The head is fitted to the detector's points on {pictures} training faces, whose rotation the landmark "
        "teacher gives. Mean absolute error in degrees. The validation faces are nearly frontal and their truth is the "
        "teacher's; AFLW2000-3D's sixteen are turned by up to 90 degrees and have a truth of their own.",
        "",
        "| faces | n | yaw | pitch | roll | yaw where it is below 45 |",
        "|---|---|---|---|---|---|",
    ]
    for title, points, turns in rows:
        truth = pose.angles(turns)
        said = np.array([solve(p.astype(np.float32)) or (np.nan,) * 3 for p in points])
        errors = np.abs((said - truth + 180) % 360 - 180)
        near = np.abs(truth[:, 0]) < 45
        shown = [f"{v:.1f}" for v in (*np.nanmean(errors, 0), np.nanmean(errors[near, 0]))]
        lines.append(f"| {title} | {len(points)} | {' | '.join(shown)} |")
    return lines


if __name__ == "__main__":
    tyro.cli(PoseStudy)()
