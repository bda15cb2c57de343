"""Figures of label maps: one summed confusion matrix, IoU and F1 a class, outlines, calibration, strata."""

from fpan_training.evaluate.bootstrap import Interval
from fpan_training.evaluate.confusion import Confusion, Scores

__all__ = ["Confusion", "Interval", "Scores"]
