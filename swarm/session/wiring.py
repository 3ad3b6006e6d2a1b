"""Puts an engine together from settings and plugins."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swarm.addresses import Address, parse_advertised
from swarm.certification.chain import Verifier
from swarm.certification.statements import canonical, credential_statement
from swarm.codec import BUILTIN_CODECS
from swarm.codec.choice import AUTO, CodecChoice, FixedCodec, QuickestCodec
from swarm.config import SETTINGS, Settings
from swarm.config.granted import share_of
from swarm.config.monitor import monitored
from swarm.config.resolve import kind_of_origin
from swarm.consensus.best import Judge
from swarm.consensus.rules import RoundRules
from swarm.errors import ConfigurationError
from swarm.exchange.feedback import ErrorFeedback
from swarm.identity import vouching
from swarm.merge.base import Scope
from swarm.merge.screen import screened
from swarm.peer.engine import Engine
from swarm.plugins import PluginRegistry
from swarm.proxy import Proxies
from swarm.records import Credential, PeerInfo
from swarm.storage.ledger import Owner
from swarm.tensors import kernels
from swarm.transport.data_channel import DataChannelControl, DataChannelTransport
from swarm.transport.shared import PROCESS, SharedAddress

if TYPE_CHECKING:
    from swarm.certification.keys import Signer
    from swarm.discovery.base import Discovery
    from swarm.executor import Executor
    from swarm.identity import Identity
    from swarm.merge.base import MergeRule
    from swarm.outer import OuterStep
    from swarm.peer.status import TrainingStatus
    from swarm.session.expected import Expected
    from swarm.session.shards import SiteShards
    from swarm.storage.checkpoints import Checkpoints
    from swarm.storage.ledger import Ledger
    from swarm.sync.base import SyncPolicy
    from swarm.tensors.state import Schema
    from swarm.transport.base import Transport
    from swarm.versions import Versions


EXCHANGE_SHARDS = "exchange_shards"
"""The setting whose declared value says how the model is sharded."""


@dataclass(frozen=True, slots=True)
class Network:
    """Connects a session with its peers; tests use one in memory."""

    transport: Transport
    discoveries: Sequence[Discovery]

    def close(self) -> None:
        """Close what may be open where no engine will: the transport may already listen."""
        for discovery in self.discoveries:
            discovery.withdraw()
        self.transport.close()


def network_of(settings: Settings, plugins: PluginRegistry, shared: SharedAddress = PROCESS) -> Network:
    """The transport and the discoveries that ``settings`` name.

    The sessions of a process share one address, and so one transport.

    Raises:
        ConfigurationError: no plugin provides the transport or a discovery, or a setting is missing.
    """
    discoveries = [plugins.discovery(name)(settings) for name in discoveries_of(settings)]
    asked = {setting: getattr(settings, setting) for setting, row in SETTINGS.items() if row.of_process}
    if not settings.named:
        asked["name"] = None
    return Network(shared.view(settings.model_name, transport_of(settings, plugins), asked), discoveries)


def transport_of(settings: Settings, plugins: PluginRegistry) -> Transport:
    """The transport that ``settings`` name, with a data channel for weights if it can negotiate one.

    Raises:
        ConfigurationError: no plugin provides the transport, or a setting is missing.
    """
    transport = plugins.transport(settings.transport)(settings)
    if not settings.data_channel or not isinstance(transport, DataChannelControl):
        return transport
    host = Address.parse(settings.listen).host
    return DataChannelTransport(
        transport,
        host,
        port=settings.data_port,
        failure_timeout=settings.failure_timeout,
        proxies=Proxies(settings.proxy),
    )


def discoveries_of(settings: Settings) -> tuple[str, ...]:
    """The names of the discoveries that ``settings`` ask for."""
    if settings.discovery is not None:
        return (settings.discovery,)
    given = {"directory": settings.rendezvous, "seeds": settings.peers, "consortium": settings.identity}
    return tuple(name for name, place in given.items() if place)


def _random_port(settings: Settings, identity: Identity | None) -> bool:
    """Whether the port of this peer was chosen at random, and other peers learn it only from its greetings.

    Not where a launcher, a shared directory, a consortium or a plugin tells peers of one another.
    """
    if settings.transport != "grpc" or not settings.peers or settings.rank is not None:
        return False
    if not {"seeds", "consortium"}.issuperset(discoveries_of(settings)) or (identity and identity.document):
        return False
    advertised = parse_advertised(settings.advertise)[1] if settings.advertise else None
    return not (advertised or Address.parse(settings.listen).port)


def build_engine(
    settings: Settings,
    plugins: PluginRegistry,
    schema: Schema,
    logger: logging.Logger,
    network: Network,
    *,
    expected: Expected,
    outer: OuterStep | None,
    policy: SyncPolicy,
    executor: Executor,
    incarnation: str,
    versions: Versions,
    training: TrainingStatus,
    checkpoints: Checkpoints | None,
    ledger: Ledger,
    owner: Owner,
    name_patience: float | None,
    shards: SiteShards | None = None,
) -> Engine:
    """A worker that has not started, listening under ``settings``.

    Args:
        settings: of this peer.
        plugins: those of the session.
        schema: of the model.
        logger: where the worker reports.
        network: what it reaches others through.
        expected: whom the session expects: named where they do not come, and waited for with ``require_members``.
        outer: makes the committed model of the merged one; None where that is the same.
        policy: sets the sync interval.
        incarnation: identifies this process.
        versions: that this process speaks.
        executor: as for ``Engine``.
        training: as for ``Engine``.
        checkpoints: as for ``Engine``.
        ledger: as for ``Engine``.
        owner: the key of this process, which signs for this peer.
        name_patience: as for ``Engine``.
        shards: of a site of which each process exchanges its own shard; ``schema`` is that of this process's.

    Raises:
        ConfigurationError: the merge rule, the codec or the sync policy is unknown, the rule needs more peers, the
            policy needs a validation loss, or the weight is the number of samples, which is not known.
        AddressError: the address cannot be listened on.
    """
    if kernels.native is None:
        logger.info(
            "no compiled kernels: there was no C compiler at installation, so merging takes more processor time"
        )
    rule = merge_rule_of(settings, plugins)
    if shards and rule.scope is Scope.GRAM:
        raise ConfigurationError(
            f"exchange_shards=True contradicts merge_method={rule.name!r}, which compares whole contributions: allowed "
            "are the rules that merge each coordinate by itself"
        )
    choice = _codec_choice(settings, plugins, schema, logger)
    agreed = agreed_of(settings, shards)
    me = PeerInfo(
        name=settings.name,
        incarnation=incarnation,
        address="",
        session=settings.model_name,
        fingerprint=(shards.whole if shards else schema).fingerprint,
        settings=agreed,
        weight=settings.require_weight(),
        expects=settings.expected_peers,
        versions=versions,
        ranks=shards.ranks.addresses if shards else (),
    )
    identity = network.transport.identity
    rules = RoundRules(
        session=settings.model_name,
        min_peers=settings.min_peers,
        policy=policy,
        first_sync=policy.start(),
        expected=settings.expected_peers,
        possible=possible_peers(settings, identity),
        require_all=settings.require_members,
        members=expected,
        seeks=bool(network.discoveries),
        averaging=settings.merge_method == "mean" and settings.screen == "norms",
        normalize_steps=settings.normalize_steps,
        wait_below_quorum=settings.below_quorum == "wait",
        failure_timeout=settings.failure_timeout,
        straggler_timeout=settings.straggler_timeout,
        start_timeout=settings.start_timeout,
        versions=versions,
        largest_share=share_of(identity, settings),
        weight=me.weight,
        judge=_judge(settings),
        tolerated_liars=settings.tolerated_liars,
        merge_rule=settings.merge_method,
        settings=hashlib.sha256(canonical(agreed)).hexdigest(),
        signer=owner.signer,
        credential=owner.credential,
        vouch=vouch(settings.model_name, identity),
        by_samples=settings.by_samples,
        refusal=plugins.accept_contribution,
        codec=choice.choose,
        codecs=frozenset(BUILTIN_CODECS if settings.codec == AUTO else (settings.codec,)),
        find_codec=plugins.codec,
    )
    try:
        return Engine(
            me=me,
            rules=rules,
            rule=rule,
            outer=outer,
            feedback=ErrorFeedback(schema, plugins.codec, choice),
            transport=network.transport,
            discoveries=network.discoveries,
            plugins=plugins,
            schema=schema,
            logger=logger,
            executor=executor,
            training=training,
            checkpoints=checkpoints,
            ledger=ledger,
            members=expected,
            name_patience=name_patience,
            origins={name: kind_of_origin(origin) for name, origin in settings.origins.items()},
            random_port=_random_port(settings, network.transport.identity),
            keeps_best=settings.keep_best,
            greeted=shards.whole if shards else schema,
            ranks=shards.ranks if shards else None,
        )
    except BaseException:
        network.close()
        raise


def _judge(settings: Settings) -> Judge | None:
    """How the swarm finds its best model; None if it does not. Under a rule that limits bad sites the median counts."""
    if not settings.judges:
        return None
    highest = monitored(settings.monitor).highest
    return Judge(settings.patience, highest=highest, robust=settings.merge_method != "mean")


def possible_peers(settings: Settings, identity: Identity | None) -> float:
    """The most peers that there may be, as of ``RoundRules``; peers that all belong to one user are not counted."""
    if identity is None or (identity.document is None and Address.parse(settings.listen).is_loopback):
        return 0
    trainers = identity.trainers
    return math.inf if trainers is None else len(trainers)


def agreed_of(settings: Settings, shards: SiteShards | None) -> tuple[tuple[str, str], ...]:
    """Name and value of what all peers of the session must share."""
    agreed = settings.agreed()
    if shards:
        agreed = tuple((name, shards.layout if name == EXCHANGE_SHARDS else value) for name, value in agreed)
    return agreed


def owner_of(settings: Settings, identity: Identity | None, signer: Signer, shards: SiteShards | None) -> Owner:
    """The key of this process, with what proves that it is this peer's."""
    session, peer = settings.model_name, settings.name
    proved = vouching.credential(identity, peer, signer.key, credential_statement(session, peer, signer.key))
    agreed = canonical(agreed_of(settings, shards)).decode()
    return Owner(session=session, signer=signer, credential=proved, settings=agreed)


