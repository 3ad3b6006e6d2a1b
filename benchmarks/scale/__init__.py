"""How control traffic grows with the number of peers: ``python -m benchmarks.scale``."""
