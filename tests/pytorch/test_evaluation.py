from __future__ import annotations

import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchmetrics
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from swarm import SwarmCallback
from swarm.errors import ConfigurationError, MissingExtraError
from swarm.pytorch import TorchEvaluator

torch.manual_seed(0)
X = torch.randn(10, 3)
Y = torch.randint(0, 4, (10,))
WEIGHTS = torch.rand(10)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Linear(3, 4)


def expected(model, x=X, y=Y) -> float:
    with torch.no_grad():
        return functional.cross_entropy(model(x), y).item()


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(X, Y, strict=True)


FORMS = {
    "tensors": lambda: (X, Y),
    "arrays": lambda: (X.numpy().astype(np.float64), Y.numpy().astype(np.int32)),
    "list of tensors": lambda: [X, Y],
    "list of arrays": lambda: [X.numpy(), Y.numpy(), np.ones(10)],
    "lists": lambda: (X.tolist(), Y.tolist()),
    "generator": lambda: ((X[i : i + 4], Y[i : i + 4]) for i in range(0, 10, 4)),
    "iterable": lambda: [(X[:7].numpy(), Y[:7].numpy()), (X[7:].numpy(), Y[7:].numpy())],
    "dataset": lambda: TensorDataset(X, Y),
    "iterable dataset": Stream,
    "loader": lambda: DataLoader(TensorDataset(X, Y), batch_size=3),
    "shuffled loader": lambda: DataLoader(TensorDataset(X, Y), batch_size=3, shuffle=True),
    "mappings": lambda: [{"input": X[:6], "labels": Y[:6]}, {"input": X[6:], "labels": Y[6:]}],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_mean_over_samples_each_time(model, form):
    evaluate = TorchEvaluator(model, FORMS[form](), loss_function=nn.CrossEntropyLoss(), batch_size=4)
    for _ in range(2):
        evaluation = evaluate()
        assert evaluation.samples == 10
        assert evaluation.loss == pytest.approx(expected(model), rel=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        "CrossEntropyLoss",
        nn.CrossEntropyLoss,
        nn.CrossEntropyLoss(reduction="sum"),
        nn.CrossEntropyLoss(reduction="none"),
        functional.cross_entropy,
        lambda outputs, targets: -outputs.log_softmax(1)[torch.arange(len(targets)), targets].mean(),
    ],
    ids=["name", "class", "sum", "none", "function", "lambda"],
)
def test_every_kind_of_loss_gives_the_same_mean_plain_and_weighted(model, loss):
    plain = TorchEvaluator(model, (X, Y), loss_function=loss, batch_size=4)
    weighted = TorchEvaluator(model, (X, Y, WEIGHTS), loss_function=loss, batch_size=4)
    with torch.no_grad():
        losses = functional.cross_entropy(model(X), Y, reduction="none")
    assert plain().loss == pytest.approx(losses.mean().item(), rel=1e-5)
    assert weighted().loss == pytest.approx(float((losses * WEIGHTS).sum() / WEIGHTS.sum()), rel=1e-5)


@pytest.mark.parametrize(
    "wrapped", [iter, lambda batches: DataLoader(batches, batch_size=None)], ids=["iter", "loader"]
)
def test_data_without_a_length_are_read_once_and_not_beyond_val_steps(model, wrapped):
    read = []

    class Endless(IterableDataset):
        def __iter__(self):
            while True:
                read.append(1)
                yield X[:2], Y[:2]

    evaluate = TorchEvaluator(model, wrapped(Endless()), loss_function="CrossEntropyLoss", steps=3)
    assert [evaluate().samples, evaluate().samples] == [6, 6]
    assert len(read) == 3


def test_the_model_is_evaluated_as_it_stands(model):
    evaluate = TorchEvaluator(model, (X, Y), loss_function="CrossEntropyLoss")
    before = evaluate().loss
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    assert evaluate().loss == pytest.approx(np.log(4))
    assert before != pytest.approx(np.log(4))


