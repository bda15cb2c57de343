"""What might be a face: many at once as arrays, and the merging of those that are the same face."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from fpan.serve.pipeline.detect.views import Matrix
from fpan.serve.pipeline.types import Detection

Floats = NDArray[np.float64]

SAME_IOU = 0.4
"""Boxes that overlap by more than this share of their union are the same face."""
SAME_INSIDE = 0.7
"""So are boxes of which one lies inside the other by more than this share of itself."""
MIRRORED = (1, 0, 2, 4, 3)
"""Which of ``fpan.contract.FIVE_POINTS`` each one becomes in a mirrored view."""
CUT_SHARE = 0.1
"""A box that sticks out of its view by more than this share of its side is of a face that the view cuts."""


@dataclass(frozen=True)
class Candidates:
    """N candidates, in pixels of the picture, integers = pixel centres."""

    centre: Floats
    """Of the box, (N, 2)."""
    size: Floats
    """Width and height of the box in the frame in which it was found, (N, 2)."""
    turn: Floats
    """Clockwise roll of that frame in the picture, radians, (N,)."""
    points: Floats
    """Landmarks, (N, 5, 2)."""
    score: Floats
    """(N,)."""

    def __len__(self) -> int:
        return len(self.score)

    @classmethod
    def of_view(cls, rows: NDArray[np.float32], to_picture: Matrix) -> "Candidates":
        """Reads rows of the network's ``faces``, float (N, 15).

        Args:
            rows: of one view.
            to_picture: from its pixels to the picture's, a similarity, with a reflection where they are mirrored:
                (2, 3) for all rows, or (N, 2, 3).
        """
        values = np.asarray(rows, np.float64)
        maps = np.broadcast_to(to_picture, (len(values), 2, 3))
        linear, shift = maps[:, :, :2], maps[:, :, 2]
        middle = (values[:, 0:2] + values[:, 2:4]) / 2 - 0.5
        points = values[:, 4:14].reshape(-1, 5, 2) @ linear.transpose(0, 2, 1) + shift[:, None]
        mirrored = linear[:, 0, 0] * linear[:, 1, 1] < linear[:, 0, 1] * linear[:, 1, 0]
        return cls(
            centre=(linear @ middle[:, :, None])[:, :, 0] + shift,
            size=(values[:, 2:4] - values[:, 0:2]) * np.hypot(linear[:, 0, 1], linear[:, 1, 1])[:, None],
            turn=np.arctan2(-linear[:, 0, 1], linear[:, 1, 1]),
            points=np.where(mirrored[:, None, None], points[:, MIRRORED], points),
            score=values[:, 14],
        )

    @classmethod
    def join(cls, parts: Sequence["Candidates"]) -> "Candidates":
        """All of them, in order."""
        empty = cls.of_view(np.zeros((0, 15), np.float32), np.eye(2, 3))
        return cls(*(np.concatenate([getattr(p, f.name) for p in (empty, *parts)]) for f in fields(cls)))

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> "Candidates":
        """The candidates of these indices, or those that are marked."""
        return Candidates(*(getattr(self, f.name)[index] for f in fields(self)))

    @property
    def upright(self) -> Floats:
        """Clockwise roll of the faces in the picture as their landmarks have it, radians, (N,).

        Told from the middle of the eyes and that of the mouth, which a face turned aside moves least.
        """
        up = self.points[:, 0:2].mean(1) - self.points[:, 3:5].mean(1)
        return np.asarray(np.arctan2(up[:, 0], -up[:, 1]), np.float64)

    @property
    def boxes(self) -> Floats:
        """Upright boxes x0, y0, x1, y1 between pixels, (N, 4): around the ellipse that fills the rolled box."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        half_w, half_h = self.size[:, 0] / 2, self.size[:, 1] / 2
        reach = np.stack([np.hypot(half_w * cos, half_h * sin), np.hypot(half_w * sin, half_h * cos)], 1)
        return np.concatenate([self.centre + 0.5 - reach, self.centre + 0.5 + reach], 1)

    def merged(self, same_inside: float = SAME_INSIDE, *, blend: bool = False) -> "Candidates":
        """One candidate for each face, the best scored one, by falling score; ties keep their order.

        Args:
            same_inside: share of a box that lies inside another of the same face; 1 to go by overlap alone.
            blend: give the mean box and landmarks of all that are the same face.
        """
        order = np.argsort(-self.score, kind="stable")
        boxes = self.boxes[order]
        area = np.prod(boxes[:, 2:] - boxes[:, :2], 1)
        left = np.ones(len(order), bool)
        groups = []
        for i in range(len(order)):
            if left[i]:
                low, high = np.maximum(boxes[i, :2], boxes[:, :2]), np.minimum(boxes[i, 2:], boxes[:, 2:])
                common = np.prod(np.maximum(high - low, 0), 1)
                overlap = common > SAME_IOU * (area[i] + area - common)
                same = left & (overlap | (common > same_inside * np.minimum(area[i], area)))
                same[i] = True
                left &= ~same
                groups.append((order[i], order[same & overlap]))
        best = self.take(np.array([first for first, _ in groups], np.intp))
        if not blend:
            return best
        means = {name: [getattr(self, name)[g].mean(0) for _, g in groups] for name in ("centre", "size", "points")}
        return replace(best, **{name: np.reshape(m, getattr(best, name).shape) for name, m in means.items()})

    def detections(self, max_faces: int | None = None) -> list[Detection]:
        """The largest ones first; those of one size from left to right."""
        boxes = self.boxes
        area = np.prod(boxes[:, 2:] - boxes[:, :2], 1)
        order = np.lexsort((boxes[:, 1], boxes[:, 0], -area))[:max_faces]
        return [
            Detection(
                (float(boxes[i, 0]), float(boxes[i, 1]), float(boxes[i, 2]), float(boxes[i, 3])),
                float(self.score[i]),
                self.points[i].astype(np.float32),
            )
            for i in order
        ]


def uncut(rows: NDArray[np.float32], low: NDArray[np.floating], high: NDArray[np.floating]) -> NDArray[np.bool_]:
    """For each row of ``faces`` whether its box does not stick out of the rectangle from ``low`` to ``high``.

    Args:
        rows: float32 (N, 15).
        low: x and y of one corner in pixels: (2,) for all rows, or (N, 2).
        high: the same of the other.
    """
    slack = CUT_SHARE * (rows[:, 2:4] - rows[:, 0:2])
    return np.asarray(((rows[:, 0:2] >= low - slack) & (rows[:, 2:4] <= high + slack)).all(1))
