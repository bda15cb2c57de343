"""The recipe of weights that may be sold: EasyPortrait as published, faces that nobody has, and nothing else.

No picture of CelebAMask-HQ, no teacher that has seen one, and no file of backgrounds or occluders plays a part.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from fpan_training.data.augment import AugmentConfig
from fpan_training.data.folder import SPLIT_FILE
from fpan_training.data.importers import Import
from fpan_training.data.importers.easyportrait import IMAGES, MASKS
from fpan_training.data.label_space import DATASET_FILE, LabelSpace
from fpan_training.engine.settings import LoopConfig
from fpan_training.engine.stages import Stage
from fpan_training.face3d.rendered import Render, render_face
from fpan_training.landmarks.align_folder import Align
from fpan_training.modules.segm.model import SegmConfig
from fpan_training.modules.segm.settings import SegmSettings
from fpan_training.modules.segm.train import SegmTraining
from fpan_training.nets.lite_fpn import LiteFpnConfig
from fpan_training.recipes.context import Context
from fpan_training.recipes.data import RENDERED_SIDE, require
from fpan_training.release.deploy import SMOKE_GATES
from fpan_training.release.gates import Gates
from fpan_training.release.gates.licence import Licence
from fpan_training.release.register import Register

RAW = "EasyPortrait"
"""Folder beneath the root of the raw data."""
MODEL = "segm_portrait"
"""Name in the model repository: beside ours, which no version of it takes the place of."""
LICENCE = "CC BY-SA 4.0, a variant"
"""Of EasyPortrait, as its README names it."""
_ALLOWED = f'"{LICENCE}", "Apache-2.0, as this project"'
FRAMES = {"easyportrait": 1.0, "easyportrait_wide": 2.0}
"""Data sets of the photos' faces, and their width in widths of the aligned face frame: the frame that is served and
validated in, and what lies beyond it."""
_SIDE = 512
"""Of those pictures, in pixels."""
_SHARES = ((0.35, 0.15), (0.2, 0.25))
_SMOKE_SPLITS = {"train": 8, "val": 4, "test": 1}


@dataclass(frozen=True)
class Portrait:
    """What the recipe makes under a budget."""

    network: SegmConfig
    sizes: tuple[int, int]
    """Sides of the pictures in pixels: first rendered faces teach every class, then real ones what they tell apart."""
    epochs: tuple[int, int]
    epoch_pictures: int
    rendered: tuple[int, int]
    """How many faces are rendered, and their side in pixels."""
    shares: tuple[tuple[float, float], tuple[float, float]]
    """Of an epoch's pictures: of faces and of wide frames where rendered faces are learnt from; of wide frames and of
    rendered faces where photos are."""
    loop: LoopConfig
    gates: Gates

    @classmethod
    def under(cls, context: Context) -> "Portrait":
        """The network in full, or a small one that goes through the same stages."""
        licence = Licence(_ALLOWED)
        if context.budget == "full":
            loop = LoopConfig(ema_decay=0.998, validate_every=4, workers=0, devices=2, accelerator="cpu")
            gates = Gates(licence=licence)
            return cls(SegmConfig(), (128, 256), (20, 40), 4500, (4000, 256), _SHARES, loop, gates)
        network = SegmConfig(lite_fpn=LiteFpnConfig((16, 16, 16, 32, 32), dropout=0))
        loop = LoopConfig(ema_decay=0.9, workers=0, precision="32-true", accelerator="cpu", validate_every=1)
        gates = replace(SMOKE_GATES, licence=licence)
        sizes = (RENDERED_SIDE // 2, RENDERED_SIDE)
        return cls(network, sizes, (1, 1), 12, (10, RENDERED_SIDE), _SHARES, loop, gates)

    def stages(self, context: Context) -> tuple[Stage, ...]:
        """In order."""
        photos, wide, rendered = (context.run / "data" / name for name in (*FRAMES, "rendered"))
        first, last = (context.run / f"{MODEL}-{size}" for size in self.sizes)

        def data() -> None:
            prepare(context)
            if not (rendered / SPLIT_FILE).is_file():
                Render(rendered, self.rendered[0], context.seed, self.rendered[1])()

        classes = self._training(context, 0, first, rendered, (photos, wide), None)
        refined = self._training(context, 1, last, photos, (wide, rendered), first / "best.pt")
        register = Register(
            last,
            photos,
            context.repository,
            MODEL,
            mirrored=False,
            gates=self.gates,
            # Which of the photos show occluded or turned faces is not known, and there is nothing to be worse than.
            allow_unmeasured=True,
        )
        return (
            Stage("data", "photos, imported and aligned; faces, rendered", data),
            Stage(first.name, "every class, of rendered faces", classes, self.loop.devices),
            Stage(last.name, "what photos tell apart", refined, self.loop.devices),
            Stage("register", "gates, and a version in the repository", register),
        )

    def _training(
        self, context: Context, number: int, run: Path, data: Path, extra: tuple[Path, Path], start: Path | None
    ) -> SegmTraining:
        return SegmTraining(
            (data, *extra),
            run,
            seed=context.seed,
            settings=SegmSettings(
                segm=replace(self.network, input_size=self.sizes[number]),
                augment=AugmentConfig(p_context=0.25, p_large_rotation=0.1),
                loop=replace(self.loop, epochs=self.epochs[number]),
            ),
            share=self.shares[number],
            epoch_pictures=self.epoch_pictures,
            start_from=start,
        )


def stages(context: Context) -> tuple[Stage, ...]:
    """The recipe."""
    return Portrait.under(context).stages(context)


def prepare(context: Context) -> None:
    """Imports EasyPortrait and aligns its faces, or, without raw data, a few pictures in its form that lie aligned.

    Raises:
        DataError: the folder is missing, or something in it is wrong.
    """
    folder = context.run / "data"
    sets = [(folder / name, frame) for name, frame in FRAMES.items() if not (folder / name / DATASET_FILE).is_file()]
    raw, photos = folder / RAW, folder / "photos"
    if context.data_root is None:
        if not raw.is_dir():
            write_published(raw, context.seed)
        for out, _ in sets:
            Import("easyportrait", raw, out, name=RAW, licence=LICENCE)()
        return
    if sets and not (photos / DATASET_FILE).is_file():
        require(context.data_root, (RAW,))
        Import("easyportrait", context.data_root / RAW, photos, name=RAW, licence=LICENCE)()
    for out, frame in sets:
        Align(photos, out, _SIDE, frame)()


def write_published(root: Path, seed: int) -> None:
    """Writes rendered faces in the form in which EasyPortrait is published: its folders and its values."""
    values = np.ones(256, np.uint8)
    for value, members in LabelSpace.preset("easyportrait").declared:
        # "Person" is the rest, and what may be one value or another is the one that is not that.
        if value != 1:
            values[list(members)] = value
    for number, (split, count) in enumerate(_SMOKE_SPLITS.items()):
        for folder in (IMAGES, MASKS):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            face = render_face((seed, number, i), RENDERED_SIDE)
            Image.fromarray(face.image).save(root / IMAGES / split / f"{split}{i}.jpg", quality=95)
            Image.fromarray(values[face.labels]).save(root / MASKS / split / f"{split}{i}.png")
