"""Worn things cut out of labelled pictures: what is kept of one, and a bank of them."""

from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from fpan.storage.files import write_whole
from numpy.typing import NDArray

from fpan_training.data.folder import DataError

Image = NDArray[np.uint8]
Role = Literal["earring", "hat", "glasses"]
Cut = tuple[bool, bool, bool, bool]
CLASS_OF: dict[Role, str] = {"earring": "ear_r", "hat": "hat", "glasses": "eye_g"}
"""The class that each is labelled with."""


@dataclass(frozen=True, eq=False)
class Part:
    """A thing cut out, with the two points by which it is put on another head."""

    role: Role
    rgba: Image
    """Straight alpha, uint8 (h, w, 4). Transparent pixels have the colours of the edge."""
    label: Image
    """What is labelled as the thing, uint8 (h, w), 0 or 255. Labels are drawn more generously than alpha."""
    pins: NDArray[np.float32]
    """Two points, float32 (2, 2), (x, y) in pixels of the cut-out; they may lie outside of it. Earring: the lobe, and
    the point as far below it as the chin is below the eyes. Hat: the face's sides at the height of the eyes. Glasses:
    the eyes. Where they are beside each other, the left one in the picture is first."""
    yaw: float
    """Of the head that wore it, as :attr:`~.anchors.Head.yaw`."""
    skin: NDArray[np.float32]
    """Mean colour of that face's skin, RGB float32 (3,): says in which light the thing was seen."""
    side: int = 0
    """Of earrings: -1 from the ear to the left in the picture, 1 to the right."""
    cut: Cut = (False, False, False, False)
    """Whether it was cut off by its picture's top, bottom, left and right border."""
    source: str = ""
    """Data set and picture that it was cut from."""

    @cached_property
    def mirrored(self) -> "Part":
        """The thing seen in a mirror, its pins in the picture's order again."""
        width = self.rgba.shape[1]
        pins = self.pins * np.array([-1, 1], np.float32) + np.array([width - 1, 0], np.float32)
        return replace(
            self,
            rgba=np.ascontiguousarray(self.rgba[:, ::-1]),
            label=np.ascontiguousarray(self.label[:, ::-1]),
            pins=pins if self.role == "earring" else pins[::-1],
            yaw=-self.yaw,
            side=-self.side,
            cut=(self.cut[0], self.cut[1], self.cut[3], self.cut[2]),
        )

    def towards(self, side: int) -> "Part":
        """Of an earring, the one for the ear on that side of the picture."""
        return self if side == self.side else self.mirrored


@dataclass(frozen=True, eq=False)
class PartBank:
    """Parts to draw from."""

    parts: tuple[Part, ...] = ()

    def __len__(self) -> int:
        return len(self.parts)

    @cached_property
    def by_role(self) -> dict[Role, tuple[Part, ...]]:
        """The parts of each role; a role may have none."""
        return {role: tuple(part for part in self.parts if part.role == role) for role in CLASS_OF}

    def nearest(self, role: Role, yaw: float, within: float, rng: np.random.Generator) -> Part | None:
        """A part that was seen from about the same side, or in a mirror is; None if there is none.

        Args:
            role: of the part.
            yaw: of the head that it is for.
            within: largest difference of yaw.
            rng: chooses among those that fit.
        """
        fit = self._yaws[role]
        straight = np.flatnonzero(np.abs(fit - yaw) <= within)
        turned = np.flatnonzero(np.abs(-fit - yaw) <= within)
        if straight.size + turned.size == 0:
            return None
        index = int(rng.integers(straight.size + turned.size))
        parts = self.by_role[role]
        if index < straight.size:
            return parts[int(straight[index])]
        return parts[int(turned[index - straight.size])].mirrored

    @cached_property
    def _yaws(self) -> dict[Role, NDArray[np.float64]]:
        return {role: np.array([part.yaw for part in parts], float) for role, parts in self.by_role.items()}

    def save(self, path: Path) -> None:
        """Writes the bank as one NPZ file, whole or not at all."""
        content: dict[str, Any] = {"count": np.array(len(self))}
        for i, part in enumerate(self.parts):
            content[f"{i}.pixels"] = np.dstack([part.rgba, part.label])
            content[f"{i}.numbers"] = np.array([*part.pins.ravel(), *part.skin, part.yaw, *part.cut], np.float32)
            content[f"{i}.words"] = np.array([part.role, str(part.side), part.source])
        file = BytesIO()
        np.savez_compressed(file, **content)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, file.getvalue())

    @classmethod
    def load(cls, path: Path) -> "PartBank":
        """Reads what :meth:`save` wrote.

        Raises:
            DataError: the file is missing, broken or of another form.
        """
        parts = []
        try:
            with np.load(path, allow_pickle=False) as content:
                for i in range(int(content["count"])):
                    pixels, numbers = content[f"{i}.pixels"], content[f"{i}.numbers"]
                    role, side, source = content[f"{i}.words"].tolist()
                    parts.append(
                        Part(
                            role,
                            np.ascontiguousarray(pixels[..., :4]),
                            np.ascontiguousarray(pixels[..., 4]),
                            numbers[:4].reshape(2, 2),
                            float(numbers[7]),
                            numbers[4:7],
                            int(side),
                            (bool(numbers[8]), bool(numbers[9]), bool(numbers[10]), bool(numbers[11])),
                            source,
                        )
                    )
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise DataError(f"{path} is no bank of parts: {error}. Make it again with `fpan-train parts`") from error
        return cls(tuple(parts))
