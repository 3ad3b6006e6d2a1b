"""The records of rounds, as peers have them in their ledgers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarm_dashboard.events import Events
from swarm_dashboard.reading import Fields, count, mappings, numbers, text, texts
from swarm_dashboard.versioned import Versioned, Versions

MOST_RECORDS = 2000


class Records:
    """The records of one session."""

    def __init__(self, versions: Versions, events: Events) -> None:
        self.all: list[Versioned] = []
        self._versions = versions
        self._events = events
        self._seen: dict[str, None] = {}
        """Their hashes, in the order in which they came."""
        self.group: tuple[str, ...] = ()
        """Who was in the last round."""
        self.last = -1
        """The number of the last round."""
        self._without_hash: set[tuple[str, int]] = set()
        """Lineage and round of records that come from a report, which has the hash of the last one only."""

    def take(self, told: Fields, now: float) -> None:
        """A peer has this record; most of them were told before."""
        record, place = text(told, "record"), (text(told, "lineage"), count(told, "round"))
        if not record or record in self._seen or place in self._without_hash:
            return
        if "hash" in told:
            self._without_hash.add(place)
        self._seen[record] = None
        if len(self._seen) > 2 * MOST_RECORDS:
            del self._seen[next(iter(self._seen))]
        entry: dict[str, Any] = {
            "time": now,
            "record": record,
            "round": count(told, "round"),
            "group": texts(told, "group"),
            "contributors": numbers(told, "contributors"),
            "closing": told.get("closing") is True,
            "refused": [_refusal(each) for each in mappings(told, "refused")],
            "removed": texts(told, "removed"),
            **{name: text(told, name) for name in ("lineage", "kind", "digest", "hash") if name in told},
        }
        self.all.append(Versioned(self._versions.next(), entry))
        del self.all[:-MOST_RECORDS]
        self._tell(entry, now)

    def _tell(self, entry: Mapping[str, Any], now: float) -> None:
        number, group = entry["round"], tuple(entry["group"])
        if entry["kind"] == "founding":
            self._events.add(now, f"{len(group)} sites start from the same weights")
        elif entry["kind"] in {"fork", "restart"}:
            what = f"round {number}: {entry['kind']}, {len(group)} sites go on as lineage {entry['lineage']}"
            self._events.add(now, what, warning=True)
        elif entry["closing"]:
            self._events.add(now, f"round {number} is the closing one, with {len(group)} sites")
        for each in entry["refused"]:
            what = f"round {number}: the contribution of {each['peer']} was left out: {each['reason']}"
            self._events.add(now, what, peer=each["peer"], warning=True)
        for peer in entry["removed"]:
            self._events.add(
                now, f"round {number}: {peer} was removed, as it signed two results", peer=peer, warning=True
            )
        if number > self.last:
            if missing := sorted({*self.group} - {*group}):
                what = f"round {number} went ahead without {', '.join(missing)}"
                self._events.add(now, what, warning=True)
            self.group, self.last = group, number


def _refusal(told: Fields) -> dict[str, str]:
    return {"peer": text(told, "peer"), "reason": text(told, "reason")}
