"""`fpan-train train uvm`: trains the completion of UV maps on near-frontal faces."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, cast

import torch
import tyro
from torch import nn

from fpan_training.data.check import check_labelled
from fpan_training.engine.plots import Curves
from fpan_training.engine.run import Run
from fpan_training.modules.training import CONTACT_SHEET, Training, stores_in
from fpan_training.modules.uvm.data import UvPairs, collate
from fpan_training.modules.uvm.evaluate import VAL_SEED, validate
from fpan_training.modules.uvm.identity import lom_identity
from fpan_training.modules.uvm.maps import build_maps
from fpan_training.modules.uvm.model import UvGan, build
from fpan_training.modules.uvm.settings import PRESETS, UvmSettings
from fpan_training.modules.uvm.step import UvmStep


@dataclass(frozen=True)
class UvmTraining(Training):
    """Trains UVM: it completes what a pose or an occluder hides of a face's UV map, texture and parts.

    Faces are unwrapped once and kept in the run. Run it again with the same folder and it goes on where it stopped.
    """

    data: tuple[Path, ...]
    """Data sets, or plain folders of pictures, which teach texture only; the first one's ``val`` is validated on."""
    settings: Annotated[UvmSettings, tyro.conf.arg(name="")] = field(default_factory=UvmSettings)
    occluders: Path | None = None
    """Folder of cut-outs with alpha, which hide parts of maps. Without one, occluders are drawn."""
    lom: Path | None = None
    """LOM's checkpoint, whose features say whether a completed face is still the same person."""

    presets: ClassVar = PRESETS
    curves: ClassVar = Curves(
        ("generator", "discriminator"), {"psnr": "completed", "psnr_mirror": "mirrored"}, "val PSNR of the hidden, dB"
    )

    def __call__(self) -> Run:
        """Trains to the end and returns the run."""
        check_labelled(*self.data)
        settings = self.settings
        maps = build_maps(
            self.data, stores_in(self.faces), self.run / "maps", settings.uvm.size, settings.maps, self.occluders
        )
        self.begin(maps_seen=len(maps.train))
        val = UvPairs(maps.val, VAL_SEED, training=False)
        torch.manual_seed(self.seed)
        network = build(settings.uvm)
        step = UvmStep(settings.loss, None if self.lom is None else lom_identity(self.lom))

        def check(average: nn.Module) -> dict[str, float]:
            return validate(cast(UvGan, average), val, settings.loop.batch_size, self.run / CONTACT_SHEET)

        train = UvPairs(maps.train, self.seed, training=True)
        return self.train("loop", network, step, train, check, collate, {"uvm": asdict(settings.uvm)})
