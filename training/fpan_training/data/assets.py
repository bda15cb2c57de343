"""Pictures that augmentation draws from: backgrounds, cut-out occluders and textures of masks, split by file."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.data.cutout import Cutout, Role, read_rgba, role_of
from fpan_training.data.folder import DataError, read_rgb
from fpan_training.data.people import people_free

Split = Literal["train", "val", "heldout"]
HELDOUT_FAMILY = "wearables"
"""The family that no training sees."""
_VAL_SHARE = 8
"""The last eighth of every family's files is kept for validation. Neighbours in a set of photos often show the same
hand: a share cut off at one place parts fewer of those than every eighth file would.
"""
T = TypeVar("T")


@dataclass(frozen=True)
class Assets:
    """What a split may draw from. Backgrounds are RGB, uint8 (H, W, 3)."""

    backgrounds: tuple[NDArray[np.uint8], ...] = field(default=(), repr=False)
    occluders: tuple[Cutout, ...] = field(default=(), repr=False)
    mask_textures: tuple[Cutout, ...] = field(default=(), repr=False)
    """What surgical masks are made of, seen from the front; where it is transparent there is no mask."""
    procedural: bool = True
    """Whether shapes that are drawn in code may be used beside the files."""

    @classmethod
    def open(
        cls,
        backgrounds: Path | None,
        occluders: Path | None,
        split: Split = "train",
        cache: Path | None = None,
    ) -> "Assets":
        """Reads folders of pictures; only what belongs to the split.

        Args:
            backgrounds: folder of ``.jpg``. Those that show people are left out: what is put behind a labelled face is
                labelled background.
            occluders: folder of families, one folder each, of cut-outs (``.webp`` or ``.png`` with alpha), and of
                textures of surgical masks (``.jpg``) beside them. Cut-outs that lie beside the families are one, too.
            split: ``train`` and ``val`` share every family but one; ``heldout`` is that one, :data:`HELDOUT_FAMILY`,
                and nothing else, not even shapes drawn in code, which training has seen.
            cache: folder that keeps which backgrounds show people, see :func:`fpan_training.data.people.people_free`.

        Raises:
            DataError: a file is not readable, there is nothing held out, or no background is left.
        """
        scenes = [] if backgrounds is None else people_free(backgrounds, cache)
        textures = [] if occluders is None else sorted(occluders.glob("*.jpg"))
        cutouts = [] if occluders is None else _read_family_files(occluders, split)
        if split == "heldout" and not cutouts:
            raise DataError(f"{occluders} has no family {HELDOUT_FAMILY!r}, which is what is held out of training")
        return cls(
            tuple(read_rgb(path) for path in _share(scenes, split)),
            tuple(cutout for cutout in cutouts if cutout.role != "mask"),
            (
                *(() if split == "heldout" else (_texture(path) for path in _share(textures, split))),
                *(cutout for cutout in cutouts if cutout.role == "mask"),
            ),
            procedural=split != "heldout",
        )

    def background(self, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
        """A random part of a random background, uint8 (size, size, 3)."""
        scene = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        side = max(16, int(min(scene.shape[:2]) * rng.uniform(0.5, 1)))
        top = int(rng.integers(scene.shape[0] - side + 1))
        left = int(rng.integers(scene.shape[1] - side + 1))
        part = cv2.resize(scene[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_LINEAR)
        return np.asarray(part[:, ::-1] if rng.random() < 0.5 else part, np.uint8)

    @cached_property
    def by_role(self) -> dict[Role, tuple[Cutout, ...]]:
        """The occluders by what they are."""
        roles = {cutout.role for cutout in self.occluders}
        return {role: tuple(cutout for cutout in self.occluders if cutout.role == role) for role in sorted(roles)}


def _read_family_files(folder: Path, split: Split) -> list[Cutout]:
    families: dict[str, list[Path]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".webp", ".png")):
        families.setdefault(path.relative_to(folder).parts[0] if path.parent != folder else "", []).append(path)
    cutouts = []
    for family, files in families.items():
        if (family == HELDOUT_FAMILY) != (split == "heldout"):
            continue
        known = [(path, role) for path in files if (role := role_of(path, family)) is not None]
        cutouts += [
            Cutout(read_rgba(path), role, path.relative_to(folder).as_posix()) for path, role in _share(known, split)
        ]
    return cutouts


def _share(files: list[T], split: Split) -> list[T]:
    """What of an ordered list the split may use; a single file is for training."""
    if split == "heldout":
        return files
    first = len(files) - max(1, len(files) // _VAL_SHARE) if len(files) > 1 else len(files)
    return files[:first] if split == "train" else files[first:]


def _texture(path: Path) -> Cutout:
    rgb = read_rgb(path)
    return Cutout(np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]), "mask", path.name)
