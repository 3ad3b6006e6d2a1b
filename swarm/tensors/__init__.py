"""What a model is to the swarm: named arrays as flat segments and a side block, and what is done with them."""
