"""What Swarm costs, measured: ``README.md`` tells what each benchmark measures and how to read it."""
