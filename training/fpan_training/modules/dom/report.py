"""`fpan-train report dom`: what a trained DOM recovers, beside fillings that are told where the occlusion is."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from fpan_training.data.assets import Split
from fpan_training.data.folder import DataError
from fpan_training.engine.plots import contact_sheet, to_bytes
from fpan_training.engine.progress import track
from fpan_training.evaluate.bootstrap import bootstrap
from fpan_training.modules.dom.baselines import Filling, MeanFace, local_mean, navier_stokes, telea
from fpan_training.modules.dom.data import Faces, Occlude, OcclusionData
from fpan_training.modules.dom.evaluate import ZOOM
from fpan_training.modules.dom.model import DomNetwork, compose, load
from fpan_training.modules.dom.settings import NO_GLASSES
from fpan_training.modules.dom.step import mean_face, to_input
from fpan_training.modules.dom.train import VAL_SEED, generator, stores_of
from fpan_training.modules.lom.clean import CleanConfig, CleanFaces
from fpan_training.modules.report import Report
from fpan_training.occlusion.generator import OcclusionConfig
from fpan_training.taxonomy import TAXONOMY

SPLITS: dict[Split, str] = {
    "val": "occluders of validation",
    "heldout": "a family of occluders that training never saw",
}
_SURE = 0.5
_SHOWN = 16

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


class Restoration(NamedTuple):
    """What DOM says of a picture, at its own resolution."""

    composed: Image
    """With its own mask, uint8 (size, size, 3)."""
    face: Image
    """The reconstruction alone, uint8 (size, size, 3)."""
    mask: Mask
    """Of the mask channel, bool (size, size)."""
    compared: Mask
    """Of the comparison, bool (size, size)."""


class Figure(NamedTuple):
    """A figure and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class Row(NamedTuple):
    """Figures of one method over a data set, mean over occluded pictures."""

    method: str
    mask: str
    """Whose mask it fills."""
    psnr: Figure
    """dB inside the occlusion."""
    ssim: Figure
    """Structural similarity there."""


