"""How long a round takes over slow links, compared with its bytes at the link's rate: ``python -m benchmarks.link``."""
