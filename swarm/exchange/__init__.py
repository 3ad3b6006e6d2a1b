"""How a committed group moves weights: slices, chunks, reduce buffers and the side block; no sockets."""
