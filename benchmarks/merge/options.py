"""What the benchmarks of a merge have in common on the command line."""

from __future__ import annotations

import argparse
import json

from benchmarks.fleet.arguments import number
from benchmarks.merge.plan import ROUNDING, Plan


def add_options(parser: argparse.ArgumentParser, *, mib: float) -> None:
    """Add what makes a plan, and how much of it is measured; ``mib`` is the default."""
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
    parser.add_argument("--peers", type=number(2), default=4, help="processes (default 4)")
    parser.add_argument("--mib", type=_size, default=mib, help=f"size of the model (default {mib:g})")
    parser.add_argument("--dtype", choices=tuple(ROUNDING), default="float32", help="of its values (default float32)")
    parser.add_argument("--tensors", type=number(1), default=30, help="tensors it consists of (default 30)")
    parser.add_argument("--codec", default="exact", help="how weights travel (default exact)")
    parser.add_argument(
        "--setting",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of Swarm; a number, true, false or text",
    )
    parser.add_argument("--profile", action="store_true", help="also say where the time of a round goes")
    parser.add_argument("--seed", type=int, default=0, help="of the values (default 0)")


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan that the options make."""
    return Plan(
        peers=options.peers,
        mib=options.mib,
        tensors=options.tensors,
        dtype=options.dtype,
        codec=options.codec,
        seed=options.seed,
        profile=options.profile,
        settings=dict(options.setting),
    )


def _size(text: str) -> float:
    if not float(text) > 0:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: allowed is a size above 0")
    return float(text)


def _setting(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: allowed is NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
