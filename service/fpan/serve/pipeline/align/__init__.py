"""Faces of a photo to square crops as training saw them."""
