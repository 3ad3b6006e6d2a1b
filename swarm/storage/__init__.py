"""Files of a peer: checkpoints, results, and records of how its sessions ended."""
