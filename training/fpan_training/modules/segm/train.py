"""`fpan-train train segm`: trains a segmentation network on a folder of labelled faces."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

import torch
import tyro
from fpan.contract import Taxonomy
from torch import nn

from fpan_training.data import Augment
from fpan_training.data.assets import Assets
from fpan_training.data.check import check, check_labelled
from fpan_training.data.decoded import decode_once
from fpan_training.data.folder import name_of
from fpan_training.data.ignored import trusted
from fpan_training.data.loader import repeat_factors
from fpan_training.data.mixture import MixedData, Part
from fpan_training.data.paste.part import PartBank
from fpan_training.data.paste.paster import PartPaster, PasteConfig
from fpan_training.data.soft_labels import SoftLabelStore
from fpan_training.engine.run import Run
from fpan_training.modules.predictions import PredictionStore
from fpan_training.modules.segm.data import SegmData, allocate, collate_segm, open_stores
from fpan_training.modules.segm.evaluate import validate
from fpan_training.modules.segm.groups import Groups
from fpan_training.modules.segm.in_loop import RouteInLoop
from fpan_training.modules.segm.keep import DistillConfig, Distiller
from fpan_training.modules.segm.model import build
from fpan_training.modules.segm.settings import PRESETS, SegmSettings
from fpan_training.modules.segm.sources import SOURCES, Used, sources_of, started_from
from fpan_training.modules.segm.step import SegmStep
from fpan_training.modules.segm.weights import WeightConfig
from fpan_training.modules.training import CONTACT_SHEET, CoveredTraining
from fpan_training.taxonomy import CELEBA19_CLASSES, TAXONOMY


@dataclass(frozen=True)
class SegmTraining(CoveredTraining):
    """Trains SEGM. Run it again with the same run folder and it goes on where it stopped."""

    data: tuple[str | Path, ...]
    """Data sets of aligned faces: folders with ``images/``, ``masks/`` and ``split.json``, or shards at a path or URL.
    The first one's ``val`` is validated on; its masks tell every class apart that ``labelled_classes`` counts, unless
    the run starts from a checkpoint: then it is validated in their groups. The ``dataset.json`` of the others says what
    their masks tell apart."""
    settings: Annotated[SegmSettings, tyro.conf.arg(name="")] = field(default_factory=SegmSettings)
    share: tuple[float, ...] = ()
    """What part of an epoch's pictures each data set after the first makes up; empty: every picture once."""
    epoch_pictures: int = 0
    """Pictures of an epoch; 0: every picture of the first data set once."""
    parts: Path | None = None
    """Bank of `fpan-train parts`: worn things that are put on faces whose labels tell every class apart."""
    paste: PasteConfig = field(default_factory=PasteConfig)
    """How often which of them."""
    licences: dict[str, str] = field(default_factory=dict)
    """Terms of folders of pictures that do not say them in a ``dataset.json``, by the folders' names: a version tells
    the terms of all that it was made from."""
    predictions: Path | None = None
    """Folder of stores of `fpan-train predictions`, one for each data set by its name; needed for ``weights``."""
    soft: Path | None = None
    """Folder of stores of `fpan-train soft-labels`, one for each data set by its name: what a teacher says, which is
    learnt from beside the labels (``loss.soft``)."""
    weights: WeightConfig = field(default_factory=WeightConfig)
    """Eq. 2 of the paper: what LOM and PPM do for SEGM."""
    route: RouteInLoop = field(default_factory=RouteInLoop)
    """Routing in the loop, which needs ``faces``; `fpan-train route` does the same ahead of training."""
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

    presets: ClassVar = PRESETS

    def __call__(self) -> Run:
        """Trains to the end and returns the run.

        Raises:
            DataError: something is wrong with the data; all of it is named.
        """
        if self.start_from is None:
            check_labelled(self.data[0])
        else:
            check(self.data[0])
        check(*self.data[1:])
        return self.fit()

    def fit(self) -> Run:
        """The same with data that have been checked."""
        settings, size = self.settings, self.settings.segm.input_size
        weights = settings.loss.class_weights
        if weights and len(weights) != settings.segm.classes:
            raise ValueError(f"{len(weights)} class weights for {settings.segm.classes} classes")
        if self.decoded_side and (self.route.wanted or not self.weights.plain):
            raise ValueError("--decoded-side is not for routing and weights, which know places in whole pictures")
        stores: tuple[PredictionStore, ...] = ()
        if not self.weights.plain:
            if self.predictions is None:
                raise ValueError("weights other than 0 need --predictions, which `fpan-train predictions` makes")
            stores = open_stores(self.predictions, self.data)
        assets, names = Assets.open(self.backgrounds, self.occluders), [name_of(each) for each in self.data]
        parts = [Part.open(location, "train") for location in self.data]
        if self.decoded_side:
            parts = [decode_once(part, self.decoded_side) for part in parts]
        parts, counts = self.route(trusted(parts, names, self.ignore_list), names, self.faces, self.run)
        repeats = repeat_factors(parts[0].pictures, settings.rare, self.labelled_classes)
        train = SegmData(
            allocate(parts, self.share, self.epoch_pictures, repeats),
            size,
            partial(self._augment, assets=assets, bank=None if self.parts is None else PartBank.load(self.parts)),
            self.seed,
            self.weights,
            stores,
            () if self.soft is None else tuple(SoftLabelStore(self.soft / name) for name in names),
        )
        val = MixedData((Part.open(self.data[0], "val"),), size)
        torch.manual_seed(self.seed)
        network = build(settings.segm)
        keeper = None
        if self.start_from is not None:
            network.load_state_dict(torch.load(self.start_from, map_location="cpu", weights_only=True)["network"])
            keeper = Distiller(network, self.keep)
        elif self.keep != DistillConfig():
            raise ValueError("without --start-from there is nothing to keep")
        known = sources_of(self._used(parts, assets), self.start_from, self.licences)
        told = {"data": names, "start_from": started_from(self.start_from)}
        self.begin(**told, **{SOURCES: [source.model_dump() for source in known]})
        step = SegmStep(TAXONOMY, settings.loss, Groups(train.mixed.spaces), keeper=keeper)

        def check(average: nn.Module) -> dict[str, float]:
            figures = validate(average, step, val, self.labelled_classes, self.run / CONTACT_SHEET)
            return figures | counts.take()

        return self.train("loop", network, step, train, check, collate_segm, {"segm": asdict(settings.segm)})

    def _augment(self, taxonomy: Taxonomy, assets: Assets, bank: PartBank | None) -> Augment:
        # Where labels merge classes nobody knows what a thing would lie on.
        told_apart = len(taxonomy) == len(TAXONOMY)
        paster = None if bank is None or not told_apart else PartPaster(bank, self.paste)
        return Augment(taxonomy, self.settings.segm.input_size, self.settings.augment, assets, paster)

    def _used(self, parts: Sequence[Part], assets: Assets) -> Iterator[Used]:
        """Every folder that pictures are drawn from."""
        for location, part in zip(self.data, parts, strict=True):
            yield Used(location, len(part.pictures))
        if self.backgrounds is not None:
            yield Used(self.backgrounds, len(assets.backgrounds), "backgrounds")
        if self.occluders is not None:
            yield Used(self.occluders, len(assets.occluders) + len(assets.mask_textures), "occluders")
