"""What a peer keeps on disk: checkpoints, results and how its sessions ended."""
