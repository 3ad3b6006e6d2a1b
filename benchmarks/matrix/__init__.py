"""Every framework and way to train over several processes, each as a swarm of two sites of real processes."""
