"""What a training survives: ``python -m benchmarks.chaos``."""
