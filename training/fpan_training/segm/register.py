"""`fpan-train register`: exports a trained network, proves it, evaluates it and writes it into the model repository."""

import subprocess
import tempfile
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from fpan.contract import AlignmentTemplate, Evaluation, ModelCard, TrainingData
from fpan.contract.card import Tensor as CardTensor
from fpan.registry import Registry, open_store
from numpy.typing import NDArray
from torch import nn

from fpan_training.data.augment import resize_pair
from fpan_training.data.folder import FaceFolder
from fpan_training.data.label_space import LabelSpace
from fpan_training.evaluate.grouped import Grouping
from fpan_training.evaluate.segmentation import evaluate
from fpan_training.export.onnx_file import OUTPUTS, export_segm, label_agreement
from fpan_training.loop import batches_of
from fpan_training.segm.bisenet import BiSeNetConfig
from fpan_training.segm.cost import macs
from fpan_training.segm.interface import SegmNetwork
from fpan_training.segm.lite_fpn import LiteFpnConfig
from fpan_training.segm.mirrored import Mirrored
from fpan_training.segm.model import SegmConfig, build
from fpan_training.segm.rtformer import RTFormerConfig
from fpan_training.segm.sources import read_sources, terms_of
from fpan_training.segm.step import SegmStep
from fpan_training.segm.unet import UNetConfig
from fpan_training.taxonomy import CELEBA19_CLASSES, TAXONOMY

MIN_AGREEMENT = 0.999
"""Least share of validation pixels on which the exported file must say what PyTorch says."""
_BATCH = 8
_ALIGNMENT = Path(__file__).parent / "alignment_celeba.json"
_TITLES = {
    "lite_fpn": "LiteFPN: EfficientNet-Lite0 encoder (ImageNet), top-down decoder",
    "rtformer_slim": "RTFormer-Slim, trained from scratch",
    "bisenet": "BiSeNet",
    "unet": "U-Net, trained from scratch",
}


class ExportError(Exception):
    """The exported file does not say what the network says."""


@dataclass(frozen=True)
class Register:
    """Writes the best checkpoint of a run into the model repository as a new version, if it passes the checks."""

    run: Path
    """Folder of the run."""
    data: Path
    """The labelled pictures; their ``val`` split is evaluated, by groups where the masks merge classes."""
    repository: str = "model_repository"
    """The model repository: a folder, made where it is missing, or ``s3://BUCKET/PREFIX``."""
    name: str = "segm"
    """Model name to publish under."""
    mirrored: bool = True
    """Serve the mean over the picture and its mirror image: better and the same on both sides, at twice the cost."""
    data_name: str = ""
    """Of the labelled pictures; empty: as their ``dataset.json`` said when they were trained on."""
    data_licence: str = ""
    """Terms of all data sets that do not say them in their ``dataset.json``."""
    weights_licence: str = ""
    """Of the weights; empty: the terms of all pictures that they were made from."""

    def __call__(self) -> ModelCard:
        """Exports, checks, evaluates, writes; returns the card of the new version.

        Raises:
            DataError: nobody says under which terms the pictures are.
            ExportError: the exported file does not say what the network says.
        """
        val = FaceFolder.open(self.data, "val")
        sources = read_sources(self.run, self.data_name, self.data_licence, len(FaceFolder.open(self.data, "train")))
        checkpoint = torch.load(self.run / "best.pt", map_location="cpu", weights_only=True)
        config = read_config(checkpoint["segm"])
        network = load_network(config, checkpoint["network"])
        if self.mirrored:
            network = Mirrored(network, TAXONOMY)
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            export_segm(network, config.input_size, work / "model.onnx")
            pictures = (resize_pair(val[i].image, val[i].labels, config.input_size)[0] for i in range(len(val)))
            agreement = label_agreement(network, work / "model.onnx", map(np.stack, batches_of(pictures, _BATCH)))
            if agreement.share < MIN_AGREEMENT:
                raise ExportError(f"labels agree on {agreement.share:.4%} of the pixels, less than {MIN_AGREEMENT:.1%}")
            halved = {k: v.half() if v.is_floating_point() else v for k, v in checkpoint["network"].items()}
            torch.save({"network": halved, "segm": checkpoint["segm"]}, work / "checkpoint_fp16.pt")
            (work / "config.json").write_text((self.run / "config.json").read_text())
            size = config.input_size
            shown = f"{sources[0].name}, val"
            evaluations = tuple(_evaluate(network, size, val, shown, compared_at) for compared_at in (size, 0))
            card = self._card(config, network, evaluations, sources)
            files = {name: work / name for name in ("model.onnx", "checkpoint_fp16.pt", "config.json")}
            card = Registry(open_store(self.repository, create=True)).publish(card, files)
        figures = f"val mIoU {evaluations[0].miou:.4f}, mean F1 {evaluations[0].mean_f1:.4f}"
        agreed = f"labels agree on {agreement.share:.4%} of the pixels"
        print(f"{self.repository}/{card.name}/{card.version}: {agreed}, {figures}")
        return card

    def _card(
        self,
        config: SegmConfig,
        network: nn.Module,
        evaluations: tuple[Evaluation, ...],
        sources: tuple[TrainingData, ...],
    ) -> ModelCard:
        size, stride = config.input_size, cast(SegmNetwork, network).stride
        grid = size // stride
        return ModelCard(
            name=self.name,
            version=1,  # the registry gives it the next number, and lists the files
            task="segmentation",
            title=_TITLES[config.architecture] + (", mean over both sides" if self.mirrored else ""),
            inputs=(CardTensor(name="images", dtype="UINT8", shape=(size, size, 3)),),
            outputs=(
                CardTensor(name="labels", dtype="UINT8", shape=(size, size)),
                CardTensor(name="confidence", dtype="UINT8", shape=(size, size)),
                CardTensor(name="logits", dtype="FP32", shape=(config.classes, grid, grid)),
            ),
            on_demand=OUTPUTS[2:],
            input_size=size,
            taxonomy=TAXONOMY,
            alignment=AlignmentTemplate.model_validate_json(_ALIGNMENT.read_bytes()),
            weights_licence=self.weights_licence or terms_of(sources),
            training_data=sources,
            evaluations=evaluations,
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


def read_config(stored: dict[str, Any]) -> SegmConfig:
    """The network's configuration as a checkpoint holds it; weights come from the checkpoint, not from ImageNet."""
    nested = {"lite_fpn": LiteFpnConfig, "rtformer": RTFormerConfig, "bisenet": BiSeNetConfig, "unet": UNetConfig}
    members: dict[str, Any] = {}
    # An architecture that came after the checkpoint was written is not in it.
    for name in (f.name for f in fields(SegmConfig) if f.name in stored):
        members[name] = nested[name](**stored[name]) if name in nested else stored[name]
    config = SegmConfig(**members)
    return replace(
        config,
        lite_fpn=replace(config.lite_fpn, pretrained=False),
        bisenet=replace(config.bisenet, pretrained=False),
    )


def load_network(config: SegmConfig, weights: dict[str, torch.Tensor]) -> nn.Module:
    """The network in evaluation mode with a checkpoint's weights."""
    network = build(config)
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})
    return network.eval()


def _git_commit() -> str:
    """The commit of the code, with ``+`` where the tree differs from it; empty outside a checkout."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.stdout.strip() + ("+" if status.stdout.strip() else "")
