"""Who merges with whom and what is committed: a state machine without I/O, threads or clocks."""
