"""How well DOM takes off what covers a face, and tells where it was: PSNR inside the occlusion, IoU of the masks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fpan_training.engine.plots import contact_sheet, some, to_bytes
from fpan_training.modules.dom.data import Triple
from fpan_training.modules.dom.model import RlaOutput, compose
from fpan_training.modules.dom.step import DomStep

ZOOM = 2
"""Of contact sheets: the network's pictures are small."""
_SHOWN = 12
"""Pictures on a contact sheet."""
_SURE = 0.5


@dataclass
class Recovery:
    """Sums over pictures from which the figures are made."""

    joint: bool
    """Whether there is a mask to compose with; if not, it is the bare reconstruction that is measured."""
    psnr: list[float] = field(default_factory=list)
    """By picture, inside the occlusion, of the picture composed with DOM's own mask."""
    psnr_true_mask: list[float] = field(default_factory=list)
    """The same composed with the true mask, which is the reconstruction itself there."""
    counts: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """By mask: intersection and union in pixels, summed over pictures."""

    def add(
        self, output: RlaOutput, compared: Tensor | None, occluded: Tensor, clean: Tensor, mask_b1hw: Tensor
    ) -> None:
        """Counts a batch. Pictures in which nothing is covered have no inside and count for the masks only."""
        faces = output.faces[:, -1].float()
        answer = faces
        if self.joint and output.mask_logits is not None and compared is not None:
            last = output.mask_logits[:, -1].sigmoid()
            answer = compose(occluded, faces, last)
            for name, guess in (("mask", last), ("compared", compared.sigmoid())):
                hit, truth = guess > _SURE, mask_b1hw > _SURE
                both = np.array([(hit & truth).sum().item(), (hit | truth).sum().item()], np.int64)
                self.counts[name] = self.counts.get(name, np.zeros(2, np.int64)) + both
        for onto, guess in ((self.psnr, answer), (self.psnr_true_mask, faces)):
            onto += psnr_inside(guess, clean, mask_b1hw)

    def figures(self) -> dict[str, float]:
        """``score`` is the PSNR inside the occlusion in dB, mean over pictures; IoUs are of the summed counts."""
        score = float(np.mean(self.psnr)) if self.psnr else float("-inf")
        rows = {"score": score, "psnr": score}
        if self.joint:
            rows["psnr_true_mask"] = float(np.mean(self.psnr_true_mask)) if self.psnr else float("-inf")
        return rows | {f"iou_{name}": float(both[0] / max(1, both[1])) for name, both in self.counts.items()}


def psnr_inside(guess_bchw: Tensor, clean_bchw: Tensor, mask_b1hw: Tensor) -> list[float]:
    """Peak signal to noise ratio in dB over the covered pixels, by picture; without those that have none."""
    inside = (mask_b1hw > _SURE).float()
    pixels = inside.sum((1, 2, 3)) * clean_bchw.shape[1]
    errors = ((guess_bchw - clean_bchw).square() * inside).sum((1, 2, 3))
    known = pixels > 0
    return cast(list[float], (-10 * torch.log10((errors / pixels.clamp(min=1)).clamp(min=1e-10)))[known].tolist())


def validate(network: nn.Module, step: DomStep, batches: Iterable[Triple]) -> dict[str, float]:
    """Figures of the network on occluded pictures whose truth is known."""
    recovery = Recovery(step.joint)
    device = next(network.parameters()).device
    with torch.inference_mode():
        for batch in batches:
            a, b, c = (part.to(device) for part in batch)
            occluded, clean, mask = step.inputs((a, b, c))
            output, compared = network(occluded, detect=step.joint, every_step=False)
            recovery.add(output, compared, occluded, clean, mask)
    return recovery.figures()


def draw_faces(network: nn.Module, step: DomStep, batches: Sequence[Triple], path: Path) -> None:
    """Draws occluded, recovered, the two masks beside the true one (red, green, blue), and truth."""
    triples = [picture for batch in batches for picture in zip(*batch, strict=True)]
    chosen = some(triples, _SHOWN)
    stacked = cast(
        Triple, tuple(torch.stack(part).to(next(network.parameters()).device) for part in zip(*chosen, strict=True))
    )
    occluded, clean, mask = step.inputs(stacked)
    with torch.inference_mode():
        output, compared = cast(tuple[RlaOutput, Tensor | None], network(occluded, detect=step.joint, every_step=False))
        faces = output.faces[:, -1].float()
        shown, masks = faces, mask.expand(-1, 3, -1, -1)
        if output.mask_logits is not None and compared is not None:
            guess = output.mask_logits[:, -1].sigmoid()
            shown, masks = compose(occluded, faces, guess), torch.cat([guess, compared.sigmoid(), mask], 1)
    strips = [
        torch.cat([part.expand(3, -1, -1) for part in row], 2)
        for row in zip(occluded, shown, faces, masks, clean, strict=True)
    ]
    contact_sheet([to_bytes(strip) for strip in strips], path, zoom=ZOOM)
