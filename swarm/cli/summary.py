"""What ``swarm up`` says when all peers have ended: one line, or one JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from swarm.cli.display import PeerRow
from swarm.cli.launcher import Launcher, signal_name
from swarm.cli.table import size
from swarm.membership.outcomes import SessionOutcome

NOT_TOLD = "its process ended before it left the session"


def summary(launcher: Launcher, code: int) -> str:
    """The last line."""
    rows = launcher.rows()
    if launcher.interrupted_by is not None:
        return f"interrupted by {signal_name(launcher.interrupted_by)}: all peers have ended"
    failed = [end for end in launcher.ends if end.failed]
    well = {row.rank for row in rows} - {row.rank for row in rows if row.name in {end.name for end in failed}}
    unclosed = _without_closing_model([outcome for outcome in launcher.outcomes if outcome.rank in well])
    if failed:
        others = f"; {unclosed}" if unclosed else ""
        return f"{len(failed)} of {len(rows)} peers failed: {'; '.join(map(str, failed))} (exit code {code}){others}"
    if unclosed:
        return f"all {len(rows)} peers ended with exit code 0, but {unclosed}"
    parts = [f"all {len(rows)} peers ended well", *_sessions(launcher.outcomes)]
    sent = _bytes_sent(launcher, rows)
    return ", ".join([": ".join(parts[:2]), *parts[2:], *([f"{size(sent)} sent"] if sent is not None else [])])


def record(launcher: Launcher, code: int) -> dict[str, Any]:
    """The document of ``--json``."""
    ends = {end.name: end for end in launcher.ends}
    return {
        "exit_code": code,
        "peers": [_peer_record(row, ends[row.name].code, _of(launcher, row)) for row in launcher.rows()],
    }


def _of(launcher: Launcher, row: PeerRow) -> list[SessionOutcome]:
    return [outcome for outcome in launcher.outcomes if outcome.rank == row.rank]


def _without_closing_model(outcomes: Sequence[SessionOutcome]) -> str:
    """Which peers ended without a closing model, and why; empty where none did."""
    several = len({outcome.session for outcome in outcomes}) > 1
    peers: dict[str, list[str]] = {}
    for outcome in outcomes:
        if not outcome.closing:
            session = f" of session {outcome.session}" if several else ""
            what = f"ended without a closing model{session} ({outcome.reason or NOT_TOLD})"
            peers.setdefault(what, []).append(f"peer-{outcome.rank}")
    return "; ".join(f"{', '.join(names)} {what}" for what, names in peers.items())


def _sessions(outcomes: Sequence[SessionOutcome]) -> list[str]:
    """What each session came to; all of its peers hold a closing model."""
    told = []
    sessions = sorted({outcome.session for outcome in outcomes})
    for session in sessions:
        last = [outcome for outcome in outcomes if outcome.session == session]
        which = f" of session {session}" if len(sessions) > 1 else ""
        digests = {outcome.digest for outcome in last}
        rounds = sorted({outcome.round or 0 for outcome in last})
        if len(digests) > 1:
            told.append(f"{len(digests)} different closing models{which}, of rounds {', '.join(map(str, rounds))}")
            continue
        file = next((outcome.file for outcome in last if outcome.file), "")
        told.append(f"closing model{which} of round {rounds[-1]}" + (f" in {file}" if file else ""))
    return told


def _bytes_sent(launcher: Launcher, rows: Sequence[PeerRow]) -> int | None:
    if launcher.outcomes:
        return sum(outcome.bytes_sent for outcome in launcher.outcomes)
    views = [row.view for row in rows if row.view]
    return sum(view.bytes_sent for view in views) if views else None


def _peer_record(row: PeerRow, code: int, outcomes: Sequence[SessionOutcome]) -> dict[str, Any]:
    view = row.view
    ended = [outcome for outcome in outcomes if outcome.ended]
    rounds = [outcome.round for outcome in ended if outcome.round is not None]
    return {
        "name": row.name,
        "rank": row.rank,
        "state": row.state,
        "exit_code": code if code >= 0 else None,
        "signal": signal_name(-code) if code < 0 else None,
        "round": max(rounds) if rounds else view.round if view else None,
        "loss": view.loss if view else None,
        "bytes_sent": sum(outcome.bytes_sent for outcome in ended) if ended else view.bytes_sent if view else None,
        "bytes_received": (
            sum(outcome.bytes_received for outcome in ended) if ended else view.bytes_received if view else None
        ),
        "sessions": [
            {name: value for name, value in asdict(outcome).items() if name != "rank"} for outcome in outcomes
        ],
    }
