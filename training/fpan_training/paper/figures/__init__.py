"""Pictures like the paper's figures 5, 6, 7, 11, 12 and 13, from our own trained modules and any pictures."""
