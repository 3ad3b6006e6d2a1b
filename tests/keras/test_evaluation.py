from __future__ import annotations

import random

import keras
import numpy as np
import pytest

from swarm.errors import ConfigurationError
from swarm_keras.evaluation import KerasEvaluator
from swarm_keras.validation_data import evaluate_arguments


class Pairs(keras.utils.PyDataset):
    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        super().__init__()
        self.x, self.y = x, y

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(4 * index, 4 * index + 4)
        return self.x[rows], self.y[rows]


class Endless(Pairs):
    @property
    def num_batches(self) -> None:
        return None

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return super().__getitem__(index % 10)


def pairs(x: np.ndarray, y: np.ndarray):
    return ((x[i : i + 4], y[i : i + 4]) for i in range(0, 40, 4))


def endless(x: np.ndarray, y: np.ndarray):
    while True:
        yield from pairs(x, y)


def tensorflow_data(x: np.ndarray, y: np.ndarray):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(4)


def tensorflow_unknown(x: np.ndarray, y: np.ndarray):
    return tensorflow_data(x, y).filter(lambda *_: True)


def tensorflow_endless(x: np.ndarray, y: np.ndarray):
    return tensorflow_data(x, y).repeat()


def torch_dataset(x: np.ndarray, y: np.ndarray):
    torch = pytest.importorskip("torch")
    return torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))


def torch_loader(x: np.ndarray, y: np.ndarray):
    torch = pytest.importorskip("torch")
    return torch.utils.data.DataLoader(torch_dataset(x, y), batch_size=4, shuffle=True)


def torch_stream(x: np.ndarray, y: np.ndarray):
    torch = pytest.importorskip("torch")

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(torch_dataset(x, y))

    return torch.utils.data.DataLoader(Stream(), batch_size=4)


FORMS = {
    "arrays": lambda x, y: (x, y),
    "list": lambda x, y: [x, y],
    "generator": pairs,
    "endless generator": endless,
    "PyDataset": Pairs,
    "endless PyDataset": Endless,
    "tf.data": tensorflow_data,
    "tf.data unknown": tensorflow_unknown,
    "tf.data endless": tensorflow_endless,
    "torch Dataset": torch_dataset,
    "torch DataLoader": torch_loader,
    "torch stream": torch_stream,
}


@pytest.fixture(scope="module")
def model():
    """One for all: that an evaluation changes nothing is what they rely on, and what is tested below."""
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1, activation="sigmoid")]
    model = keras.Sequential([keras.Input((6,)), *layers])
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_evaluation_every_time(form: str, model, xy) -> None:
    expected = model.evaluate(*xy, verbose=0, return_dict=True)
    evaluate = KerasEvaluator(model, evaluate_arguments(FORMS[form](*xy), batch_size=4, steps=10))
    for _ in range(2):
        evaluation = evaluate()
        assert evaluation.loss == pytest.approx(expected["loss"], rel=1e-5)
        assert evaluation.metrics == pytest.approx({"accuracy": expected["accuracy"]})
        assert evaluation.samples == 40


@pytest.mark.parametrize(
    "form", ["generator", "endless generator", "endless PyDataset", "tf.data unknown", "tf.data endless"]
)
def test_no_more_than_val_steps_batches_are_read(form: str, model, xy) -> None:
    evaluate = KerasEvaluator(model, evaluate_arguments(FORMS[form](*xy), batch_size=4, steps=3))
    assert evaluate().samples == 12
    assert evaluate().loss == pytest.approx(
        model.evaluate(xy[0][:12], xy[1][:12], verbose=0, batch_size=4)[0], rel=1e-5
    )


@pytest.mark.parametrize("form", ["PyDataset", "tf.data", "torch Dataset", "torch DataLoader"])
def test_data_of_known_length_is_used_whole(form: str, model, xy) -> None:
    evaluate = KerasEvaluator(model, evaluate_arguments(FORMS[form](*xy), batch_size=4, steps=3))
    assert evaluate().samples == 40


def test_numbers_without_a_batch_dimension_have_no_length_that_could_differ(xy) -> None:
    arguments = evaluate_arguments((xy[0], {"y": xy[1], "scale": 2.0, "offset": np.float32(1)}), batch_size=4, steps=3)
    assert arguments["x"] is xy[0]


def test_a_generator_is_read_no_further(xy) -> None:
    source = endless(*xy)
    evaluate_arguments(source, batch_size=4, steps=3)
    x, _ = next(source)
    assert (x == xy[0][12:16]).all()


def test_sample_weights_are_heeded(model, xy) -> None:
    weights = np.r_[np.ones(20), np.zeros(20)].astype(np.float32)
    evaluation = KerasEvaluator(model, evaluate_arguments((*xy, weights), batch_size=4, steps=10))()
    expected, _ = model.evaluate(*xy, sample_weight=weights, verbose=0, batch_size=4)
    assert evaluation.loss == pytest.approx(expected, rel=1e-5)
    assert evaluation.loss != pytest.approx(model.evaluate(*xy, verbose=0, batch_size=4)[0], rel=1e-2)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="a test_step under JAX has no state of its own")
