"""What computes networks: Triton, an embedded Triton, this process."""
