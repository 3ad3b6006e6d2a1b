"""How messages and weights travel between peers."""
