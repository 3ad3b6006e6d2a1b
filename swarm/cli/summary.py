"""The final output of ``swarm up``: a few lines, or one JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from swarm.cli.display import PeerRow
from swarm.cli.ends import PeerEnd, failures, signal_name
from swarm.cli.launcher import Launcher
from swarm.cli.result import result_lines, results
from swarm.cli.table import epochs
from swarm.storage.session_records import SessionRecord
from swarm.text import size

UNKNOWN = "it ended without leaving the session"


def summary(launcher: Launcher) -> list[str]:
    """The last lines: which peers failed, and where the result is."""
    rows = launcher.rows()
    if launcher.interrupted_by is not None:
        return [f"interrupted by {signal_name(launcher.interrupted_by)}: all peers have ended"]
    bad = {end.name for end in launcher.ends if end.failed}
    records = [each for each in launcher.records if each.rank in {row.rank for row in rows if row.name not in bad}]
    problems = "; ".join([*_without_closing_model(records), *_different_models(records)])
    lines = failures(launcher.ends, len(rows))
    if problems:
        lines.append(problems if bad else f"all {len(rows)} peers ended with exit code 0, but {problems}")
    elif not bad:
        lines.append(", ".join([f"all {len(rows)} peers ended well", *_trained(launcher, rows)]))
    return lines + result_lines(records)


def record(launcher: Launcher, code: int) -> dict[str, Any]:
    """The document of ``--json``."""
    ends = {end.name: end for end in launcher.ends}
    return {
        "exit_code": code,
        "peers": [_peer_record(row, ends[row.name], _of(launcher, row)) for row in launcher.rows()],
        "results": results(launcher.records),
    }


def _of(launcher: Launcher, row: PeerRow) -> list[SessionRecord]:
    return [each for each in launcher.records if each.rank == row.rank]


def _trained(launcher: Launcher, rows: Sequence[PeerRow]) -> list[str]:
    """How far they have come, and how much they have sent."""
    done = {epochs(row.view) for row in rows if row.view} - {""}
    sent = _bytes_sent(launcher, rows)
    return [*([f"epoch {done.pop()}"] if len(done) == 1 else []), *([f"{size(sent)} sent"] if sent is not None else [])]


def _by_session(records: Sequence[SessionRecord]) -> list[tuple[str, list[SessionRecord]]]:
    """The records of each session, with the text that names it in a sentence; empty if there is only one session."""
    sessions = sorted({each.session for each in records})
    return [
        (f" of session {session}" if len(sessions) > 1 else "", [each for each in records if each.session == session])
        for session in sessions
    ]


def _without_closing_model(records: Sequence[SessionRecord]) -> list[str]:
    """The peers that ended without a closing model, and why."""
    peers: dict[str, list[str]] = {}
    for session, found in _by_session(records):
        for each in found:
            if not each.closing:
                what = f"ended without a closing model{session} ({each.reason or UNKNOWN})"
                peers.setdefault(what, []).append(f"peer-{each.rank}")
    return [f"{', '.join(names)} {what}" for what, names in peers.items()]


def _different_models(records: Sequence[SessionRecord]) -> list[str]:
    """The sessions whose peers have different closing models, and the round of each."""
    differing = []
    for session, found in _by_session(records):
        closed = [each for each in found if each.closing]
        if len({each.digest for each in closed}) > 1:
            rounds = ", ".join(f"peer-{each.rank} of {_when(each)}" for each in closed)
            differing.append(f"the closing models{session} differ: {rounds}")
    return differing


def _when(record: SessionRecord) -> str:
    run = f" of run {record.run}" if record.run > 1 else ""
    return f"round {record.round or 0}{run}"


def _bytes_sent(launcher: Launcher, rows: Sequence[PeerRow]) -> int | None:
    if launcher.records:
        return sum(each.bytes_sent for each in launcher.records)
    views = [row.view for row in rows if row.view]
    return sum(view.bytes_sent for view in views) if views else None


def _peer_record(row: PeerRow, end: PeerEnd, records: Sequence[SessionRecord]) -> dict[str, Any]:
    view = row.view
    ended = [each for each in records if each.ended]
    return {
        "name": row.name,
        "rank": row.rank,
        "state": row.state,
        "exit_code": end.code if end.code >= 0 else None,
        "signal": signal_name(-end.code) if end.code < 0 else None,
        "error": end.cause or None if end.failed else None,
        "joined": end.joined,
        "round": view.round if view else None,
        "epoch": view.epoch if view else None,
        "total_epochs": view.total_epochs if view else None,
        "loss": view.loss if view else None,
        "bytes_sent": sum(each.bytes_sent for each in ended) if ended else view.bytes_sent if view else None,
        "bytes_received": (
            sum(each.bytes_received for each in ended) if ended else view.bytes_received if view else None
        ),
        "sessions": [{name: value for name, value in asdict(each).items() if name != "rank"} for each in records],
    }
