"""What is wrong with the labels of a picture, as far as a network and landmarks can tell."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.data.ignored import Box, Fault
from fpan_training.landmarks.scheme import SCHEME
from fpan_training.taxonomy import TAXONOMY

Kind = Literal["occlusion", "hair", "outside", "mouth", "sides", "loss"]
KINDS: dict[Kind, str] = {
    "occlusion": "labelled as face where the network surely sees an object",
    "hair": "labelled as skin where the network surely sees hair",
    "outside": "labelled as skin far outside of the face's outline: hands, arms, other people",
    "mouth": "no inner mouth is labelled where the network surely sees one",
    "sides": "left and right parts where the network sees them the other way round",
    "loss": "the labels as a whole are far from what the network says",
}
SIDE = 256
"""Side in pixels of the grid on which labels and network are compared."""
_WORST = 5.0
"""A pixel's loss counts up to this, so that a few pixels do not make an outlier."""
_FAR = 2.0
"""Loss of a pixel that the network would not have labelled so: a probability below 0.14."""
_COVERED = tuple(name for name in TAXONOMY.groups["face"] if name not in ("eye_g", "mouth"))
"""What may be painted over an object by mistake. Tongues and glasses held in a hand only look like objects."""
_REACH = 0.08
"""How far beyond the outline of the landmarks skin may lie, in heights of the outline: jaws, ears that are labelled as
skin, the far cheek of a turned head."""
Points = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class FaultConfig:
    """From where on something is a fault. Areas are shares of what is labelled as the face's own parts."""

    sure: float = 0.7
    """Probability from which the network is sure."""
    area: float = 0.006
    """Least area of a patch in which it is. A patch is five pixels of 256 wide at least."""
    outside: float = 0.01
    """Least area of a patch outside of the face's outline."""
    mouth: float = 0.004
    """Least area of an inner mouth."""
    swapped: float = 0.6
    """Least share of a pair's pixels that the network sees on the other side."""
    outlier: float = 6.0
    """Least distance of a picture's loss from the median, in robust standard deviations."""


@dataclass(frozen=True)
class Compared:
    """A picture's labels beside what a network says of it."""

    name: str
    labels: NDArray[np.uint8]
    """Ids, uint8 (SIDE, SIDE)."""
    probabilities: NDArray[np.float32]
    """float32 (classes, SIDE, SIDE)."""
    points: Points | None
    """The 264 landmarks in pixels of this grid; None: no face was found."""

    def said(self, config: FaultConfig, name: str) -> Mask:
        """Where the network is sure of a class."""
        return np.asarray(self.probabilities[TAXONOMY.id_of(name)] >= config.sure)

    def labelled(self, *names: str) -> Mask:
        """Where one of these classes or groups is labelled."""
        ids = [TAXONOMY.id_of(member) for name in names for member in TAXONOMY.groups.get(name, (name,))]
        return np.isin(self.labels, ids)

    @property
    def loss(self) -> NDArray[np.float32]:
        """Cross-entropy of every pixel, at most 5, float32 (SIDE, SIDE); NaN where the label is unknown."""
        known = self.labels < len(TAXONOMY)
        ids = np.where(known, self.labels, 0)[None].astype(np.int64)
        found = np.take_along_axis(self.probabilities, ids, 0)[0]
        loss = np.minimum(-np.log(found.clip(1e-6)), _WORST)
        return np.where(known, loss, np.nan).astype(np.float32)


def faults_of(compared: Compared, config: FaultConfig) -> list[Fault]:
    """The faults that one picture shows by itself: every kind but ``loss``."""
    face = float(compared.labelled("face").sum())
    if face == 0:
        return []
    covered = compared.labelled(*_COVERED) & compared.said(config, "occlusion")
    found = _patches(compared, "occlusion", covered, face, config.area)
    found += _patches(compared, "hair", compared.labelled("skin") & compared.said(config, "hair"), face, config.area)
    if compared.points is not None:
        beyond = compared.labelled("skin") & ~_outline(compared.points)
        found += _patches(compared, "outside", beyond, face, config.outside)
    return found + _mouth(compared, face, config) + _sides(compared, face, config)


