"""Validates the merged model as the Trainer evaluates it: with its collator, and the loss of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader
from transformers import default_data_collator

from swarm.pytorch import evaluator_for

if TYPE_CHECKING:
    from swarm.callback import CallbackArguments
    from swarm.tensors import Evaluator


def evaluator_of(arguments: CallbackArguments, model: Any, train_dataloader: Any) -> Evaluator | None:
    """The evaluator for ``val_data``; None if there is none.

    Args:
        arguments: ``val_data`` may be a data set of samples, each a mapping, besides what ``swarm.SwarmCallback``
            takes; without ``loss_function`` the loss is that of the model.
        model: of the Trainer.
        train_dataloader: whose collator makes batches of samples.

    Raises:
        ConfigurationError: an argument of the validation is invalid, or a policy needs ``val_data``.
    """
    data = arguments.val_data
    if data is not None:
        if _holds_samples(data):
            collate = getattr(train_dataloader, "collate_fn", default_data_collator)
            data = DataLoader(data, batch_size=arguments.settings.val_batch_size, collate_fn=collate)
        loss = "model" if arguments.loss_function is None else arguments.loss_function
        arguments = replace(arguments, val_data=data, loss_function=loss)
    return evaluator_for(arguments, model)


def _holds_samples(data: Any) -> bool:
    """Whether it is a data set whose items are single samples, each a mapping."""
    if isinstance(data, (DataLoader, tuple, Iterator)) or not hasattr(data, "__getitem__"):
        return False
    try:
        return isinstance(data[0], Mapping)
    except (KeyError, IndexError, TypeError):
        return False
