"""A running swarm of an earlier release, updated one peer after the other: ``python -m benchmarks.upgrade``.

Where the earlier release speaks no version of the protocol that the present one understands, a peer of either one is
turned away by a running swarm of the other one, which trains on.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness.command import Benchmark, Record, integer
from benchmarks.harness.workers import ROOT
from benchmarks.upgrade.processes import Peers, build, rounds, versions
from swarm.versions import NEWEST, UPDATE, here, obstacle

NEWCOMER = "newcomer"
APART = "have no version of the protocol in common"


class Said(NamedTuple):
    """A sentence about two peers that cannot meet."""

    sentence: str
    behind: Sequence[str]
    """Peers one of which has to update."""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="commit", default="HEAD", help="commit to update from (default HEAD)")
    parser.add_argument("--peers", type=integer(3), default=3, help="(default 3)")


def _measure(options: argparse.Namespace) -> Record:
    names = tuple(f"peer-{rank}" for rank in range(options.peers))
    with tempfile.TemporaryDirectory(prefix="swarm-upgrade-") as temporary:
        directory = Path(temporary)
        earlier = build(options.commit, directory)
        if obstacle({"earlier": versions(earlier), "present": here()}) is None:
            updates, logs, codes = _updated(names, earlier, directory / "update")
            said = [Said(sentence, ("earlier",)) for sentence in _refused(earlier, directory / "refusal")]
            return figures(options.commit, updates, [logs], codes, said)
        old, present = (
            _turned_away(names, releases, directory / place)
            for place, releases in {"old": (earlier, ROOT), "present": (ROOT, earlier)}.items()
        )
    said = [*(Said(each, names) for each in old[2]), *(Said(each, (NEWCOMER,)) for each in present[2])]
    codes = {
        f"{place} {name}": code for place, found in (("old", old), ("new", present)) for name, code in found[1].items()
    }
    return figures(options.commit, (), [old[0], present[0]], codes, said)


def _updated(
    names: Sequence[str], earlier: Path, directory: Path
) -> tuple[list[Record], dict[str, str], dict[str, int]]:
    """Update the peers one by one; what each update took, the logs, and the exit codes."""
    with Peers(directory) as peers:
        for name in names:
            peers.start(name, earlier, world_size=len(names))
        peers.wait(lambda: all(len(rounds(peers.text(name))) > 3 for name in names), "all have merged")
        for name in names:
            if str(earlier) not in peers.text(name):
                raise RuntimeError(f"{name} does not run the earlier release:\n{peers.text(name)}")
        updates = [_update(name, names, peers) for name in names]
        last = f"the session uses protocol {NEWEST}, the newest"
        if any("the session uses protocol" in peers.text(name) for name in names):  # the earlier one has another
            peers.wait(lambda: any(last in peers.text(name) for name in names), f"the session uses protocol {NEWEST}")
        peers.stop.touch()
        codes = peers.exit_codes()
        return updates, {name: peers.text(name) for name in names}, codes


def _update(name: str, names: Sequence[str], peers: Peers) -> Record:
    """End a peer, let the others merge without it, and start it under the present release."""
    witness = next(other for other in names if other != name)
    before = len(rounds(peers.text(witness)))
    peers.terminate(name)
    peers.wait(lambda: len(rounds(peers.text(witness))) > before + 3, "the others have merged without it")
    known = {other: len(rounds(peers.text(other))) for other in names}
    peers.start(name, ROOT, world_size=len(names))

    def complete() -> bool:
        later = [rounds(peers.text(other))[known[other] :] for other in names]
        return all(any(size == len(names) for _, size in found) for found in later)

    seconds = peers.wait(complete, f"all have merged with the new {name}")
    without = [size for _, size in rounds(peers.text(witness))[before:] if size < len(names)]
    return {"peer": name, "return_seconds": round(seconds, 2), "rounds_without_it": len(without)}


def _turned_away(
    names: Sequence[str], releases: tuple[Path, Path], directory: Path
) -> tuple[dict[str, str], dict[str, int], list[str]]:
    """A peer of the second release comes to a swarm of the first; logs and exit codes of that, and what both say."""
    with Peers(directory) as peers:
        for name in names:
            peers.start(name, releases[0], world_size=len(names))
        peers.wait(lambda: all(len(rounds(peers.text(name))) > 3 for name in names), "all have merged")
        peers.start(NEWCOMER, releases[1])
        peers.wait(lambda: peers.ended(NEWCOMER), "the other release was turned away")
        before = {name: len(rounds(peers.text(name))) for name in names}
        peers.wait(lambda: all(len(rounds(peers.text(name))) > before[name] + 3 for name in names), "the swarm goes on")
        peers.stop.touch()
        codes, logs = peers.exit_codes(), {name: peers.text(name) for name in names}
        if codes.pop(NEWCOMER) == 0:
            raise RuntimeError(f"peers without a common version trained: {peers.text(NEWCOMER)}")
        told = [line for log in logs.values() for line in log.splitlines() if APART in line]
        return logs, codes, [peers.text(NEWCOMER).splitlines()[-1], told[0] if told else "nothing"]


def _refused(earlier: Path, directory: Path) -> tuple[str, str]:
    """The last lines of a peer of the earlier release, and of one that only speaks a version after the present one."""
    with Peers(directory) as peers:
        peers.start("earlier", earlier)
        peers.start("later", ROOT, NEWEST + 1)
        codes = peers.exit_codes()
        texts = tuple(peers.text(name) for name in ("earlier", "later"))
        if 0 in codes.values():
            raise RuntimeError(f"peers without a common version trained: {texts}")
        return texts[0].splitlines()[-1], texts[1].splitlines()[-1]


def figures(
    commit: str,
    updates: Sequence[Record],
    swarms: Sequence[Mapping[str, str]],
    codes: Mapping[str, int],
    sentences: Sequence[Said],
) -> dict[str, Any]:
    """The record of a run.

    Args:
        commit: the earlier release.
        updates: peer, seconds and rounds without it.
        swarms: for each swarm, the logs by peer, of its earlier and its later process.
        codes: exit codes of the later processes.
        sentences: what is said where peers have refused each other.
    """
    skipped = sum(_gaps(process) for logs in swarms for log in logs.values() for process in log.split("USES "))
    models = [{*re.findall(r"closing model of .* digest (\w+)", "\n".join(logs.values()))} for logs in swarms]
    gates = {
        "ended": not any(codes.values()),
        "one_model": {*map(len, models)} == {1},
        "missed_rounds": skipped == 0,
        "refused": all(
            any(f"update Swarm at {name} with `{UPDATE}`" in said.sentence for name in said.behind)
            for said in sentences
        ),
    }
    return {
        "from": commit,
        "peers": len(swarms[0]),
        "updates": list(updates),
        "missed_rounds": skipped,
        "models": max(map(len, models)),
        "sentences": [said.sentence for said in sentences],
        "gates": gates,
    }


def _gaps(text: str) -> int:
    """Rounds that a process missed between its first and its last one."""
    numbers = [number for number, _ in rounds(text)]
    return numbers[-1] - numbers[0] + 1 - len(numbers) if numbers else 0


def _table(record: Record) -> str:
    lines = [
        f"{each['peer']}: {each['rounds_without_it']} rounds without it, merged again after {each['return_seconds']} s"
        for each in record["updates"]
    ]
    lines += [f"refused: {sentence}" for sentence in record["sentences"][::2]]
    failed = [name for name, met in record["gates"].items() if not met]
    lines.append(f"update from {record['from']}: " + (f"FAILED: {', '.join(failed)}" if failed else "passed"))
    return "\n".join(lines)


BENCHMARK = Benchmark(
    name="upgrade",
    description="A running swarm of an earlier release, updated one peer after the other.",
    add_options=_options,
    measure=_measure,
    table=_table,
)

if __name__ == "__main__":
    BENCHMARK.main()
