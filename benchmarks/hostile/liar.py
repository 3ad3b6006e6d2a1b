"""A member that lies: a real peer, whose messages and weights are changed on their way out.

It has a certificate of the consortium and signs with the key that it gave on joining, so what it says is taken like
that of any member. Until the attack begins it says what an honest peer says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from swarm.certification.keys import ProcessKey
from swarm.certification.statements import (
    accept_statement,
    offer_statement,
    prepare_statement,
    ready_statement,
    record_hash,
)
from swarm.consensus.paxos import first_attempt
from swarm.messages import Accept, Envelope, Hello, Offer, Proposal, Propose
from swarm.records import Attempt, Commit, PeerId, QuorumCertificate, Signature
from swarm.transport.base import Handler, Transport, Upload

if TYPE_CHECKING:
    from swarm.consensus.forming import Table
    from swarm.identity import Identity
    from swarm.messages import FetchRequest, Message, Prepare, Ready, StreamHeader
    from swarm.session import Session
    from swarm.tensors.state import ModelState
    from swarm.transport.base import Frame, Sink

Values = npt.NDArray[np.float32]
"""Weights of the model, or a part of them."""
LIAR = "liar"
SESSION = "hostile"
PAUSE = 0.05
"""Seconds between two calls of ``Habit.acts``."""


class Liar:
    """What an attack has at hand: the bad member's name, key and connections, and what it has seen."""

    def __init__(self) -> None:
        self.signer = ProcessKey()
        self.lying = threading.Event()
        """Set while the attack goes on."""
        self.habit = Habit(self)
        self.lies = 0
        """How often it has said something else than an honest peer would have said, or nothing."""
        self.offered: dict[int, list[Offer]] = {}
        """What it has offered to each round."""
        self.proposal: Proposal | None = None
        """The last one that it has sent or received."""
        self.hello: Hello | None = None
        """Its last greeting."""
        self.heard: dict[PeerId, Envelope] = {}
        """The last message of each honest peer."""
        self.session: Session | None = None
        self.transport: LyingTransport | None = None

    @property
    def commit(self) -> Commit:
        """The last record that it has applied."""
        commit = self.session.commit if self.session else None
        if commit is None:
            raise RuntimeError("the attack began before the founding round")
        return commit

    @property
    def reference(self) -> ModelState:
        """The model of that record; replaced, never changed."""
        reference = self.session.reference if self.session else None
        if reference is None:
            raise RuntimeError("the attack began before the founding round")
        return reference

    @property
    def leads(self) -> bool:
        """Whether it leads the first attempt at the next round."""
        commit = self.commit
        return first_attempt(SESSION, commit.round + 1, commit.members).leader == LIAR

    @property
    def others(self) -> tuple[PeerId, ...]:
        """The honest peers."""
        return tuple(sorted(self._lines.addresses))

    @property
    def victim(self) -> PeerId:
        """One of them, always the same."""
        return self.others[0]

    @property
    def _lines(self) -> LyingTransport:
        if self.transport is None:
            raise RuntimeError("the bad member is not connected")
        return self.transport

    def tell(self, to: Iterable[PeerId], *messages: Message, **envelope: str) -> None:
        """Send messages of its own making; ``envelope`` changes fields around them."""
        for peer in to:
            for message in messages:
                self.lies += 1
                self._lines.say(peer, message, **envelope)

    # Signed statements ----------------------------------------------------------------------------------------------

    def offer(self, message: Offer, **stats: Any) -> Offer:
        """An offer with other statistics, signed."""
        return self.signed(replace(message, stats=replace(message.stats, **stats)))

    def signed(self, message: Offer) -> Offer:
        """An offer with the signature that belongs to it."""
        statement = offer_statement(
            SESSION, message.lineage, message.previous, message.stats, message.gone, self.signer.key
        )
        return replace(message, key=self.signer.key, signature=self.signer.sign(statement))

    def signed_prepare(self, message: Prepare) -> Prepare:
        """A request for promises with the signature that belongs to it."""
        statement = prepare_statement(SESSION, message.lineage, message.round, message.attempt)
        return replace(message, signature=self.signer.sign(statement))

    def ready(self, message: Ready, digest: str) -> Ready:
        """A signed statement that it holds a model with this digest."""
        key = message.lineage, message.round, message.attempt
        proposal = self.proposal
        record = record_hash(proposal.commit(digest)) if proposal and proposal.key == key else "0" * 64
        signature = self.signer.sign(ready_statement(SESSION, *key, record))
        return replace(message, digest=digest, signature=signature)

    def vote(self, record: Commit, attempt: Attempt, session: str = SESSION) -> Signature:
        """Its vote for a record."""
        statement = accept_statement(session, record.lineage, record.round, attempt, record_hash(record))
        return Signature(LIAR, self.signer.sign(statement))

    def certified(self, record: Commit, votes: Sequence[Signature] = ()) -> Commit:
        """A record with its own vote and these."""
        attempt = Attempt(0, LIAR)
        return replace(record, certificate=QuorumCertificate(attempt, (self.vote(record, attempt), *votes)))

    def next_record(self, **fields: Any) -> Commit:
        """A record that follows the last one, with these fields."""
        commit = self.commit
        after = replace(
            commit,
            round=commit.round + 1,
            previous=record_hash(commit),
            credentials=(),
            proofs=(),
            refused=(),
            certificate=None,
        )
        return replace(after, **fields)