def vouch(session: str, identity: Identity | None) -> Callable[[Credential, bool], str]:
    """Why a credential in a session is not that of its peer, now or when it was given; as of ``RoundRules``."""

    def doubt(given: Credential, current: bool) -> str:
        statement = credential_statement(session, given.peer, given.key)
        return vouching.doubt(identity, given, statement, current=current)

    return doubt


def verifier_of(owner: Owner, identity: Identity | None) -> Verifier:
    """Tells true records in the session of ``owner``, whichever settings they were made under."""
    doubt = vouch(owner.session, identity)
    return Verifier(session=owner.session, signer=owner.signer, vouch=lambda credential: doubt(credential, False))


def _codec_choice(settings: Settings, plugins: PluginRegistry, schema: Schema, logger: logging.Logger) -> CodecChoice:
    plugins.require_codec(settings.codec)
    if settings.codec == AUTO:
        return QuickestCodec(BUILTIN_CODECS, schema, say=lambda text: logger.info("%s", text))
    return FixedCodec(settings.codec)


def merge_rule_of(settings: Settings, plugins: PluginRegistry) -> MergeRule:
    """The merge rule of the session.

    Raises:
        ConfigurationError: it is unknown, or so few peers are expected that it would not limit a single bad one, or
            no distances between contributions are known under it, which ``screen`` asks for.
    """
    rule = plugins.merge_rule(settings.merge_method)
    if settings.screen == "distances":
        try:
            rule = screened(rule)
        except ValueError as error:
            raise ConfigurationError(
                f"screen='distances' contradicts merge_method={settings.merge_method!r}, which needs the values of each"
                " coordinate: allowed are 'mean' and the rules that combine whole contributions"
            ) from error
    setting = "world_size" if settings.world_size else "members" if settings.members else "min_peers"
    expected = settings.expected_peers or settings.min_peers
    if expected < rule.fewest and not settings.loopback:
        raise ConfigurationError(
            f"merge_method={settings.merge_method!r} needs {rule.fewest} or more peers to limit a bad contribution, "
            f"and {setting} gives {expected}: raise it, or choose another rule"
        )
    return rule
