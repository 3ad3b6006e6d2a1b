"""The tree of errors in ``swarm.errors`` is complete."""

from __future__ import annotations

import ast
import builtins
import re
from pathlib import Path

import swarm
from swarm import errors

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for folder in ("swarm", "swarm_keras", "swarm_lightning", *sorted((ROOT / "plugins").glob("*/src")))
    for path in sorted((ROOT / folder).rglob("*.py"))
]
INTERNAL = "Never reaches the training script"
PENDING = {"BrokenPipe", "ContributionError", "DataChannelBroken", "NoDataChannelError"}
"""Still defined beside what raises them."""
ERRORS = {name: value for name, value in vars(errors).items() if isinstance(value, type)}


def is_exception(name, classes):
    """Whether a class of this name is an exception, as far as its bases are known."""
    if name in classes:
        return any(is_exception(base, classes) for base in classes[name])
    known = getattr(builtins, name, None) or ERRORS.get(name)
    return isinstance(known, type) and issubclass(known, BaseException)


def exceptions(sources):
    classes = {
        node.name: [ast.unparse(base).rpartition(".")[2] for base in node.bases]
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
    }
    return {name for name in classes if is_exception(name, classes)}


def test_an_exception_is_found_by_its_bases():
    assert exceptions(["class A(swarm.errors.ModelError): ...", "class B(A): ...", "class C(D): ..."]) == {"A", "B"}


def test_every_exception_is_in_the_tree():
    assert exceptions(path.read_text() for path in SOURCES) - PENDING == set(ERRORS) - PENDING
    listed = dict(re.findall(r"^[│ ]*(?:[├└]── )?(\w+Error)\b(.*)$", errors.__doc__, re.MULTILINE))
    assert set(listed) == set(ERRORS)


def test_the_tree_is_that_of_the_classes():
    above = {}
    for indent, name in re.findall(r"^((?:[│ ]   )*)[├└]── (\w+)", errors.__doc__, re.MULTILINE):
        above[len(indent)] = name
        parent = above.get(len(indent) - 4, "SwarmError")
        assert ERRORS[parent] in ERRORS[name].__bases__
    assert len(above) > 1


def test_each_error_is_public_or_said_to_be_internal():
    internal = {name for name, error in ERRORS.items() if INTERNAL in " ".join(error.__doc__.split())}
    marked = set(re.findall(r"(\w+Error) .*\(internal\)$", errors.__doc__, re.MULTILINE))
    assert internal == marked
    assert {name for name in swarm.__all__ if name.endswith("Error")} == set(ERRORS) - internal
