"""What is measured: the ONNX file of a version, or a checkpoint, and a service that serves a version alone."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
import torch
from fpan.client import Client
from fpan.contract import ModelCard, Reference, RepositoryError, Taxonomy
from fpan.registry import FolderStore, Registry, open_store
from numpy.typing import NDArray
from torch import nn

from fpan_training.evaluate.quality import Answer, Service
from fpan_training.modules.segm.checkpoint import load_network, read_config
from fpan_training.modules.segm.mirrored import Mirrored
from fpan_training.release.export.deployed import Deployed
from fpan_training.release.export.onnx_file import INPUT, OUTPUTS, open_session
from fpan_training.release.gates.contender import MODEL_FILE
from fpan_training.release.service import free_ports, started
from fpan_training.taxonomy import TAXONOMY


@dataclass(frozen=True)
class OnnxNetwork:
    """The served graph in ONNX Runtime on the processor."""

    path: Path
    input_size: int
    taxonomy: Taxonomy = TAXONOMY

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return open_session(self.path)

    def logits(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """One run: RGB, uint8 (S, S, 3), to float32 (classes, S / stride, S / stride)."""
        (logits,) = self._session.run([OUTPUTS[2]], {INPUT: crop[None]})
        return np.asarray(logits[0], np.float32)


@dataclass(frozen=True)
class TorchNetwork:
    """A network of PyTorch, in the graph that would be served of it."""

    network: nn.Module
    """In evaluation mode, on any device."""
    input_size: int
    taxonomy: Taxonomy = TAXONOMY
    _graph: Deployed = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        device = next(self.network.parameters()).device
        object.__setattr__(self, "_graph", Deployed(self.network).to(device))

    @classmethod
    def of_checkpoint(cls, path: Path, mirrored: bool) -> "TorchNetwork":
        """A run's ``best.pt``; ``mirrored``: the mean over the picture and its mirror image."""
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        config = read_config(checkpoint["segm"])
        network = load_network(config, checkpoint["network"])
        return cls(Mirrored(network, TAXONOMY) if mirrored else network, config.input_size)

    def logits(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :meth:`OnnxNetwork.logits`."""
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            logits = self._graph(torch.from_numpy(np.ascontiguousarray(crop))[None].to(device))[2]
        return np.asarray(logits[0].cpu().numpy(), np.float32)


def alone(repository: str, reference: Reference, folder: Path) -> ModelCard:
    """Copies a version, as the only one of its model, with the current versions of all other models to a repository of
    its own, so that a service of that answers with it. Returns its card.

    Args:
        repository: a folder or ``s3://BUCKET/PREFIX``.
        reference: the version.
        folder: the repository to make.

    Raises:
        RepositoryError: it is missing, broken, or no model for segmentation.
    """
    store = open_store(repository)
    card = Registry(store).verified(reference)
    if card.task != "segmentation" or card.taxonomy is None:
        raise RepositoryError(f"{card.name} is a model for {card.task}: name one for segmentation")
    copy = Registry(FolderStore(folder, create=True))
    for name in store.names():
        each = card if name == card.name else store.card(name, store.resolve(Reference(name)))
        with tempfile.TemporaryDirectory() as work:
            files = {file: Path(work) / file for file in each.files}
            for file, path in files.items():
                path.write_bytes(store.read(each, file))
            copy.publish(each, files, version=each.version)
    return card


def network_of(card: ModelCard, folder: Path) -> OnnxNetwork:
    """The network of a version in a repository that :func:`alone` has made."""
    assert card.taxonomy is not None
    return OnnxNetwork(folder / card.name / str(card.version) / MODEL_FILE, card.input_size, card.taxonomy)


@contextmanager
def serving(card: ModelCard, folder: Path) -> Iterator[Service]:
    """A service of such a repository, on ports of its own, with the settings that it has by default.

    Raises:
        ServiceError: it did not start.
    """
    reference = f"{card.name}:{card.version}"
    with (
        started(str(folder), {**free_ports(), "SEGM_MODEL": card.name}) as service,
        Client(service.url) as client,
    ):

        def ask(path: Path, faces: Literal["auto", "full"]) -> Answer:
            result = client.parse(path, faces=faces, model=reference)
            return Answer(result.labels, len(result.faces))

        yield ask
