"""Brings the versions that the registry asks for into traffic, and takes others out, while requests run."""
