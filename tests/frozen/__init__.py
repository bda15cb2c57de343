"""What others rely on, written down: `python -m tests.frozen` writes the files anew, a test holds the code to them."""
