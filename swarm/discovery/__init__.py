"""How a peer finds addresses of other peers."""
