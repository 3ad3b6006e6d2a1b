"""What the sites of the matrix run: a small training of each framework, as a user would write it."""
