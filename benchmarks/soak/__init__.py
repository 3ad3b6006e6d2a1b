"""What grows in a long training: ``python -m benchmarks.soak``."""
