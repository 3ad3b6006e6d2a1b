"""How long training stands still for a round, blocking and overlapped: ``python -m benchmarks.overlap``."""
