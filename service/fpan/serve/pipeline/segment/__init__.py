"""Which network answers, and how its answers are watched."""
