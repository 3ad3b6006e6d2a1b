from __future__ import annotations

import ast
import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = [ROOT / "swarm", ROOT / "swarm_keras", ROOT / "swarm_lightning", *sorted(ROOT.glob("plugins/*/src"))]
MODULES = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))
UNSAFE_CALLS = {
    "eval",
    "exec",
    "torch.load",
    "torch.save",
    "torch.serialization.load",
    "torch.jit.load",
    "asyncio.create_subprocess_shell",
    "np.load",
    "numpy.load",
    "keras.models.load_model",
    "keras.saving.load_model",
    "yaml.load",
}
WRITES = {"swarm/pytorch/exporting.py": "torch.save"}
"""A state_dict of tensors alone, on the user's request; nothing of ours reads it."""
UNSAFE_MODULES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
SENDS_OBJECTS = re.compile(r"(send|recv|broadcast|scatter|gather)_object(_list)?$")
"""Operations of torch.distributed and Accelerate that pickle."""
LAZY_NAMES = {"utils.py", "helpers.py", "manager.py", "common.py", "misc.py"}
PROTO = ROOT / "swarm/transport/grpc/swarm.proto"


def unsafe(source):
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="recv"), args=[], keywords=[]):  # of multiprocessing: it unpickles
                yield node.lineno, "recv"
            case ast.Call(func=ast.Attribute(attr=str(name)) | ast.Name(id=str(name))) if SENDS_OBJECTS.search(name):
                yield node.lineno, name
            case ast.Call(func=ast.Name() | ast.Attribute() as function) if ast.unparse(function) in UNSAFE_CALLS:
                yield node.lineno, ast.unparse(function)
            case ast.Import(names=names):
                yield from ((node.lineno, name.name) for name in names if name.name.split(".")[0] in UNSAFE_MODULES)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in UNSAFE_MODULES:
                yield node.lineno, module


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "eval('1')",
        "torch.load(path)",
        "connection.recv()",
        "dist.all_gather_object(found, own)",
        "broadcast_object_list(found)",
    ],
)
def test_what_is_unsafe_is_found(source):
    assert list(unsafe(source))


def test_nothing_that_a_peer_sends_can_be_executed():
    assert len(MODULES) > 1
    found = {name_of(path): [call for _, call in unsafe(path.read_text())] for path in MODULES}
    assert {name: calls for name, calls in found.items() if calls} == {name: [call] for name, call in WRITES.items()}


def test_modules_are_named_for_one_thing():
    assert [name_of(path) for path in MODULES if path.name in LAZY_NAMES] == []


def test_the_generated_messages_are_those_of_the_proto_file():
    recorded = PROTO.with_name("swarm.proto.sha256").read_text().strip()
    assert hashlib.sha256(PROTO.read_bytes()).hexdigest() == recorded, "run `make proto`"


CONTRACTS = [
    path
    for path in sorted((ROOT / "swarm/testing").glob("*.py"))
    if "Contract" in path.read_text() and path.stem != "swarm"
]


def bare(source):
    """Checks of a contract that say nothing in words when they fail."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert) and node.msg is None:
            yield node.lineno, ast.unparse(node)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"pytest.raises", "np.testing.assert_allclose"}:
            yield node.lineno, ast.unparse(node)


def test_every_check_of_a_contract_says_in_words_what_is_broken():
    assert len(CONTRACTS) > 5
    assert list(bare("assert 1 == 2"))
    assert {name_of(path): found for path in CONTRACTS if (found := list(bare(path.read_text())))} == {}
