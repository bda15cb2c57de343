"""`fpan-train register`: exports a trained network, proves it, evaluates it and writes it into the model repository."""

import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import numpy as np
import torch
from fpan.contract import GOLDEN_FILE, Evaluation, GateResult, ModelCard, sha256_of
from fpan.contract.card import Tensor as CardTensor
from fpan.registry import Registry, open_store
from numpy.typing import NDArray
from torch import nn

from fpan_training.data.folder import FaceFolder
from fpan_training.data.label_space import LabelSpace
from fpan_training.evaluate.grouped import Grouping
from fpan_training.evaluate.segmentation import evaluate
from fpan_training.landmarks.aligned import read_template
from fpan_training.modules.segm.cost import macs
from fpan_training.modules.segm.sources import terms_of
from fpan_training.modules.segm.step import SegmStep
from fpan_training.nets.interface import SegmNetwork
from fpan_training.release.candidate import Exported, ReleaseCandidate
from fpan_training.release.export.golden import golden_pictures
from fpan_training.release.export.onnx_file import OUTPUTS
from fpan_training.release.gates.contender import MODEL_FILE
from fpan_training.release.reference import measure_reference
from fpan_training.taxonomy import CELEBA19_CLASSES, TAXONOMY

_MIRRORED = ", mean over both sides"
_TITLES = {
    "lite_fpn": "LiteFPN: EfficientNet-Lite0 encoder (ImageNet), top-down decoder",
    "rtformer_slim": "RTFormer-Slim, trained from scratch",
    "bisenet": "BiSeNet",
    "unet": "U-Net, trained from scratch",
}


@dataclass(frozen=True)
class Register(ReleaseCandidate):
    """Writes the best checkpoint of a run into the model repository as a new version, if it passes every gate.

    The repository is made where it is missing. A version that fails a gate is not written, and no alias moves. What
    answers goes on answering: `fpan models promote` changes that. A run that has been written before is not again.
    """

    weights_licence: str = ""
    """Of the weights; empty: the terms of all pictures that they were made from."""

    def __call__(self) -> ModelCard:
        """Exports, checks, evaluates, writes; returns the card of the run's version.

        Raises:
            DataError: nobody says under which terms the pictures are.
            GateError: a gate was failed, or could not be measured.
        """
        registry = Registry(open_store(self.repository, create=True))
        checkpoint = sha256_of(self.run / "best.pt")
        if there := self._written(registry, checkpoint):
            print(f"{self.repository}/{there.name}/{there.version} has this checkpoint already")
            return there
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            candidate = self.exported(work)
            gates = self.judged(candidate)
            halved = {k: v.half() if v.is_floating_point() else v for k, v in candidate.weights.items()}
            torch.save({"network": halved, "segm": candidate.stored}, work / "checkpoint_fp16.pt")
            (work / "config.json").write_text((self.run / "config.json").read_text())
            size = candidate.config.input_size
            golden_pictures(candidate.trial.candidate.path, size).write(work / GOLDEN_FILE)
            val = candidate.trial.val
            evaluations = tuple(_evaluate(candidate.network, size, val.folder, val.name, side) for side in (size, 0))
            files = {name: work / name for name in (MODEL_FILE, "checkpoint_fp16.pt", "config.json", GOLDEN_FILE)}
            registry.settle(self.name, "fpan-train register (what answered before)")
            card = self._card(candidate, evaluations, gates)
            reference = measure_reference(work / MODEL_FILE, val.folder, card, val.name)
            card = registry.publish(card.model_copy(update={"checkpoint": checkpoint, "reference": reference}), files)
        figures = f"val mIoU {evaluations[0].miou:.4f}, mean F1 {evaluations[0].mean_f1:.4f}"
        print(f"{self.repository}/{card.name}/{card.version}: {figures}")
        return card

    def _written(self, registry: Registry, checkpoint: str) -> ModelCard | None:
        """The version that a checkpoint was written as before, mirrored or not as it is to be now."""
        if not registry.store.versions(self.name):
            return None
        cards = (version.card for version in registry.versions(self.name) if not version.fault)
        return next(
            (c for c in cards if c and c.checkpoint == checkpoint and (_MIRRORED in c.title) == self.mirrored), None
        )

    def _card(
        self, candidate: Exported, evaluations: tuple[Evaluation, ...], gates: tuple[GateResult, ...]
    ) -> ModelCard:
        config, network, sources = candidate.config, candidate.network, candidate.trial.sources
        size, stride = config.input_size, cast(SegmNetwork, network).stride
        grid = size // stride
        return ModelCard(
            name=self.name,
            version=1,  # the registry gives it the next number, and lists the files
            task="segmentation",
            title=_TITLES[config.architecture] + (_MIRRORED if self.mirrored else ""),
            inputs=(CardTensor(name="images", dtype="UINT8", shape=(size, size, 3)),),
            outputs=(
                CardTensor(name="labels", dtype="UINT8", shape=(size, size)),
                CardTensor(name="confidence", dtype="UINT8", shape=(size, size)),
                CardTensor(name="logits", dtype="FP32", shape=(config.classes, grid, grid)),
            ),
            on_demand=OUTPUTS[2:],
            input_size=size,
            taxonomy=TAXONOMY,
            alignment=read_template(),
            weights_licence=self.weights_licence or terms_of(sources),
            training_data=sources,
            evaluations=evaluations,
            gates=gates,
            parameters=sum(p.numel() for p in network.parameters()),
            macs=macs(network, size),
            git_commit=_git_commit(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            files={},
        )


def _evaluate(network: nn.Module, input_size: int, val: FaceFolder, name: str, size: int) -> Evaluation:
    step, space = SegmStep(TAXONOMY), LabelSpace.of_folder(val.root)
    grouping = None if space.plain else Grouping(space)

    def label(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return step.label(network, image, input_size)

    return evaluate(label, val, name, size, CELEBA19_CLASSES, TAXONOMY, grouping)[0]


def _git_commit() -> str:
    """The commit of the code, with ``+`` where the tree differs from it; empty outside a checkout."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.stdout.strip() + ("+" if status.stdout.strip() else "")
