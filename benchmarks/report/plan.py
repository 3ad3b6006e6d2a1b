"""What is measured: commands of other benchmarks, by the name of the file that keeps their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

STEPS = 400
"""Batches of each site."""
PARTITIONS: Mapping[str, str] = {
    "iid": "equal mixes of labels",
    "dir0.5": "Dirichlet .5",
    "dir0.1": "Dirichlet .1",
}
"""By the name that the benchmark gives them: how the page calls them."""
INTERVALS = (8, 32, 128)
CODECS = ("exact", "bf16", "int8")
"""The first is that of the intervals."""
RULES = ("mean", "norm_clip", "centered_clip", "geomedian", "trimmed_mean", "nnm", "coordmedian")
COSINE = "--schedule cosine"
POLICIES: Mapping[str, tuple[int, str]] = {
    "adacomm": (32, ""),
    "drift": (16, ""),
    "qsr": (16, COSINE),
    "seconds": (16, "--policy-seconds 0.1"),
    "validation": (16, ""),
}
"""With the interval that each begins with, and what it needs besides."""
SKEWS: Mapping[str, str] = {
    "dir0.5": "--steps 480 --seeds 5 --first-seed 3000",
    "dir0.1": "--steps 240 --seeds 3",
}
"""The partitions under which merge rules are attacked, and for how long. The goal is for the first one."""


def _learning(*words: object) -> str:
    return f"learning --task digits --steps {STEPS} {' '.join(map(str, words))}"


COMMANDS: Mapping[str, Sequence[str]] = {
    "intervals": [
        _learning("--partition", partition, "--interval", interval, "--seeds", 5)
        for partition in PARTITIONS
        for interval in INTERVALS
    ],
    "codecs": [
        _learning("--partition", "dir0.1", "--interval", interval, "--codec", codec, "--seeds", 5)
        for interval in INTERVALS
        for codec in CODECS[1:]
    ],
    "policies": [
        _learning(
            *("--partition", "dir0.1", "--policy", policy, "--interval", interval, *([more] if more else [])),
            *("--seeds", 10, "--against-fixed"),
        )
        for policy, (interval, more) in POLICIES.items()
    ],
    "attacks": [
        f"attacks --partition {partition} --peers 11 --bad 2 --rule {rule} {length}"
        for partition, length in SKEWS.items()
        for rule in RULES
    ],
}
"""By the name of the file: each command after ``python -m benchmarks.``, in the order of its figures."""
