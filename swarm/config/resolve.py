"""One set of settings from all sources: arguments beat ``SWARM_*``, which beat ``swarm.toml``, which beats defaults."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm.addresses import Address, is_loopback, is_wildcard, parse_advertised
from swarm.config.granted import under
from swarm.config.outer import OUTER_PREFIX, PARAMETERS
from swarm.config.settings import SETTINGS, Settings
from swarm.config.sources import Value, from_arguments, from_environment, from_file
from swarm.config.trial import tried
from swarm.errors import ConfigurationError, IdentityError
from swarm.quorums import quorum_size
from swarm.text import listed

if TYPE_CHECKING:
    from swarm.identity import Identity

DEFAULT = "default"
ARGUMENT = "argument"
IDENTITY = Path("swarm-identity")
"""The identity that is used where no source names one, if it is there."""
_PLACES = ("peers", "rendezvous", "discovery", "loopback")
"""Settings that say where the swarm is, unless they are empty or off; a given ``listen`` always does."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings and where each value came from."""

    settings: Settings

    @property
    def origins(self) -> Mapping[str, str]:
        """By name of setting: "argument", the variable, the file, or "default"."""
        return self.settings.origins

    def values(self) -> dict[str, Value]:
        """Value and origin of every setting, in their documented order."""
        return {name: Value(getattr(self.settings, name), self.origins[name]) for name in SETTINGS}


def resolve(
    arguments: Mapping[str, object] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    otherwise: Mapping[str, Value] | None = None,
    usable: bool = True,
) -> Resolved:
    """Read every source, check every value, and complete what was not given.

    Args:
        arguments: by name of setting; ``None`` as a value means not given.
        environment: instead of the process's own.
        directory: where to look for ``swarm.toml``, instead of the working directory.
        otherwise: by name of setting, values that are used instead of the default where no source gives one.
        usable: whether to refuse an identity whose certificate nobody would accept now. Otherwise one that is missing
            or damaged is in the settings too, of which those that come from its consortium are then not known.

    Raises:
        UnknownArgumentError: there is no such argument.
        ConfigurationError: a variable or key is unknown, a value is not allowed, or two values contradict each other.
        IdentityError: the identity cannot be used.
    """
    environment = os.environ if environment is None else environment
    given = {
        **(otherwise or {}),
        **from_file(environment, directory or Path()),
        **from_environment(environment),
        **from_arguments(arguments or {}),
        **from_arguments(tried()),
    }
    identity = _identity(given, directory or Path(), usable=usable)
    if identity is not None:
        given = under(identity, given)
    values = {name: Value(row.default, DEFAULT) for name, row in SETTINGS.items()} | given
    if "name" not in given:
        values["name"] = Value(_default_name(values["rank"].value), DEFAULT)
    if values["loopback"].value:
        # HPE's switch runs a script alone, whatever min_peers it gives
        values["min_peers"] = Value(1, values["loopback"].origin)
    settings = Settings(
        **{name: value for name, (value, _) in values.items()},
        named="name" in given or values["rank"].value is not None,
        placed="listen" in given
        or any(given[place].value for place in _PLACES if place in given)
        or bool(identity and identity.others),
        origins={name: origin for name, (_, origin) in values.items()},
    )
    if settings.expected_peers and values["min_peers"].origin == DEFAULT:
        settings = replace(settings, min_peers=quorum_size(settings.expected_peers, settings.tolerated_liars))
    given_as = {name: _text(name, value) for name, value in values.items()}
    _refuse_contradictions(settings, given_as, identity)
    return Resolved(settings)


def kind_of_origin(origin: str) -> str:
    """Where a value comes from, in a word that names no file and no variable: for other peers."""
    if origin in {DEFAULT, ARGUMENT}:
        return origin
    if origin.startswith("consortium "):
        return "consortium"
    return "file" if "." in origin or "/" in origin else "variable"


