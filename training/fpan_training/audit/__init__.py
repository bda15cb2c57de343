"""Label faults: found by a network and by landmarks, listed for people, left out of training."""

from fpan_training.audit.command import Audit

__all__ = ["Audit"]
