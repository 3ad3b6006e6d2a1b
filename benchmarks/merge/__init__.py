"""What a committed round costs compared with gloo's sum of the same bytes: ``python -m benchmarks.merge``."""
