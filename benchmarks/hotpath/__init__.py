"""The time that Swarm's callback adds to a batch between merges: ``python -m benchmarks.hotpath``."""
