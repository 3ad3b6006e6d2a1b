"""How a peer finds the addresses of others."""
