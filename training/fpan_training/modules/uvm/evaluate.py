"""How well UVM completes what was hidden of a map: PSNR, beside that of mirroring, and the labels."""

from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

from fpan_training.engine.plots import contact_sheet, overlay, some, to_bytes
from fpan_training.modules.dom.evaluate import psnr_inside
from fpan_training.modules.uvm.data import UvPairs, collate
from fpan_training.modules.uvm.model import UvGan
from fpan_training.modules.uvm.step import colours, complete_batch, hidden
from fpan_training.taxonomy import TAXONOMY

VAL_SEED = 20_18
"""Of what is hidden on the validation maps: the same in every run, whatever the run's own seed."""
_SHOWN, _ZOOM = 8, 2
"""Of the contact sheet: maps, and how much they are enlarged."""


def validate(network: UvGan, val: UvPairs, batch_size: int, sheet: Path) -> dict[str, float]:
    """PSNR in dB of what was hidden, mean over maps, which is the score; the same of mirroring; and how much of the
    hidden labels the label head gets right. Draws partial map, completed map, truth and the head's labels.
    """
    ours: list[float] = []
    mirrored: list[float] = []
    right = known = 0
    rows = []
    for batch in DataLoader(val, batch_size, collate_fn=collate):
        texture, completed = complete_batch(network, batch)
        texture = texture.cpu()
        where = hidden(batch)
        truth = colours(batch.texture)
        ours += psnr_inside(texture, truth, where)
        mirrored += psnr_inside(colours(batch.filled), truth, where)
        labels = completed.labels.argmax(1).cpu()
        asked = (where[:, 0] > 0) & (batch.labels != TAXONOMY.ignore)
        right += int((labels == batch.labels)[asked].sum())
        known += int(asked.sum())
        for shown, partial, whole, parts in zip(texture, batch.partial, batch.texture, labels, strict=True):
            painted = overlay(whole.numpy(), parts.numpy().astype(np.uint8), TAXONOMY)
            rows.append(np.concatenate([partial.numpy(), to_bytes(shown), whole.numpy(), painted], 1))
    contact_sheet(some(rows, _SHOWN), sheet, zoom=_ZOOM)
    score = float(np.mean(ours))
    labels_right = {"labels_right": right / known} if known else {}
    return {"score": score, "psnr": score, "psnr_mirror": float(np.mean(mirrored)), **labels_right}
