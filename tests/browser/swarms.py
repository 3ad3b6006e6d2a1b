"""What swarms of many sites tell, for pages that no real swarm needs to be behind."""

from __future__ import annotations

import math
import random
import time

NAMES = ("berlin", "madrid", "oslo", "paris", "rome")


def sites(count: int) -> list[str]:
    """Names of so many sites."""
    return list(NAMES[:count]) if count <= len(NAMES) else [f"site-{number:02d}" for number in range(1, count + 1)]


def told(count: int, rounds: int, *, gone: str = "", refused: str = "", session: str = "chest-x-ray") -> dict:
    """What ``count`` sites tell after so many rounds; the last site to be slow is waited for."""
    began, names = time.time() - 30.0 * rounds, sites(count)
    here = [name for name in names if name != gone]
    records = [_record(number, names, here, rounds, refused) for number in range(max(0, rounds - 15), rounds + 1)]
    peers = [
        _peer(at, name, names, gone, rounds, records, began, session) for at, name in enumerate(names) if name != gone
    ]
    unreachable = [{"address": f"{gone}@10.0.0.9:7700", "reason": "nobody answers"}] if gone else []
    return {"time": time.time(), "peers": peers, "unreachable": unreachable}


def _record(number: int, names: list[str], here: list[str], last: int, refused: str) -> dict:
    group = here if number > last - 3 else names
    out = [refused] if refused and number in {last - 2, last - 9} else []
    return {
        "record": f"{number * 2654435761 % 2**32:08x}" * 8,
        "round": number,
        "lineage": "a1",
        "kind": "founding" if number == 0 else "round",
        "closing": False,
        "digest": f"{number * 40503 % 2**32:08x}" * 8,
        "group": group,
        "contributors": {name: 1 for name in group if name not in out},
        "refused": [{"peer": name, "reason": "its weights have moved 214 times as far as the median"} for name in out],
        "removed": [],
    }


def _peer(at, name, names, gone, rounds, records, began, session) -> dict:
    slow = names[1]
    waits = at % 3 == 0 and name != slow
    return {
        "asked": f"{name}@10.0.{at}.4:7700",
        "address": f"{name}@10.0.{at}.4:7700",
        "name": name,
        "session": session,
        "status": "waiting" if waits else "training",
        "waits_for": [slow] if waits else [],
        "round": rounds,
        "lineage": "a1",
        "epoch": rounds // 4,
        "total_epochs": 20,
        "seconds_left": 30.0 * max(80 - rounds, 0),
        "weight": 1,
        "interval": 64,
        "bytes_sent": 41_300_000 * rounds,
        "bytes_received": 41_100_000 * rounds,
        "security": "mutual TLS 1.3",
        "swarm_over": False,
        "settings": {"sync_interval": "64", "merge_method": "mean", "min_peers": "3", "codec": "exact"},
        "origins": {"sync_interval": "argument", "merge_method": "default", "min_peers": "file", "codec": "default"},
        "peers": [
            {"name": other, "address": f"{other}@10.0.0.9:7700", "state": "lost" if other == gone else "live"}
            for other in names
            if other != name
        ],
        "rounds": [_round(number, at, name, slow, began) for number in range(max(1, rounds - 63), rounds + 1)],
        "records": records,
        "warnings": [],
    }


def _round(number: int, at: int, name: str, slow: str, began: float) -> dict:
    chance = random.Random(1000 * number + at)
    base = 1.9 * math.exp(-number / 22) + 0.25
    waited = 0.1 if name == slow else (2.0, 4.0, 9.0)[at % 3] * chance.uniform(0.7, 1.3)
    own = base * (1.14 + 0.1 * math.sin(2.4 * at))
    return {
        "time": began + 30.0 * number,
        "round": number,
        "lineage": "a1",
        "outcome": "merged",
        "reason": "",
        "missing": [],
        "steps": (64, 48, 64)[at % 3],
        "seconds": waited + 2.6,
        "waited": waited,
        "waited_for": [] if name == slow else [slow],
        "exchanged": 1.9 * chance.uniform(0.8, 1.2),
        "stall": waited + 2.6,
        "bytes_sent": 41_300_000,
        "bytes_received": 41_100_000,
        "loss": base * (1 + 0.06 * math.sin(2.4 * at)) + chance.gauss(0, 0.006),
        "metrics": {"accuracy": 1 - base / 2.6 + chance.gauss(0, 0.003)},
        "own_loss": own + chance.gauss(0, 0.015),
        "own_metrics": {"accuracy": 1 - own / 2.5},
        "batch_loss": base * 0.9,
    }
