"""``python -m fpan.cli``: the same as ``fpan``."""

from fpan.cli import main

main()
