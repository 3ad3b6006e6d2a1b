"""How close a merge comes to what a slow link allows: ``python -m benchmarks.link``."""
