"""``python -m benchmarks.shards``: what the processes of sites need, with ``exchange_shards`` and without."""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.harness.command import Benchmark, Record
from benchmarks.harness.figures import aligned
from benchmarks.matrix.rows import Row, Site
from benchmarks.matrix.running import run

# what is freed goes back to the system, so that the memory of a process is what it uses
MEMORY = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1"}
SLACK = 64
"""MiB that a process may need beside three shards."""
MORE = 1.1
"""How many times its part of the bytes a process may send."""
EACH, MIXED, WHOLE = WAYS = ("each its shard", "beside one process", "rank 0 the whole")
"""Who exchanges what."""
ENDS = {"at a sync point": 12, "between two": 14}
"""Where the training ends, and the batches to there: the rows of the matrix merge every 4 batches."""
_FOUND = re.compile(r"FOUND (\{[^{}]*\})")  # two processes may share a line
_SENT = re.compile(r"rank (\d+) of this site has sent ([0-9.]+) MB")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--mib", type=int, default=200, help="MiB of the model")
    parser.add_argument("--processes", type=int, default=2, help="of each site")


def measure(options: argparse.Namespace) -> Record:
    """Run two sites that exchange shards, one beside one that has all of them, then two that exchange the whole."""
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        for number, (way, (end, batches)) in enumerate(product(WAYS, ENDS.items())):
            arguments = ("--mib", str(options.mib), "--batches", str(batches))
            environment = {**MEMORY, "SWARM_EXCHANGE_SHARDS": "false" if way == WHOLE else str(options.processes)}
            site = Site("torch_shards", arguments, options.processes, environment)
            other = Site("torch_shards", (*arguments, "--whole"), 1, environment) if way == MIXED else site
            directory = Path(temporary) / str(number)
            judged = run(Row(way, (site, other)), directory)
            texts = [log.read_text(errors="replace") for log in sorted(directory.glob("*.log"))]
            found.append({**judged, "end": end, "sites": [_site(text) for text in texts]})
            print(f"{way}, {end}: {judged['seconds']} s {judged['why']}", file=sys.stderr, flush=True)
    return {"mib": options.mib, "processes": options.processes, "runs": found}


def _site(text: str) -> list[dict[str, Any]]:
    """What the processes of a site told, by rank, with the bytes that each has sent."""
    ranks = sorted((json.loads(each) for each in _FOUND.findall(text)), key=lambda each: each["rank"])
    others = {int(rank): float(sent) for rank, sent in _SENT.findall(text)}
    for each in ranks:
        of_site = each.pop("sent") / 1e6
        each["sent_mb"] = round(others.get(each["rank"], 0.0) if each["rank"] else of_site - sum(others.values()), 1)
    return ranks


def shown(record: Record) -> str:
    """The table for people."""
    rows = [("way", "training ends", "site", "rank", "MiB beyond training", "MB sent", "rounds")]
    for each in record["runs"]:
        for name, site in zip("ab", each["sites"], strict=False):
            for rank in site:
                figures = (f"{rank[what]:.0f}" for what in ("rank", "mib", "sent_mb", "rounds"))
                rows.append((each["row"], each["end"], name, *figures))
    return "\n".join(aligned(rows))


def failed(record: Record) -> bool:
    """Whether a site failed, or a process that exchanges its shard needs or sends more than its part and a little."""
    processes = record["processes"]
    most = 3 * record["mib"] / processes + SLACK
    whole = {
        (each["end"], number): site[0]["sent_mb"]
        for each in record["runs"]
        if each["row"] == WHOLE
        for number, site in enumerate(each["sites"])
        if site
    }
    sharded = [
        (site, MORE * whole.get((each["end"], number), 0.0) / processes)
        for each in record["runs"]
        if each["row"] != WHOLE
        for number, site in enumerate(each["sites"][: 1 if each["row"] == MIXED else None])
    ]
    told = all(len(site) == processes for site, _ in sharded)
    high = any(rank["mib"] > most or rank["sent_mb"] > part for site, part in sharded for rank in site)
    return high or not told or not all(each["passed"] for each in record["runs"])


BENCHMARK = Benchmark(
    name="shards",
    description=(__doc__ or "").strip(),
    add_options=add_options,
    measure=measure,
    table=shown,
    failed=failed,
)

if __name__ == "__main__":
    BENCHMARK.main()
