"""Where addresses of peers come from."""
