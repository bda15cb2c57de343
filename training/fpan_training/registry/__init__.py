"""Writing versions into the model repository."""

from fpan_training.registry.write import VersionExists, write_version

__all__ = ["VersionExists", "write_version"]
