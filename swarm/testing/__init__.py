"""Contract tests for what plugins implement: subclass one in your own test suite and name your implementation."""
