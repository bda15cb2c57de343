"""Figures of label maps: one summed confusion matrix, IoU and F1 a class, bootstrap intervals over pictures."""

from fpan_training.evaluate.confusion import Confusion, Interval, Scores

__all__ = ["Confusion", "Interval", "Scores"]
