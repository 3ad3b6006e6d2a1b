"""How a round is agreed on and what its members exchange: state machines without I/O, threads or clocks."""
