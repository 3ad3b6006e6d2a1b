"""How rank 0 directs the other processes of a site that exchanges shards."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from swarm.certification.encoding import encode
from swarm.errors import ExchangeError, FalseModelError, RanksError
from swarm.messages import PartialNorm
from swarm.peer.other_ranks import Assembled, OtherRanks
from swarm.ranks.link import Link
from swarm.ranks.shard_files import FileWork, require_done
from swarm.tensors.shard_step import ShardStep
from swarm.tensors.shards import OtherShards, ShardMeasurement

if TYPE_CHECKING:
    from swarm.consensus.member import Key
    from swarm.messages import Proposal
    from swarm.ranks.link import Connect
    from swarm.records import PeerId, PeerInfo
    from swarm.tensors.state import ModelState

PATIENCE = 60.0
"""Seconds within which a process answers what takes it no more than a pass over its shard."""


class NumberedShards(OtherShards):
    """The shards of one model in the other processes, which know them by number."""

    def __init__(self, ranks: DirectedRanks, number: int) -> None:
        self.number = number
        self._ranks = ranks
        weakref.finalize(self, ranks.drop, number).atexit = False

    def measure(self, origin: OtherShards | None) -> list[ShardMeasurement]:
        content = {"model": self.number, "origin": None if origin is None else number_of(origin)}
        found = [each["found"] for each in self._ranks.ask("measure", content)]
        return [ShardMeasurement(root, finite, norm, tuple(odd)) for root, finite, norm, odd in found]

    def squared_distance(self, origin: OtherShards) -> float:
        content = {"model": self.number, "origin": number_of(origin)}
        return float(sum(each["found"] for each in self._ranks.ask("distance", content)))

    def kept(self) -> OtherShards:
        return self._derived("keep", {})

    def with_kept(self, own: OtherShards) -> OtherShards:
        return self._derived("with_kept", {"own": number_of(own)})

    def _derived(self, what: str, content: Mapping[str, int]) -> OtherShards:
        result = self._ranks.new()
        self._ranks.ask(what, {"model": self.number, **content, "result": result.number})
        return result


def number_of(shards: OtherShards | None) -> int:
    """The number under which the other processes know these shards.

    Raises:
        ValueError: they have none.
    """
    if isinstance(shards, NumberedShards):
        return shards.number
    raise ValueError("the other processes of this site have no shards of this model")


def numbers_of(step: ModelState) -> dict[str, int]:
    """The numbers of the two models that differ by this, as an instruction has them.

    Raises:
        ValueError: the other processes could not compute it.
    """
    if isinstance(step, ShardStep):
        return {"new": number_of(step.new), "old": number_of(step.old)}
    raise ValueError("the other processes of this site do not know what to add")


class DirectedRanks(OtherRanks):
    """A link to each of them."""

    def __init__(self, addresses: Sequence[str], links: Sequence[Connect], part: str = "rank") -> None:
        """Connect in the background.

        Args:
            addresses: where other sites reach each process, by rank, from rank 1 on.
            links: make the connection to each.
            part: what messages call each of them, before its number.
        """
        self.addresses = tuple(addresses)
        self._part = part
        self.lost: Callable[[RanksError], None] = lambda _: None
        """Called, on any thread, when a process is gone."""
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._answers: dict[int, dict[int, Mapping[str, Any]]] = {}
        self._exchanges: dict[int, tuple[Callable[[int, Assembled], None], Callable[[PeerId, str], None]]] = {}
        self._errors = dict.fromkeys(range(1, len(addresses) + 1), 0.0)
        self._traffic = ((0, 0),) * len(addresses)
        self._gone: RanksError | None = None
        self._closed = False
        self._links = [
            Link(connect, partial(self._hear, rank), partial(self._lose, rank)) for rank, connect in enumerate(links, 1)
        ]

    @property
    def traffic(self) -> tuple[tuple[int, int], ...]:
        return self._traffic

    @property
    def kept_error(self) -> float:
        return sum(self._errors.values())

    def new(self) -> NumberedShards:
        """A number for shards that the other processes will have."""
        return NumberedShards(self, next(self._numbers))

    def new_memory(self) -> NumberedShards:
        """The same for shards that will be read from the model: what was dropped before is free when this returns.

        A process hears of the drops over another connection than of the reading, and could need memory for both.

        Raises:
            RanksError: a process is gone, or does not answer.
        """
        self.ask("dropped", {})
        return self.new()

    def drop(self, number: int) -> None:
        """Nobody here refers to the model with this number any more; a finalizer calls it, on any thread."""
        self._tell("drop", {"model": number})

    def join(self, me: PeerInfo) -> None:
        self._tell("join", {"name": me.name, "incarnation": me.incarnation})

    def met(self, peers: Mapping[PeerId, PeerInfo]) -> None:
        for rank, link in enumerate(self._links):
            told = {name: (info.incarnation, info.ranks[rank]) for name, info in peers.items()}
            link.tell("met", {"peers": told})

    def start(
        self,
        proposal: Proposal,
        own: OtherShards,
        parent: OtherShards | None,
        done: Callable[[int, Assembled], None],
        failed: Callable[[PeerId, str], None],
    ) -> OtherShards:
        result = self.new()
        self._exchanges[result.number] = done, failed
        content = {
            "proposal": encode(proposal).decode(),
            "own": number_of(own),
            "parent": None if parent is None else number_of(parent),
            "result": result.number,
        }
        self._tell("start", content)
        return result

    def stop(self, key: Key) -> None:
        lineage, round_, attempt = key
        self._exchanges.clear()  # there is one at a time; what is called refers to the shards, which are to be dropped
        with suppress(RanksError):  # told to the session by itself
            answers = self.ask("stop", {"key": [lineage, round_, attempt.counter, attempt.leader]})
            self._traffic = tuple((sent, received) for sent, received in (each["found"] for each in answers))

    def call(self, model: OtherShards, digest: str) -> None:
        self._tell("call", {"model": number_of(model), "digest": digest})

    def update_residual(self, model: OtherShards, *, stands: bool) -> None:
        self._tell("residual", {"model": number_of(model), "stands": stands})

    def healed(self) -> None:
        self._errors = dict.fromkeys(self._errors, 0.0)
        self._tell("healed", {})

    def fetch(self, digest: str, sources: Mapping[PeerId, PeerInfo]) -> tuple[OtherShards, list[str]]:
        result = self.new()
        contents = [
            {
                "digest": digest,
                "result": result.number,
                "sources": {name: info.ranks[rank] for name, info in sources.items()},
            }
            for rank in range(len(self._links))
        ]
        answers = self._ask("fetch", contents, None)
        for rank, each in enumerate(answers, 1):
            if each["found"] is None:
                raise ExchangeError(f"{self._whose(rank)}: {each['reason']}")
            if not each["sound"]:
                gave = ", ".join(sorted(sources))
                raise FalseModelError(f"{self._whose(rank)}: {gave} gave a model with NaN or infinity")
        return result, [each["found"] for each in answers]

    def ask(self, what: str, content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Ask all of them, and wait for the answers, by rank.

        Raises:
            RanksError: a process is gone, or does not answer.
        """
        return self._ask(what, [content] * len(self._links), PATIENCE)

    def do_files(self, work: FileWork, content: Mapping[str, Any]) -> list[Any]:
        """Have all of them do something with their files, and wait as long as the disks take; the answers, by rank.

        Raises:
            OSError: a process could not do it.
            ModelError: as ``ShardFiles.do``.
            UnreadableFileError: as ``ShardFiles.do``.
            RanksError: a process is gone.
        """
        answers = self._ask("file", [{**content, "work": work}] * len(self._links), None)
        for rank, each in enumerate(answers, 1):
            require_done(each, self._whose(rank))
        return [each["found"] for each in answers]

    def close(self) -> None:
        """End the links; idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for link in self._links:
            link.close()

    def _ask(self, what: str, contents: Sequence[Mapping[str, Any]], timeout: float | None) -> list[Mapping[str, Any]]:
        asked = next(self._numbers)
        answers = self._answers[asked] = {}
        for link, content in zip(self._links, contents, strict=True):
            link.tell(what, {**content, "id": asked})
        try:
            with self._changed:
                self._changed.wait_for(lambda: len(answers) == len(self._links) or self._gone or self._closed, timeout)
            if len(answers) < len(self._links):
                silent = ", ".join(str(rank) for rank in range(1, len(self._links) + 1) if rank not in answers)
                raise self._gone or RanksError(f"{self._part}s {silent} of this site did not answer ({what})")
            return [answers[rank] for rank in sorted(answers)]
        finally:
            del self._answers[asked]

    def _whose(self, rank: int) -> str:
        return f"{self._part} {rank} of this site"

    def _tell(self, what: str, content: Mapping[str, Any]) -> None:
        if not self._closed:
            for link in self._links:
                link.tell(what, content)

    def _hear(self, rank: int, what: str, content: Mapping[str, Any]) -> None:
        if what == "answer":
            with self._changed:
                if content["to"] in self._answers:
                    self._answers[content["to"]][rank] = content
                    self._changed.notify_all()
        elif what == "residual":
            self._errors[rank] = content["squared"]
        elif what == "broken":
            self._lose(rank, content["reason"])
        elif found := self._exchanges.get(content["exchange"]):
            done, failed = found
            if what == "assembled":
                norms = tuple(PartialNorm(peer, squared) for peer, squared in content["norms"])
                done(rank, Assembled(content["digest"], norms, tuple(content["slices"])))
            else:
                failed(content["peer"], content["reason"])

    def _lose(self, rank: int, reason: str) -> None:
        if self._closed:
            return
        error = RanksError(f"{self._whose(rank)} is gone ({reason})")
        with self._changed:
            self._gone = self._gone or error
            self._changed.notify_all()
        self.lost(error)
