"""The face detector: taken from a package, checked, and put into the shape that is served."""
