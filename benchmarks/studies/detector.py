"""Compares the detectors and the ways of looking, on real faces: ``python -m benchmarks.studies.detector``.

Needs the environment variable FPAN_DATA. Writes ``docs/results/detector.md``.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import cv2
import numpy as np
import onnxruntime
import tyro
from fpan.contract import ModelCard
from fpan.serve.config import Settings
from fpan.serve.pipeline.detect.candidates import Candidates, uncut
from fpan.serve.pipeline.detect.detector import FaceDetector
from fpan.serve.pipeline.detect.views import ViewPlan, plan_views, render
from fpan.serve.pipeline.types import Box, Detection
from fpan_training.data.folder import FaceFolder, read_rgb
from fpan_training.data.packages import SOURCES
from fpan_training.engine.machine import machine
from fpan_training.engine.progress import track
from fpan_training.release.detector.build import DetectorBuild
from fpan_training.release.detector.surgery import sizes
from numpy.typing import NDArray

from benchmarks.studies.detector_pictures import Truth, picture
from benchmarks.studies.detector_scenes import ANIMALS, scenes_without_people

HIT_IOU = 0.4
"""A face counts as found if the box of a detection overlaps its own by at least this."""
NEAR = 0.7
"""A detection whose centre lies within this share of a face's height of its centre is no false alarm."""
THRESHOLDS = (0.5, 0.7, 0.8, 0.85, 0.9, 0.95)
SIZE_BINS = ((40, 56), (56, 80), (80, 160), (160, 401))
ROLL_BINS = ((0, 15), (15, 30), (30, 45), (45, 61))


