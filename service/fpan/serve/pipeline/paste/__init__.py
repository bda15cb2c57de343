"""A network's answers about crops back into the frame of the photo."""
