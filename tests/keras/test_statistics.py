"""A site that keeps its own statistics of BatchNormalization layers estimates them for the merged weights."""

from __future__ import annotations

import logging
import random

import keras
import numpy as np
import pytest

from swarm_keras.evaluation import KerasEvaluator
from swarm_keras.validation_data import evaluate_arguments
from tests.keras.test_custom_loop import LOOPS
from tests.keras.test_evaluation import FORMS, Pairs, endless

BACKEND = keras.backend.backend()


class Noise(keras.layers.Layer):
    """Draws from a generator that is a variable of the model, in inference too."""

    def __init__(self) -> None:
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(1)

    def call(self, inputs):
        return inputs + 0 * keras.random.normal(keras.ops.shape(inputs), seed=self.seed_generator)


@pytest.fixture
def model():
    """Dropout before the layer would show in the layer's statistics."""
    keras.utils.set_random_seed(3)
    layers = [Noise(), keras.layers.Dense(4, name="scaled"), keras.layers.Dropout(0.9)]
    norm = keras.layers.BatchNormalization(name="norm", momentum=0.9)
    model = keras.Sequential([keras.Input((6,)), *layers, norm, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def values(variables) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def statistics(model) -> list[np.ndarray]:
    layer = model.get_layer("norm")
    return values([layer.moving_mean, layer.moving_variance])


def expected(model, x: np.ndarray, size: int = 4) -> list[np.ndarray]:
    kernel, bias = values(model.get_layer("scaled").weights)
    batches = [x[start : start + size] @ kernel + bias for start in range(0, len(x), size)]
    samples = [len(batch) for batch in batches]
    return [
        np.average([batch.mean(0) for batch in batches], 0, samples),
        np.average([batch.var(0) for batch in batches], 0, samples),
    ]


def require_close(found: list[np.ndarray], wanted: list[np.ndarray], rtol: float = 1e-4) -> None:
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-5)


def evaluator(model, data, *, size: int = 4, steps: int = 10, own: bool = True) -> KerasEvaluator:
    return KerasEvaluator(model, evaluate_arguments(data, batch_size=size, steps=steps), own_statistics=own)


@pytest.mark.parametrize("form", FORMS)
def test_they_are_the_mean_over_the_batches_of_every_form(form: str, model, xy) -> None:
    evaluate = evaluator(model, FORMS[form](*xy))
    first, found = evaluate(), statistics(model)
    # A shuffled loader draws the same batches each time, as the random state is restored; but not those in order.
    if form != "torch DataLoader":
        require_close(found, expected(model, xy[0]))
    assert evaluate().loss == pytest.approx(first.loss, rel=1e-5)
    require_close(statistics(model), found, 1e-5)


def test_of_endless_data_they_are_of_val_steps_batches(model, xy) -> None:
    source = endless(*xy)
    evaluator(model, source, steps=3)()
    require_close(statistics(model), expected(model, xy[0][:12]))
    assert (next(source)[0] == xy[0][12:16]).all()


def test_the_evaluation_is_with_them(model, xy) -> None:
    evaluation = evaluator(model, xy)()
    assert evaluation.loss == pytest.approx(model.evaluate(*xy, verbose=0, batch_size=4), rel=1e-5)


def test_everything_else_stays(model, xy) -> None:
    model.fit(*xy, batch_size=4, verbose=0)
    norm = model.get_layer("norm")
    own = {id(norm.moving_mean), id(norm.moving_variance)}
    others = [each for each in (*model.variables, *model.metrics_variables) if id(each) not in own]
    before, attributes = values(others), set(vars(norm))
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    drawn = random.random(), np.random.random()  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002

    class Drawing(Pairs):
        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            random.random(), np.random.random()  # noqa: NPY002
            return super().__getitem__(index)

    evaluator(model, Drawing(*xy))()
    assert (random.random(), np.random.random()) == drawn  # noqa: NPY002
    for one, other in zip(values(others), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert set(vars(norm)) == attributes
    assert norm.momentum == 0.9


def test_several_inputs_and_a_layer_that_is_called_twice(xy) -> None:
    norm = keras.layers.BatchNormalization()
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    model = keras.Model({"a": a, "b": b}, keras.layers.Dense(1)(norm(a) + norm(b)))
    model.compile("sgd", "mse")
    x, y = xy
    evaluator(model, ({"a": x, "b": x + 2}, y), size=20)()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(norm.moving_mean), x.mean(0) + 1, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["frozen", "pooled"])
def test_they_are_not_estimated_where_they_are_not_the_sites_own(case: str, model, xy) -> None:
    model.get_layer("norm").trainable = case != "frozen"
    before = statistics(model)
    evaluator(model, xy, own=case != "pooled")()
    require_close(statistics(model), before, 0)


def test_batches_of_one_sample_have_no_statistics(model, xy, caplog) -> None:
    before = statistics(model)
    evaluate = evaluator(model, xy, size=1)
    with caplog.at_level(logging.WARNING, "swarm"):
        assert evaluate().samples == evaluate().samples == 40
    require_close(statistics(model), before, 0)
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "no batch of at least two samples goes through one of them"
    ]


