"""One peer's worker: it owns the state machine and carries out what that asks for."""
