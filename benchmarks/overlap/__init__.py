"""How long the training stands still for a round, blocking and overlapped."""
