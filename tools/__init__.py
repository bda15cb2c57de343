"""Commands for those who change this repository: they make pages of `docs/reference` from the code."""
