"""A trained network on its way into the model repository: exported, and held against what answers now."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from fpan.contract import GateResult
from torch import nn

from fpan_training.data.augment import resize_pair
from fpan_training.data.folder import FaceFolder
from fpan_training.engine.loop import batches_of
from fpan_training.modules.segm.checkpoint import load_network, read_config
from fpan_training.modules.segm.mirrored import Mirrored
from fpan_training.modules.segm.model import SegmConfig
from fpan_training.modules.segm.sources import read_sources
from fpan_training.release.export.onnx_file import export_segm, label_agreement
from fpan_training.release.gates.contender import MODEL_FILE, EvaluatedModel, find_champion
from fpan_training.release.gates.gates import Gates, refuse_failed, show
from fpan_training.release.gates.strata import TEST_SPLIT, open_set
from fpan_training.release.gates.trial import GateInputs
from fpan_training.taxonomy import CELEBA19_CLASSES, TAXONOMY

_BATCH = 8


class Exported(NamedTuple):
    """A candidate: what was trained, and all that its gates look at."""

    network: nn.Module
    """In evaluation mode, mirrored if it will be served so."""
    config: SegmConfig
    weights: dict[str, torch.Tensor]
    stored: dict[str, Any]
    """The configuration as the checkpoint has it."""
    trial: GateInputs


@dataclass(frozen=True)
class ReleaseCandidate:
    """Which run wants to be a version of which model, and what it must pass."""

    run: Path
    """Folder of the run."""
    data: Path
    """The labelled pictures; their ``val`` split is evaluated, by groups where the masks merge classes."""
    repository: str = "model_repository"
    """The model repository: a folder, or ``s3://BUCKET/PREFIX``."""
    name: str = "segm"
    """Model name to publish under, whose champion is compared with."""
    mirrored: bool = True
    """Serve the mean over the picture and its mirror image: better and the same on both sides, at twice the cost."""
    data_name: str = ""
    """Of the labelled pictures; empty: as their ``dataset.json`` said when they were trained on."""
    data_licence: str = ""
    """Terms of all data sets, backgrounds and occluders of which nothing else tells them."""
    gates: Gates = field(default_factory=Gates)
    """What a version must pass."""
    allow_unmeasured: bool = False
    """Let pass a version of which a gate could not be measured, for want of pictures."""

    def exported(self, work: Path) -> Exported:
        """The candidate's file, ``model.onnx`` in ``work``, and what it is held against.

        Raises:
            DataError: nobody says under which terms the pictures are.
            RepositoryError: the champion is broken.
        """
        train = FaceFolder.open(self.data, "train")
        sources = read_sources(self.run, self.data_name, self.data_licence, len(train))
        checkpoint = torch.load(self.run / "best.pt", map_location="cpu", weights_only=True)
        config = read_config(checkpoint["segm"])
        network = load_network(config, checkpoint["network"])
        if self.mirrored:
            network = Mirrored(network, TAXONOMY)
        size, path = config.input_size, work / MODEL_FILE
        export_segm(network, size, path)
        test = open_set(f"{sources[0].name}, {TEST_SPLIT}", self.data, CELEBA19_CLASSES)
        val = test.folder
        pictures = (resize_pair(val[i].image, val[i].labels, size)[0] for i in range(len(val)))
        held_out = set(val.names)  # where there are no splits, all pictures are in each
        trial = GateInputs(
            model=self.name,
            candidate=EvaluatedModel("the candidate", path, size, TAXONOMY),
            champion=find_champion(self.repository, self.name, work),
            agreement=label_agreement(network, path, map(np.stack, batches_of(pictures, _BATCH))),
            val=test,
            train=train.only(i for i, name in enumerate(train.names) if name not in held_out),
            sources=sources,
            work=work,
        )
        return Exported(network, config, checkpoint["network"], checkpoint["segm"], trial)

    def judged(self, candidate: Exported) -> tuple[GateResult, ...]:
        """What every gate says of the candidate, printed as a table.

        Raises:
            GateError: a gate was failed, or could not be measured.
        """
        results = self.gates(candidate.trial)
        show(results)
        refuse_failed(results, allow_unmeasured=self.allow_unmeasured)
        return results
