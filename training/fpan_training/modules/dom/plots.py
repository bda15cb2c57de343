"""Pictures of DOM for people: curves, and rows of occluded, recovered, mask and truth."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from fpan_training.modules.dom.data import Triple
from fpan_training.modules.dom.model import RlaOutput, compose
from fpan_training.modules.dom.step import DomStep

_ZOOM = 2
_PER_ROW = 2


def curve(history: Sequence[dict[str, float]], path: Path) -> None:
    """Draws the loss and the PSNR inside the occlusion over the epochs."""
    if not history:
        return
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([r["epoch"] for r in history], [r["loss"] for r in history], label="training loss")
    validated = [r for r in history if "score" in r]
    right.plot([r["epoch"] for r in validated], [r["psnr"] for r in validated], marker=".", label="val PSNR inside, dB")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=110)


def sheet(network: nn.Module, step: DomStep, batches: Sequence[Triple], path: Path, rows: int) -> None:
    """Draws occluded, recovered, the two masks beside the true one (red, green, blue), and truth."""
    triples = [picture for batch in batches for picture in zip(*batch, strict=True)]
    chosen = triples[:: max(1, len(triples) // rows)][:rows]
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
    write_rows([to_bytes(strip) for strip in strips], path)


def to_bytes(picture_chw: Tensor) -> NDArray[np.uint8]:
    """Float (3, H, W) in [0, 1] as RGB, uint8 (H, W, 3)."""
    return (picture_chw.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def write_rows(strips: Sequence[NDArray[np.uint8]], path: Path) -> None:
    """Writes strips of one size, two beside each other, enlarged."""
    whole = list(strips) + [np.zeros_like(strips[0])] * (-len(strips) % _PER_ROW)
    lines = [np.concatenate(whole[i : i + _PER_ROW], 1) for i in range(0, len(whole), _PER_ROW)]
    large = cv2.resize(np.concatenate(lines), None, fx=_ZOOM, fy=_ZOOM, interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(path), cv2.cvtColor(np.asarray(large, np.uint8), cv2.COLOR_RGB2BGR))
