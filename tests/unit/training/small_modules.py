"""Every module of the paper at its smallest: network, step and noise to train on.

Of each picture another part is unknown, so that a mean of two batches' means is not the mean of both. The index is
``pass * len + item``, as the loop's sampler makes it, and every pass draws anew.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from fpan_training.data.label_space import LabelSpace
from fpan_training.engine.loop import Module
from fpan_training.face3d import pose
from fpan_training.modules.dom import RLA_SMOKE, DomNetwork
from fpan_training.modules.dom.data import collate as collate_dom
from fpan_training.modules.dom.step import DomStep
from fpan_training.modules.lom import INPUT_SIZE, Lom, LomConfig
from fpan_training.modules.lom.data import CLASSES
from fpan_training.modules.lom.data import collate as collate_lom
from fpan_training.modules.lom.step import LomBatch, LomStep
from fpan_training.modules.ppm import PoseNetwork, PpmConfig
from fpan_training.modules.ppm.data import collate as collate_ppm
from fpan_training.modules.ppm.step import PoseStep
from fpan_training.modules.segm import SegmConfig, build
from fpan_training.modules.segm.data import collate_segm
from fpan_training.modules.segm.groups import Groups
from fpan_training.modules.segm.step import SegmBatch, SegmStep
from fpan_training.modules.uvm.data import collate as collate_uvm
from fpan_training.modules.uvm.identity import Identity, frontal_view
from fpan_training.modules.uvm.model import UvGan
from fpan_training.modules.uvm.settings import PRESETS as UVM_PRESETS
from fpan_training.modules.uvm.step import UvBatch, UvmStep
from fpan_training.nets.lite_fpn import LiteFpnConfig
from fpan_training.taxonomy import TAXONOMY
from torch import Generator, Tensor, nn
from torch.utils.data import Dataset

_HALVES = LabelSpace(
    "halves", tuple((value, (value, value + 1)) for value in range(0, len(TAXONOMY) - 1, 2)), TAXONOMY, (255,)
)
"""A data set that tells no class from the next."""


@dataclass(frozen=True)
class Noise(Dataset[Any]):
    """Items that are drawn by ``draw``."""

    draw: Callable[[Generator, float], Any]
    """From random numbers and the share of the item that is known, 0 to 1."""
    count: int = 8

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        known = (index % self.count + 1) / (self.count + 1)
        return self.draw(Generator().manual_seed(index), known)


@dataclass(frozen=True)
class Small:
    """What the loop needs to train a module."""

    network: nn.Module
    step: Module
    data: Noise
    collate: Callable[[Any], Any]


def _bytes(draw: Generator, side: int, *channels: int) -> Tensor:
    return torch.randint(256, (side, side, *channels), generator=draw, dtype=torch.uint8)


def _labels(draw: Generator, side: int, known: float, classes: int = len(TAXONOMY)) -> Tensor:
    labels = torch.randint(classes, (side, side), generator=draw, dtype=torch.uint8)
    labels[round(known * side) :] = TAXONOMY.ignore
    return labels


def _segm() -> Small:
    groups = Groups((LabelSpace.full(), _HALVES))

    def draw(draw: Generator, known: float) -> SegmBatch:
        space = round(known * 9) % 2
        codes = _labels(draw, 64, known, len(groups.spaces[space].groups))
        weights = 1 + torch.rand((64, 64), generator=draw)
        return SegmBatch(_bytes(draw, 64, 3), codes, weights, torch.tensor(space))

    network = build(SegmConfig(input_size=64, lite_fpn=LiteFpnConfig((8, 8, 8, 8, 8), pretrained=False)))
    return Small(network, SegmStep(TAXONOMY, groups=groups), Noise(draw), collate_segm)


def _lom(stage: str) -> Small:
    def draw(draw: Generator, known: float) -> LomBatch:
        points = INPUT_SIZE * torch.rand((264, 2), generator=draw)
        covered = torch.randint(2, (264,), generator=draw).float()
        covered[round(known * 264) :] = torch.nan
        angles = 60 * torch.rand(3, generator=draw) - 30
        flags = torch.randint(2, (len(CLASSES),), generator=draw).bool()
        return LomBatch(_bytes(draw, INPUT_SIZE, 3), points, angles, flags, covered)

    network = Lom(LomConfig(width=0.25))
    if stage == "visibility":
        network.freeze_landmarks()
    return Small(network, LomStep(stage, rarity=torch.arange(1.0, 1 + len(CLASSES))), Noise(draw), collate_lom)


def _dom(joint: bool) -> Small:
    def draw(draw: Generator, known: float) -> tuple[Tensor, Tensor, Tensor]:
        side = RLA_SMOKE.size
        mask = torch.zeros((side, side), dtype=torch.uint8)
        mask[: round(known * side)] = 255
        return _bytes(draw, side, 3), _bytes(draw, side, 3), mask

    network = DomNetwork(RLA_SMOKE)
    for parameter in network.head_parameters():
        parameter.requires_grad_(joint)
    return Small(network, DomStep(3, joint), Noise(draw), collate_dom)


def _uvm() -> Small:
    config = UVM_PRESETS["smoke"].uvm
    identity = Identity(lambda faces: faces.flatten(1), *frontal_view(32, 0.1))

    def draw(draw: Generator, known: float) -> UvBatch:
        shown = torch.rand((config.size, config.size), generator=draw) < known
        visible = shown & (torch.rand(shown.shape, generator=draw) < 0.5)
        texture, partial, filled = (_bytes(draw, config.size, 3) for _ in range(3))
        return UvBatch(texture, shown, visible, partial, filled, _labels(draw, config.size, known))

    return Small(UvGan(config), UvmStep(identity=identity), Noise(draw), collate_uvm)


def _ppm(head: str) -> Small:
    def draw(draw: Generator, known: float) -> tuple[Tensor, Tensor, Tensor]:
        angles = 80 * torch.rand(3, generator=draw) - 40
        if known < 0.4:
            angles[0] += 140  # beyond the bins
        rotation = torch.from_numpy(pose.rotation(angles.numpy())).float()
        return _bytes(draw, 64, 3), angles, rotation

    network = PoseNetwork(PpmConfig(head, input_size=64, pretrained=False))
    return Small(network, PoseStep(), Noise(draw), collate_ppm)


MODULES: dict[str, Callable[[], Small]] = {
    "segm": _segm,
    "lom landmarks": lambda: _lom("landmarks"),
    "lom visibility": lambda: _lom("visibility"),
    "dom stage 1": lambda: _dom(joint=False),
    "dom stage 2": lambda: _dom(joint=True),
    "uvm": _uvm,
    "ppm bins": lambda: _ppm("bins"),
    "ppm sixd": lambda: _ppm("sixd"),
}
"""By name, the stages and heads of a module apart."""


def small(name: str) -> Small:
    """A module with the same first weights at every call."""
    torch.manual_seed(0)
    return MODULES[name]()
