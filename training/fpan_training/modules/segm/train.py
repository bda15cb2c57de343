"""`fpan-train train segm`: trains a segmentation network on a folder of labelled faces."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from fpan.contract import Taxonomy
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fpan_training.data import Augment, AugmentConfig, SegmentationData
from fpan_training.data.assets import Assets
from fpan_training.data.check import check, check_labelled
from fpan_training.data.decoded import decode_once
from fpan_training.data.ignored import trusted
from fpan_training.data.label_space import LabelSpace
from fpan_training.data.loader import repeat_factors
from fpan_training.data.mixture import MixedData, Part
from fpan_training.data.paste.part import PartBank
from fpan_training.data.paste.paster import PartPaster, PasteConfig
from fpan_training.data.soft_labels import SoftLabelStore
from fpan_training.engine import plots
from fpan_training.engine.loop import CONFIG_FILE, LoopConfig, Run, fit
from fpan_training.engine.resume_point import bring_resume_point
from fpan_training.evaluate import Confusion
from fpan_training.evaluate.grouped import Grouping
from fpan_training.modules.predictions import PredictionStore
from fpan_training.modules.segm.data import SegmData, allocate, collate_segm, name_of, open_stores
from fpan_training.modules.segm.groups import Groups
from fpan_training.modules.segm.in_loop import RouteInLoop
from fpan_training.modules.segm.keep import DistillConfig, Distiller
from fpan_training.modules.segm.loss import LossConfig
from fpan_training.modules.segm.model import SegmConfig, build
from fpan_training.modules.segm.sources import SOURCES, Used, sources_of, started_from
from fpan_training.modules.segm.step import SegmStep
from fpan_training.modules.segm.weights import WeightConfig
from fpan_training.taxonomy import CELEBA19_CLASSES, TAXONOMY


@dataclass(frozen=True)
class SegmTraining:
    """Trains SEGM. Run it again with the same run folder and it goes on where it stopped."""

    data: str | Path
    """Data set of aligned faces: a folder with ``images/``, ``masks/`` and ``split.json`` (``train``, ``val``), or
    shards at a path or URL. Its masks tell every class apart that ``labelled_classes`` counts; a run that starts from a
    checkpoint may also learn from masks that tell less apart, and is validated in their groups."""
    run: Path
    """Folder of the run: checkpoints, log, curve and contact sheet."""
    backgrounds: Path | None = None
    """Folder of pictures that replace the background."""
    occluders: Path | None = None
    """Folder of cut-outs with alpha that are pasted over faces and labelled ``occlusion``."""
    parts: Path | None = None
    """Bank of `fpan-train parts`: worn things that are put on faces whose labels tell every class apart."""
    paste: PasteConfig = field(default_factory=PasteConfig)
    """How often which of them."""
    licences: dict[str, str] = field(default_factory=dict)
    """Terms of folders of pictures that do not say them in a ``dataset.json``, by the folders' names: a version tells
    the terms of all that it was made from."""
    extra: tuple[str, ...] = ()
    """More data sets, whose ``dataset.json`` says what their masks tell apart; they are trained on only."""
    extra_share: tuple[float, ...] = ()
    """What part of an epoch's pictures each of ``extra`` makes up; empty: every picture once."""
    epoch_pictures: int = 0
    """Pictures of an epoch; 0: every picture of ``data`` once."""
    predictions: Path | None = None
    """Folder of stores of `fpan-train predictions`, one for each data set by its name; needed for ``weights``."""
    soft: Path | None = None
    """Folder of stores of `fpan-train soft-labels`, one for each data set by its name: what a teacher says, which is
    learnt from beside the labels (``loss.soft``)."""
    weights: WeightConfig = field(default_factory=WeightConfig)
    """Eq. 2 of the paper: what LOM and PPM do for SEGM."""
    route: RouteInLoop = field(default_factory=RouteInLoop)
    """Routing in the loop; `fpan-train route` does the same ahead of training."""
    resume_from: Path | None = None
    """A resume point (`fpan-train resume-point`) that a new run goes on from."""
    ignore_list: tuple[Path, ...] = ()
    """Lists of faulty labels in the form of `fpan-train audit`, as far as people agree: pictures that they name without
    a box are left out of training, and boxes are unknown."""
    decoded_side: int = 0
    """Side in pixels at which pictures are decoded once for all epochs, and kept in ``$FPAN_RUNS/cache``; those that
    show a wider frame than the aligned face's are kept that much larger. 1.5 times the input's side is all that
    augmentation shows. 0: they are decoded whenever they are read."""
    start_from: Path | None = None
    """Checkpoint whose weights a new run starts from."""
    keep: DistillConfig = field(default_factory=DistillConfig)
    """What is kept of that checkpoint."""
    labelled_classes: int = CELEBA19_CLASSES
    """Classes that the masks tell apart: ids 0 to one less. Validation counts those."""
    rare: float = 0.0
    """Pictures of a class that fewer than this share of the pictures show come more often; 0: each comes once."""
    segm: SegmConfig = field(default_factory=SegmConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)

    def __call__(self) -> Run:
        """Trains to the end and returns the run.

        Raises:
            DataError: something is wrong with the data; all of it is named.
        """
        if self.start_from is None:
            check_labelled(self.data)
        else:
            check(self.data)
        check(*self.extra)
        return self.fit()

    def fit(self) -> Run:
        """The same with data that have been checked."""
        size, locations = self.segm.input_size, (self.data, *self.extra)
        if self.loss.class_weights and len(self.loss.class_weights) != self.segm.classes:
            raise ValueError(f"{len(self.loss.class_weights)} class weights for {self.segm.classes} classes")
        if self.decoded_side and (self.route.wanted or not self.weights.plain):
            raise ValueError("--decoded-side is not for routing and weights, which know places in whole pictures")
        stores: tuple[PredictionStore, ...] = ()
        if not self.weights.plain:
            if self.predictions is None:
                raise ValueError("weights other than 0 need --predictions, which `fpan-train predictions` makes")
            stores = open_stores(self.predictions, locations)
        assets, names = Assets.open(self.backgrounds, self.occluders), [name_of(each) for each in locations]
        parts = [Part.open(location, "train") for location in locations]
        if self.decoded_side:
            parts = [decode_once(part, self.decoded_side) for part in parts]
        parts, counts = self.route(trusted(parts, names, self.ignore_list), names, self.run)
        repeats = repeat_factors(parts[0].pictures, self.rare, self.labelled_classes)
        train = SegmData(
            allocate(parts, self.extra_share, self.epoch_pictures, repeats),
            size,
            partial(self._augment, assets=assets, bank=None if self.parts is None else PartBank.load(self.parts)),
            self.loop.seed,
            self.weights,
            stores,
            () if self.soft is None else tuple(SoftLabelStore(self.soft / name_of(each)) for each in locations),
        )
        val = MixedData((Part.open(self.data, "val"),), size)
        torch.manual_seed(self.loop.seed)
        network = build(self.segm)
        keeper = None
        if self.start_from is not None:
            network.load_state_dict(torch.load(self.start_from, map_location="cpu", weights_only=True)["network"])
            keeper = Distiller(network, self.keep)
        elif self.keep != DistillConfig():
            raise ValueError("without --start-from there is nothing to keep")
        run = Run(self.run)
        bring_resume_point(self.resume_from, {"": run.folder})
        run.folder.mkdir(parents=True, exist_ok=True)
        named: dict[str, object] = {"data": name_of(self.data), "extra": [name_of(location) for location in self.extra]}
        known = sources_of(self._used(parts, assets), self.start_from, self.licences)
        named["start_from"] = started_from(self.start_from)
        named |= {SOURCES: [source.model_dump() for source in known]}
        config = json.dumps(asdict(self) | named, indent=2, default=name_of)
        (run.folder / CONFIG_FILE).write_text(config + "\n")
        step = SegmStep(TAXONOMY, self.loss, Groups(train.mixed.spaces), keeper=keeper)

        def validate(average: nn.Module) -> dict[str, float]:
            plots.curve(run.history, run.folder / "curve.png")
            figures = validate_segm(average, step, val, self.labelled_classes, run.folder / "contact.png")
            return figures | counts.take()

        describe = {"segm": asdict(self.segm)}
        return fit(network, step, train, validate, run, self.loop, collate_segm, describe)

    def _augment(self, taxonomy: Taxonomy, assets: Assets, bank: PartBank | None) -> Augment:
        # Where labels merge classes nobody knows what a thing would lie on.
        told_apart = len(taxonomy) == len(TAXONOMY)
        paster = None if bank is None or not told_apart else PartPaster(bank, self.paste)
        return Augment(taxonomy, self.segm.input_size, self.augment, assets, paster)

    def _used(self, parts: Sequence[Part], assets: Assets) -> Iterator[Used]:
        """Every folder that pictures are drawn from."""
        for location, part in zip((self.data, *self.extra), parts, strict=True):
            yield Used(location, len(part.pictures))
        if self.backgrounds is not None:
            yield Used(self.backgrounds, len(assets.backgrounds), "backgrounds")
        if self.occluders is not None:
            yield Used(self.occluders, len(assets.occluders) + len(assets.mask_textures), "occluders")