def test_a_model_that_tracks_its_loss_by_itself_counts_as_one_sample(xy) -> None:
    class Own(keras.Model):
        metrics = ()

        def call(self, inputs):
            return inputs

        def test_step(self, data):
            return {"loss": keras.ops.mean(data[1])}

    model = Own()
    model.compile("sgd")
    evaluation = KerasEvaluator(model, evaluate_arguments(xy, batch_size=40, steps=10))()
    assert evaluation.samples == 1
    assert evaluation.loss == pytest.approx(xy[1].mean())


@pytest.mark.parametrize(
    ("data", "complaint"),
    [((1,), "tuple of 1 elements"), (np.zeros(3), "ndarray"), (3, "int"), (iter(()), "no batch"), ({}, "dict")],
)
def test_other_forms_are_refused_at_start(data: object, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        evaluate_arguments(data, batch_size=4, steps=3)


def test_random_state_and_metrics_are_put_back(make_model, xy) -> None:
    model = make_model(metrics=["accuracy"])
    model.fit(*xy, batch_size=4, verbose=0)
    state = [keras.ops.convert_to_numpy(v).copy() for v in (*model.variables, *model.metrics_variables)]
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002

    class Drawing(Pairs):
        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            random.random(), np.random.random()  # noqa: NPY002
            return super().__getitem__(index)

    KerasEvaluator(model, evaluate_arguments(Drawing(*xy), batch_size=4, steps=10))()
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002
    for before, variable in zip(state, (*model.variables, *model.metrics_variables), strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), before)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="modules with a mode are torch's")
def test_torch_modules_keep_their_mode(model, xy) -> None:
    model.train()
    KerasEvaluator(model, evaluate_arguments(xy, batch_size=4, steps=10))()
    assert model.training


def _tf(x, y):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(4)


def _loader(x, y, **arguments):
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    return torch.utils.data.DataLoader(data, **arguments)


class NoPairs(Pairs):
    def __len__(self) -> int:
        return 0


EMPTY = {
    "arrays": lambda x, y: (x[:0], y[:0]),
    "list of arrays": lambda x, y: [x[:0], y[:0]],
    "several inputs": lambda x, y: ({"a": x[:0], "b": x[:0]}, y[:0]),
    "lists": lambda x, y: ([], []),
    "generator": lambda x, y: (batch for batch in ()),
    "generator of empty batches": lambda x, y: ((x[:0], y[:0]) for _ in range(3)),
    "PyDataset": NoPairs,
    "tf.data": lambda x, y: _tf(x[:0], y[:0]),
    "tf.data that drops all": lambda x, y: _tf(x[:2], y[:2]).unbatch().batch(4, drop_remainder=True),
    "tf.data of unknown length": lambda x, y: _tf(x, y).filter(lambda *_: False),
    "tf.data of empty batches": lambda x, y: _tf(x, y).from_tensors((x[:0], y[:0])),
    "torch Dataset": lambda x, y: _loader(x[:0], y[:0]).dataset,
    "torch DataLoader": lambda x, y: _loader(x[:0], y[:0]),
    "drop_last": lambda x, y: _loader(x[:3], y[:3], batch_size=4, drop_last=True),
}


@pytest.mark.parametrize("form", EMPTY)
def test_data_without_a_sample_is_refused_at_start(form: str, make_model, xy, swarm) -> None:
    callback = swarm.callback(val_data=EMPTY[form](*xy), use_adaptive_sync=True)
    model = make_model()
    model.compile("sgd", "mse")
    callback.set_model(model)
    with pytest.raises(ConfigurationError, match="val_data, a .*, holds no samples"):
        callback.on_train_begin()


def test_a_loader_that_drops_its_only_batch_is_told_why(xy) -> None:
    with pytest.raises(ConfigurationError, match="fewer than batch_size=4 samples, and drop_last=True"):
        evaluate_arguments(EMPTY["drop_last"](*xy), batch_size=4, steps=3)


def test_arrays_that_do_not_fit_are_refused_at_start(xy) -> None:
    x, y = xy
    for data in ((x, y[:3]), (x, y, np.ones(3)), ({"a": x, "b": x[:3]}, y)):
        with pytest.raises(ConfigurationError, match="arrays of different lengths: 40"):
            evaluate_arguments(data, batch_size=4, steps=3)


def test_data_that_gives_nothing_later_says_so(model, xy) -> None:
    class Vanishing(Pairs):
        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            return self.x[:0], self.y[:0]

    evaluator = KerasEvaluator(model, evaluate_arguments(Vanishing(*xy), batch_size=4, steps=3))
    with pytest.raises(ConfigurationError, match="gave no samples this time"):
        evaluator()


@pytest.mark.parametrize("scheduled", [False, True])
def test_the_session_knows_the_learning_rate_and_whether_a_schedule_changes_it(
    scheduled: bool, make_model, xy, swarm
) -> None:
    schedule = keras.optimizers.schedules.CosineDecay(0.25, decay_steps=5)
    model = make_model()
    model.compile(keras.optimizers.SGD(schedule if scheduled else 0.25), "mse")
    callback = swarm.callback()
    rates = []

    def note(batch: int, logs: object) -> None:
        rates.append(swarm.session.learning_rate.now())

    probe = keras.callbacks.LambdaCallback(on_train_batch_end=note)
    model.fit(*xy, batch_size=4, verbose=0, callbacks=[callback, probe])
    assert swarm.session.learning_rate.decays is scheduled
    assert (rates[-1] < rates[0]) is scheduled
    assert rates[0] == pytest.approx(0.25, rel=0.2)
