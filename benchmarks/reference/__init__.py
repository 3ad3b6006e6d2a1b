"""What Swarm is measured against."""
