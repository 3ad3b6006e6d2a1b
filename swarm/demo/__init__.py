"""``swarm demo``: measures on this machine what a swarm gains.

The same model is trained for the same number of batches in three ways and tested on the same held-out data: by every
site alone, by all sites in a swarm, and on all data pooled, which a swarm avoids. Each training is a run of a script of
``examples/`` in its own process. ``swarm up`` starts the swarm, which merges over gRPC.
"""
