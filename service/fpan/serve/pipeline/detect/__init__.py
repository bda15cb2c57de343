"""Finds faces."""
