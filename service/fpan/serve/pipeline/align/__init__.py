"""Cuts the faces of a photo into aligned square crops, the same way as in training."""
