"""The representation of a model: named arrays as flat segments and a side block, and operations on them."""