class Habit:
    """What a bad member does; an attack overrides some of it. By default it does what an honest peer does."""

    trains_on = False
    """Whether it trains on when the others have trained."""
    finishes = False
    """Whether its own training is over once the attack begins."""
    asks = True
    """Whether it asks for promises where it leads a later attempt."""

    def __init__(self, liar: Liar) -> None:
        self.liar = liar

    def says(self, to: PeerId, message: Any) -> Iterable[Message]:
        """What goes to ``to`` in place of ``message``."""
        del to
        return (message,)

    def hears(self, envelope: Envelope) -> None:
        """A message has come to it."""

    def sends(self, to: PeerId, frames: Iterator[Frame]) -> Iterator[Frame]:
        """What goes to ``to`` in place of these frames of weights."""
        del to
        return frames

    def serves(self, request: FetchRequest, engine: Handler) -> Iterable[Frame]:
        """What it gives for a download."""
        return engine.serve(request)

    def proposes(self, proposal: Proposal) -> Proposal:
        """What it proposes as a leader, and takes part in itself."""
        return proposal

    def sees(self, table: Table) -> Table:
        """What it goes by as a leader when it forms a group."""
        return table

    def leads_on(self, decision: Commit) -> bool:
        """Whether it leads another attempt at a round that it has decided."""
        del decision
        return False

    def merges(self, values: Values) -> None:
        """It changes what it has merged in its slice, in place."""

    def trains(self, weights: Values, merged: Values) -> None:
        """It changes its weights, in place, before it offers them; ``merged`` are those of the last round."""

    def acts(self) -> None:
        """Called again and again while the attack goes on."""


class LyingTransport(Transport):
    """The transport of the bad member: what goes out is what its habit says."""

    def __init__(self, inner: Transport, liar: Liar, board: dict[str, str]) -> None:
        self._inner = inner
        self._liar = liar
        self._board = board
        self._last: Envelope | None = None
        """The last one that went out: it shows what each has to state about its sender."""
        liar.transport = self

    @property
    def addresses(self) -> dict[PeerId, str]:
        """Of the honest peers, by name."""
        found = {key.rpartition("/")[2]: address for key, address in tuple(self._board.items())}
        return {name: address for name, address in found.items() if name != LIAR}

    def say(self, to: PeerId, message: Message, **changes: str) -> None:
        """Send a message that its own worker has not sent."""
        address = self.addresses.get(to)
        if self._last is not None and address is not None:
            self._note_offers(message)
            self._inner.send(address, replace(self._last, message=message, **changes))

    def _note_offers(self, message: Message) -> None:
        """Keep what goes out in its name, by itself or in a proposal."""
        for offer in message.proposal.offers if isinstance(message, Propose) else (message,):
            if isinstance(offer, Offer) and offer.key == self._liar.signer.key:
                self._liar.offered.setdefault(offer.stats.round, []).append(offer)

    @property
    def identity(self) -> Identity | None:
        return self._inner.identity

    def start(self, handler: Handler) -> str:
        return self._inner.start(_Ears(handler, self._liar))

    def send(self, address: str, envelope: Envelope) -> None:
        liar, message = self._liar, envelope.message
        self._last = envelope
        if isinstance(message, Hello):
            liar.hello = message
        if isinstance(message, Propose | Accept):
            liar.proposal = message.proposal
        said: Iterable[Message] = (message,)
        if liar.lying.is_set():
            to = next((name for name, at in self.addresses.items() if at == address), "")
            said = tuple(liar.habit.says(to, message))
            liar.lies += said != (message,)
        for each in said:
            self._note_offers(each)
            self._inner.send(address, replace(envelope, message=each))

    def upload(
        self, address: str, header: StreamHeader, frames: Iterator[Frame], done: Callable[[str | None], None]
    ) -> Upload:
        liar = self._liar
        if liar.lying.is_set():
            to = next((name for name, at in self.addresses.items() if at == address), "")
            sent = liar.habit.sends(to, frames)
            liar.lies += sent is not frames
            frames = sent
        return self._inner.upload(address, header, frames, done)

    def fetch(self, address: str, request: FetchRequest, timeout: float) -> Iterator[memoryview]:
        return self._inner.fetch(address, request, timeout)

    def forget(self, address: str) -> None:
        self._inner.forget(address)

    def close(self, linger: float = 1.0) -> None:
        self._inner.close(linger)


class _Ears(Handler):
    """What comes to the bad member."""

    def __init__(self, engine: Handler, liar: Liar) -> None:
        self._engine = engine
        self._liar = liar

    def on_envelope(self, envelope: Envelope) -> None:
        liar = self._liar
        liar.heard[envelope.sender] = envelope
        if isinstance(envelope.message, Propose | Accept):
            liar.proposal = envelope.message.proposal
        if liar.lying.is_set():
            liar.habit.hears(envelope)
        self._engine.on_envelope(envelope)

    def on_lost(self, address: str, reason: str) -> None:
        self._engine.on_lost(address, reason)

    def open_sink(self, header: StreamHeader) -> Sink:
        return self._engine.open_sink(header)

    def serve(self, request: FetchRequest) -> Iterable[Frame]:
        if self._liar.lying.is_set():
            return self._liar.habit.serves(request, self._engine)
        return self._engine.serve(request)

    def status(self) -> dict[str, Any]:
        return self._engine.status()


def act(liar: Liar, stop: threading.Event) -> None:
    """Let the habit of ``liar`` act until ``stop``; on a thread of its own."""
    while not stop.wait(PAUSE):
        if liar.lying.is_set():
            with suppress(RuntimeError):  # before the founding round, or while it ends
                liar.habit.acts()
