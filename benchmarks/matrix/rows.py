"""The rows of the matrix. A new one is an entry of ``ROWS``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

PROGRAMS = Path(__file__).with_name("programs")
NOTHING: Mapping[str, str] = MappingProxyType({})


class Site(NamedTuple):
    """One peer."""

    program: str
    """A file of ``programs/``, without its suffix."""
    arguments: tuple[str, ...] = ()
    processes: int = 1
    """More than one are started by torchrun."""
    environment: Mapping[str, str] = NOTHING


class Row(NamedTuple):
    """A swarm."""

    name: str
    sites: tuple[Site, ...]
    needs: tuple[str, ...] = ()
    """Modules without which it cannot run, and is left out."""


def torch_loop(wrap: str, *arguments: str, processes: int = 2) -> Site:
    """A loop of the user's own, in several processes unless ``wrap`` is none."""
    return Site("torch_loop", ("--wrap", wrap, *arguments), 1 if wrap == "none" else processes)


def zero(stage: str, *arguments: str) -> Site:
    """A loop with DeepSpeed, without a GPU."""
    return torch_loop(stage, *arguments)._replace(environment={"DS_ACCELERATOR": "cpu"})


def sharing(site: Site, shards: int | None = None) -> Site:
    """The same site, each process of which exchanges its own shard; with a number, rank 0 may have all of them."""
    return site._replace(environment={**site.environment, "SWARM_EXCHANGE_SHARDS": str(shards or "true")})


def lightning(flavour: str, strategy: str = "auto", *more: str) -> Site:
    """A Trainer, with two processes unless ``strategy`` is auto."""
    processes = 1 if strategy == "auto" else 2
    arguments = ("--flavour", flavour, "--strategy", strategy, "--processes", str(processes), *more)
    return Site("lightning_fit", arguments, processes)


def transformers(*arguments: str, processes: int = 1) -> Site:
    """A ``Trainer`` of Transformers."""
    return Site("transformers_fit", arguments, processes)


def keras(backend: str) -> Site:
    """``fit`` on a backend."""
    return Site("keras_fit", environment={"KERAS_BACKEND": backend})


def twice(site: Site) -> tuple[Site, ...]:
    """Two sites of the same kind."""
    return (site, site)


TRANSFORMERS = ("transformers", "swarm_transformers")
LIGHTNING, PYTORCH_LIGHTNING = "lightning.pytorch", "pytorch_lightning"
ROWS = (
    Row("PyTorch, torchrun 2 (DDP)", twice(torch_loop("ddp"))),
    Row("PyTorch, FSDP2 on 2", twice(torch_loop("fsdp2"))),
    Row("PyTorch, FSDP2 on 2, each process exchanges its shard", twice(sharing(torch_loop("fsdp2")))),
    Row(
        "PyTorch, FSDP2 on 2, and one process, shards",
        (sharing(torch_loop("fsdp2")), sharing(torch_loop("none"), 2)),
    ),
    Row(
        "PyTorch, FSDP2 on 2 and on 3, and DDP on 2, shards",
        (
            sharing(torch_loop("fsdp2")),
            sharing(torch_loop("fsdp2", processes=3), 2),
            sharing(torch_loop("ddp"), 2),
        ),
    ),
    Row("PyTorch, FSDP2 on 2, and one process", (torch_loop("fsdp2"), torch_loop("none"))),
    Row("PyTorch, tensor parallelism on 2, and one process", (torch_loop("tp"), torch_loop("none"))),
    Row("PyTorch, FSDP1 on 2", twice(torch_loop("fsdp1"))),
    Row("PyTorch, FSDP1 on 2, and one process", (torch_loop("fsdp1"), torch_loop("none"))),
    Row("PyTorch, DeepSpeed ZeRO-1 on 2, and DDP on 2", (zero("zero1"), torch_loop("ddp")), ("deepspeed",)),
    Row(
        "PyTorch, DeepSpeed ZeRO-2 on 2 in bfloat16, and one process in float32",
        (zero("zero2", "--half"), torch_loop("none")),
        ("deepspeed",),
    ),
    Row(
        "PyTorch, DDP on 2, a wait of 30 s under a time-out of 10 s",
        (torch_loop("ddp", "--time-out", "10"), torch_loop("none", "--wait", "30")),
    ),
    Row("Lightning", twice(lightning(LIGHTNING)), ("lightning",)),
    Row("Lightning, DDP on 2", twice(lightning(LIGHTNING, "ddp")), ("lightning",)),
    Row("Lightning, FSDP2 on 2 (ModelParallelStrategy)", twice(lightning(LIGHTNING, "fsdp2")), ("lightning",)),
    Row(
        "Lightning, FSDP2 on 2 (ModelParallelStrategy), each process exchanges its shard",
        twice(sharing(lightning(LIGHTNING, "fsdp2"))),
        ("lightning",),
    ),
    Row(
        "Lightning, tensor parallelism on 2 (ModelParallelStrategy), and one process",
        (lightning(LIGHTNING, "tp"), lightning(LIGHTNING)),
        ("lightning",),
    ),
    Row(
        "Lightning, DDP on 2, a wait of 30 s under the default time-out",
        (lightning(LIGHTNING, "ddp"), lightning(LIGHTNING, "auto", "--wait", "30")),
        ("lightning",),
    ),
    Row("pytorch_lightning", twice(lightning(PYTORCH_LIGHTNING)), ("pytorch_lightning",)),
    Row("pytorch_lightning, DDP on 2", twice(lightning(PYTORCH_LIGHTNING, "ddp")), ("pytorch_lightning",)),
    Row("Transformers", twice(transformers()), TRANSFORMERS),
    Row("Transformers, DDP on 2", twice(transformers(processes=2)), TRANSFORMERS),
    Row("Transformers, adapters of PEFT", twice(transformers("--adapters")), (*TRANSFORMERS, "peft")),
    Row("Accelerate on 2", twice(torch_loop("accelerate")), ("accelerate",)),
    Row("Keras on TensorFlow", twice(keras("tensorflow")), ("keras", "tensorflow")),
    Row("Keras on JAX", twice(keras("jax")), ("keras", "jax")),
    Row("Keras on PyTorch", twice(keras("torch")), ("keras",)),
    Row(
        "Keras on TensorFlow, JAX and PyTorch",
        (keras("tensorflow"), keras("jax"), keras("torch")),
        ("keras", "tensorflow", "jax"),
    ),
    Row(
        "Keras on PyTorch and JAX, three shards",
        (sharing(keras("torch"), 3), sharing(keras("jax"), 3)),
        ("keras", "jax"),
    ),
    Row("scikit-learn", twice(Site("sklearn_fit")), ("sklearn", "swarm_sklearn")),
)
