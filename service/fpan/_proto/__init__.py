"""Made by proto/generate.py from the contract in proto/; never edited."""
