"""From a trained network to the file that is served."""

from fpan_training.release.export.onnx_file import Agreement, export_segm, label_agreement

__all__ = ["Agreement", "export_segm", "label_agreement"]
