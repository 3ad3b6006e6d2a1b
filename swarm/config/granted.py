"""What an identity says about settings: the name is that of the certificate, and the consortium allows some values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING

from swarm.config.checks import SAMPLES
from swarm.config.settings import SETTINGS, Settings
from swarm.config.sources import Value
from swarm.errors import ConfigurationError

if TYPE_CHECKING:
    from swarm.identity import Consortium, Identity
    from swarm.records import PeerId

_WEIGHT = "node_weightage"
OF_A_SITE = frozenset(
    {
        *("name", "listen", "advertise", "peers", "rendezvous", "discovery", "transport", "data_port", "members"),
        *("world_size", "rank", "loopback", "identity", "insecure", "data_dir", "model_dir", "resume"),
        *(
            "disabled_plugins",
            "samples",
            "share_statistics",
            "validate_own",
            "share_metrics",
            "agree",
            "proxy",
            "max_mbit",
        ),
    }
)
"""Settings that no consortium gives: where a site is, where its files are, whether it is protected, and its data."""


def under(identity: Identity, given: Mapping[str, Value]) -> dict[str, Value]:
    """The values that hold with ``identity``, of those ``given`` by name of setting.

    Where nothing is given, the first value that the consortium allows is used. ``node_weightage`` is at most what it
    grants; with ``"samples"``, what it grants is a share of the weight of a round, which ``share_of`` gives.

    Raises:
        ConfigurationError: a value contradicts the certificate or is not allowed.
    """
    values = dict(given)
    name = values.get("name")
    if name is not None and name.value != identity.name:
        raise ConfigurationError(
            f"name={name.value!r} (from {name.origin}) contradicts the certificate in {identity.directory}, which is "
            f"for {identity.name!r}: leave name out, or get an identity for that name (`swarm join`)"
        )
    values["name"] = Value(identity.name, str(identity.directory))
    document = identity.document
    if document is None:
        return values
    origin = f"consortium {document.name}"
    for setting, allowed in _allowed(document).items():
        value = values.setdefault(setting, Value(allowed[0], origin)).value
        if value not in allowed:
            raise ConfigurationError(
                f"{setting}={value!r} (from {values[setting].origin}) is not allowed by {origin}: allowed is "
                f"{' or '.join(map(repr, allowed))}"
            )
    granted = identity.member(identity.name).weight
    declared = values.get(_WEIGHT, Value(SETTINGS[_WEIGHT].default, "")).value
    if declared != SAMPLES and declared > granted:
        values[_WEIGHT] = Value(granted, origin)
    return values


def share_of(identity: Identity | None, settings: Settings) -> Callable[[PeerId], Fraction]:
    """The largest share of the weight of a round that a peer may have, 0 to 1.

    That is ``largest_share`` for everybody. If weights are numbers of samples, it is also at most the weight that the
    consortium grants, as a percentage: such numbers are declared by the peers themselves.
    """
    largest = Fraction(settings.largest_share).limit_denominator(10**6)

    def share(peer: PeerId) -> Fraction:
        if identity is None or not settings.by_samples:
            return largest
        return min(largest, Fraction(identity.member(peer).weight, 100))

    return share


def _allowed(document: Consortium) -> dict[str, list[object]]:
    """The values that the consortium allows, checked as those of a file are.

    Raises:
        ConfigurationError: the document names a setting or a value that this version does not know, or a setting that
            each site has for itself.
    """
    checked: dict[str, list[object]] = {}
    for setting, values in document.allowed.items():
        if setting in OF_A_SITE:
            raise ConfigurationError(
                f"consortium {document.name} gives a value of {setting}, which each site has for itself: nothing of "
                "this document is used; ask the founder for one without it"
            )
        try:
            check = SETTINGS[setting].check
            checked[setting] = [check.accept(value) for value in values]
        except (KeyError, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"consortium {document.name} allows {setting}={', '.join(map(str, values))}, which this version of "
                "Swarm does not know: update it (`pip install --upgrade swarm-learning`)"
            ) from error
    return {setting: values for setting, values in checked.items() if values}
