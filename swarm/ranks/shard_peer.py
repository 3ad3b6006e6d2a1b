"""The network's side of a process other than rank 0: it exchanges, fetches and serves its shard as rank 0 says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from swarm.certification.encoding import decode
from swarm.codec.choice import FixedCodec
from swarm.errors import ExchangeError, SwarmError
from swarm.exchange.feedback import ErrorFeedback
from swarm.exchange.whole import model_frames
from swarm.messages import Envelope, FetchRequest, PartialNorm, Proposal, StreamHeader
from swarm.outer import OuterStep, outer_optimizer
from swarm.peer.exchanger import Exchanger
from swarm.peer.fetching import fetch_given, is_sound
from swarm.peer.limited_log import LimitedLog
from swarm.peer.models import squared_way
from swarm.peer.roster import Reachable
from swarm.peer.serving import Downloads
from swarm.peer.worker import Worker
from swarm.ranks.shard_files import ShardFiles
from swarm.records import Attempt, PeerId, PeerInfo
from swarm.session.arithmetic import measure
from swarm.session.wiring import merge_rule_of
from swarm.tensors.capture import faulty, kept, with_kept
from swarm.tensors.state import ModelState
from swarm.transport.base import Handler

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.executor import Executor
    from swarm.plugins import PluginRegistry
    from swarm.ranks.link import Link
    from swarm.ranks.shard_store import ShardStore
    from swarm.tensors.state import Schema
    from swarm.transport.base import Frame, Sink, Transport


class ToldPeers(Reachable):
    """The peers that rank 0 can reach, with the addresses of their processes of this rank."""

    def __init__(self) -> None:
        self.peers: Mapping[PeerId, PeerInfo] = {}

    def info(self, peer: PeerId) -> PeerInfo | None:
        return self.peers.get(peer)

    def live(self) -> tuple[PeerInfo, ...]:
        return tuple(self.peers.values())

    def is_live(self, peer: PeerId, incarnation: str) -> bool:
        info = self.peers.get(peer)
        return info is not None and info.incarnation == incarnation


class ShardPeer(Handler):
    """Does what comes over the link from rank 0, in order, on a worker of its own."""

    def __init__(
        self,
        rank: int,
        transport: Transport,
        settings: Settings,
        plugins: PluginRegistry,
        schema: Schema,
        store: ShardStore,
        executor: Executor,
        logger: logging.Logger,
        part: str = "rank",
    ) -> None:
        """Listen. Nothing is exchanged before rank 0 has told who this site is.

        Args:
            rank: of this process.
            transport: of this process.
            settings: of the site.
            plugins: of this process.
            schema: of the shard.
            store: of this process.
            executor: runs the work.
            logger: where to report.
            part: what messages call this shard, before its rank.

        Raises:
            AddressError: the address cannot be listened on.
        """
        self.link: Link | None = None
        """Where answers go; set before anything is heard."""
        self._name = f"{part} {rank} of this site"
        self._closed = False
        self._transport = transport
        self._settings = settings
        self._plugins = plugins
        optimizer = outer_optimizer(settings)
        self._outer = OuterStep(optimizer, schema) if optimizer else None
        self._schema = schema
        self._committed = self._outer.schema if self._outer else schema
        self._store = store
        self._files = ShardFiles(rank, settings, store, self._committed)
        self._executor = executor
        self._log = logger
        self._peers = ToldPeers()
        self._told = executor.condition()
        """Guards nothing; tells that there are other peers."""
        self._downloads = Downloads(executor)
        self._exchanger: Exchanger | None = None
        self._me: PeerInfo | None = None
        self._digests: dict[int, str] = {}
        """Of the merged shards here, by number."""
        self._works: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "join": self._join,
            "met": self._met,
            "start": self._start,
            "stop": self._stop,
            "call": lambda content: store.call(content["model"], content["digest"]),
            "residual": self._update_residual,
            "healed": lambda _: self._running.healed(),
            "fetch": self._fetch,
            "measure": self._measure,
            "distance": self._distance,
            "keep": self._keep,
            "with_kept": self._with_kept,
            "file": self._file,
            "drop": self._drop,
            "dropped": lambda content: self._tell("answer", to=content["id"]),
        }
        self.address = transport.start(self)
        self._worker = Worker("swarm-rank", executor=executor, log=LimitedLog(logger, executor))
        self._worker.start(due=lambda: None, tick=lambda: None, housekeeping=self._check, failed=self._failed)

    def hear(self, what: str, content: Mapping[str, Any]) -> None:
        """Take what rank 0 says, on the thread of the link."""
        if "result" in content:
            self._store.expect(content["result"])
        self._worker.post(lambda: self._works[what](content))

    def close(self) -> None:
        """Leave the network; idempotent."""
        if self._closed:
            return
        self._closed = True
        self._worker.post(self._worker.stop)
        self._worker.join(5.0)
        if self._exchanger:
            self._exchanger.close()
            sent, received = self._exchanger.traffic
            text = "%s has sent %.1f MB of weights, and received %.1f MB"
            self._log.info(text, self._name, sent / 1e6, received / 1e6)
        self._transport.close()
        if self.link:
            self.link.close()

    # For the transport, on its threads -------------------------------------------------------------------------------

    def on_envelope(self, envelope: Envelope) -> None:
        """Nothing: rank 0 alone takes messages."""

    def on_lost(self, address: str, reason: str) -> None:
        """Nothing: a stream that broke tells so itself."""

    def open_sink(self, header: StreamHeader) -> Sink:
        return self._running.open_sink(header)

    def serve(self, request: FetchRequest) -> Iterable[Frame]:
        with self._told:  # it may ask before rank 0 has told of it
            self._told.wait_for(lambda: self._peers.info(request.sender), self._settings.failure_timeout / 2)
        me = self._me
        if me is None or request.session != me.session or self._peers.info(request.sender) is None:
            raise ExchangeError(f"{request.sender} is not in the session of this process")
        model = self._store.called(request.digest)
        if model is None or request.records:
            raise ExchangeError("rank 0 of this site has the records; a shard of this model is not here")
        return self._downloads.begin(request, model_frames(model, request.part, request.parts))

    def status(self) -> dict[str, Any]:
        return {}

    # The worker's thread ---------------------------------------------------------------------------------------------

    @property
    def _running(self) -> Exchanger:
        if self._exchanger is None:
            raise ExchangeError("this process is still starting")
        return self._exchanger

    def _tell(self, what: str, **content: Any) -> None:
        if self.link:
            self.link.tell(what, content)

    def _check(self) -> None:
        now = self._executor.now()
        if self._exchanger:
            self._exchanger.check(now)
        self._downloads.check(now, self._settings.failure_timeout)

    def _failed(self, error: Exception) -> None:
        self._tell("broken", reason=f"{type(error).__name__}: {error}")

    def _join(self, content: Mapping[str, Any]) -> None:
        me = self._me = PeerInfo(
            name=content["name"],
            incarnation=content["incarnation"],
            address=self.address,
            session=self._settings.model_name,
        )
        if self._exchanger:
            self._exchanger.close()
        self._exchanger = Exchanger(
            me=me,
            schema=self._committed,
            rule=merge_rule_of(self._settings, self._plugins),
            outer=self._outer,
            normalize_steps=self._settings.normalize_steps,
            feedback=ErrorFeedback(self._schema, self._plugins.codec, FixedCodec(self._settings.codec)),
            transport=self._transport,
            roster=self._peers,
            executor=self._executor,
            timeout=self._settings.failure_timeout,
            logger=self._log,
        )

    def _met(self, content: Mapping[str, Any]) -> None:
        session = self._settings.model_name
        known = self._peers.peers
        self._peers.peers = {
            name: PeerInfo(name=name, incarnation=incarnation, address=address, session=session)
            for name, (incarnation, address) in content["peers"].items()
        }
        with self._told:
            self._told.notify_all()
        for name, info in self._peers.peers.items():
            if known.get(name) != info:
                self._running.met(name)

    def _start(self, content: Mapping[str, Any]) -> None:
        number = content["result"]
        proposal = decode(Proposal, content["proposal"].encode())
        own, parent = self._store.get(content["own"]).contributed(), content["parent"]

        def done(digest: str, model: ModelState, norms: tuple[PartialNorm, ...], slices: tuple[str, ...]) -> None:
            self._store.put(number, model)
            self._digests[number] = digest
            told = [[norm.peer, norm.squared] for norm in norms]
            self._tell("assembled", exchange=number, digest=digest, norms=told, slices=slices)

        self._running.start(
            proposal,
            own,
            None if parent is None else self._store.get(parent),
            self._worker.post,
            done,
            lambda peer, why: self._tell("failed", exchange=number, peer=peer, reason=why),
        )

    def _stop(self, content: Mapping[str, Any]) -> None:
        lineage, round_, counter, leader = content["key"]
        self._running.stop((lineage, round_, Attempt(counter, leader)))
        self._tell("answer", to=content["id"], found=self._running.traffic)

    def _update_residual(self, content: Mapping[str, Any]) -> None:
        digest = self._digests.get(content["model"])
        if digest:
            self._running.update_residual(digest, stands=content["stands"])
            self._running.keep(())  # the decision is made, and how the shard came here refers to the one before
            self._tell("residual", squared=self._running.residual**2)

    def _fetch(self, content: Mapping[str, Any]) -> None:
        me, number = self._me, content["result"]
        if me is None:
            raise ExchangeError("this process is still starting")
        request = FetchRequest(me.session, me.name, content["digest"])
        sources = content["sources"]

        def run() -> None:
            try:
                model = fetch_given(
                    self._transport,
                    sources,
                    request,
                    self._committed,
                    self._settings.failure_timeout,
                    self._executor,
                    self._log,
                )
            except SwarmError as error:
                self._tell("answer", to=content["id"], found=None, reason=str(error))
                return
            self._store.put(number, model)
            self._tell("answer", to=content["id"], found=model.digest(), sound=is_sound(model))

        self._executor.start("swarm-fetch", run)

    def _measure(self, content: Mapping[str, Any]) -> None:
        capture = self._store.get(content["model"])
        origin = None if content["origin"] is None else self._store.get(content["origin"]).contributed()
        found = measure(capture, origin)
        odd = () if found.finite else faulty(capture, origin)
        self._tell("answer", to=content["id"], found=[found.root, found.finite, found.norm, odd])

    def _distance(self, content: Mapping[str, Any]) -> None:
        model, origin = (self._store.get(content[name]) for name in ("model", "origin"))
        self._tell("answer", to=content["id"], found=squared_way(origin, model))

    def _keep(self, content: Mapping[str, Any]) -> None:
        own = kept(self._store.get(content["model"]))
        self._store.put(content["result"], own or ModelState.empty(self._schema.kept))
        self._tell("answer", to=content["id"])

    def _with_kept(self, content: Mapping[str, Any]) -> None:
        model, own = (self._store.get(content[name]) for name in ("model", "own"))
        self._store.put(content["result"], with_kept(model, own))
        self._tell("answer", to=content["id"])

    def _file(self, content: Mapping[str, Any]) -> None:
        def run() -> None:
            self._tell("answer", to=content["id"], **self._files.do(content))

        self._executor.start("swarm-checkpoints", run)

    def _drop(self, content: Mapping[str, Any]) -> None:
        self._store.drop(content["model"])
        if self._digests.pop(content["model"], None) and self._exchanger:
            self._exchanger.keep(self._digests.values())
