"""Only adapters travel, on top of the same base."""

from __future__ import annotations

import logging
from copy import deepcopy
from functools import partial

import pytest
import torch
from peft import (
    AdaLoraConfig,
    BOFTConfig,
    IA3Config,
    LoraConfig,
    PromptTuningConfig,
    TaskType,
    get_peft_model,
    get_peft_model_state_dict,
)
from safetensors.torch import load_file

from swarm import SwarmCallback
from swarm.config import resolve
from swarm.errors import IncompatiblePeerError, ModelError
from swarm.pytorch import shared_part
from swarm.tensors import Selection
from swarm.testing.swarm import together

METHODS = {
    "LoRA": LoraConfig(task_type=TaskType.SEQ_CLS, r=2, target_modules=["query", "value"]),
    "LoRA with all biases": LoraConfig(task_type=TaskType.SEQ_CLS, r=2, target_modules=["query"], bias="all"),
    "DoRA": LoraConfig(task_type=TaskType.SEQ_CLS, r=2, target_modules=["query"], use_dora=True),
    "LoRA and an embedding": LoraConfig(
        task_type=TaskType.SEQ_CLS, r=2, target_modules=["query"], modules_to_save=["word_embeddings"]
    ),
    "LoRA and some tokens": LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=2,
        target_modules=["query"],
        trainable_token_indices={"word_embeddings": [1, 2]},
    ),
    "IA3": IA3Config(task_type=TaskType.SEQ_CLS, target_modules=["query"], feedforward_modules=[]),
    "prompt tuning": PromptTuningConfig(task_type=TaskType.SEQ_CLS, num_virtual_tokens=3),
}


def adapted(model, config=METHODS["LoRA"]):
    # of its own: saving changes a configuration for a moment, and two trainers save at once
    return get_peft_model(model, deepcopy(config))


def shared_by(model, **settings):
    settings = resolve({"name": "a", **settings}, environment={}).settings
    selection = Selection(settings.share, settings.local)
    return shared_part(model, settings, selection, logging.getLogger("swarm"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore")
def test_what_is_shared_is_what_peft_saves(bert, method):
    model = adapted(bert(seed=0), METHODS[method])
    state = get_peft_model_state_dict(model)  # with all biases, also of layers that are replaced
    saved = {tensor.data_ptr() for name, tensor in state.items() if "original_module" not in name}
    shared = {tensor.data_ptr() for tensor in shared_by(model).port.parameters().values()}
    if method == "prompt tuning":  # PEFT computes the prompt that it saves
        assert [tensor.shape[0] for tensor in shared_by(model).port.parameters().values()][-1] == 3
        saved = shared
    assert shared == saved
    assert shared


def test_adapters_that_each_site_prunes_by_itself_are_refused(bert):
    config = AdaLoraConfig(task_type=TaskType.SEQ_CLS, target_modules=["query"], total_step=10)
    with pytest.raises(ModelError, match="AdaLoRA prunes the ranks .* use LoRA or another method"):
        shared_by(adapted(bert(), config))


def test_only_adapters_are_merged_and_in_the_result(hospitals, bert, two_parts, tmp_path):
    models = [adapted(bert(seed=0)) for _ in two_parts]
    base = {name: tensor.clone() for name, tensor in models[0].state_dict().items() if "lora" not in name}
    first, _ = hospitals.fit(models, two_parts, model_dir=tmp_path / "out")
    adapters = [get_peft_model_state_dict(model) for model in models]
    for name, tensor in adapters[0].items():
        assert torch.equal(tensor, adapters[1][name]), name
        if "lora_B" in name:
            assert tensor.any(), name  # it begins with zeros
    for name, tensor in base.items():
        if "classifier.modules_to_save" not in name:
            assert torch.equal(models[1].state_dict()[name], tensor), name
    file = load_file(first.session.result)
    assert len(file) == len(adapters[0])
    assert sum(tensor.nbytes for tensor in file.values()) < sum(tensor.nbytes for tensor in base.values())
    size = sum(tensor.nbytes for tensor in file.values())
    assert 0 < first.metrics["swarm_bytes_sent"] < 10 * size
    assert any("only what is trained is merged" in line for line in first.logger.lines)


def test_random_heads_that_adapters_replace_may_differ(bert):
    """As those of ``from_pretrained``, which begin with other random values at each site."""
    one, other = bert(seed=0), bert(seed=0)
    torch.nn.init.normal_(other.classifier.weight)
    assert shared_by(adapted(one)).facts == shared_by(adapted(other)).facts != {}


@pytest.mark.parametrize("change", ["values", "dtype", "tokens"])
def test_another_base_is_another_fact(bert, change):
    one, other = bert(seed=0), bert(seed=0)
    if change == "dtype":
        other.bert.embeddings.word_embeddings.to(torch.bfloat16)
    else:
        other.bert.embeddings.word_embeddings.weight.data[0, 0] += 0.1
    config = METHODS["LoRA and some tokens" if change == "tokens" else "LoRA"]
    assert shared_by(adapted(one, config)).facts != shared_by(adapted(other, config)).facts


def test_sites_with_other_bases_are_refused_by_name(hospitals, bert, two_parts):
    def refused(trainer):
        with pytest.raises(
            IncompatiblePeerError, match=r"agree\['frozen_weights'\] is '\w{32}' at \w+ and '\w{32}' at"
        ):
            trainer.train()

    trainers = []
    for name, seed, part in zip(("ada", "bob"), (0, 1), two_parts, strict=True):
        callback = hospitals.callback(name, world_size=2, start_timeout=30.0)
        trainers.append(hospitals.trainer(adapted(bert(seed=seed)), [callback], part))
    together(*(partial(refused, trainer) for trainer in trainers), deadline=60.0)


def test_a_name_for_the_base_takes_the_place_of_its_digest(hospitals, bert, two_parts):
    """As where one site holds it in another precision."""
    models = [adapted(bert(seed=0)) for _ in two_parts]
    models[1].base_model.model.bert.embeddings.word_embeddings.weight.data += 1e-4
    hospitals.fit(models, two_parts, agree={"frozen_weights": "tiny"})
    adapters = [get_peft_model_state_dict(model) for model in models]
    assert all(torch.equal(tensor, adapters[1][name]) for name, tensor in adapters[0].items())


def test_the_whole_model_is_merged_on_request(hospitals, bert, two_parts):
    models = [adapted(bert(seed=seed)) for seed in (0, 1)]
    hospitals.fit(models, two_parts, trainable_only=False)
    first, second = (model.state_dict() for model in models)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_the_loop_of_a_user_shares_adapters_too(bert):
    model = adapted(bert(seed=0))
    callback = SwarmCallback(model=model, loopback=True)
    assert type(callback).__name__ == "TorchCallback"
    callback.on_train_begin()
    whole = sum(tensor.nbytes for tensor in model.parameters())
    assert 0 < sum(spec.nbytes for spec in callback.session._port.schema().tensors) < whole / 2
    callback.on_train_end()


def test_boft(bert):
    """Its rotations are buffers beside what is trained."""
    model = adapted(bert(seed=0), BOFTConfig(task_type=TaskType.SEQ_CLS, target_modules=["query"], boft_block_size=4))
    assert any("boft_R" in name for name in shared_by(model).port.parameters())
