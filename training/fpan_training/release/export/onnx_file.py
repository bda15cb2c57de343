"""ONNX export with a dynamic batch, and the proof that it says what PyTorch says."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from fpan_training.release.export.deployed import Deployed

OPSET = 18
INPUT = "images"
OUTPUTS = ("labels", "confidence", "logits")
_EXAMPLE_BATCH = 2
"""Of the example that is traced; a batch of one would be taken for a constant."""


@dataclass(frozen=True)
class Agreement:
    """How far two ways of computing agree."""

    pixels: int
    differing: int
    largest_logit_difference: float

    @property
    def share(self) -> float:
        """Share of the pixels with the same label."""
        return 1 - self.differing / self.pixels


def export_segm(network: nn.Module, input_size: int, path: Path, temperature: float = 1.0) -> None:
    """Writes the served graph of a segmentation network as one self-contained ONNX file.

    Args:
        network: what is exported, in float32.
        input_size: side of its input in pixels.
        path: the file, in float32.
        temperature: the graph divides its logits by it.
    """
    example = torch.zeros(_EXAMPLE_BATCH, input_size, input_size, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        # The exporter warns of its own deprecated helpers; nothing of that can be acted on here.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Deployed(network, temperature),
            (example,),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            opset_version=OPSET,
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1, max=4096)}},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    strip_traces(model)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def strip_traces(model: onnx.ModelProto) -> None:
    """Removes what the exporter notes about source files, which names folders of the machine that exported."""
    del model.metadata_props[:]
    model.doc_string = ""
    graph = model.graph
    graph.doc_string = ""
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    for function in model.functions:
        for node in (function, *function.node):
            del node.metadata_props[:]
            node.doc_string = ""


def open_session(model: Path | bytes, threads: int = 2) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the processor, of a file or of its bytes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def label_agreement(
    network: nn.Module, path: Path, batches: Iterable[NDArray[np.uint8]], temperature: float = 1.0
) -> Agreement:
    """Compares PyTorch (fp32) with the file in ONNX Runtime on batches of pictures, uint8 (B, H, W, 3)."""
    session = open_session(path)
    deployed = Deployed(network, temperature)
    pixels = differing = 0
    largest = 0.0
    with torch.inference_mode():
        for images in batches:
            labels, _, logits = (t.numpy() for t in deployed(torch.from_numpy(images)))
            found, found_logits = session.run(["labels", "logits"], {INPUT: images})
            pixels += labels.size
            differing += int((labels != found).sum())
            largest = max(largest, float(np.abs(logits - found_logits).max()))
    return Agreement(pixels, differing, largest)
