"""The table of quality of versions and of networks in training, by one command, and the pages made from it."""

from fpan_training.release.quality.card_page import CardPage
from fpan_training.release.quality.measure import Measure
from fpan_training.release.quality.networks import OnnxNetwork, TorchNetwork

__all__ = ["CardPage", "Measure", "OnnxNetwork", "TorchNetwork"]