@dataclass(frozen=True)
class DomReport(Report):
    """Measures what a trained DOM recovers, beside inpainting, which is told where the occlusion is, and the mean face
    of the split ``train``.
    """

    backgrounds: Path | None = None
    """As for `fpan-train train dom`."""
    occluders: Path | None = None
    """As for `fpan-train train dom`."""
    turns: int = 3
    """How often each picture is occluded, each time in another way."""
    splits: tuple[Split, ...] = tuple(SPLITS)
    """Of the occluders; where they are drawn for want of files, none is held out."""
    occlusion: OcclusionConfig = NO_GLASSES
    """What covers the faces."""

    def __call__(self) -> Path:
        """Writes the report and returns the path of its page."""
        size = load(self.checkpoint).rla.config.size
        # All are measured, as before anybody told which are clean.
        every = CleanFaces(CleanConfig(clean_data=(self.data.name,)))
        val = Faces.open([self.data], "val", size, stores_of(self.faces, [self.data]), every)
        train = Faces.open([self.data], "train", size, clean=every)
        splits = [split for split in self.splits if split != "heldout" or self.occluders is not None]
        return self.measure(
            val, train, {s: generator(self.occlusion, self.backgrounds, self.occluders, s) for s in splits}
        )

    def measure(self, val: Faces, train: Faces, occluders: Mapping[Split, Occlude]) -> Path:
        """The same with faces and occlusion generators that are at hand."""
        network = load(self.checkpoint)
        config = network.rla.config
        if config.channels != 3:
            raise DataError("the report compares colours: give a checkpoint of a network with 3 channels")
        mean = to_bytes(mean_face(train.images, config))
        fillings: dict[str, Filling] = {
            "mean face": MeanFace(mean),
            "local mean": local_mean,
            "OpenCV, Telea": telea,
            "OpenCV, Navier-Stokes": navier_stokes,
        }
        self.out.mkdir(parents=True, exist_ok=True)
        parts = [_HEAD.format(size=config.size, pictures=len(val), turns=self.turns)]
        table: list[tuple[object, ...]] = []
        for split, occlude in occluders.items():
            data = OcclusionData(val, config.size, occlude, TAXONOMY, seed=VAL_SEED)
            rows, ious = self._split(network, data, fillings, split)
            parts.append(_markdown(split, rows, ious))
            table += [(split, r.method, r.mask, *r.psnr, *r.ssim, *[""] * 3) for r in rows]
            table += [(split, name, "", *[""] * 6, *iou) for name, iou in ious.items()]
        header = (
            "occluders",
            "method",
            "mask",
            "psnr",
            "psnr_low",
            "psnr_high",
            "ssim",
            "ssim_low",
            "ssim_high",
            "iou",
            "iou_low",
            "iou_high",
        )
        with (self.out / "dom.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *table])
        page = self.out / "dom.md"
        page.write_text("\n".join(parts), encoding="utf-8")
        return page

    def _split(
        self, network: DomNetwork, data: OcclusionData, fillings: Mapping[str, Filling], split: Split
    ) -> tuple[list[Row], dict[str, Figure]]:
        # Summed over the turns of a picture: what is drawn again for the intervals is pictures.
        scores: dict[tuple[str, str], NDArray[np.float64]] = {}
        overlaps = {name: np.zeros((len(data), 2)) for name in ("mask channel", "compared")}
        strips: list[Image] = []
        indices = range(self.turns * len(data))
        for index in track(indices, f"measuring on {split}"):
            occluded, clean, share = (part.numpy() for part in data[index])
            mask, picture = share > _SURE * 255, index % len(data)
            answer = ask(network, occluded)
            for name, guess in (("mask channel", answer.mask), ("compared", answer.compared)):
                overlaps[name][picture] += (guess & mask).sum(), (guess | mask).sum()
            if mask.any():
                filled = {("occluded picture", "none"): occluded}
                filled |= {(name, "true"): fill(occluded, mask) for name, fill in fillings.items()}
                filled["DOM", "own"] = answer.composed
                filled["DOM", "true"] = np.where(mask[..., None], answer.face, occluded)
                for key, result in filled.items():
                    rows = scores.setdefault(key, np.zeros((len(data), 3)))
                    rows[picture] += *inside(result, clean, mask), 1
            if index < len(data) and index % max(1, len(data) // _SHOWN) == 0 and len(strips) < _SHOWN:
                shown = [occluded, answer.composed, _grey(answer.compared), _grey(mask), clean]
                strips.append(np.concatenate(shown, 1))
        contact_sheet(strips, self.out / f"dom_{split}.png", zoom=ZOOM)
        return (
            [Row(*key, *(_figure(sums[:, [k, 2]]) for k in range(2))) for key, sums in scores.items()],
            {name: _figure(sums) for name, sums in overlaps.items()},
        )


def ask(network: DomNetwork, occluded: Image) -> Restoration:
    """DOM's answer to one picture of its own size."""
    with torch.inference_mode():
        x = to_input(torch.from_numpy(occluded)[None], 3)
        output, compared = network(x, every_step=False)
        face, mask = output.faces[:, -1], output.mask_logits[:, -1].sigmoid()
        composed = compose(x, face, mask)
    sure, agreed = (m[0, 0].numpy() > _SURE for m in (mask, compared.sigmoid()))
    return Restoration(to_bytes(composed[0]), to_bytes(face[0]), sure, agreed)


def inside(picture: Image, clean: Image, mask: Mask) -> tuple[float, float]:
    """PSNR in dB and mean SSIM (Wang et al. 2004, as scikit-image has it) over the pixels of the mask."""
    error = np.square(picture[mask].astype(np.float64) - clean[mask]).mean() / 255**2
    _, similarity = structural_similarity(picture, clean, channel_axis=2, full=True)
    return float(-10 * np.log10(max(error, 1e-10))), float(similarity[mask].mean())


def _figure(sums: NDArray[np.float64]) -> Figure:
    """The ratio of two sums over pictures, float (pictures, 2), with its 95 % bootstrap interval."""

    def ratio(total: NDArray[Any]) -> dict[str, float]:
        return {"": float(total[0] / total[1]) if total[1] else float("nan")}

    return Figure(ratio(sums.sum(0))[""], *bootstrap(cast(Any, sums), ratio)[""])


def _grey(mask: Mask) -> Image:
    return np.repeat(mask[..., None], 3, 2).astype(np.uint8) * 255


_HEAD = """# DOM: what it recovers

PSNR and SSIM inside the occlusion at {size} x {size} pixels, mean over {pictures} validation pictures, each occluded
{turns} times; in brackets the 95 % bootstrap interval over pictures. **Every filling but "DOM, own mask" is given the
true mask**; DOM has to find the occlusion itself. "DOM, true mask" puts the same reconstruction behind the true mask.
"""


def _markdown(split: Split, rows: list[Row], ious: dict[str, Figure]) -> str:
    lines = [
        f"\n## {SPLITS[split].capitalize()}\n",
        "| method | mask | PSNR, dB | SSIM |",
        "|---|---|---|---|",
    ]
    lines += [f"| {r.method} | {r.mask} | {_shown(r.psnr, 2)} | {_shown(r.ssim, 3)} |" for r in rows]
    lines += ["\n| occlusion mask | IoU |", "|---|---|"]
    lines += [f"| {name} | {_shown(v, 3)} |" for name, v in ious.items()]
    return "\n".join([*lines, f"\nOccluded, recovered, compared mask, true mask, truth:\n\n![](dom_{split}.png)\n"])


def _shown(figure: Figure, digits: int) -> str:
    return f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"
