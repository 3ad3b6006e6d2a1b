"""What a bad member does, by kind."""
