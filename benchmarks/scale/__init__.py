"""How the traffic of a peer grows with the number of peers: ``python -m benchmarks.scale``."""
