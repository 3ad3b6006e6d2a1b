"""A running swarm of an earlier release, updated one peer after the other: ``python -m benchmarks.upgrade``."""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.command import Benchmark, Record, integer
from benchmarks.harness.workers import ROOT
from benchmarks.upgrade.processes import Peers, build, rounds
from swarm.versions import NEWEST, UPDATE

EARLIER = "826a173"
"""The last commit whose peers name no version of the protocol."""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="commit", default=EARLIER, help=f"commit to update from (default {EARLIER})")
    parser.add_argument("--peers", type=integer(3), default=3, help="(default 3)")


def _measure(options: argparse.Namespace) -> Record:
    names = tuple(f"peer-{rank}" for rank in range(options.peers))
    with tempfile.TemporaryDirectory(prefix="swarm-upgrade-") as temporary:
        directory = Path(temporary)
        earlier = build(options.commit, directory)
        updates, logs, codes = _updated(names, earlier, directory / "update")
        sentences = _refused(earlier, directory / "refusal")
    return figures(options.commit, updates, logs, codes, sentences)


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


def _refused(earlier: Path, directory: Path) -> tuple[str, str]:
    """The last lines of a peer of the earlier release, and of one that no longer understands it."""
    with Peers(directory) as peers:
        peers.start("earlier", earlier)
        peers.start("later", ROOT, NEWEST)
        codes = peers.exit_codes()
        texts = tuple(peers.text(name) for name in ("earlier", "later"))
        if 0 in codes.values():
            raise RuntimeError(f"peers without a common version trained: {texts}")
        return texts[0].splitlines()[-1], texts[1].splitlines()[-1]


def figures(
    commit: str,
    updates: Sequence[Record],
    logs: Mapping[str, str],
    codes: Mapping[str, int],
    sentences: Sequence[str],
) -> dict[str, Any]:
    """The record of a run.

    Args:
        commit: the earlier release.
        updates: peer, seconds and rounds without it.
        logs: by peer, of its earlier and its later process.
        codes: exit codes of the later processes.
        sentences: what refused peers ended with.
    """
    skipped = sum(_gaps(process) for log in logs.values() for process in log.split("USES "))
    models = {digest for log in logs.values() for digest in re.findall(r"closing model of .* digest (\w+)", log)}
    remedy = f"update Swarm at earlier with `{UPDATE}`"
    gates = {
        "ended": not any(codes.values()),
        "one_model": len(models) == 1,
        "missed_rounds": skipped == 0,
        "refused": all(remedy in sentence for sentence in sentences),
    }
    return {
        "from": commit,
        "peers": len(logs),
        "updates": list(updates),
        "missed_rounds": skipped,
        "models": len(models),
        "sentences": list(sentences),
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
    lines.append(f"refused: {record['sentences'][0]}")
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