class Network:
    """A network that computes at once, one thread, and counts the views."""

    def __init__(self, model: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.views = 0
        self.items: list[dict[str, NDArray]] = []

    async def infer(
        self, items: Sequence[Mapping[str, NDArray]], outputs: Sequence[str], deadline: float = 0
    ) -> "Network":
        self.views += len(items)
        self.items = [dict(zip(outputs, [self.compute(i["image"])], strict=True)) for i in items]
        return self

    def compute(self, view: NDArray) -> NDArray:
        return self.session.run(["faces"], {"image": view[None]})[0][0]


@dataclass
class Tally:
    """What one way of looking found in the pictures with known faces."""

    faces: list[tuple[float, float, float]] = field(default_factory=list)
    """Height, roll without sign, score (0 where it was not found)."""
    errors: list[NDArray] = field(default_factory=list)
    """Eyes and mouth corners of found faces: distance from the labels' in shares of the eyes' distance, (4,)."""
    alarms: list[float] = field(default_factory=list)
    """Scores of false alarms."""
    views: int = 0
    pictures: int = 0

    def add(self, found: list[Detection], truths: list[Truth], views: int) -> None:
        near: set[int] = set()
        for truth in truths:
            x, y = (truth.box[0] + truth.box[2]) / 2, (truth.box[1] + truth.box[3]) / 2
            for i, d in enumerate(found):
                if np.hypot((d.box[0] + d.box[2]) / 2 - x, (d.box[1] + d.box[3]) / 2 - y) < NEAR * truth.size:
                    near.add(i)
            hits = [d for d in found if iou(d.box, truth.box) >= HIT_IOU]
            best = max(hits, key=lambda d: d.score, default=None)
            self.faces.append((truth.size, abs(truth.roll), best.score if best else 0.0))
            if best:
                points = np.vstack([truth.eyes, truth.mouth])
                distance = np.linalg.norm(truth.eyes[0] - truth.eyes[1])
                self.errors.append(np.linalg.norm(best.landmarks[[0, 1, 3, 4]] - points, axis=1) / distance)
        self.alarms += [d.score for i, d in enumerate(found) if i not in near]
        self.views += views
        self.pictures += 1

    def recall(
        self, threshold: float, size: tuple[float, float] = (0, 1e9), roll: tuple[float, float] = (0, 181)
    ) -> float:
        scores = [s for h, r, s in self.faces if size[0] <= h < size[1] and roll[0] <= r < roll[1]]
        return float(np.mean([s >= threshold for s in scores]))


def iou(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(0.0, width) * max(0.0, height)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


Way = Callable[[NDArray], list[Detection]]


def one_look(network: Network, plan: ViewPlan, least: float) -> Way:
    """The first look alone."""

    def find(image: NDArray) -> list[Detection]:
        height, width = image.shape[:2]
        specs = plan_views(width, height, sizes(640), plan)
        found = []
        for spec, view in zip(specs, render(image, specs), strict=True):
            rows = network.compute(view)
            rows = rows[rows[:, 14] >= least]
            if not spec.whole:
                rows = rows[uncut(rows, np.zeros(2), np.asarray(spec.size, float))]
            found.append(Candidates.of_view(rows, spec.to_picture(width, height)).merged())
        network.views += len(specs)
        return Candidates.join(found).merged().detections()

    return find


def all_looks(network: Network, card: ModelCard, plan: ViewPlan, least: float, pool: ThreadPoolExecutor) -> Way:
    """The detector as it serves."""
    detector = FaceDetector(card, network, pool, least, plan)
    return lambda image: asyncio.run(detector.find(image))


@dataclass(frozen=True)
class DetectorStudy:
    """Runs the study."""

    pictures: int = 24
    """Twelve-megapixel pictures, ten faces each."""
    seed: int = 1000
    served_only: bool = False
    """Leave out the ways that are not served, e.g. to see what a change of the served one does."""
    out: Path = Path("docs/results/detector.md")

    def __call__(self) -> None:
        data = Path(os.environ["FPAN_DATA"])
        scenes = scenes_without_people(data / "backgrounds")
        with TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
            cards = {n: DetectorBuild(Path(folder), n, name=n)() for n in SOURCES}
            networks = {n: Network(Path(folder) / n / "1" / "model.onnx") for n in SOURCES}
            ways = _ways(networks, cards, pool)
            if self.served_only:
                ways = {name: way for name, way in ways.items() if "served" in name}
            text = [_head(self.pictures, len(scenes))]
            text += _pasted(ways, networks, data, scenes, self.pictures, self.seed)
            served = ways["YuNet, all looks (**served**)"]
            text += _real(served, data, scenes)
            text += _times(served, networks["yunet"], data, scenes)
        self.out.write_text("\n".join(text) + "\n", encoding="utf-8")


def _ways(networks: dict[str, Network], cards: dict[str, ModelCard], pool: ThreadPoolExecutor) -> dict[str, Way]:
    served, never = ViewPlan(), 10**9
    ways: dict[str, Way] = {}
    for name, title in (("yunet", "YuNet"), ("retinaface", "RetinaFace")):
        net = networks[name]
        ways[f"{title}, one look, whole"] = one_look(net, ViewPlan(fine_from=never), 0.5)
        ways[f"{title}, one look, upright tiles"] = one_look(net, replace(served, fine_angles=(0.0,)), 0.5)
        ways[f"{title}, one look, tiles at -30, 30"] = one_look(net, served, 0.5)
        mark = " (**served**)" if name == "yunet" else ""
        ways[f"{title}, all looks{mark}"] = all_looks(net, cards[name], served, 0.5, pool)
    yunet = networks["yunet"]
    fine = replace(served, fine_angles=(0.0,), fine_side=3000, first_threshold=0.15)
    ways["YuNet, all looks, upright tiles of 3000"] = all_looks(yunet, cards["yunet"], fine, 0.5, pool)
    three = replace(served, fine_angles=(-45.0, 0.0, 45.0), fine_side=2000)
    ways["YuNet, all looks, tiles of 2000 at -45, 0, 45"] = all_looks(yunet, cards["yunet"], three, 0.5, pool)
    return ways


def _pasted(
    ways: dict[str, Way], networks: dict[str, Network], data: Path, scenes: list[Path], pictures: int, seed: int
) -> list[str]:
    faces = FaceFolder.open(data / "celeba19", "val")
    tallies = {name: Tally() for name in ways}
    for i in track(range(pictures), "pictures"):
        image, truths = picture(faces, scenes, seed + i)
        for name, way in ways.items():
            before = sum(n.views for n in networks.values())
            found = way(image)
            tallies[name].add(found, truths, sum(n.views for n in networks.values()) - before)
    text = ["", "## Pasted faces", "", "Recall / false alarms a picture, by threshold.", ""]
    text += _table(["way", "views", *map(str, THRESHOLDS)], [_row(name, tally) for name, tally in tallies.items()])
    least = Settings.model_fields["detector_threshold"].default
    text += ["", f"Recall by height of the face in pixels and by roll in degrees, at the served threshold {least}.", ""]
    heads = [
        "way",
        *(f"{a}-{b - (b % 10 == 1)} px" for a, b in SIZE_BINS),
        *(f"{a}-{b - (b % 10 == 1)}°" for a, b in ROLL_BINS),
    ]
    rows = [
        [
            name,
            *(f"{t.recall(least, size=b):.2f}" for b in SIZE_BINS),
            *(f"{t.recall(least, roll=b):.2f}" for b in ROLL_BINS),
        ]
        for name, t in tallies.items()
    ]
    text += _table(heads, rows)
    text += [
        "",
        "Landmarks of found faces: median (90th percentile) distance from the labels' points, in eye distances.",
        "",
    ]
    rows = []
    for name, t in tallies.items():
        errors = np.array(t.errors)
        middle, high = np.nanmedian(errors, 0), np.nanpercentile(errors, 90, axis=0)
        rows.append([name, *(f"{m:.3f} ({h:.3f})" for m, h in zip(middle, high, strict=True))])
    return text + _table(["way", "right eye", "left eye", "right mouth corner", "left mouth corner"], rows)


def _row(name: str, tally: Tally) -> list[str]:
    cells = [name, f"{tally.views / tally.pictures:.0f}"]
    for t in THRESHOLDS:
        alarms = sum(s >= t for s in tally.alarms) / tally.pictures
        cells.append(f"{tally.recall(t):.3f} / {alarms:.2f}")
    return cells


def _real(served: Way, data: Path, scenes: list[Path]) -> list[str]:
    scores: list[float] = []
    for image in ElementTree.parse(data / "photos/dlib/training.xml").getroot().iter("image"):
        found = served(read_rgb(data / "photos/dlib" / image.attrib["file"]))
        for b in image.iter("box"):
            x, y, w, h = (int(b.attrib[k]) for k in ("left", "top", "width", "height"))
            # Boxes of that set are tighter than the detector's.
            scores.append(max((d.score for d in found if iou(d.box, (x, y, x + w, y + h)) >= 0.3), default=0.0))
    animals = [[d.score for d in served(read_rgb(data / "photos" / name))] for name in ANIMALS]
    empty = [[d.score for d in served(read_rgb(path))] for path in track(scenes, "scenes")]
    text = ["", "## Real photos, as served", ""]
    rows = [
        [
            str(t),
            f"{np.mean([s >= t for s in scores]):.2f}",
            f"{sum(s >= t for a in animals for s in a)}",
            f"{sum(s >= t for e in empty for s in e)} ({sum(any(s >= t for s in e) for e in empty)})",
        ]
        for t in THRESHOLDS
    ]
    heads = ["threshold", f"recall of {len(scores)} faces (dlib)", f"alarms in {len(animals)} animal portraits"]
    return text + _table([*heads, f"alarms in {len(empty)} scenes (scenes with any)"], rows)


def _times(served: Way, network: Network, data: Path, scenes: list[Path]) -> list[str]:
    image, _ = picture(FaceFolder.open(data / "celeba19", "val"), scenes, 5)
    rows = []
    for side in (640, 1600, 2400, 4000):
        scaled = cv2.resize(image, (side, side * 3 // 4), interpolation=cv2.INTER_AREA)
        spent = []
        for _ in range(5):
            network.views = 0
            start = time.perf_counter()
            served(scaled)
            spent.append(1000 * (time.perf_counter() - start))
        low, middle, high = np.percentile(spent, (0, 50, 100))
        rows.append([f"{side} x {side * 3 // 4}", str(network.views), f"{middle:.0f} ({low:.0f} to {high:.0f})"])
    title = "Ten faces; ONNX Runtime, one thread, no batching; median (spread) of 5. Only a quiet machine's count."
    return ["", "## Time", "", title, "", *_table(["picture", "views", "ms"], rows)]


def _head(pictures: int, scenes: int) -> str:
    return f"""# The face detector

`python -m benchmarks.studies.detector` on {datetime.now(UTC):%Y-%m-%d}, {machine()}.

{pictures} pictures of 4000 x 3000, ten faces each: val faces of CelebAMask-HQ, cut out by their labels with soft
edges, 40 to 400 px high (log-uniform; height of skin and features before rolling), rolled by -60 to 60 degrees
(uniform), on scenes without people. A face is found where a box overlaps the box of its labels by an IoU of
{HIT_IOU} or more. Other detections farther than {NEAR} of a face's height from every face are false alarms. The
scenes: {scenes} of 500 photos (ImageNet classes: animals, things, landscapes). The 204 in which RetinaFace scored
0.8 or YuNet 0.55 or more, upright or rolled by 45 degrees, were looked at by eye, as thumbnails; those with people,
parts of people, dolls or drawn faces are left out: `benchmarks/studies/detector_scenes.py` names them. Three of these
(`banjo`, `Border_collie`, `trolleybus`) show no face that could be made out, so alarms there are not counted.

The views and the threshold were chosen before, on about 35 other pictures of the same kind (seeds below 120): some
twenty settings were tried there. These pictures have other seeds, but the same 83 faces and the same scenes, so the
figures say little of other faces. At 0.85 there are fewer false alarms at about the same recall here; 0.8 is served
because real faces, e.g. half hidden ones in selfies, scored 0.83 to 0.86.

YuNet is served: with all looks it finds as many faces as RetinaFace with fewer false alarms, at a third of the
computation. RetinaFace's landmarks are the better ones (see below); that is the price. Tiles at -30 and 30 degrees
cost about twice the views of upright tiles of 3000, which also pass 0.95; the gain is in faces rolled by more than
45 degrees. Pictures under 2.2 megapixels are not tiled: faces below some 40 px are often missed there, above all
leaning ones. Rolls beyond 60 degrees are not measured."""


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(r)} |" for r in (heads, ["---"] * len(heads), *rows)]


if __name__ == "__main__":
    tyro.cli(DetectorStudy)()
