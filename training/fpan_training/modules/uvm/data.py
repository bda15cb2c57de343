"""Training pairs of UVM: a face's UV map, and the part of it that another pose or an occluder leaves visible."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from fpan_training.data.folder import DataError
from fpan_training.face3d.atlas import mirror
from fpan_training.files import write_whole
from fpan_training.modules.uvm.fill import mirror_texture
from fpan_training.modules.uvm.step import UvBatch, with_noise
from fpan_training.taxonomy import TAXONOMY


@dataclass(frozen=True)
class StoredMap:
    """A near-frontal face as a UV map, and views that hide parts of it."""

    texture: NDArray[np.uint8]
    """RGB, uint8 (S, S, 3), filled by mirroring where it is not known."""
    labels: NDArray[np.uint8]
    """Class ids, uint8 (S, S), filled likewise; 255 everywhere for a picture without labels."""
    known: NDArray[np.bool_]
    """What the picture shows of the face, bool (S, S). The rest, which the face itself hides, is no truth: it counts
    for little in the losses, for nothing in the figures, and the discriminators see it of neither side.
    """
    views: NDArray[np.bool_]
    """bool (V, S, S): what each view leaves of it."""
    yaws: NDArray[np.float32]
    """float32 (V,): the view's yaw in degrees; NaN where an occluder hides things."""

    def save(self, path: Path) -> None:
        """Writes it, whole or not at all."""
        file = BytesIO()
        np.savez_compressed(
            file,
            texture=self.texture,
            labels=self.labels,
            known=np.packbits(self.known, -1),
            views=np.packbits(self.views, -1),
            yaws=self.yaws,
        )
        write_whole(path, file.getvalue())

    @classmethod
    def load(cls, path: Path) -> "StoredMap":
        """Reads it.

        Raises:
            DataError: the file is not readable.
        """
        try:
            with np.load(path, allow_pickle=False) as content:
                size = content["texture"].shape[1]
                known, views = (np.unpackbits(content[name], -1, size).astype(bool) for name in ("known", "views"))
                return cls(content["texture"], content["labels"], known, views, content["yaws"])
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise DataError(f"{path} is no stored UV map: delete it and train again") from error

    def mirrored(self) -> "StoredMap":
        """The map of the mirrored picture."""
        return StoredMap(
            mirror(self.texture),
            TAXONOMY.partner_table[mirror(self.labels)],
            mirror(self.known),
            np.stack([mirror(view) for view in self.views]),
            -self.yaws,
        )


@dataclass(frozen=True)
class UvPairs(Dataset[UvBatch]):
    """Maps with a view each, as a :class:`~fpan_training.modules.uvm.step.UvBatch` without the batch's dimension.

    The index is ``pass * len(self) + map``. In training the view, the mirroring and the noise are drawn; the same index
    gives the same bytes. In validation each map comes with its first view, which is another pose's.
    """

    files: Sequence[Path]
    seed: int
    training: bool

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> UvBatch:
        turn, number = divmod(index, len(self.files))
        rng = np.random.default_rng((self.seed, turn, number))
        stored = StoredMap.load(self.files[number])
        view = 0
        if self.training:
            view = int(rng.integers(len(stored.views)))
            stored = stored.mirrored() if rng.random() < 0.5 else stored
        visible = stored.known & stored.views[view]
        parts = (
            stored.texture,
            stored.known,
            visible,
            with_noise(stored.texture, visible, rng),
            mirror_texture(stored.texture, visible),
            stored.labels,
        )
        return UvBatch(*(torch.from_numpy(np.ascontiguousarray(part)) for part in parts))


def collate(items: Sequence[UvBatch]) -> UvBatch:
    """Stacks items into a batch."""
    return UvBatch(*(torch.stack(parts) for parts in zip(*items, strict=True)))
