"""How a run starts: from a checkpoint where it is resumed, and with which error where it does not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from swarm.certification.encoding import decode_record
from swarm.certification.statements import record_hash
from swarm.consensus.shares import capped
from swarm.errors import IncompatiblePeerError, LedgerError, StartTimeoutError, SwarmError
from swarm.tensors.capture import with_kept
from swarm.text import listed, printable

if TYPE_CHECKING:
    from swarm.certification.chain import Verifier
    from swarm.config import Settings
    from swarm.peer.engine import Engine
    from swarm.peer.futures import Answer
    from swarm.records import Commit, PeerId
    from swarm.session.expected import Expected
    from swarm.session.resuming import SiteTraining
    from swarm.storage.checkpoints import CheckpointStore, Doubt
    from swarm.storage.ledger import Ledger
    from swarm.tensors.model import ModelPort
    from swarm.tensors.state import ModelState, Schema

NAMED = 20
"""Peers in one log line at most."""


class Start(NamedTuple):
    """What a run is resumed from."""

    commit: tuple[Commit, ModelState] | None = None
    """The commit to go on from, with its model; None if there is none, or if it closed its run."""
    keeps: bool = False
    """Whether the model holds the values that this site kept for itself."""
    best: ModelState | None = None
    """The best model before that commit, if it is known."""


def resumed_from(
    store: CheckpointStore,
    schema: Schema,
    port: ModelPort,
    logger: logging.Logger,
    doubt: Doubt,
    training: SiteTraining,
    every: float,
) -> Start:
    """Load the newest checkpoint whose record is true, if there is one. A closed run is only the start of a new one.

    ``every`` is the least number of seconds between two checkpoints, for the log.
    """
    found = store.newest(schema, logger, doubt)
    if found is None:
        return Start()
    commit, model = found
    kept = store.kept(schema.kept, logger) if schema.kept.tensors else None
    if not commit.closing:
        training.resume(store)
    ours = model.contributed()
    port.write(with_kept(ours, kept) if kept else ours)
    apart = f"they are {every:g} s apart or more (checkpoint_seconds), so what was trained after it is trained again"
    more = ", which closed its run" if commit.closing else f", the newest checkpoint; {apart}"
    logger.info("resuming from round %d%s", commit.round, more)
    if commit.closing:
        return Start(keeps=kept is not None)
    best = store.best(commit.best.digest, schema, logger) if commit.best else None
    return Start(found, keeps=kept is not None, best=best)


def doubt_from(ledger: Ledger, verifier: Verifier) -> Doubt:
    """Tells that a record is true: it is in the ledger, and so are all that it comes from, each certified.

    Args:
        ledger: of this peer.
        verifier: tells true records. How many peers a round needs was checked when they were added, under the settings
            of that time.
    """

    def doubt(commit: Commit) -> str:
        before = None
        try:
            for content in ledger.chain(record_hash(commit)):
                record = decode_record(content)
                if reason := verifier.doubt(record, before):
                    return f"it is not certified by its ledger: {reason}"
                before = record
        except (LedgerError, ValueError) as error:
            return f"the ledger cannot be read ({error})"
        if before is None or record_hash(before) != record_hash(commit):
            return "its record, or one that it comes from, is not in the ledger (`swarm ledger verify` tells more)"
        return ""

    return doubt


def say_where(settings: Settings, expected: Expected, engine: Engine, schema: Schema, logger: logging.Logger) -> None:
    """Log where this peer listens, whom the start waits for, and whom the session expects."""
    number = expected.number if settings.require_members else settings.expected_peers
    names = f"; expected are {listed(list(expected))}" if expected else ""
    logger.info(
        "%s of session %s listens at %s; %d tensors, %.1f MB; waiting for %s%s",
        settings.name,
        settings.model_name,
        engine.address,
        len(schema.tensors),
        schema.nbytes / 1e6,
        f"{number} peers" if number else f"at least {settings.min_peers} peers",
        names,
    )


def by_samples(weights: Mapping[PeerId, int], share: Callable[[PeerId], Fraction]) -> str:
    """The log line about weights that are numbers of samples, with the share of each peer, the largest first."""
    allowed, total = capped(weights, share), sum(weights.values())
    parts = []
    for peer in sorted(weights, key=lambda each: (-weights[each], each))[:NAMED]:
        declared, used = weights[peer], allowed[peer]
        cap = f", capped to {used / sum(allowed.values()):.0%}" if used < declared and any(allowed.values()) else ""
        parts.append(f"{peer} {declared} ({declared / total if total else 0:.0%}{cap})".replace("%", " %"))
    more = len(weights) - NAMED
    return f"weights by samples: {', '.join(parts)}" + (f" and {more} more peers" if more > 0 else "")


def failure(settings: Settings, engine: Engine, answer: Answer, odd: str) -> SwarmError:
    """The error of a start that failed.

    Args:
        settings: of this peer.
        engine: its worker, which has answered.
        answer: the answer.
        odd: names of tensors that hold NaN or infinity here; empty if none does.
    """
    reason, refusal = printable(answer.reason), printable(engine.refusal)
    start = f"session {settings.model_name} did not start: {reason}"
    if answer.error is not StartTimeoutError:
        return answer.error(f"{start} (at {settings.name}: {odd})" if odd else start)
    if engine.name_taken:
        return IncompatiblePeerError(refusal)
    if refusal:
        return IncompatiblePeerError(f"{refusal} ({reason})")
    return StartTimeoutError(start)
