"""Writes the model repository: publishes versions atomically, moves aliases with a history, removes old versions.

Training publishes with it; ``fpan models`` promotes, rolls back and cleans up. :mod:`fpan.contract` reads.
"""

from fpan.registry.folder import FolderStore
from fpan.registry.places import fetch, open_store
from fpan.registry.registry import DEFAULT_KEEP, Cleaning, Registry, Version
from fpan.registry.store import AliasMoved, Store, VersionExists, Writer
from fpan.storage.objects import is_remote

__all__ = [
    "DEFAULT_KEEP",
    "AliasMoved",
    "Cleaning",
    "FolderStore",
    "Registry",
    "Store",
    "Version",
    "VersionExists",
    "Writer",
    "fetch",
    "is_remote",
    "open_store",
]
