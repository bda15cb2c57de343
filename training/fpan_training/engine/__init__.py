"""What every training shares: the loop, checkpoints, several processes, progress, curves, tracking."""
