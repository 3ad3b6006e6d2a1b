"""What the way over a NATS server costs, compared with nats-py alone."""
