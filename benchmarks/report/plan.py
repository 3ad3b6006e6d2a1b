"""What is measured: commands of other benchmarks, by the name of the file that keeps their figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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


LONG = 1600
"""Batches of each site where averaging is hard."""
FAR_APART: Mapping[str, str] = {
    "plain averaging": "",
    "`proximal=.01`": "--proximal .01",
    "`scaffold`": "--scaffold",
}
"""Settings for sites with other labels and long intervals: what each needs."""
RATIO_GOALS: Mapping[str, float] = {"plain averaging": 0.97, "`scaffold`": 0.99}
"""Of pooled."""
OUTERS: Mapping[str, str] = {
    "none": "",
    "`nesterov` .7, .5": "--outer nesterov --outer-rate .7 --outer-momentum .5",
    "`nesterov` .7, .9": "--outer nesterov --outer-rate .7 --outer-momentum .9",
    "`fedavgm` 1, .5": "--outer fedavgm --outer-rate 1 --outer-momentum .5",
    "`fedadam` .03": "--outer fedadam --outer-rate .03",
    "`fedyogi` .03": "--outer fedyogi --outer-rate .03",
}
"""Outer optimizers, with learning rate and momentum: what each needs."""
OUTER_GOAL = 0.93
"""The accuracy of the best of them."""
UNEQUAL: Mapping[str, str] = {"no": "", "yes": "--normalize-steps"}
"""``normalize_steps``: what it needs."""


def _learning(*words: object, steps: int = STEPS) -> str:
    return f"learning --task digits --steps {steps} {' '.join(filter(None, map(str, words)))}"


def _compared(partition: str, options: Iterable[str], *words: str) -> list[str]:
    """One command for each choice of options, all with the same fresh seeds."""
    return [
        _learning("--partition", partition, *words, each, "--seeds 5 --first-seed 5000", steps=LONG) for each in options
    ]


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
    "far_apart": _compared("dir0.1", FAR_APART.values(), "--interval 128"),
    "outers": _compared("shard2", OUTERS.values(), "--interval 40"),
    "unequal": _compared("dir0.1", UNEQUAL.values(), "--interval 32 --peers 4 --paces 8,4,2,1"),
    "attacks": [
        f"attacks --partition {partition} --peers 11 --bad 2 --rule {rule} {length}"
        for partition, length in SKEWS.items()
        for rule in RULES
    ],
}
"""By the name of the file: each command after ``python -m benchmarks.``, in the order of its figures."""
