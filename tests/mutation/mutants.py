"""Change one place of the product at a time, and count the changes that the tests of its room notice.

The places and their changes come from Cosmic Ray, ``DropStatement`` and ``CatchOther``. A seed chooses a sample of each
room, at most one mutant per place. The tests run in a temporary copy of the working directory: nothing changes in it.

    make mutants ROOMS="merge codec" SAMPLE=40 SEED=1 JOBS=2

The score is the part noticed of those mutants that are not in ``equivalent.toml``, which gives a reason for each.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import multiprocessing
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.exceptions import CosmicRayTestingException
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import get_operator, operator_names
from parso.python.tree import Keyword, Name

INTEGRATIONS = {"keras": "swarm_keras", "lightning": "swarm_lightning"}
TESTED_BY = {  # where those are not all of tests/<room>, or are too slow
    "callback": ["callback/test_[!i]*.py", "pytorch/test_leaving.py", "pytorch/test_two_runs.py"],
    "demo": ["demo/test_[!e]*.py", "demo/test_experiment.py"],
    "exchange": ["consensus/test_*.py"],
    "peer": ["session/test_*.py"],
    "pytorch": ["pytorch/test_[!lt]*.py", "pytorch/test_load_weights.py"],
    "swarm": ["house/test_[!w]*.py", "session/test_*.py", "storage/test_*.py"],
    "testing": ["*/test_contract_messages.py"],
}
SIMULATED = {"consensus", "exchange", "peer", "session", "swarm"}  # rooms whose code the simulator runs
IMPORTED = {"callback": ["torch"], "pytorch": ["torch"], "lightning": ["lightning"], "keras": ["keras"]}
FORKS = multiprocessing.get_context("forkserver")  # of one process, which imports slow packages once
NOT_COPIED = shutil.ignore_patterns(".git", ".venv*", ".hypothesis", ".*_cache", "__pycache__", "build", "dist")
EQUIVALENT = Path("tests/mutation/equivalent.toml")


NOT_USED = {"core/ExceptionReplacer"}  # fails on dotted names in a tuple: CatchOther does the same


class Outcome(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    TIMED_OUT = "timed out"
    EQUIVALENT = "equivalent"


class Mutant(NamedTuple):
    """One changed place."""

    path: Path
    line: int
    source: str
    """Of the whole changed module."""
    removed: str
    added: str

    def __str__(self) -> str:
        """The place and the difference, as it is listed."""
        old = "".join(f"\n  - {line}" for line in self.removed.splitlines())
        return f"{self.path}:{self.line}{old}" + "".join(f"\n  + {line}" for line in self.added.splitlines())


class DropStatement(Operator):
    """Replace a statement that only has an effect by ``pass``: a call, ``raise``, ``del``, or a store in an object."""

    def mutation_positions(self, node):
        if node.type == "simple_stmt" and self._has_effects(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node, index):
        first = node.children[0].get_first_leaf()
        node.children[0] = Keyword("pass", first.start_pos, first.prefix)
        return node

    @staticmethod
    def _has_effects(statement):
        if statement.type == "expr_stmt":  # without a local name's value, any test fails
            target, operator, *_ = statement.children
            return target.type in {"atom_expr", "power"} or str(getattr(operator, "value", "=")) != "="
        return statement.type in {"atom_expr", "power", "raise_stmt", "del_stmt"}

    @classmethod
    def examples(cls):
        return Example("f(x)", "pass"), Example("raise E", "pass"), Example("a.b = 1", "pass")


class CatchOther(Operator):
    """Catch an exception that nobody raises in place of one that an ``except`` names, also by a dotted name."""

    def mutation_positions(self, node):
        for each in self._caught(node):
            yield each.start_pos, each.end_pos

    def mutate(self, node, index):
        caught = self._caught(node)[index]
        first = caught.get_first_leaf()
        siblings = caught.parent.children
        siblings[siblings.index(caught)] = Name(CosmicRayTestingException.__name__, first.start_pos, first.prefix)
        return node

    @staticmethod
    def _caught(node):
        if node.type != "except_clause":
            return []
        named = node.children[1]
        if named.type == "atom":  # in parentheses
            named = named.children[1]
        return named.children[::2] if named.type == "testlist_comp" else [named]

    @classmethod
    def examples(cls):
        return (
            Example("try: f()\nexcept a.B: pass", f"try: f()\nexcept {CosmicRayTestingException.__name__}: pass"),
            Example(
                "try: f()\nexcept (E, a.B): pass",
                f"try: f()\nexcept (E, {CosmicRayTestingException.__name__}): pass",
                occurrence=1,
            ),
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 if the tests fail on the product as it is."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("rooms", nargs="*", help="default: all of them")
    parser.add_argument("--sample", type=int, default=40, help="mutants per room (default: %(default)s)")
    parser.add_argument("--seed", default="1", help="chooses the sample (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="tests at once (default: one per core)")
    parser.add_argument("--list", action="store_true", help="list the sample, run nothing")
    given = parser.parse_args(arguments)
    known = rooms()
    if unknown := sorted(set(given.rooms) - set(known)):
        parser.error(f"no room is called {', '.join(unknown)}: choose from {', '.join(known)}")
    samples = {
        room: sample(known[room], given.sample, random.Random(f"{given.seed}/{room}")) for room in given.rooms or known
    }
    if given.list:
        print("\n\n".join(str(mutant) for mutants in samples.values() for mutant in mutants))
        return 0
    counts: dict[str, Counter[Outcome]] = {}
    slow = {package for room in samples for package in IMPORTED.get(room, [])}
    FORKS.set_forkserver_preload(["__main__", *sorted(slow)])
    for room, mutants in samples.items():
        outcomes = judge(room, mutants, given.jobs)
        if outcomes is None:
            print(f"the tests of {room} fail without any change: {' '.join(selected(room))}", file=sys.stderr)
            return 1
        counts[room] = Counter(outcomes)
    rows = {room: figures(each) for room, each in counts.items()}
    columns = list(figures(Counter()))
    print(f"{'room':<12}" + "".join(f"{column:>12}" for column in columns))
    for room, row in rows.items():
        print(f"{room:<12}" + "".join(f"{'-' if row[column] is None else row[column]:>12}" for column in columns))
    score = figures(sum(counts.values(), Counter()))["score"]
    print(json.dumps({"seed": given.seed, "score": score, "rooms": rows}))
    return 0


def rooms() -> dict[str, list[Path]]:
    """The modules of each room. ``swarm`` are those that are in no package of it."""
    packages = {path.parent.name: path.parent for path in sorted(Path("swarm").glob("*/__init__.py"))}
    packages |= {room: Path(package) for room, package in INTEGRATIONS.items() if Path(package).is_dir()}
    found = {room: sorted(package.rglob("*.py")) for room, package in packages.items()}
    found["swarm"] = sorted(Path("swarm").glob("*.py"))
    return {room: [path for path in paths if not path.stem.endswith("_pb2")] for room, paths in found.items()}


def selected(room: str, module: Path | None = None) -> list[str]:
    """The paths of the tests of a room. Those that are called like ``module`` come first: they notice most."""
    patterns = TESTED_BY.get(room, [f"{room}/**/test_*.py"])
    paths = [path for pattern in patterns for path in sorted(Path("tests").glob(pattern))]
    return [*map(str, sorted(paths, key=lambda path: module is None or path.stem != f"test_{module.stem}"))]


def sample(modules: list[Path], size: int, chance: random.Random) -> list[Mutant]:
    """At most ``size`` mutants of some modules, each of another place."""
    names = [name for name in operator_names() if name not in NOT_USED and not get_operator(name).arguments()]
    operators = [*(get_operator(name)() for name in names), DropStatement(), CatchOther()]
    places: dict[tuple[object, ...], list[tuple[Path, Operator, int]]] = {}
    for path in modules:
        nodes = [*ast_nodes(get_ast(path.read_text()))]
        for operator in operators:
            positions = (position for node in nodes for position in operator.mutation_positions(node))
            for occurrence, position in enumerate(positions):
                places.setdefault((path, *position), []).append((path, operator, occurrence))
    chosen: list[Mutant] = []
    for place in chance.sample(sorted(places), len(places)):
        if len(chosen) == size:
            break
        path, operator, occurrence = chance.choice(places[place])
        before = path.read_text()
        after = mutate_code(before, operator, occurrence)
        if changes_what_runs(before, after):
            chosen.append(difference(path, before, after))
    return chosen


def difference(path: Path, before: str, after: str) -> Mutant:
    """What changed in a module."""
    old, new = before.splitlines(), after.splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    parts = [part for kind, *part in matcher.get_opcodes() if kind != "equal"]
    removed = "\n".join(line.strip() for start, end, *_ in parts for line in old[start:end])
    added = "\n".join(line.strip() for *_, start, end in parts for line in new[start:end])
    return Mutant(path, parts[0][0] + 1, after, removed, added)


def changes_what_runs(before: str, after: str) -> bool:
    """Whether a changed module can be compiled, and differs in more than what only type checkers read."""
    try:
        changed = ast.parse(after)
    except SyntaxError:
        return False
    return ast.dump(_Bare().visit(ast.parse(before))) != ast.dump(_Bare().visit(changed))


class _Bare(ast.NodeTransformer):
    """Without annotations, blocks under ``TYPE_CHECKING``, and how a dataclass guards against mistakes."""

    def generic_visit(self, node):
        super().generic_visit(node)
        for annotation in {"annotation", "returns"} & {*node._fields}:
            setattr(node, annotation, None)
        return node

    def visit_Call(self, node):
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "dataclass":
            node.keywords = [each for each in node.keywords if each.arg not in {"frozen", "slots", "kw_only"}]
        return node

    def visit_AnnAssign(self, node):
        declares = node.value is None and not isinstance(node.target, ast.Name)  # and sets no attribute
        return ast.Pass() if declares else self.generic_visit(node)

    def visit_If(self, node):
        return ast.Pass() if "TYPE_CHECKING" in ast.unparse(node.test) else self.generic_visit(node)


def judge(room: str, mutants: list[Mutant], jobs: int) -> list[Outcome] | None:
    """What the tests of a room say about each mutant; None if they fail without one."""
    listed = equivalent()
    trees: queue.SimpleQueue[Path] = queue.SimpleQueue()

    def outcome(one: Mutant) -> Outcome:
        if (str(one.path), one.removed, one.added) in listed:
            return Outcome.EQUIVALENT
        tree = trees.get()
        module, original = tree / one.path, tree / "original"
        module.rename(original)  # which keeps the time that its compiled module has noted
        module.write_text(one.source)
        try:
            status = check(tree, room, one.path, deadline)
        finally:
            original.replace(module)
            trees.put(tree)
        if status == 0:
            print(f"survived: {one}\n", flush=True)
        return Outcome.TIMED_OUT if status is None else Outcome.KILLED if status else Outcome.SURVIVED

    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch, ThreadPoolExecutor(jobs) as pool:
        first, *more = (Path(scratch, str(number)) for number in range(jobs))
        shutil.copytree(Path.cwd(), first, ignore=NOT_COPIED, symlinks=True)
        start = time.perf_counter()
        if check(first, room) != 0:
            return None
        deadline = 20 + 4 * (time.perf_counter() - start)
        for tree in more:  # with the compiled modules
            shutil.copytree(first, tree, symlinks=True)
        for tree in (first, *more):
            trees.put(tree)
        return list(pool.map(outcome, mutants))


def check(tree: Path, room: str, module: Path | None = None, deadline: float | None = None) -> int | None:
    """The exit status of the tests of a room in a copy of the tree; None if they ran past the deadline, in seconds."""
    process = FORKS.Process(target=run, args=(tree, room, module))
    process.start()
    process.join(deadline)
    if process.is_alive():
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        return None
    return process.exitcode


def run(tree: Path, room: str, module: Path | None) -> NoReturn:
    """Run the tests of a room, in a process of their own. Its exit status is theirs."""
    os.setsid()
    with Path(os.devnull).open("w") as null:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(null.fileno(), stream.fileno())
    os.chdir(tree)
    # Compiled modules come from the first run alone; a later run finds a mutant by the time of its source.
    sys.dont_write_bytecode = module is not None
    os.environ |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1" if module else ""}
    sys.path.insert(0, str(tree))
    if room in SIMULATED and subprocess.call([sys.executable, "-m", "tests.simulator", "--schedules", "20"]):
        sys.exit(1)
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--hypothesis-seed=1", "--timeout=60"]
    sys.exit(pytest.main([*options, *selected(room, module)]))


def equivalent() -> set[tuple[str, str, str]]:
    """The listed mutants that do what the product does."""
    entries = tomllib.loads(EQUIVALENT.read_text()).get("mutant", [])
    return {(entry["file"], entry["old"], entry["new"]) for entry in entries}


def figures(counts: Counter[Outcome]) -> dict[str, float | None]:
    """The counts, and the part of the mutants that the tests noticed, of those that are not equivalent."""
    different = counts.total() - counts[Outcome.EQUIVALENT]
    score = round(1 - counts[Outcome.SURVIVED] / different, 3) if different else None
    return {"mutants": counts.total()} | {str(each): counts[each] for each in Outcome} | {"score": score}


if __name__ == "__main__":
    sys.exit(main())