def test_modes_gradients_and_statistics_are_left_alone():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 4))
    model.train()
    model[1].eval()
    model(X).sum().backward()
    gradient, mean = model[0].weight.grad.clone(), model[1].running_mean.clone()
    modes = [module.training for module in model.modules()]
    evaluate = TorchEvaluator(model, (X, Y), loss_function="CrossEntropyLoss")
    assert evaluate() == evaluate()
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(model[0].weight.grad, gradient)
    assert torch.equal(model[1].running_mean, mean)


def test_modes_come_back_when_the_loss_fails(model):
    def fail(outputs, targets):
        raise ValueError("no")

    evaluate = TorchEvaluator(model, (X, Y), loss_function=fail)
    with pytest.raises(ValueError, match="no"):
        evaluate()
    assert model.training


class Noisy(TensorDataset):
    def __getitem__(self, index):
        random.random()
        np.random.rand()  # noqa: NPY002
        torch.rand(1)
        return super().__getitem__(index)


def draws() -> tuple:
    return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002


def test_random_states_are_left_alone(model):
    generator = torch.Generator().manual_seed(5)
    loader = DataLoader(Noisy(X, Y), batch_size=4, shuffle=True, generator=generator)
    for val_data in (Noisy(X, Y), loader):
        evaluate = TorchEvaluator(model, val_data, loss_function="CrossEntropyLoss")
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        torch.manual_seed(1)
        without = draws()
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        torch.manual_seed(1)
        state = generator.get_state()
        evaluate()
        assert draws() == without
        assert torch.equal(generator.get_state(), state)


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (torchmetrics.Accuracy(task="multiclass", num_classes=4), "MulticlassAccuracy"),
        (lambda outputs, targets: (outputs.argmax(1) == targets).float().mean(), "metric"),
    ],
)
def test_a_metric_is_the_mean_over_samples(model, metric, name):
    evaluate = TorchEvaluator(model, (X, Y), loss_function="CrossEntropyLoss", metric_function=metric, batch_size=4)
    accuracy = (model(X).argmax(1) == Y).float().mean().item()
    evaluate()
    assert evaluate().metrics == {name: pytest.approx(accuracy)}


def test_names_take_arguments(model):
    evaluate = TorchEvaluator(
        model,
        (X, Y),
        loss_function="CrossEntropyLoss",
        loss_function_args={"label_smoothing": 1.0},
        metric_function="F1Score",
        metric_function_args={"task": "multiclass", "num_classes": 4},
    )
    evaluation = evaluate()
    with torch.no_grad():
        assert evaluation.loss == pytest.approx(functional.cross_entropy(model(X), Y, label_smoothing=1.0).item())
    assert list(evaluation.metrics) == ["MulticlassF1Score"]


def test_a_compiled_model_is_not_compiled_again_for_the_shapes_of_val_data(model):
    compiled = torch.compile(model, backend=lambda *_: pytest.fail("the evaluation compiled the model"))
    evaluate = TorchEvaluator(compiled, (X, Y), loss_function="CrossEntropyLoss")
    assert evaluate().loss == pytest.approx(expected(model))


def test_a_target_without_a_batch_dimension_does_not_count_samples(model):
    evaluate = TorchEvaluator(model, [(X, torch.tensor(2.0))], loss_function=lambda outputs, target: target)
    assert (evaluate().samples, evaluate().loss) == (10, 2.0)


