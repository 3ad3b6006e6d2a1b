"""``swarm demo``: what a swarm gains, measured on this machine.

Three ways to train the same model for the same number of batches meet on one held-out test set: every site alone, all
sites in a swarm, and one model on all data pooled, which is what a swarm is there to avoid. Each is a run of a script
of ``examples/`` in processes of its own; the swarm is started by ``swarm up`` and merges over gRPC.
"""
