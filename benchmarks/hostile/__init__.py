"""What one bad member can do to a swarm."""
