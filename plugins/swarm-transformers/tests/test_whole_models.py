from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback, TrainerCallback

from swarm.testing.swarm import together
from swarm_transformers import SwarmTrainerCallback


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def require_equal(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_sites_of_different_sizes_end_with_one_model(hospitals, bert, two_parts, tmp_path):
    models = [bert(), bert()]
    before = state(models[0])
    callbacks = hospitals.fit(models, two_parts, model_dir=tmp_path / "out")
    require_equal(state(models[0]), state(models[1]))
    assert any(not torch.equal(tensor, before[name]) for name, tensor in state(models[0]).items())
    assert [callback.metrics["swarm_rounds"] for callback in callbacks] == [3.0, 3.0]
    assert all(callback.swarm_over for callback in callbacks)
    require_equal(load_file(callbacks[0].session.result), state(models[0]))


@pytest.mark.parametrize(("interval", "accumulate", "merged_after"), [(2, 1, [2, 4]), (3, 2, [4, 8]), (1, 3, [3, 6])])
def test_no_merge_between_accumulated_gradients(hospitals, bert, interval, accumulate, merged_after, texts):
    """Batches count, and merges wait for the optimizer's step."""
    model, merged, batches = bert(seed=0), [], []
    callback = hospitals.callback("ada", world_size=1, min_peers=1, sync_interval=interval)
    sync = callback.sync

    def recorded(loss=None):
        merged.append(len(batches))
        assert all(not parameter.grad.any() for parameter in model.parameters() if parameter.grad is not None)
        sync(loss)

    callback.sync = recorded
    model.register_forward_hook(lambda *_: batches.append(1))
    steps = merged_after[-1] // accumulate
    trainer = hospitals.trainer(
        model, [callback], texts(64, seed=1), max_steps=steps, gradient_accumulation_steps=accumulate
    )
    trainer.train()
    assert merged == merged_after


def test_checkpoints_hold_merged_weights_and_the_best_one_is_no_result(hospitals, bert, two_parts, tmp_path, texts):
    models = [bert(seed=0), bert(seed=1)]
    arguments = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 2, "save_steps": 2}
    arguments |= {"load_best_model_at_end": True, "eval_dataset": texts(8, seed=3), "metric_for_best_model": "loss"}
    callbacks = hospitals.fit(models, two_parts, arguments=arguments)
    require_equal(state(models[0]), state(models[1]))
    (warning,) = [line for line in callbacks[0].logger.lines if "load_best_model_at_end" in line]
    assert "after train() the model is the swarm's closing one" in warning
    saved = [load_file(path) for path in sorted(hospitals.directory.glob("*/checkpoint-2/model.safetensors"))]
    require_equal(*saved)


@pytest.mark.parametrize("sites", [2, 1], ids=["swarm", "loopback"])
def test_a_trainer_may_follow_the_loss_of_the_merged_model(hospitals, bert, two_parts, texts, sites):
    class Evaluations(TrainerCallback):
        def __init__(self):
            self.losses = []

        def on_evaluate(self, args, state, control, metrics, **others):
            self.losses.append(metrics["eval_swarm_val_loss"])

    data = texts(8, seed=3)
    options = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 1, "save_steps": 1}
    found, trainers = [Evaluations() for _ in range(sites)], []
    for number in range(sites):
        settings = {"world_size": 2} if sites > 1 else {"loopback": True}
        callbacks = [found[number], hospitals.callback(f"site-{number}", val_data=data, **settings)]
        following = {"load_best_model_at_end": True, "metric_for_best_model": "swarm_val_loss", "eval_dataset": data}
        trainers.append(hospitals.trainer(bert(seed=number), callbacks, two_parts[number], **options, **following))
    together(*(trainer.train for trainer in trainers), deadline=100.0)
    for trainer, losses in zip(trainers, (each.losses for each in found), strict=True):
        assert len(losses) == 4
        assert all(map(math.isfinite, losses))
        assert trainer.state.best_metric == min(losses)


def test_a_trainer_may_follow_another_metric_of_the_merged_model(hospitals, bert, two_parts, texts):
    data = texts(8, seed=3)
    accuracy = lambda logits, labels: (logits.argmax(1) == labels).float().mean()  # noqa: E731
    options = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 2, "save_steps": 2}
    options |= {"metric_for_best_model": "swarm_val_metric", "eval_dataset": data, "load_best_model_at_end": True}
    first, _ = hospitals.fit([bert(), bert()], two_parts, val_data=data, metric_function=accuracy, arguments=options)
    assert "swarm_val_metric" in first.metrics


def test_early_stopping_ends_one_site_and_not_the_others(hospitals, bert, two_parts, texts):
    models, callbacks = [bert(seed=0), bert(seed=1)], []
    trainers = []
    for number, (model, part) in enumerate(zip(models, two_parts, strict=True)):
        callbacks.append(hospitals.callback(f"site-{number}", world_size=2))
        stops = [EarlyStoppingCallback(1, early_stopping_threshold=100.0)] if number == 0 else []
        trainers.append(
            hospitals.trainer(
                model,
                [callbacks[-1], *stops],
                part,
                max_steps=8,
                eval_strategy="steps",
                eval_steps=2,
                metric_for_best_model="loss",
                eval_dataset=texts(8, seed=3),
            )
        )
    together(*(trainer.train for trainer in trainers), deadline=100.0)
    assert trainers[0].state.global_step < trainers[1].state.global_step == 8
    require_equal(state(models[0]), state(models[1]))


