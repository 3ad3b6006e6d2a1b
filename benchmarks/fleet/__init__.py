"""Real peers for benchmarks: processes that train over gRPC on this machine, and what can be done to them."""
