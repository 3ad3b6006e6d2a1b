"""One set of settings from all sources: arguments beat ``SWARM_*``, which beat ``swarm.toml``, which beats defaults."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from swarm.config import addresses
from swarm.config.settings import DEFAULTS, SETTINGS, Settings
from swarm.config.sources import Value, from_arguments, from_environment, from_file
from swarm.errors import ConfigurationError

DEFAULT = "default"
_PLACES = ("peers", "listen", "rendezvous", "discovery", "loopback")


class Setting(NamedTuple):
    """One setting as ``swarm config`` shows it."""

    name: str
    value: object
    origin: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings and where each value came from."""

    settings: Settings
    origins: Mapping[str, str]
    """By name of setting: "argument", the variable, the file, or "default"."""

    def describe(self) -> tuple[Setting, ...]:
        """Name, value and origin of every setting, in their documented order."""
        return tuple(Setting(name, getattr(self.settings, name), self.origins[name]) for name in SETTINGS)


def resolve(
    arguments: Mapping[str, object] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    otherwise: Mapping[str, Value] | None = None,
) -> Resolved:
    """Read every source, check every value, and complete what was not given.

    Args:
        arguments: by name of setting; ``None`` as a value means not given.
        environment: instead of the process's own.
        directory: where to look for ``swarm.toml``, instead of the working directory.
        otherwise: by name of setting, what counts before the default where no source gives a value.

    Raises:
        UnknownArgumentError: there is no such argument.
        ConfigurationError: a variable or key is unknown, a value is not allowed, or two values contradict each other.
    """
    environment = os.environ if environment is None else environment
    given = {
        **(otherwise or {}),
        **from_file(environment, directory or Path()),
        **from_environment(environment),
        **from_arguments(arguments or {}),
    }
    values = {name: Value(default, DEFAULT) for name, default in DEFAULTS.items()} | given
    if "name" not in given:
        values["name"] = Value(_default_name(values["rank"].value), DEFAULT)
    if values["loopback"].value:
        # HPE's switch is for trying a script out, whatever it asks for
        values["min_peers"] = Value(1, values["loopback"].origin)
    elif "min_peers" not in given:
        values["min_peers"] = Value(_majority(values), DEFAULT)
    _refuse_contradictions(values)
    settings = Settings(
        **{name: value for name, (value, _) in values.items()},
        named="name" in given or values["rank"].value is not None,
        placed=_is_placed(given),
    )
    return Resolved(settings, {name: origin for name, (_, origin) in values.items()})


def _default_name(rank: int | None) -> str:
    if rank is not None:
        return f"peer-{rank}"
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in socket.gethostname()) or "peer"


def _majority(values: Mapping[str, Value]) -> int:
    expected: int = values["world_size"].value or len(values["members"].value)
    return expected // 2 + 1 if expected else 2


def _is_placed(given: Mapping[str, Value]) -> bool:
    return "listen" in given or any(given[place].value for place in _PLACES if place in given)


def _refuse_contradictions(values: Mapping[str, Value]) -> None:
    rank, world_size, members = values["rank"], values["world_size"], values["members"]
    if rank.value is not None and world_size.value is not None and rank.value >= world_size.value:
        raise ConfigurationError(
            f"{_said('rank', rank)} contradicts {_said('world_size', world_size)}: "
            f"allowed is 0 to {world_size.value - 1}"
        )
    if values["resume"].value and values["model_dir"].value is None:
        raise ConfigurationError(
            f"{_said('resume', values['resume'])} needs model_dir, where the checkpoints are; set it (SWARM_MODEL_DIR)"
        )
    share, local = values["share"], values["local"]
    if both := set(share.value) & set(local.value):
        raise ConfigurationError(
            f"{_said('share', share)} contradicts {_said('local', local)}: {min(both)!r} is in both, leave it in one"
        )
    adaptive, policy = values["use_adaptive_sync"], values["sync_policy"]
    if adaptive.value and policy.value == "fixed":
        raise ConfigurationError(
            f"{_said('use_adaptive_sync', adaptive)} contradicts {_said('sync_policy', policy)}, whose interval never "
            "changes: leave one of them off"
        )
    if values["loopback"].value:
        return
    expected = ("world_size", world_size) if world_size.value else ("members", members)
    count: int = world_size.value or len(members.value)
    if count and values["min_peers"].value > count:
        raise ConfigurationError(
            f"{_said('min_peers', values['min_peers'])} contradicts {_said(*expected)}: "
            f"no round could ever have enough peers; allowed is 1 to {count}"
        )
    _refuse_one_port_for_two(values)
    _refuse_open_network(values)


def _refuse_one_port_for_two(values: Mapping[str, Value]) -> None:
    listen, channel = values["listen"], values["data_port"]
    _, port = addresses.split(listen.value)
    if port and port == channel.value and values["data_channel"].value:
        raise ConfigurationError(
            f"{_said('data_port', channel)} contradicts {_said('listen', listen)}: messages and weights need a port "
            "each; allowed is another port, or 0 for any free one"
        )


def _refuse_open_network(values: Mapping[str, Value]) -> None:
    listen, advertise, peers = values["listen"], values["advertise"], values["peers"]
    remote = [peer for peer in peers.value if not addresses.is_local(peer)]
    listens_on, _ = addresses.split(listen.value)
    told = addresses.split_place(advertise.value)[0] if advertise.value else listens_on
    private = addresses.is_loopback(listens_on)
    if not values["insecure"].value and (remote or not private or not addresses.is_loopback(told)):
        exposed = [
            _said("listen", listen) if not private else "",
            _said("peers", peers) if remote else "",
            _said("advertise", advertise),
        ]
        raise ConfigurationError(
            f"{next(filter(None, exposed))} lets weights travel unencrypted between machines, since TLS is not "
            "built yet: allowed is a loopback address such as 127.0.0.1:7000, or set insecure=true on a network that "
            "you trust"
        )
    if not addresses.is_loopback(told):
        return
    if remote:
        setting = _said("advertise", advertise) if advertise.value else _said("listen", listen)
        hint = "advertise" if advertise.value else "listen"
        raise ConfigurationError(
            f"{setting} contradicts {_said('peers', peers)}: "
            f"{remote[0]} cannot reach a loopback address; set {hint} to an address of this machine in its network"
        )
    if not private and not addresses.is_wildcard(listens_on):
        raise ConfigurationError(
            f"{_said('advertise', advertise)} contradicts {_said('listen', listen)}, where nobody listens on a "
            "loopback address: set advertise to an address at which others reach this peer"
        )


def _said(name: str, value: Value) -> str:
    shown: Any = list(value.value) if isinstance(value.value, tuple) else value.value
    return f"{name}={shown!r}" + ("" if value.origin == "argument" else f" (from {value.origin})")
