"""LOM as one ONNX file: crops in, landmarks in pixels and visibility out."""

import warnings
from pathlib import Path
from typing import cast

import onnx
import torch
from torch import Tensor, nn

from fpan_training.modules.lom.model import INPUT_SIZE, Lom, LomOutput
from fpan_training.modules.segm.preprocess import Normalise
from fpan_training.release.export.onnx_file import INPUT, OPSET, strip_traces

OUTPUTS = ("points", "visibility")
_EXAMPLE_BATCH = 2
"""Of the example that is traced; a batch of one would be taken for a constant."""


class DeployedLom(nn.Module):
    """Preprocessing, network and the units of its answers in one graph."""

    def __init__(self, network: Lom) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.network = network.eval()

    def forward(self, images_bhwc: Tensor) -> tuple[Tensor, Tensor]:
        """Crops, uint8 (B, 112, 112, 3), to landmarks, float (B, 264, 2) in pixels of the crop, and the probability
        that each is visible, float (B, 264).
        """
        output = cast(LomOutput, self.network(self.normalise(images_bhwc)))
        return output.points * INPUT_SIZE - 0.5, output.visibility.sigmoid()


def export_lom(network: Lom, path: Path) -> None:
    """Writes the network as a self-contained ONNX file that takes any number of crops."""
    example = torch.zeros(_EXAMPLE_BATCH, INPUT_SIZE, INPUT_SIZE, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        # The exporter warns of its own deprecated helpers; nothing of that can be acted on here.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            DeployedLom(network),
            (example,),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            opset_version=OPSET,
            dynamic_shapes={"images_bhwc": {0: torch.export.Dim("batch", min=1, max=4096)}},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    strip_traces(model)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
