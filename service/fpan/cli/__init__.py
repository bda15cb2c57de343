"""The command ``fpan``."""

from fpan.cli._app import main

__all__ = ["main"]
