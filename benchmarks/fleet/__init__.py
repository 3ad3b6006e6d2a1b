"""Real peers: processes that train over gRPC on this machine, and the faults that can be injected."""