def _identity(given: dict[str, Value], directory: Path, *, usable: bool) -> Identity | None:
    """The identity that is named, or that is there; it is added to what is ``given``.

    Raises:
        ConfigurationError: it is named, and nothing is to be encrypted.
        IdentityError: it cannot be used, and is to be ``usable``.
    """
    off = next((each for each in ("loopback", "insecure") if each in given and given[each].value), None)
    named = given.get("identity")
    if off == "insecure" and named is not None and _beats(given[off], named):
        del given["identity"]
    elif off == "insecure" and named is not None:
        raise ConfigurationError(
            f"{_text('insecure', given['insecure'])} contradicts {_text('identity', named)}, with which everything is "
            "encrypted: leave one of them out"
        )
    if off is not None:
        return None
    if named is None and (directory / IDENTITY).is_dir():
        named = given["identity"] = Value(directory / IDENTITY, DEFAULT)
    if not named:
        return None
    from swarm.identity import identity_at  # loads a library that most processes do not need

    try:
        return identity_at(named.value, usable=usable)
    except IdentityError:
        if usable:
            raise
        return None


def _beats(one: Value, other: Value) -> bool:
    """Whether an argument contradicts what is no argument."""
    return one.origin == ARGUMENT != other.origin


def _default_name(rank: int | None) -> str:
    if rank is not None:
        return f"peer-{rank}"
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in socket.gethostname()) or "peer"


def _refuse_contradictions(settings: Settings, given: Mapping[str, str], identity: Identity | None) -> None:
    """Refuse settings that cannot hold together.

    Args:
        settings: all of them.
        given: each as a message shows it, by name.
        identity: of this peer; None without one.

    Raises:
        ConfigurationError: two contradict each other, or one needs another.
    """
    rank, world_size = settings.rank, settings.world_size
    if rank is not None and world_size is not None and rank >= world_size:
        raise ConfigurationError(f"{given['rank']} contradicts {given['world_size']}: allowed is 0 to {world_size - 1}")
    if settings.resume and settings.model_dir is None:
        raise ConfigurationError(
            f"{given['resume']} needs model_dir, where the checkpoints are; set it (SWARM_MODEL_DIR)"
        )
    if both := set(settings.share) & set(settings.local):
        raise ConfigurationError(
            f"{given['share']} contradicts {given['local']}: {min(both)!r} is in both, leave it in one"
        )
    if settings.use_adaptive_sync and settings.sync_policy == "fixed":
        raise ConfigurationError(
            f"{given['use_adaptive_sync']} contradicts {given['sync_policy']}, whose interval never changes: leave one "
            "of them off"
        )
    if settings.monitor != SETTINGS["monitor"].default and not (settings.judges or settings.share_metrics):
        raise ConfigurationError(
            f"{given['monitor']} is for keep_best, patience and share_metrics, and none of them is set: leave it out, "
            "or set one"
        )
    if settings.sync_seconds != SETTINGS["sync_seconds"].default and settings.policy != "seconds":
        raise ConfigurationError(
            f'{given["sync_seconds"]} is for sync_policy="seconds", and the policy is {settings.policy!r}: '
            "leave it out, or choose that policy"
        )
    for name in (each.removeprefix(OUTER_PREFIX) for each in SETTINGS if each.startswith(OUTER_PREFIX)):
        if getattr(settings, OUTER_PREFIX + name) is not None and name not in settings.outer_parameters:
            having = " or ".join(repr(outer) for outer, values in PARAMETERS.items() if name in values)
            raise ConfigurationError(
                f"{given[OUTER_PREFIX + name]} is for outer={having}, and outer is {settings.outer!r}: leave it out, "
                "or choose that optimizer"
            )
    if settings.scaffold:
        others = {
            "overlap": settings.overlap,
            "proximal": settings.proximal > 0,
            "optimizer_state": settings.optimizer_state != "keep",
            "merge_method": settings.merge_method != "mean",
        }
        if name := next((name for name, given_otherwise in others.items() if given_otherwise), ""):
            raise ConfigurationError(f"{given['scaffold']} contradicts {given[name]}: leave one of them out")
    if settings.loopback:
        return
    expected = settings.expected_peers
    if settings.require_members and not expected:
        _require_trainers(settings, given, identity)
    if expected and settings.min_peers > expected:
        raise ConfigurationError(
            f"{given['min_peers']} contradicts {given['world_size' if world_size else 'members']}: "
            f"no round could ever have enough peers; allowed is 1 to {expected}"
        )
    least = 3 * settings.tolerated_liars + 1
    if settings.tolerated_liars and (expected or 0) < least:
        number = given["world_size" if world_size else "members"] if expected else "an unknown number of peers"
        raise ConfigurationError(
            f"{given['tolerated_liars']} contradicts {number}: it needs world_size or members of {least} or more; of "
            "fewer, a lie is found and proven, but cannot be outvoted (tolerated_liars=0)"
        )
    known = identity.others if identity else ()
    listen = Address.parse(settings.listen)
    if listen.port and listen.port == settings.data_port and settings.data_channel:
        raise ConfigurationError(
            f"{given['data_port']} contradicts {given['listen']}: messages and weights need a port each; allowed is "
            "another port, or 0 for any free one"
        )
    _refuse_open_network(settings, given, listen.host)
    if (
        settings.transport == "grpc"  # that of a plugin may need no address of this machine
        and settings.advertise is None
        and listen.is_loopback
        and not all(Address.parse(each).is_loopback for each in known)
    ):
        raise ConfigurationError(
            f"{given['listen']} cannot be reached by the other members of the consortium, of which one is at "
            f"{next(iter(known))}: set listen to an address of this machine in their network"
        )


