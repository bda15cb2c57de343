"""The embedded Triton server: its serving tree, its start and its end."""