def test_a_metric_of_a_package_that_is_not_installed_says_so(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(MissingExtraError, match="metric_function='Accuracy' names a class of torchmetrics.*install"):
        TorchEvaluator(model, (X, Y), loss_function="CrossEntropyLoss", metric_function="Accuracy")


def test_a_metric_may_be_named(model):
    target = torch.randn(10, 4)
    evaluate = TorchEvaluator(model, (X, target), loss_function="MSELoss", metric_function="MeanSquaredError")
    evaluation = evaluate()
    assert evaluation.metrics == {"MeanSquaredError": pytest.approx(evaluation.loss)}


class Product(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, a, b):
        return self.scale * a * b


@pytest.mark.parametrize("inputs", [[X, X], {"b": X, "a": X}], ids=["positional", "named"])
def test_models_with_several_inputs(inputs):
    evaluate = TorchEvaluator(Product(), (inputs, X * X), loss_function="MSELoss", batch_size=4)
    assert evaluate().loss == 0
    assert evaluate().samples == 10


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_floats_take_the_dtype_of_the_model(model, dtype):
    evaluate = TorchEvaluator(model.to(dtype), (X.numpy(), Y.numpy()), loss_function="CrossEntropyLoss")
    assert evaluate().loss == pytest.approx(expected(model, X.to(dtype)), rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss_function": "CrosEntropyLoss"}, "'CrosEntropyLoss' is not a loss class.*'CrossEntropyLoss'"),
        ({"loss_function": "Linear"}, "'Linear' is not a loss class"),
        ({"loss_function": 3}, "loss_function=3 is neither a callable"),
        ({"metric_function": "Acuracy"}, "'Acuracy' is not a metric class.*'Accuracy'"),
        ({"metric_function": "Accuracy"}, "'Accuracy' cannot be made with metric_function_args=None"),
        ({"val_data": X}, "val_data is a Tensor, allowed"),
        ({"val_data": (X,)}, "tuple of 1"),
        ({"val_data": (X, Y[:3])}, "different lengths: 10, 3"),
        ({"val_data": 5}, "val_data is a int, allowed"),
    ],
)
def test_what_is_wrong_is_said_before_training(model, arguments, message):
    arguments = {"val_data": (X, Y), "loss_function": "CrossEntropyLoss"} | arguments
    with pytest.raises(ConfigurationError, match=message):
        TorchEvaluator(model, arguments.pop("val_data"), **arguments)


@pytest.mark.parametrize(
    ("val_data", "message"),
    [
        ([X], "a batch of val_data is a Tensor"),
        ([{"input": X}], "keys input: its targets are looked for under labels"),
        ([], "no samples"),
        (iter([]), "no samples"),
        (DataLoader(X), "a batch of val_data is a Tensor"),
        (((x,) for x in X), "a batch of val_data is a tuple"),
    ],
)
def test_what_is_wrong_in_the_first_batch_is_said_before_training(model, val_data, message):
    with pytest.raises(ConfigurationError, match=message):
        TorchEvaluator(model, val_data, loss_function="CrossEntropyLoss")


def test_weights_that_are_all_zero_are_named(model):
    evaluate = TorchEvaluator(model, (X, Y, torch.zeros(10)), loss_function="CrossEntropyLoss")
    with pytest.raises(ConfigurationError, match="positive sample weight"):
        evaluate()


def test_looking_at_the_data_leaves_random_states_alone(model):
    generator = torch.Generator().manual_seed(5)
    states = [torch.get_rng_state(), generator.get_state(), random.getstate()]

    def drawing():
        random.random()
        yield torch.randn(2, 3), Y[:2]

    TorchEvaluator(model, DataLoader(TensorDataset(X, Y), shuffle=True), loss_function="CrossEntropyLoss")
    TorchEvaluator(
        model, DataLoader(TensorDataset(X, Y), shuffle=True, generator=generator), loss_function="CrossEntropyLoss"
    )
    TorchEvaluator(model, drawing(), loss_function="CrossEntropyLoss")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert torch.equal(generator.get_state(), states[1])
    assert random.getstate() == states[2]


NOTHING = (X[:0], Y[:0])


class Silent(IterableDataset):
    def __iter__(self):
        return iter(())


