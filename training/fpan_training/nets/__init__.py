"""Backbones and networks, each by its published name; what several modules use lies here."""
