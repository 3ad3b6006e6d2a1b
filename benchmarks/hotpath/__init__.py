"""What the callback costs a batch between merges: ``python -m benchmarks.hotpath``."""
