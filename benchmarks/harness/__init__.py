"""What all benchmarks share: the command line, the processes that are measured, and the figures."""
