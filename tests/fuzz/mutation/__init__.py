"""Changes of inputs, all of them decided by a random generator with a seed."""

from tests.fuzz.mutation.forms import BINARY, PROTOBUF, TEXT, Form, in_parts, joined, mutated, split

__all__ = ["BINARY", "PROTOBUF", "TEXT", "Form", "in_parts", "joined", "mutated", "split"]
