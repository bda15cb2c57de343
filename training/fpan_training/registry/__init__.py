"""Writing versions into the model repository."""

from fpan_training.registry.write import write_version

__all__ = ["write_version"]
