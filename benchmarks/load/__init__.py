"""Load: what `make bench` measures, and the peers that it compares with."""
