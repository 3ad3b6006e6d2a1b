"""The page on what goes wrong has every reason that a log gives for a start that waits and for a round that fails."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SWARM = Path(__file__).parents[2] / "swarm"
RETURNED = {
    "consensus/waiting.py": ("_hopeless", "_idle_for_long", "_stragglers", "_below_quorum"),
    "peer/deadlines.py": ("_how", "_behind"),
}
"""Functions that return reasons, by module."""
ASSIGNED = {"consensus/leader.py": ("text", "came to no result"), "peer/streams.py": ("reason", "does not take")}
"""The variable that holds a reason, and words of that."""


def test_every_reason_is_explained(doc) -> None:
    explained = [row[0] for row in doc("troubleshooting.md").table("the log says", "what it means", "what to do")]
    assert sorted(explained) == sorted({*aborted(), *returned(), *assigned()})


def test_every_part_of_the_line_about_a_start_is_explained(doc) -> None:
    explained = [row[0] for row in doc("troubleshooting.md").table("the line ends with", "what it means", "what to do")]
    (function,) = (
        node
        for node in ast.walk(tree("peer/greeter.py"))
        if isinstance(node, ast.FunctionDef) and node.name == "whereabouts"
    )
    (parts,) = (node for node in ast.walk(function) if isinstance(node, ast.Dict))
    said = [shown(key) if isinstance(key, ast.JoinedStr) else ast.literal_eval(key) for key in parts.keys]
    assert explained == [f"{words.removesuffix(':')}: …" if words[-1] == ":" else f"{words} …" for words in said]


def aborted() -> Iterator[str]:
    """Why the leader of an attempt aborts it, and what members did not do in time."""
    for node in ast.walk(tree("consensus/attempt.py")):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "_abort" and isinstance(node.args[-1], ast.JoinedStr):
                yield shown(node.args[-1])
            if node.func.attr == "_strike":
                yield f"… {ast.literal_eval(node.args[-1])} in time"


def returned() -> Iterator[str]:
    """What functions return that tell why to wait no longer, for all peers or for one."""
    for module, names in RETURNED.items():
        for function in ast.walk(tree(module)):
            if isinstance(function, ast.FunctionDef) and function.name in names:
                for node in ast.walk(function):
                    if isinstance(node, ast.Return) and node.value:
                        yield from (text for text in texts(node.value) if text != "… is …")


def assigned() -> Iterator[str]:
    for module, (name, words) in ASSIGNED.items():
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                yield from (text for text in texts(node.value) if words in text)


def texts(node: ast.AST) -> Iterator[str]:
    """The f-strings in an expression that are in no other one."""
    if isinstance(node, ast.JoinedStr):
        yield shown(node)
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def shown(text: ast.JoinedStr) -> str:
    """An f-string with … for each value, and without the number of the round before it."""
    parts = (part.value if isinstance(part, ast.Constant) else "…" for part in text.values)
    return "".join(map(str, parts)).removeprefix("round …: ")


def tree(module: str) -> ast.Module:
    return ast.parse((SWARM / module).read_text(encoding="utf-8"))
