"""Whole runs as typed Python: from raw folders to what is served, or to a figure."""
