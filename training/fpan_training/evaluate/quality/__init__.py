"""The table of quality: what a served segmentation network reaches on held-out pictures, row by row.

A row is measured of anything that gives logits for a crop (:class:`Network`): the ONNX file of a version, or a network
in training (:class:`fpan_training.modules.segm.logits.TorchNetwork`).
"""

from fpan_training.evaluate.quality.network import Network, parse
from fpan_training.evaluate.quality.results import Figure, ModelQuality, RowResult
from fpan_training.evaluate.quality.row import Answer, Row, Service, Subject
from fpan_training.evaluate.quality.rows import QualityData

__all__ = [
    "Answer",
    "Figure",
    "ModelQuality",
    "Network",
    "QualityData",
    "Row",
    "RowResult",
    "Service",
    "Subject",
    "parse",
]
