"""How the group of an attempt moves weights: slices, chunks, reduce buffers and the side block; no sockets."""