@pytest.mark.parametrize("overlap", [False, True], ids=["blocking", "overlap"])
def test_merged_state_of_the_optimizer(hospitals, bert, two_parts, overlap):
    models = [bert(seed=0), bert(seed=1)]
    hospitals.fit(models, two_parts, optimizer_state="merge", overlap=overlap)
    require_equal(state(models[0]), state(models[1]))


def test_corrections_reach_the_optimizer_inside_accelerate(hospitals, bert, two_parts):
    models = [bert(seed=0), bert(seed=1)]
    hospitals.fit(models, two_parts, scaffold=True, arguments={"optim": "sgd"})
    require_equal(state(models[0]), state(models[1]))


def test_the_merged_model_is_validated_with_its_own_loss(hospitals, bert, two_parts, texts):
    models = [bert(seed=0), bert(seed=1)]
    accuracy = lambda logits, labels: (logits.argmax(1) == labels).float().mean()  # noqa: E731
    data = texts(10, seed=4)
    first, _ = hospitals.fit(models, two_parts, val_data=data, metric_function=accuracy, val_batch_size=4)
    models[0].eval()
    with torch.no_grad():
        outputs = [models[0](input_ids=each["input_ids"][None], labels=torch.tensor([each["labels"]])) for each in data]
    expected = sum(float(each.loss) for each in outputs) / len(data)
    assert first.metrics["swarm_val_loss"] == pytest.approx(expected, rel=1e-5)
    assert first.metrics["swarm_val_metric"] in {number / 10 for number in range(11)}


def test_the_log_of_the_trainer_has_the_metrics_of_the_swarm(hospitals, bert, two_parts):
    """Callbacks before ours have them too, as those of ``report_to`` are."""
    model = bert(seed=0)

    class Reads(TrainerCallback):
        def __init__(self):
            self.rounds = []

        def on_log(self, args, state, control, logs=None, **others):
            self.rounds.append(logs["swarm_rounds"])

    before, after = Reads(), Reads()
    callback = hospitals.callback("ada", world_size=1, min_peers=1)
    callbacks = [before, callback, after]
    trainer = hospitals.trainer(model, callbacks, two_parts[0], logging_strategy="steps", logging_steps=1)
    trainer.train()
    assert [entry["swarm_rounds"] for entry in trainer.state.log_history if "loss" in entry] == [0.0, 1.0, 1.0, 2.0]
    assert before.rounds == after.rounds == [0.0, 1.0, 1.0, 2.0, 2.0]
    trainer.train()
    assert len(before.rounds) == len(after.rounds) == 10, "once for each time, in the next training too"


@pytest.mark.parametrize("strategy", ["no", "steps"])
def test_a_policy_that_follows_the_loss_gets_it(hospitals, bert, two_parts, strategy):
    models = [bert(seed=0), bert(seed=1)]
    arguments = {"logging_strategy": strategy, "logging_steps": 1, "max_steps": 6}
    callbacks = hospitals.fit(models, two_parts, sync_policy="adacomm", arguments=arguments)
    assert callbacks[0].metrics["swarm_rounds"] >= 2
    require_equal(state(models[0]), state(models[1]))


def test_the_weight_can_be_the_number_of_samples(hospitals, bert, two_parts):
    callback = hospitals.callback("ada", loopback=True, node_weightage="samples")
    make, given = callback.session_factory, []
    callback.session_factory = lambda settings, port, **others: given.append(settings) or make(settings, port, **others)
    hospitals.trainer(bert(), [callback], two_parts[1]).train()
    assert [settings.samples for settings in given] == [24]


def test_an_error_in_the_training_leaves_the_swarm(hospitals, bert, two_parts):
    """Also where the error is kept, whose traceback holds the Trainer's call."""
    first, second = bert(seed=0), bert(seed=1)
    callbacks = [hospitals.callback(f"site-{number}", min_peers=1, world_size=2) for number in range(2)]
    broken = hospitals.trainer(first, [callbacks[0]], two_parts[0], max_steps=8)
    good = hospitals.trainer(second, [callbacks[1]], two_parts[1], max_steps=8)
    calls = []

    def fails(*_):
        calls.append(1)
        if len(calls) == 3:
            raise ValueError("a broken text")

    def breaks():
        first.register_forward_hook(fails)
        with pytest.raises(ValueError, match="a broken text") as caught:
            broken.train()
        return caught

    kept, _ = together(breaks, good.train, deadline=100.0)
    assert kept.value
    assert good.state.global_step == 8
    assert any("leaves" in line or "fit() stopped" in line for line in callbacks[0].logger.lines)


def test_each_train_is_a_run_of_its_own(hospitals, bert, two_parts):
    callback = hospitals.callback("ada", loopback=True)
    trainer = hospitals.trainer(bert(), [callback], two_parts[0])
    trainer.train()
    first = callback.session
    trainer.train()
    assert callback.session is not first
    assert callback.swarm_over


def test_training_stops_where_the_swarm_has_agreed_on_that(hospitals, bert, two_parts, monkeypatch):
    agreed = property(lambda callback: callback.metrics["swarm_rounds"] >= 2)
    monkeypatch.setattr(SwarmTrainerCallback, "should_stop", agreed)
    callback = hospitals.callback("ada", world_size=1, min_peers=1)
    trainer = hospitals.trainer(bert(), [callback], two_parts[0], max_steps=40)
    trainer.train()
    assert trainer.state.global_step == 4
    assert callback.swarm_over