def validate_segm(
    network: nn.Module,
    step: SegmStep,
    val: SegmentationData | MixedData,
    classes: int,
    sheet: Path | None,
    batch_size: int = 8,
) -> dict[str, float]:
    """Scores, mIoU and mean F1, on the validation pictures; their mean is the score. Draws a contact sheet.

    What counts are the first ``classes`` classes, or the groups of a data set whose masks merge classes.
    """
    space = val.parts[0].space if isinstance(val, MixedData) else LabelSpace.full()
    grouping = None if space.plain else Grouping(space.of_codes)
    names = [c.name for c in TAXONOMY.classes[:classes]] if grouping is None else grouping.names
    confusion = Confusion(len(names), TAXONOMY.ignore)
    rows = []
    with torch.inference_mode():
        for images, labels, *_ in DataLoader(cast(Dataset[tuple[Tensor, ...]], val), batch_size):
            predicted = step.validate(network, (images, labels), confusion, grouping)
            rows += list(zip(images.numpy(), labels.numpy(), predicted.numpy(), strict=True))
    if sheet is not None:
        plots.contact_sheet(rows[:: max(1, len(rows) // 12)][:12], space.coded, sheet)
    scores = confusion.scores()
    # Without the classes that no picture has: NaN is no JSON.
    known = [(name, float(f)) for name, f in zip(names, scores.f1, strict=True) if not np.isnan(f)]
    named = {f"f1/{name}": f for name, f in known}
    return {"score": (scores.miou + scores.mean_f1) / 2, "miou": scores.miou, "mean_f1": scores.mean_f1, **named}
