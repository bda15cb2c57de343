"""Published data sets and the files of labelling tools, brought into the documented layout.

Each importer is a :class:`Source`: a list of keys, and an :class:`Item` for each. One writer makes the folder of them.
"""

from fpan_training.data.importers.command import KINDS, Import
from fpan_training.data.importers.source import Item, Source
from fpan_training.data.importers.writer import write_dataset

__all__ = ["KINDS", "Import", "Item", "Source", "write_dataset"]
