"""Measurements of Swarm. ``README.md`` describes each benchmark and its results; ``harness`` is what they share."""
