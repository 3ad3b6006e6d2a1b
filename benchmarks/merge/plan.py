"""What a run of peers merges, and how; and the options of the command line that decide it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.harness.command import integer, positive
from swarm.tensors.state import numpy_dtype

MIB = 2**20
BYTES_PER_VALUE: Mapping[str, float] = {"exact": 4, "bf16": 2, "int8": 1}
"""Bytes of an encoded value, without scales; never more than those of the value. Other codecs count as ``exact``."""
BOUNDS: Mapping[str, float] = {"exact": 0.0, "bf16": 2.0**-7, "int8": 3 / 127}
"""Largest error of a merged value by coding. Encoded values are differences of at most 1: bf16 rounds them by up to
2^-9, int8 by up to 1/254, in contributions and in results, each time with the residual of the last round."""

ROUNDING: Mapping[str, float] = {"float32": 1e-6, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""By dtype: largest error that rounding may cause in a mean of values between -0.5 and 0.5, sums rounded too as gloo's
are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Equal for all peers of a run."""

    peers: int
    mib: float
    """Size of the model."""
    tensors: int
    """How many tensors it consists of; all of about one size."""
    codec: str
    seed: int
    dtype: str = "float32"
    """Type of its values."""
    profile: bool = False
    """Whether the peers record when each phase of a round ends."""
    tls: bool = False
    """Whether the peers encrypt what they send."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Additional settings of Swarm."""

    @property
    def itemsize(self) -> int:
        """Bytes of a value."""
        return numpy_dtype(self.dtype).itemsize

    @property
    def values(self) -> int:
        """Elements of the model."""
        return int(self.mib * MIB) // self.itemsize

    @property
    def bound(self) -> float:
        """Fewest bytes that each peer must send: 2(n-1)/n of the encoded model."""
        encoded = min(BYTES_PER_VALUE.get(self.codec, 4), self.itemsize)
        return 2 * (self.peers - 1) / self.peers * self.values * encoded

    @property
    def tolerance(self) -> float:
        """Largest difference allowed between a merged value and the weighted mean."""
        return max(BOUNDS.get(self.codec, max(BOUNDS.values())), ROUNDING[self.dtype])

    @property
    def weights(self) -> tuple[int, ...]:
        """The peers' weights, by rank: unequal, so that an unweighted mean is found to be wrong."""
        return tuple(range(1, self.peers + 1))

    def settings_of(self, rank: int) -> dict[str, object]:
        """Swarm's settings for a peer: all peers merge after every batch. The order of names is that of ranks."""
        codec = {} if self.codec == "exact" else {"codec": self.codec}
        return {
            "name": f"peer-{rank:02}",
            "world_size": self.peers,
            "min_peers": self.peers,
            "sync_interval": 1,
            "node_weightage": self.weights[rank],
            "failure_timeout": 30.0,
            **codec,
            **self.settings,
        }


def add_options(parser: argparse.ArgumentParser, *, mib: float) -> None:
    """Add the options from which ``plan_of`` makes a plan; ``mib`` is the default size."""
    parser.add_argument("--peers", type=integer(2), default=4, help="processes (default 4)")
    parser.add_argument("--mib", type=positive, default=mib, help=f"size of the model (default {mib:g})")
    parser.add_argument("--dtype", choices=tuple(ROUNDING), default="float32", help="of its values (default float32)")
    parser.add_argument("--tensors", type=integer(1), default=30, help="tensors it consists of (default 30)")
    parser.add_argument("--codec", default="exact", help="how weights are encoded (default exact)")
    parser.add_argument(
        "--setting",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of Swarm; a number, true, false or text",
    )
    parser.add_argument("--profile", action="store_true", help="also measure the phases of a round")
    parser.add_argument("--seed", type=int, default=0, help="of the values (default 0)")


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan that the options describe."""
    names = ("peers", "mib", "tensors", "dtype", "codec", "seed", "profile")
    return Plan(**{name: getattr(options, name) for name in names}, settings=dict(options.setting))


def _setting(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: allowed is NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
