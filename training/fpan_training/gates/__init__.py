"""The gates that a version passes before it is published: one small file each, its limits beside it."""

from fpan_training.gates.gates import GateError, Gates, refuse_failed, show
from fpan_training.gates.trial import Trial

__all__ = ["GateError", "Gates", "Trial", "refuse_failed", "show"]
