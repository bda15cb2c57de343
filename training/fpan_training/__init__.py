"""The training side of Mask-FPAN: the paper's modules, their data, evaluation, export and registration."""
