"""The gates that a version passes before it is published: one small file each, its limits beside it."""

from fpan_training.release.gates.gates import GateError, Gates, refuse_failed, show
from fpan_training.release.gates.trial import GateInputs

__all__ = ["GateError", "GateInputs", "Gates", "refuse_failed", "show"]
