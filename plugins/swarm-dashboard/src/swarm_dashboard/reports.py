"""Reads the report that a peer has written as what it would have told, had it been asked once more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from swarm_dashboard.reading import Fields, count, mappings, number, text


def rounds_of(report: Fields, after: int) -> Iterator[Fields]:
    """The merged rounds of its peer after the one with a number, as statuses tell them."""
    site = text(report, "site")
    for each in _merged(report, after):
        merged, own = _fields(each, "merged"), _fields(each, "own")
        yield {
            **each,
            "time": number(each, "at"),
            "steps": _fields(each, "steps").get(site),
            "waited_for": [*_fields(each, "waited_for")],
            "loss": merged.get("loss"),
            "metrics": merged.get("metrics"),
            "own_loss": own.get("loss"),
            "own_metrics": own.get("metrics"),
        }


def records_of(report: Fields, after: int) -> Iterator[Fields]:
    """The records of these rounds. Only the last one has its hash in a report."""
    lineage = text(report, "lineage")
    for each in _merged(report, after):
        last, closing = count(each, "round") == count(report, "round"), text(each, "outcome") == "closed"
        known = {"record": text(report, "record")} if last else {}
        unknown = {"record": f"{lineage} {count(each, 'round')} {text(each, 'digest')}", "hash": ""}
        yield {
            **each,
            **(known or unknown),
            "lineage": lineage,
            "kind": "closing" if closing else "round",
            "closing": closing,
            "contributors": each.get("weights"),
            "refused": [{"peer": peer, "reason": why} for peer, why in _fields(each, "refused").items()],
        }


def figures_of(report: Fields) -> Fields:
    """The figures of its peer at the end, by the names of a status, as far as the report tells them."""
    totals = _fields(report, "totals")
    told = {"epoch": number(report, "epochs") or None}
    told |= {name: number(totals, name) for name in ("bytes_sent", "bytes_received")}
    return {name: value for name, value in told.items() if value is not None}


def _merged(report: Fields, after: int) -> Iterator[Fields]:
    found = (each for each in mappings(report, "rounds") if text(each, "outcome") != "skipped")
    return (each for each in found if count(each, "round") > after)


def _fields(fields: Fields, key: str) -> Mapping[str, Any]:
    value = fields.get(key)
    return value if isinstance(value, Mapping) else {}
