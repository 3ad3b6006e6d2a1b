"""What a merge costs beside the bare sum of the same bytes: ``python -m benchmarks.merge``."""
