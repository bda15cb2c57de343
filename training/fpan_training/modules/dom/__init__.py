"""DOM, the de-occlusion module: what a face would look like without what covers it, and where it is covered."""

from fpan_training.modules.dom.model import RLA_PAPER, RLA_SMALL, RLA_SMOKE, DomNetwork, Rla, RlaConfig, load

__all__ = ["RLA_PAPER", "RLA_SMALL", "RLA_SMOKE", "DomNetwork", "Rla", "RlaConfig", "load"]
