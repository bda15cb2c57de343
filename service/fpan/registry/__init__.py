"""Writes the model repository: versions whole or not at all, aliases with their history, and what is no longer needed.

Training publishes with it, ``fpan models`` promotes, takes back and clears up. Reading is :mod:`fpan.contract`'s.
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