@pytest.mark.parametrize(
    ("val_data", "message"),
    [
        (NOTHING, "a tuple, holds no samples"),
        ((X[:0].numpy(), Y[:0].numpy(), np.zeros(0)), "a tuple, holds no samples"),
        (([], []), "no sample|no array with a batch dimension"),
        ([X[:0], Y[:0]], "a list, holds no samples"),
        (TensorDataset(*NOTHING), "a TensorDataset, holds no samples; give at least one, or leave val_data out"),
        (DataLoader(TensorDataset(*NOTHING)), "a DataLoader, holds no samples"),
        (
            DataLoader(TensorDataset(X, Y), batch_size=11, drop_last=True),
            "fewer than batch_size=11 samples, and drop_last",
        ),
        (Silent(), "a Silent, holds no samples"),
        (DataLoader(Silent()), "a DataLoader, holds no samples"),
        ((batch for batch in ()), "a generator, holds no samples: it is empty, or has been read before"),
        ([NOTHING, NOTHING], "a list, holds no samples"),
        (iter([NOTHING]), "holds no samples"),
        ([{"input": X[:0], "labels": Y[:0]}], "holds no samples"),
        ((X, Y[:3]), "different lengths: 10, 3"),
        ((X, Y, WEIGHTS[:3]), "different lengths: 10, 10, 3"),
    ],
)
def test_data_without_a_sample_is_refused_at_start(model, val_data, message):
    with pytest.raises(ConfigurationError, match=message):
        SwarmCallback(model=model, val_data=val_data, loss_function="CrossEntropyLoss", use_adaptive_sync=True)


def test_an_empty_batch_among_others_is_no_fault(model):
    evaluate = TorchEvaluator(model, [NOTHING, (X, Y)], loss_function=nn.CrossEntropyLoss())
    assert evaluate().loss == pytest.approx(expected(model))


def test_data_that_is_read_up_says_so_later(model):
    class Once(list):
        def __iter__(self):
            items = [*super().__iter__()]
            self.reads = getattr(self, "reads", 0) + 1
            return iter(items if self.reads < 3 else [])

    evaluate = TorchEvaluator(model, Once([(X, Y)]), loss_function=nn.CrossEntropyLoss())
    assert evaluate().samples == 10
    with pytest.raises(ConfigurationError, match="gave no samples this time.*can be read again"):
        evaluate()