def outliers(names: list[str], losses: list[float], boxes: list[Box | None], config: FaultConfig) -> list[Fault]:
    """Pictures whose mean loss is far above that of the others.

    Args:
        names: of the pictures.
        losses: mean loss of each.
        boxes: where most of it lies, see :func:`worst_box`.
        config: from where on it is far.
    """
    values = np.asarray(losses)
    median = np.median(values)
    # 1.4826 makes of the median deviation what would be the standard deviation of a normal distribution.
    scale = max(1.4826 * float(np.median(np.abs(values - median))), 1e-6)
    distance = (values - median) / scale
    return [
        Fault(name=name, kind="loss", score=round(float(far), 2), box=box)
        for name, far, box in zip(names, distance, boxes, strict=True)
        if far >= config.outlier
    ]


def worst_box(compared: Compared) -> Box | None:
    """About the largest patch that the network would not have labelled so; None where it lies all over the picture."""
    patches = _components(np.nan_to_num(compared.loss) >= _FAR)
    if not patches:
        return None
    box = _box(max(patches, key=lambda patch: int(patch.sum())))
    return box if (box[2] - box[0]) * (box[3] - box[1]) < 0.5 else None


def _patches(compared: Compared, kind: Kind, wrong: Mask, face: float, least: float) -> list[Fault]:
    return [
        Fault(name=compared.name, kind=kind, score=round(float(patch.sum()) / face, 4), box=_box(patch))
        for patch in _components(wrong)
        if patch.sum() >= least * face
    ]


def _mouth(compared: Compared, face: float, config: FaultConfig) -> list[Fault]:
    seen = compared.said(config, "mouth")
    if compared.labelled("mouth").any() or seen.sum() < config.mouth * face:
        return []
    return [Fault(name=compared.name, kind="mouth", score=round(float(seen.sum()) / face, 4), box=_box(seen))]


def _sides(compared: Compared, face: float, config: FaultConfig) -> list[Fault]:
    """Eyes, brows and ears that the network sees on the other side; one fault for all of them."""
    best = compared.probabilities.argmax(0)
    swapped = np.zeros(best.shape, np.bool_)
    paired = np.zeros(best.shape, np.bool_)
    for one in TAXONOMY.classes:
        if one.partner != one.id:
            here = compared.labels == one.id
            paired |= here & ((best == one.id) | (best == one.partner))
            swapped |= here & (best == one.partner)
    # Fewer are noise at the border between two brows, or a part of a few pixels.
    if swapped.sum() < max(config.area * face, config.swapped * paired.sum()):
        return []
    return [Fault(name=compared.name, kind="sides", score=round(float(swapped.sum()) / face, 4))]


def _outline(points: Points) -> Mask:
    """Where the skin of this face may be, bool (SIDE, SIDE): about its outline, and all above the eyes, since the
    landmarks end where most people's hair begins and bald heads go on.
    """
    hull = cv2.convexHull(points[SCHEME.groups["outline"]])[:, 0]
    eyes = points[SCHEME.groups["eyes"]].mean(0)
    # Up is where the eyes lie as seen from the mouth, however the head is tilted.
    up = eyes - points[SCHEME.groups["lips_outer"]].mean(0)
    reach = round(_REACH * float(np.ptp(hull @ (up / max(float(np.hypot(*up)), 1e-6)))))
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillConvexPoly(mask, np.rint(hull).astype(np.int32), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    rows, columns = np.indices(mask.shape)
    above = (columns - eyes[0]) * up[0] + (rows - eyes[1]) * up[1] > 0
    return np.asarray(cv2.dilate(mask, kernel).astype(np.bool_) | above)


def _components(mask: Mask) -> list[Mask]:
    """Connected patches of a mask once its borders are worn away, which are seldom labelled to the pixel."""
    worn = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    count, numbers = cv2.connectedComponents(worn)
    return [numbers == number for number in range(1, count)]


def _box(mask: Mask) -> Box:
    """About the pixels of a mask, in shares of its sides."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return (left / SIDE, top / SIDE, (left + width) / SIDE, (top + height) / SIDE)