def _require_trainers(settings: Settings, given: Mapping[str, str], identity: Identity | None) -> None:
    """Refuse ``require_members`` where nothing says who must take part: neither a setting nor the consortium."""
    trainers = (identity.trainers if identity else None) or ()
    if not trainers:
        raise ConfigurationError(
            f"{given['require_members']} needs members or world_size, or the identity of a consortium: name the sites "
            'that must take part, such as members="berlin,paris" (or SWARM_MEMBERS)'
        )
    if settings.min_peers > len(trainers):
        raise ConfigurationError(
            f"{given['require_members']} contradicts {given['min_peers']}: the consortium has "
            f"{len(trainers)} members that train ({listed(sorted(trainers))}): invite the others first, or "
            "lower min_peers"
        )


def _refuse_open_network(settings: Settings, given: Mapping[str, str], host: str) -> None:
    """Refuse unencrypted traffic between machines unless it is wanted, and addresses that others cannot reach.

    Args:
        settings: all of them.
        given: each as a message shows it, by name.
        host: that this peer listens on.

    Raises:
        ConfigurationError: two contradict each other.
    """
    remote = [peer for peer in settings.peers if not Address.parse(peer).is_loopback]
    advertised = parse_advertised(settings.advertise)[0] if settings.advertise else host
    private = is_loopback(host)
    open_ = not settings.insecure and settings.identity is None
    if open_ and (remote or not private or not is_loopback(advertised)):
        exposed = "listen" if not private else "peers" if remote else "advertise"
        raise ConfigurationError(
            f"{given[exposed]} lets weights travel between machines, and this peer has no identity to encrypt them "
            "with: get one (`swarm init`, or `swarm join` with an invitation; `swarm identities` for peers of one "
            "owner), or set insecure=true on a network that you trust; without either, allowed is a loopback address "
            "such as 127.0.0.1:7000"
        )
    if not is_loopback(advertised):
        return
    if remote:
        setting = "advertise" if settings.advertise else "listen"
        raise ConfigurationError(
            f"{given[setting]} contradicts {given['peers']}: {remote[0]} cannot reach a loopback address; set "
            f"{setting} to an address of this machine in its network"
        )
    if not private and not is_wildcard(host):
        raise ConfigurationError(
            f"{given['advertise']} contradicts {given['listen']}, where nobody listens on a loopback address: set "
            "advertise to an address at which others reach this peer"
        )


def _text(name: str, value: Value) -> str:
    shown: Any = list(value.value) if isinstance(value.value, tuple) else value.value
    return f"{name}={shown!r}" + ("" if value.origin == "argument" else f" (from {value.origin})")
