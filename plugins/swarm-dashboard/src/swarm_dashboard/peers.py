"""One peer: what it tells of itself, and what the others tell of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from swarm_dashboard.reading import Fields, count, mappings, number, numbers, text, texts
from swarm_dashboard.reports import figures_of, rounds_of
from swarm_dashboard.versioned import Versioned, Versions

MOST_ROUNDS = 1000
"""Sync points of one peer. Of more, every second of the older half is left out."""
TEXTS = ("status", "lineage", "security", "release", "address")
NUMBERS = (
    "round",
    "epoch",
    "total_epochs",
    "seconds_left",
    "interval",
    "weight",
    "loss",
    "bytes_sent",
    "bytes_received",
)
OF_A_ROUND = (
    "round", "steps", "seconds", "waited", "exchanged", "stall", "bytes_sent", "bytes_received", "loss", "own_loss",
    "batch_loss",
)  # fmt: skip


class Peer:
    """What is known of one peer."""

    def __init__(self, name: str, versions: Versions) -> None:
        self.name = name
        self.asked = ""
        """The address at which it answered."""
        self.address = ""
        self.state = ""
        self.since = 0.0
        """When it got into this state, as far as the page has seen."""
        self.left_out = False
        """Whether another peer leaves it out for now."""
        self.status: Fields = {}
        """Its last answer."""
        self.result: dict[str, Any] = {}
        """How its process ended, if that is known."""
        self.rounds: list[Versioned] = []
        self.shown = Versioned(0, {})
        self._versions = versions
        self._last_time = float("-inf")
        self._last_round = -1
        """The number of its last merged round."""
        self._totals: dict[str, float] = {"rounds": 0, "steps": 0, "seconds": 0.0, "waited": 0.0, "exchanged": 0.0}
        self._waited_for: dict[str, float] = {}

    def answered(self, status: Fields, now: float) -> None:
        """It has told this."""
        self.status, self.result = status, {}  # a peer that answers has not ended, or was started again
        self.asked, self.address = text(status, "asked"), text(status, "address")
        for each in mappings(status, "rounds"):
            time = number(each, "time")
            if time is not None and self._last_time < time <= now + 3600:
                self._last_time = time
                self._add(each, time)

    def reported(self, report: Fields) -> None:
        """It has written its report, which has the rounds that it did not tell of, and its last figures."""
        self.status = {**self.status, **figures_of(report)}
        for each in rounds_of(report, self._last_round):
            self._add(each, number(each, "time") or 0.0)

    def settle(self) -> None:
        """Give what browsers are told of it a new version, if it has changed."""
        status = self.status
        value = {
            "name": self.name,
            "state": self.state,
            "since": self.since,
            "left_out": self.left_out,
            "waits_for": texts(status, "waits_for"),
            **{name: text(status, name) for name in TEXTS},
            **{name: number(status, name) for name in NUMBERS},
            "by_samples": _settings(status).get("node_weightage") == "samples",
            "settings": _settings(status),
            "origins": _texts(status, "origins"),
            "totals": dict(self._totals),
            "waited_for": dict(self._waited_for),
            "result": self.result,
        }
        value["address"] = self.address
        if value != self.shown.value:
            self.shown = Versioned(self._versions.next(), value)

    def _add(self, told: Fields, time: float) -> None:
        entry: dict[str, Any] = {"time": time, "outcome": text(told, "outcome"), "reason": text(told, "reason")}
        entry |= {name: number(told, name) for name in OF_A_ROUND}
        entry["waited_for"], entry["missing"] = texts(told, "waited_for"), texts(told, "missing")
        entry["metrics"], entry["own_metrics"] = numbers(told, "metrics"), numbers(told, "own_metrics")
        self.rounds.append(Versioned(self._versions.next(), entry))
        if len(self.rounds) > MOST_ROUNDS:
            half = len(self.rounds) // 2
            self.rounds = self.rounds[:half:2] + self.rounds[half:]
        if entry["outcome"] != "skipped":
            self._totals["rounds"] += 1
            self._last_round = max(self._last_round, count(told, "round"))
        self._totals["steps"] += count(told, "steps")
        for part in ("seconds", "waited", "exchanged"):
            self._totals[part] += number(told, part) or 0.0
        for other in entry["waited_for"][:16]:
            self._waited_for[other] = self._waited_for.get(other, 0.0) + (number(told, "waited") or 0.0)


def state_of(peer: Peer, told: Fields | None, views: Sequence[Fields], problem: str | None) -> str:
    """The state of a peer, in words.

    Args:
        peer: it.
        told: its answer; None if it has not answered.
        views: what the others tell of it.
        problem: why it did not answer where it was asked; None if it was not asked.
    """
    if told is not None:
        return text(told, "status") or "training"
    if peer.state in {"ended", "closed"} or peer.status.get("swarm_over") is True:
        return "ended"
    states = {text(view, "state") for view in views}
    if "left" in states:
        return "left"
    if "lost" in states and "live" not in states:
        return "gone"
    if problem is not None:
        return "not answering"
    if peer.status:
        return "left"  # it has withdrawn its address
    return "not asked"


def _settings(status: Fields) -> dict[str, str]:
    return _texts(status, "settings")


def _texts(status: Fields, key: str) -> dict[str, str]:
    value = status.get(key)
    return {k: v for k, v in value.items() if isinstance(v, str)} if isinstance(value, Mapping) else {}
