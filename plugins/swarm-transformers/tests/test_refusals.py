from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from swarm.errors import ConfigurationError, ModelError, UnknownArgumentError
from swarm_transformers import SwarmTrainerCallback
from swarm_transformers.trainers import require_supported


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"deepspeed": "zero.json"}, "deepspeed='zero.json' in TrainingArguments shards the model"),
        ({"fsdp": ["full_shard"]}, "fsdp=.'full_shard'. in TrainingArguments shards"),
    ],
)
def test_a_model_that_is_sharded_is_refused(bert, options, message):
    args = SimpleNamespace(**{"deepspeed": None, "fsdp": []} | options)
    with pytest.raises(ConfigurationError, match=message):
        require_supported(args, bert(), SwarmTrainerCallback().arguments)


def test_a_metric_of_the_merged_model_needs_validation_data(bert):
    args = SimpleNamespace(deepspeed=None, fsdp=[], metric_for_best_model="swarm_val_loss")
    model = bert()
    with pytest.raises(ConfigurationError, match="metric_for_best_model='swarm_val_loss' .* without val_data: give it"):
        require_supported(args, model, SwarmTrainerCallback().arguments)
    require_supported(args, model, SwarmTrainerCallback(loopback=True).arguments)
    require_supported(args, model, SwarmTrainerCallback(val_data=[{"labels": 1}]).arguments)


def test_training_on_for_others_is_refused():
    with pytest.raises(ConfigurationError, match="train_until='all' is not possible with a Trainer.*max_steps"):
        SwarmTrainerCallback(train_until="all")


def test_arguments_are_checked():
    with pytest.raises(UnknownArgumentError, match="'sync_intervall'.*sync_interval"):
        SwarmTrainerCallback(sync_intervall=2)
    with pytest.raises(ConfigurationError, match="ml_platform='KERAS' is not served by this callback"):
        SwarmTrainerCallback(ml_platform="KERAS")


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"model": torch.nn.Linear(1, 1)}, ConfigurationError, "model is a Linear other than the BertFor"),
        ({"trainable_only": True}, ModelError, "trainable_only=True leaves nothing to merge: no parameter"),
        ({"sync_policy": "validation", "val_data": []}, ConfigurationError, "val_data"),
        ({"val_data": [{"input_ids": [1, 2]}]}, ConfigurationError, "its targets are looked for under labels"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_swarm_is_joined(hospitals, bert, two_parts, settings, error, message):
    model = bert()
    if "trainable_only" in settings:
        model.requires_grad_(requires_grad=False)
    callback = hospitals.callback("ada", loopback=True, **settings)
    with pytest.raises(error, match=message):
        callback.on_train_begin(
            hospitals.trainer(model, [], two_parts[0]).args, SimpleNamespace(), SimpleNamespace(), model=model
        )
    assert callback.session is None


def test_a_swarm_must_be_configured(bert, hospitals, two_parts):
    with pytest.raises(ConfigurationError, match="no swarm is configured"):
        hospitals.trainer(bert(), [SwarmTrainerCallback()], two_parts[0]).train()
