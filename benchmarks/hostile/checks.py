"""The checks that stop attacks, by name, and how each is switched off: at all peers, to see what it prevents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from swarm import quorums
from swarm.certification import chain
from swarm.certification.chain import Verifier
from swarm.consensus import attempt, catchup, forming, member, paxos, promises
from swarm.consensus.attempt import LedAttempt
from swarm.consensus.catchup import CatchUp
from swarm.consensus.leader import Leadership
from swarm.consensus.machine import RoundMachine
from swarm.consensus.member import Member
from swarm.consensus.norms import FrozenNorms
from swarm.consensus.state import Position, Presence
from swarm.consensus.strikes import Strikes
from swarm.consensus.timing import Pace
from swarm.exchange import merging
from swarm.messages import Entry, PartialNorm
from swarm.peer import fetching, peers
from swarm.peer.allowance import Allowance
from swarm.peer.gossip import Gossip
from swarm.peer.greeter import Greeter
from swarm.peer.streams import ExchangeStreams
from swarm.records import Attempt, ContributionStats, RecordKind
from swarm.transport.grpc import wire
from swarm.transport.grpc.security import Caller

if TYPE_CHECKING:
    from swarm.messages import Offer

DAY = 86_400.0

Patch = tuple[Any, str, Any]
"""Whose attribute, or which item of a dictionary, is replaced, its name, and what replaces it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check."""

    what: str
    """What it makes sure of, in words."""
    off: Sequence[Patch]
    """Replacements that switch it off."""


def _never(*_: object, **__: object) -> None:
    """Nothing happens."""


def _always(*_: object, **__: object) -> bool:
    return True


def _by_those_it_names(_kind: RecordKind, voters: Any, signed: Any, *_: object) -> bool:
    """Whether those whom a record names decide it."""
    return quorums.is_quorum(voters, signed)


def _no_reason(*_: object, **__: object) -> str:
    return ""


def _any_number(kind: type, name: str) -> Patch:
    converters = wire._RECORDS[kind].converters  # noqa: SLF001 - the check itself
    return converters, name, replace(converters[name], decode=lambda value: value)


def _as_leader(owner: type, name: str) -> Patch:
    """Whoever sends a message to a method counts as the leader that the message names."""
    original: Callable[..., Any] = getattr(owner, name)

    def handle(self: Any, _sender: str, message: Any, **more: Any) -> Any:
        return original(self, message.attempt.leader, message, **more)

    return owner, name, handle


def _keep(self: RoundMachine, sender: str, message: Offer) -> None:
    self._state.offers.keep(sender, message)


def _whatever_it_weighs(offer: Offer, *_: object) -> tuple[int, str]:
    return offer.stats.weight, ""


def _accused(self: Strikes, tried: Any, accuser: str, accused: str) -> str:
    del accuser
    self.strike(tried, accused)
    return accused


def _rejected(self: Member, sender: str, message: Any) -> None:
    strikes = self._state.presence.strikes
    if message.rejects:
        strikes.strike(message.attempt, message.attempt.leader)
    else:
        strikes.accuse(message.attempt, sender, message.blamed)


def _pauses(self: Strikes, *_: object) -> None:
    """Who says that it is at fault itself may do so for ever."""
    del self


def _may_accept(self: Member, message: Any) -> bool:
    return self._is_current(message.proposal)


def _comes_anew(up: Callable[..., bool]) -> Callable[..., bool]:
    def comes(self: Presence, peer: str, *given: Any) -> bool:
        self._returns.clear()
        return up(self, peer, *given)

    return comes


def _on_any_nack(self: Leadership, sender: str, message: Any) -> None:
    led = self._led
    if led and led.attempt == message.attempt and led.on_nack(sender, message, asked=False):
        self._take_over(Attempt(led.attempt.counter + 1, self._state.me))


def _joins_lineages(self: Member, proposal: Any, **more: Any) -> str | None:
    reason = _refusal(self, proposal, **more)
    return None if reason and "still reaches a majority" in reason else reason


_refusal = Member._refusal  # noqa: SLF001 - the check itself


def _unchecked(owner: type, name: str) -> Patch:
    """Within a method, all signatures are right."""
    original: Callable[..., Any] = getattr(owner, name)

    def handle(self: Any, *given: Any) -> Any:
        with patch.object(self._state.rules.signer, "verify", _always):
            return original(self, *given)

    return owner, name, handle


CHECKS: dict[str, Check] = {
    "certificates": Check(
        "a record follows the one before it, and a quorum has signed it",
        [(Verifier, "doubt", _no_reason)],
    ),
    "proposals": Check(
        "a member takes part only in what it has computed itself from the offers",
        [(member, "objection", _no_reason), (promises, "objection", _no_reason)],
    ),
    "keys": Check(
        "a key in a record is vouched for by the certificate of its peer", [(Verifier, "_unknown_keys", _no_reason)]
    ),
    "progress": Check("no peer goes back to an earlier round", [(catchup, "_beats", _always)]),
    "places": Check("a record has the place in its lineage that it says", [(chain, "_misplaced", _no_reason)]),
    "restarts": Check(
        "who says that a majority of the members before begins a lineage has the signatures of one",
        [(chain, "decided", _by_those_it_names)],
    ),
    "promises": Check(
        "a later attempt shows the promises of a quorum",
        [(member, "promised_before", lambda *_: (None, "")), (member, "is_free", lambda *_: True)],
    ),
    "readiness": Check(
        "a voter accepts only what a quorum of the group has signed to hold", [(Member, "_may_accept", _may_accept)]
    ),
    "offers": Check(
        "an offer is of its sender, and signed with the key that it joined with",
        [(RoundMachine, "_on_offer", _keep)],
    ),
    "signatures of offers": Check(
        "a leader ignores offers that others could not check",
        [(LedAttempt, "_signed", lambda _, table: table)],
    ),
    "grants": Check(
        "no peer weighs more than the consortium grants",
        [(peers, "within_grant", lambda message, *_, **__: message)],
    ),
    "declared weight": Check(
        "no peer weighs more than it declared on joining", [(forming, "_weight", _whatever_it_weighs)]
    ),
    "ranges": Check(
        "each number of a message is in its range",
        [
            _any_number(ContributionStats, "weight"),
            _any_number(ContributionStats, "delta_norm"),
            _any_number(PartialNorm, "squared"),
            _any_number(Entry, "weight"),
            _any_number(Entry, "norm"),
            _any_number(Attempt, "counter"),
        ],
    ),
    "absurd norms": Check(
        "no contribution has moved a hundred times as far as usual, or by no number",
        [(forming, "absurd", lambda *_: {})],
    ),
    "measured norms": Check(
        "a contribution has moved as far as was offered",
        [(attempt, "contradicted", lambda *_: {})],
    ),
    "frozen norms": Check("frozen weights are no further away than they can be", [(FrozenNorms, "refusal", _never)]),
    "finite weights": Check(
        "no contribution holds NaN or infinity",
        [(merging, "is_finite", _always)],
    ),
    "strikes": Check("who makes attempts fail is left out", [(Strikes, "strike", _never)]),
    "both count": Check("of two peers in dispute each may be at fault", [(Strikes, "accuse", _accused)]),
    "rejections": Check(
        "who rejects a proposal is judged by those who have computed it", [(Member, "on_failed", _rejected)]
    ),
    "pauses": Check("who leaves attempts by itself again and again is left out", [(Strikes, "_pause", _pauses)]),
    "attempts": Check("no peer follows an attempt far above the highest one", [(paxos, "MOST_ATTEMPTS", 2**64)]),
    "nacks": Check(
        "a nack names an attempt that can have been promised, and raises the next one by little",
        [(Leadership, "on_nack", _on_any_nack), (attempt, "MOST_RAISED", paxos.MOST_ATTEMPTS**2)],
    ),
    "duels": Check("a peer that asks for promises again and again is at fault", [(Strikes, "leads", _never)]),
    "leaders of prepares": Check(
        "only the leader of an attempt asks for promises to it", [(Member, "_may_promise", _always)]
    ),
    "leaders of aborts": Check("only the leader of an attempt aborts it", [_as_leader(Member, "on_abort")]),
    "proofs": Check("two contradicting signatures prove a lie, nothing else", [(Verifier, "proven", _always)]),
    "evidence": Check("who has signed two results is removed", [(RoundMachine, "_on_evidence", _never)]),
    "straggler timeout": Check(
        "a round waits for late peers for a limited time",
        [(Pace, "straggler_timeout", property(lambda _: 30.0))],
    ),
    "returns": Check(
        "a peer that comes again and again is not waited for", [(Presence, "up", _comes_anew(Presence.up))]
    ),
    "failover": Check("a leader that does not lead is replaced", [(Leadership, "fail_over", _never)]),
    "slow streams": Check("who sends its weights too slowly is given up", [(ExchangeStreams, "check", _never)]),
    "readiness deadline": Check("who does not become ready is left out", [(LedAttempt, "_step_exchange", _never)]),
    "beliefs": Check(
        "who could not prove a record is not believed for a while",
        [(CatchUp, "disbelieve", _never)],
    ),
    "end of training": Check(
        "a quorum that has trained waits for who trains on for a limited time",
        [(Pace, "longest_training", lambda *_: DAY)],
    ),
    "gossip": Check("a peer remembers few peers that others report", [(Gossip, "_make_room", _never)]),
    "greetings": Check("a peer takes a limited number of greetings", [(Allowance, "take", _always)]),
    "majorities": Check(
        "the votes of a majority decide, not those of all",
        [(quorums, "quorum_size", lambda voters, *_: voters)],
    ),
    "signatures of votes": Check("a vote counts if it is signed", [_unchecked(LedAttempt, "on_accepted")]),
    "signatures of readiness": Check(
        "what the group holds counts where it is signed", [_unchecked(LedAttempt, "on_ready")]
    ),
    "measurements": Check(
        "each member tells how far each contribution has moved",
        [(attempt, "unmeasured", lambda *_: set())],
    ),
    "joining": Check(
        "a peer joins with a key that its certificate vouches for",
        [(Greeter, "_refusal", _never)],
    ),
    "rounds": Check("an offer counts for one round only", [(Position, "fits", _always)]),
    "digests": Check(
        "a model that is fetched has the digest of its record", [(fetching, "require_true", lambda *_: None)]
    ),
    "names": Check("a caller speaks for the peer that its certificate names", [(Caller, "require", _never)]),
    "own majority": Check(
        "no peer that reaches a majority joins another lineage",
        [(Member, "_refusal", _joins_lineages)],
    ),
}
"""All of them, by name."""


@contextmanager
def switched_off(names: Sequence[str]) -> Iterator[None]:
    """Within it, the named checks are switched off in this process."""
    with ExitStack() as stack:
        for name in names:
            for owner, attribute, replacement in CHECKS[name].off:
                if isinstance(owner, dict):
                    stack.enter_context(patch.dict(owner, {attribute: replacement}))
                else:
                    stack.enter_context(patch.object(owner, attribute, replacement))
        yield
