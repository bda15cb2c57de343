"""Worn things pasted on faces: cut out of other pictures, or drawn."""