class Scaled(nn.Module):
    """A normalization layer behind a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(1, 1, bias=False)
        self.norm = nn.BatchNorm1d(1)
        self.drop = nn.Dropout(0.9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.norm(self.scale(x)))


@pytest.mark.parametrize("own", [True, False])
def test_a_site_that_keeps_its_statistics_estimates_them_for_the_merged_weights(own: bool) -> None:
    torch.manual_seed(0)
    model, x = Scaled(), torch.randn(64, 1)
    with torch.no_grad():
        model.scale.weight.fill_(3.0)
        model.norm.num_batches_tracked.fill_(7)
    before = [buffer.clone() for buffer in model.norm.buffers()]
    evaluate = TorchEvaluator(model, (x, x), loss_function=nn.MSELoss(), batch_size=16, own_statistics=own)
    first, again = evaluate(), evaluate()
    assert first == again
    mean, variance, seen = model.norm.buffers()
    assert seen.item() == 7
    assert model.norm.momentum == 0.1
    assert all(module.training for module in model.modules())
    if own:
        batches = (3 * x).split(16)
        assert torch.allclose(mean, torch.stack([batch.mean(0) for batch in batches]).mean(0))
        assert torch.allclose(variance, torch.stack([batch.var(0) for batch in batches]).mean(0))
    else:
        assert all(torch.equal(now, then) for now, then in zip(model.norm.buffers(), before, strict=True))


def test_statistics_stay_as_they_were_if_they_cannot_be_estimated() -> None:
    model = Scaled()
    before = [buffer.clone() for buffer in model.norm.buffers()]
    one = torch.ones(1, 1)
    TorchEvaluator(model, (one, one), loss_function=nn.MSELoss(), own_statistics=True)()
    evaluate = TorchEvaluator(
        model, (torch.ones(4, 1), torch.ones(4, 1)), loss_function=nn.MSELoss(), own_statistics=True
    )
    model.scale = nn.Linear(2, 1)
    with pytest.raises(RuntimeError):
        evaluate()
    assert all(torch.equal(now, then) for now, then in zip(model.norm.buffers(), before, strict=True))


def test_layers_that_the_site_has_frozen_keep_their_statistics() -> None:
    model = Scaled()
    before = [buffer.clone() for buffer in model.norm.buffers()]
    x = 3 + torch.randn(64, 1)
    evaluate = TorchEvaluator(model, (x, x), loss_function=nn.MSELoss(), own_statistics=True)
    evaluate()
    model.norm.eval()  # as the training loop does
    evaluate()
    model.eval()
    evaluate()
    assert all(torch.equal(now, then) for now, then in zip(model.norm.buffers(), before, strict=True))


def test_a_short_last_batch_counts_for_its_samples_in_estimated_statistics() -> None:
    torch.manual_seed(0)
    model, x = Scaled(), torch.randn(18, 1)
    evaluate = TorchEvaluator(model, (x, x), loss_function=nn.MSELoss(), batch_size=16, own_statistics=True)
    evaluate()
    evaluate()
    with torch.no_grad():
        assert torch.allclose(model.norm.running_mean, model.scale(x).mean(0), atol=1e-6)


def test_layers_with_frozen_parameters_keep_their_statistics() -> None:
    model, x = Scaled(), 3 + torch.randn(64, 1)
    model.norm.requires_grad_(False)
    evaluate = TorchEvaluator(model, (x, x), loss_function=nn.MSELoss(), own_statistics=True)
    evaluate()
    evaluate()
    assert model.norm.running_mean.item() == 0


def test_layers_that_no_evaluation_reaches_keep_their_statistics() -> None:
    class Branched(Scaled):
        def __init__(self) -> None:
            super().__init__()
            self.auxiliary = nn.BatchNorm1d(1)

    model, x = Branched(), 3 + torch.randn(64, 1)
    with torch.no_grad():
        model.auxiliary.running_mean.fill_(5.0)
        model.auxiliary.running_var.fill_(7.0)
    evaluate = TorchEvaluator(model, (x, x), loss_function=nn.MSELoss(), own_statistics=True)
    evaluate()
    evaluate()
    assert model.norm.running_mean.item() == pytest.approx(model.scale(x).mean().item(), abs=1e-6)
    assert (model.auxiliary.running_mean.item(), model.auxiliary.running_var.item()) == (5.0, 7.0)


class OwnLoss(nn.Module):
    """A model that computes its loss, as those of Transformers do."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, values, labels=None):
        logits = self.inner(values)
        loss = None if labels is None else functional.cross_entropy(logits, labels)
        return SimpleNamespace(logits=logits, loss=loss)


def test_a_model_may_compute_its_loss_itself(model):
    data = [{"values": X[:6], "label": Y[:6]}, {"values": X[6:], "label": Y[6:]}]
    accuracy = lambda logits, labels: (logits.argmax(1) == labels).float().mean()  # noqa: E731
    evaluation = TorchEvaluator(OwnLoss(model), data, loss_function="model", metric_function=accuracy)()
    assert evaluation.loss == pytest.approx(expected(model))
    assert evaluation.metrics["metric"] == pytest.approx((model(X).argmax(1) == Y).float().mean().item())


@pytest.mark.parametrize(
    ("data", "own", "message"),
    [
        ((X, Y), True, "needs batches of val_data that are mappings"),
        ([{"input": X, "labels": Y}], False, "needs a model that returns its loss, and Plain returned none"),
    ],
)
def test_an_own_loss_needs_what_it_is_computed_from(model, data, own, message):
    class Plain(nn.Module):
        def forward(self, input, labels):  # noqa: A002
            return model(input)

    evaluate = TorchEvaluator(OwnLoss(model) if own else Plain(), data, loss_function="model")
    with pytest.raises(ConfigurationError, match=message):
        evaluate()
