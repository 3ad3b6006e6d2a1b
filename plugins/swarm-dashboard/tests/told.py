"""What a swarm tells, as ``Watch.turn`` returns it."""

from __future__ import annotations


def status(name, *, session="heart", state="training", rounds=(), records=(), peers=(), **more):
    return {
        "asked": f"{name}:1", "name": name, "address": f"{name}:1", "session": session, "status": state,
        "round": 3, "epoch": 1, "total_epochs": 4, "peers": [*peers], "rounds": [*rounds], "records": [*records],
        "warnings": [], "settings": {"sync_interval": "8"}, "origins": {"sync_interval": "argument"}, **more,
    }  # fmt: skip


def round_(number, **more):
    return {
        "time": float(number), "round": number, "outcome": "merged", "seconds": 2.0, "waited": 1.5, "exchanged": 0.25,
        "waited_for": ["oslo"], "steps": 8, "loss": 0.5, "metrics": {"accuracy": 0.75}, "bytes_sent": 10,
        "bytes_received": 20, **more,
    }  # fmt: skip


def record(number, group, **more):
    return {
        "record": f"{number:064x}", "round": number, "lineage": "a", "kind": "round", "closing": False,
        "digest": "d" * 64, "group": [*group], "contributors": dict.fromkeys(group, 1), "refused": [], "removed": [],
        **more,
    }  # fmt: skip


def report(site, rounds, *, session="heart", **more):
    """Of a site that has ended, as ``swarm-report.json`` has it."""
    last = rounds[-1]
    return {
        "swarm_report": 1, "site": site, "session": session, "closing": last["outcome"] == "closed", "reason": "",
        "round": last["round"], "digest": last["digest"], "lineage": "a", "file": "swarm-final.safetensors",
        "record": f"{last['round']:064x}", "rounds": [*rounds], **more,
    }  # fmt: skip


def reported(number, group=("oslo", "paris"), **more):
    """A round in a report."""
    return {
        "at": float(number), "round": number, "outcome": "merged", "digest": "d" * 64, "group": [*group],
        "weights": dict.fromkeys(group, 1), "steps": dict.fromkeys(group, 8), "refused": {}, "reason": "",
        "missing": [], "seconds": 2.0, "stall": 1.0, "waited": 1.5, "waited_for": {"oslo": 1.5}, "exchanged": 0.25,
        "bytes_sent": 10, "bytes_received": 20, "own": {"loss": 0.75, "metrics": {"accuracy": 0.5}},
        "merged": {"loss": 0.25, "metrics": {"accuracy": 0.875}}, **more,
    }  # fmt: skip


def knows(name, state="live", **more):
    return {"name": name, "address": f"{name}:1", "state": state, "left_out": False, **more}


def turn(*statuses, at=100.0, unreachable=()):
    return {
        "time": at,
        "peers": [*statuses],
        "unreachable": [{"address": f"{name}:1", "reason": "nobody is there"} for name in unreachable],
    }
