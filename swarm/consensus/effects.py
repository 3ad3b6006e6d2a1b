"""The outputs of the round machine: what its caller has to do. The machine itself does no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from swarm.errors import StartTimeoutError, SwarmError
from swarm.messages import Entry, Message, Proposal
from swarm.records import Attempt, Commit, ContributionStats, PeerId, Proof


@dataclass(frozen=True, slots=True)
class Send:
    """Send ``message`` to ``to``; it may be lost."""

    to: PeerId
    message: Message


@dataclass(frozen=True, slots=True)
class StartExchange:
    """Exchange weights under this proposal; then call ``exchanged`` or ``exchange_failed``."""

    proposal: Proposal


@dataclass(frozen=True, slots=True)
class StopExchange:
    """Stop the exchange of this attempt; what it has assembled may be dropped."""

    key: tuple[str, int, Attempt]


@dataclass(frozen=True, slots=True)
class Apply:
    """This round is committed: the model with the commit's digest, which this peer holds, is the merged model."""

    commit: Commit
    entries: tuple[Entry, ...] = ()
    """Its group, as it was proposed."""
    offered: tuple[ContributionStats, ...] = ()
    """What the group has offered."""


@dataclass(frozen=True, slots=True)
class Heal:
    """Fetch the model of ``commit`` from ``sources``, in shares; then call ``healed`` or ``heal_failed``."""

    commit: Commit
    sources: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class Fetch:
    """Fetch the undecided model with ``digest`` from ``sources``, in shares; then call ``fetched``."""

    digest: str
    sources: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class Skip:
    """This sync point ends without a merge."""

    round: int
    reason: str
    alone: bool = False
    """Whether this peer can take part in no round: too few peers are here, or its own exchanges fail."""
    waited_for: tuple[PeerId, ...] = ()
    """Those without whose offer the wait has ended."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The start failed; nothing was trained."""

    reason: str
    error: type[SwarmError] = StartTimeoutError
    """The exception to raise."""


@dataclass(frozen=True, slots=True)
class End:
    """The session is over for this peer without a closing round."""

    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A line for the log; ``loud``: a warning. ``failed``: it says why an attempt was aborted."""

    text: str
    loud: bool = False
    failed: bool = False
    sender: PeerId = ""
    """Whose message it is about, if that may come as often as its sender likes."""


@dataclass(frozen=True, slots=True)
class Proven:
    """A member has signed two results of one round."""

    proof: Proof


Effect = Proven | Send | StartExchange | StopExchange | Apply | Heal | Fetch | Skip | Fail | End | Notice


class EffectQueue:
    """Collects the effects of one input, and the messages that this peer sends to itself."""

    def __init__(self, me: PeerId) -> None:
        self._me = me
        self._effects: list[Effect] = []
        self.loopback: deque[Message] = deque()
        """Messages of this peer to itself, oldest first; the machine takes them out."""

    def add(self, effect: Effect) -> None:
        """Queue an effect."""
        self._effects.append(effect)

    def send(self, to: PeerId, message: Message) -> None:
        """Queue a message; one to this peer itself does not leave the machine."""
        if to == self._me:
            self.loopback.append(message)
        else:
            self._effects.append(Send(to, message))

    def tell(self, peers: Iterable[PeerId], message: Message) -> None:
        """Queue a message to each of ``peers``, in the order of their names."""
        for peer in sorted(peers):
            self.send(peer, message)

    def notice(self, text: str, *, loud: bool = False, failed: bool = False, sender: PeerId = "") -> None:
        """Queue a line for the log."""
        self._effects.append(Notice(text, loud, failed, sender))

    def take(self) -> list[Effect]:
        """Take all effects, in the order in which they were queued."""
        effects, self._effects = self._effects, []
        return effects
