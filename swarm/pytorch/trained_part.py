"""The part of a model that is trained, as with adapters, and the frozen rest, which all peers must have in common."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

import torch
from blake3 import blake3
from torch import nn

from swarm.errors import ModelError
from swarm.pytorch.flattened import whole_parameters
from swarm.pytorch.names import join, places
from swarm.pytorch.port import TorchPort
from swarm.pytorch.shards import is_sharded, whole

if TYPE_CHECKING:
    from swarm.config import Settings
    from swarm.tensors.selection import Selection

FACT = "frozen_weights"
"""The name of what the peers compare."""


class Shared(NamedTuple):
    """What a peer shares of its model."""

    port: TorchPort
    facts: dict[str, object]
    """Facts about the rest of the model, for ``BaseCallback.open_run``."""


def shared_part(
    model: nn.Module,
    settings: Settings,
    selection: Selection,
    logger: logging.Logger,
    masters: Mapping[str, torch.Tensor] | None = None,
) -> Shared:
    """The port of a model, of its trained part alone if ``trainable_only`` says so, or if the model has adapters.

    The digest of the frozen parameters is then a fact that all peers must have in common: what is trained on top of
    other weights means something else. A fact ``frozen_weights`` in ``agree`` takes its place.

    Raises:
        ModelError: no parameter is trained, the adapters are of AdaLoRA, or ``masters`` do not fit the model.
    """
    if any(_is_of_peft(module, "AdaLoraLayer") for module in model.modules()):
        raise ModelError(
            "AdaLoRA prunes the ranks of its adapters by the gradients of each site, so merged ones would be pruned "
            "nowhere: use LoRA or another method of PEFT"
        )
    only = has_adapters(model) if settings.trainable_only is None else settings.trainable_only
    port = TorchPort(model, selection, trainable_only=only, masters=masters)
    if not only:
        return Shared(port, {})
    size = sum(each.numel() * each.element_size() for each in port.parameters().values())
    of_all = sum(each.numel() * each.element_size() for each in model.parameters())  # sparse ones too
    text = "only what is trained is merged: weights of %.1f MB; the model has %.1f MB"
    logger.info(text, size / 1e6, of_all / 1e6)
    given = any(name == FACT for name, _ in settings.agree)
    return Shared(port, {} if given else {FACT: frozen_digest(model, settings.local)})


def has_adapters(model: nn.Module) -> bool:
    """Whether a model is one of PEFT, contains one, or has adapters that Transformers has added."""
    return any(
        getattr(module, "_hf_peft_config_loaded", False) or _is_of_peft(module, "PeftModel")
        for module in model.modules()
    )


@torch.no_grad()
def frozen_digest(model: nn.Module, local: tuple[str, ...] = ()) -> str:
    """A digest of the values, shapes and dtypes of all frozen parameters that are used, 32 hexadecimal digits.

    It leaves out those that ``local`` matches, and the layers that PEFT has replaced by trained copies
    (``modules_to_save``), which often begin with random values. All processes of a site that has shards of the model
    call this; the digest is that of the whole model, and a process has the whole of one tensor at a time.
    """
    digest = blake3()
    with whole_parameters(model, everywhere=True):
        for name, parameter in _frozen(model):
            if not any(fnmatchcase(name, pattern) for pattern in local):
                digest.update(f"{parameter.dtype}{tuple(parameter.shape)}".encode())
                for values in _values(parameter.detach()):
                    digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest(length=16)


def _values(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """What a tensor consists of, as plain tensors in ordinary memory; nothing where it has no dense values."""
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized:
        return
    if is_sharded(tensor):
        yield whole(tensor).cpu()
    elif hasattr(tensor, "__tensor_flatten__"):  # a wrapper of others, as the quantized weights of torchao
        for name in tensor.__tensor_flatten__()[0]:
            yield from _values(getattr(tensor, name))
    else:
        yield tensor.to("cpu", copy=True)  # FSDP1 cannot free what NumPy has a view of


def _frozen(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Each frozen parameter that is used, once, with its name."""
    found = list(places(model))
    replaced = tuple(
        f"{join(place.name, 'original_module')}."
        for place in found
        if _is_of_peft(place.module, "ModulesToSaveWrapper")
    )
    seen = set()
    for place in found:
        for leaf, parameter in place.module.named_parameters(recurse=False):
            name = join(place.name, leaf)
            if not parameter.requires_grad and id(parameter) not in seen and not name.startswith(replaced):
                seen.add(id(parameter))
                yield name, parameter


def _is_of_peft(module: nn.Module, name: str) -> bool:
    return any(base.__name__ == name and base.__module__.partition(".")[0] == "peft" for base in type(module).__mro__)