class Failing(keras.Model):
    """Fails in the second call outside of evaluate()."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = keras.layers.BatchNormalization(name="norm")
        self.calls = 0
        self.fails = False

    def call(self, inputs):
        self.calls += self.fails
        if self.fails and self.calls == 2:
            raise ValueError("no more")
        return self.norm(inputs)

    def test_step(self, *arguments):
        self.fails = False
        return super().test_step(*arguments)


def test_after_a_failed_pass_they_are_those_of_before(xy, caplog) -> None:
    model = Failing()
    model.compile("sgd", "mse")
    model(xy[0][:4])
    model.fails = True
    before, attributes = values(model.variables), set(vars(model.norm))
    with caplog.at_level(logging.WARNING, "swarm"):
        evaluation = evaluator(model, (xy[0], xy[0]))()
    assert evaluation.samples == 40
    require_close(values(model.variables), before, 0)
    (message,) = [record.getMessage() for record in caplog.records]
    assert "weights before the merge, stay: ValueError: " in message
    assert "\n" not in message
    assert set(vars(model.norm)) == attributes
    assert model.norm.momentum == 0.99


@pytest.mark.skipif(BACKEND == "torch", reason="torch compiles no part of a model by itself")
def test_a_compiled_part_is_not_compiled_for_training(xy, caplog) -> None:
    if BACKEND == "jax":
        import jax

        compiled = jax.checkpoint
    else:
        import tensorflow as tf

        compiled = tf.function

    class Compiled(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.norm = keras.layers.BatchNormalization(name="norm")
            self.apply = None

        def call(self, inputs):
            if self.apply is None:
                return self.norm(inputs)
            return self.apply(inputs)

    model = Compiled()
    model.compile("sgd", "mse")
    model(xy[0][:4])
    vars(model)["apply"] = compiled(lambda inputs: model.norm(inputs, training=False))
    before = values(model.variables)
    with caplog.at_level(logging.WARNING, "swarm"):
        loss = evaluator(model, (xy[0], xy[0]))().loss
    assert "could not be estimated" in caplog.text
    require_close(values(model.variables), before, 0)
    assert loss == pytest.approx(model.evaluate(xy[0], xy[0], verbose=0, batch_size=4))
    require_close(values(model.variables), before, 0)


def halve(state) -> None:
    for segment in state.segments.values():
        np.multiply(segment, 0.5, out=segment, casting="unsafe")


@pytest.mark.parametrize("normalization", ["silobn", "fedbn", "pooled"])
def test_under_fit_every_evaluation_is_with_those_of_the_merged_weights(normalization: str, swarm, model, xy) -> None:
    callback = swarm.callback(merge=halve, val_data=xy, normalization=normalization, val_batch_size=4)
    model.fit(*xy, batch_size=4, epochs=2, verbose=0, callbacks=[callback])
    assert not swarm.session.errors
    close = np.allclose(statistics(model)[0], expected(model, xy[0])[0], rtol=1e-4, atol=1e-5)
    assert close == (normalization != "pooled")
    last = swarm.session.evaluations[-1]
    assert last.loss == pytest.approx(model.evaluate(*xy, verbose=0, batch_size=4), rel=1e-5)


def test_in_a_custom_loop_the_merged_model_has_them(swarm, model, xy) -> None:
    x, y = xy
    callback = swarm.callback(merge=halve, val_data=xy, normalization="silobn", val_batch_size=4, model=model)
    callback.on_train_begin()
    LOOPS[BACKEND](model, [(x[start : start + 4], y[start : start + 4]) for start in range(0, 16, 4)], callback)
    require_close(statistics(model), expected(model, x))
    assert len(swarm.session.evaluations) == 2
    assert not swarm.session.errors
    callback.on_train_end()
    require_close(statistics(model), expected(model, x))
