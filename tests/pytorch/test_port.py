from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from swarm.errors import ModelError
from swarm.pytorch import TorchPort
from swarm.storage.files import read_model_file, write_model
from swarm.tensors.model import ModelPort
from swarm.tensors.state import ModelState, TensorKind


def state_of(model: nn.Module) -> ModelState:
    port = TorchPort(model)
    state = ModelState.empty(port.schema())
    port.read(state)
    return state


def specs_of(model: nn.Module) -> dict:
    return {spec.name: spec for spec in TorchPort(model).schema().tensors}


def test_order_is_that_of_the_state_dict_with_tied_weights_once(every_kind):
    names = [name for name in every_kind.state_dict() if name != "head.weight"]
    assert [spec.name for spec in TorchPort(every_kind).schema().tensors] == names


def test_every_value_survives_bit_for_bit_in_another_model(every_kind):
    other = copy.deepcopy(every_kind)
    with torch.no_grad():
        for tensor in other.state_dict().values():
            tensor.zero_()
    TorchPort(other).write(state_of(every_kind))
    for name, tensor in every_kind.state_dict().items():
        copied = other.state_dict()[name]
        assert (copied.dtype, copied.shape, copied.stride()) == (tensor.dtype, tensor.shape, tensor.stride()), name
        assert torch.equal(copied, tensor), name
    assert state_of(other).digest() == state_of(every_kind).digest()


def test_nan_payloads_and_subnormals_survive():
    model = nn.Linear(2, 1, bias=False).bfloat16()
    bits = torch.tensor([[0x7FC1, 0x0001]], dtype=torch.int16)
    model.weight.data = bits.view(torch.bfloat16)
    state = state_of(model)
    TorchPort(model).write(state)
    assert torch.equal(model.weight.data.view(torch.int16), bits)


@pytest.mark.parametrize(
    ("name", "kind", "dtype"),
    [
        ("frozen", TensorKind.WEIGHT, "float32"),
        ("scale", TensorKind.WEIGHT, "float32"),
        ("codes", TensorKind.STATE, "int64"),
        ("table", TensorKind.STATE, "float32"),
        ("seen", TensorKind.STATE, "int64"),
        ("mask", TensorKind.STATE, "bool"),
        ("index", TensorKind.STATE, "int32"),
        ("norm.weight", TensorKind.WEIGHT, "float32"),
        ("norm.running_mean", TensorKind.MEAN, "float32"),
        ("norm.running_var", TensorKind.VARIANCE, "float32"),
        ("norm.num_batches_tracked", TensorKind.COUNTER, "int64"),
        ("brain.weight", TensorKind.WEIGHT, "bfloat16"),
        ("double.bias", TensorKind.WEIGHT, "float64"),
    ],
)
def test_kind_and_dtype(every_kind, name, kind, dtype):
    spec = specs_of(every_kind)[name]
    assert (spec.kind, spec.dtype) == (kind, dtype)


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(2), nn.SyncBatchNorm(2), type("Own", (nn.BatchNorm2d,), {})(2)])
def test_batchnorm_is_told_by_its_type_whatever_its_name(norm):
    specs = specs_of(nn.ModuleDict({"downsample": norm}))
    assert specs["downsample.running_var"].kind is TensorKind.VARIANCE


def test_a_layer_that_only_looks_like_batchnorm_is_none():
    model = nn.Linear(1, 1)
    model.register_buffer("running_mean", torch.zeros(1))
    assert specs_of(model)["running_mean"].kind is TensorKind.STATE


def test_non_persistent_buffers_stay_out_and_unwritten(every_kind):
    before = every_kind.cache.clone()
    state = state_of(every_kind)
    TorchPort(every_kind).write(state)
    assert "cache" not in specs_of(every_kind)
    assert torch.equal(every_kind.cache, before)


def test_wrappers_change_neither_order_nor_names():
    plain = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    names = list(specs_of(plain))
    compiled = nn.Sequential(torch.compile(plain[0]), plain[1])
    averaged = torch.optim.swa_utils.AveragedModel(plain)
    assert list(specs_of(torch.compile(plain))) == names
    assert list(specs_of(compiled)) == names
    assert list(specs_of(nn.DataParallel(plain))) == names
    assert list(specs_of(averaged)) == list(averaged.state_dict()), "an average is no wrapper: its keys are the user's"


@pytest.mark.parametrize("size", [3, 300])
def test_weights_tied_by_their_memory_count_once(size):
    model = nn.Module()
    model.encoder = nn.Linear(size, 2, bias=False)
    model.decoder = nn.Linear(2, size, bias=False)
    model.decoder.weight = nn.Parameter(model.encoder.weight.data.t())
    assert list(specs_of(model)) == ["encoder.weight"]
    state = state_of(model)
    state.segments["float32"][:] = np.arange(2 * size)
    TorchPort(model).write(state)
    assert torch.equal(model.decoder.weight, model.encoder.weight.t())


def test_parts_of_one_storage_are_tensors_of_their_own():
    flat = torch.arange(4.0)
    model = nn.Module()
    model.low, model.high = nn.Parameter(flat[:2]), nn.Parameter(flat[2:])
    assert list(specs_of(model)) == ["low", "high"]


def test_writing_keeps_parameters_gradients_and_the_optimizer():
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    weight, address = model.weight, model.weight.data_ptr()
    model(torch.ones(1, 2)).sum().backward()
    state = state_of(model)
    state.segments["float32"][:] = 0
    TorchPort(model).write(state)
    assert model.weight is weight
    assert weight.data_ptr() == address
    assert weight.requires_grad
    optimizer.step()
    assert torch.equal(model.weight, -0.5 * torch.ones(1, 2))


def test_writing_between_forward_and_backward_does_not_break_autograd():
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    loss = model(torch.ones(1, 2)).sum()
    TorchPort(model).write(state_of(model))
    loss.backward()
    assert model[0].weight.grad is not None


def test_adding_takes_steps_in_place_and_everything_else_over(every_kind):
    """Half precision is summed in float32 and rounded once; the step is added once to tied weights."""
    port, before = TorchPort(every_kind), state_of(every_kind)
    step = before.copy()
    for dtype, segment in before.segments.items():
        wide = np.float64 if dtype == "float64" else np.float32
        step.segments[dtype] = np.linspace(-0.7, 0.3, segment.size).astype(wide)
    for array in step.side:
        array[...] = 1 - array if array.dtype == bool else array + 1
    addresses = {name: tensor.data_ptr() for name, tensor in every_kind.state_dict().items()}
    port.add(step)
    after = state_of(every_kind)
    for dtype, segment in before.segments.items():
        expected = (segment.astype(step.segments[dtype].dtype) + step.segments[dtype]).astype(segment.dtype)
        assert after.segments[dtype].tobytes() == expected.tobytes(), dtype
    for spec, new, given in zip(before.schema.side, after.side, step.side, strict=True):
        assert new.tobytes() == given.tobytes(), spec.name
    assert {name: tensor.data_ptr() for name, tensor in every_kind.state_dict().items()} == addresses
    assert every_kind.head.weight is every_kind.embed.weight


def test_adding_does_what_the_port_of_any_framework_does(every_kind):
    step = state_of(every_kind)
    other = copy.deepcopy(every_kind)
    TorchPort(every_kind).add(step)
    ModelPort.add(TorchPort(other), step)
    assert state_of(every_kind).digest() == state_of(other).digest()


def test_adding_between_forward_and_backward_does_not_break_autograd():
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    loss = model(torch.ones(1, 2)).sum()
    TorchPort(model).add(state_of(model))
    loss.backward()
    assert model[0].weight.grad is not None


def test_borrowing_shows_the_model_itself(every_kind):
    state = state_of(every_kind)
    borrowed = TorchPort(every_kind).borrow(state.schema)
    for (_, copied), array in zip(state.arrays(), borrowed, strict=True):
        assert (array.dtype, array.shape) == (copied.dtype, copied.shape)
        assert array.flags.c_contiguous
        assert array.tobytes() == copied.tobytes()
    with torch.no_grad():
        every_kind.head.weight.zero_()
    assert not np.any(borrowed[[spec.name for spec in state.schema.tensors].index("embed.weight")])


def test_buffers_that_were_borrowed_can_still_be_resized():
    """Quantisation observers resize their buffers, which torch rejects for memory that NumPy has a view of."""
    model = nn.Linear(2, 1)
    model.register_buffer("least", torch.zeros(1))
    port = TorchPort(model)
    port.borrow(port.schema())
    model.least.resize_(4)
    assert model.least.shape == (4,)


def test_a_tensor_that_is_not_contiguous_is_borrowed_as_a_copy():
    model = nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)
    port = TorchPort(model)
    weight = port.borrow(port.schema())[0]
    assert weight.flags.c_contiguous
    assert weight.tolist() == model.weight.tolist()


def test_what_is_not_on_the_cpu_is_not_borrowed():
    port = TorchPort(nn.Linear(2, 1))
    schema = port.schema()
    port._model.to("meta")
    with pytest.raises(ModelError, match="meta"):
        port.borrow(schema)


def test_a_model_that_changed_is_not_borrowed():
    model = nn.Sequential(nn.Linear(2, 2))
    schema = TorchPort(model).schema()
    model.append(nn.Linear(2, 2))
    with pytest.raises(ModelError, match="changed since training began"):
        TorchPort(model).borrow(schema)


def test_reading_copies():
    model = nn.Linear(2, 1)
    state = state_of(model)
    before = state.digest()
    with torch.no_grad():
        model.weight.add_(1)
    assert state.digest() == before


def test_writing_a_read_only_state_works():
    model = nn.Linear(2, 1)
    state = state_of(model)
    for segment in state.segments.values():
        segment.flags.writeable = False
    TorchPort(model).write(state)
    assert state_of(model).digest() == state.digest()


def buffer(value: torch.Tensor) -> nn.Module:
    model = nn.Linear(1, 1)
    model.register_buffer("odd", value)
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (buffer(torch.zeros(2, dtype=torch.complex64).conj()), "'odd' is a conjugate.*resolve_conj"),
        (buffer(torch.zeros(2, dtype=torch.complex64).conj().imag), "'odd' is a conjugate.*resolve_neg"),
        (buffer(torch.zeros(2, 2).to_sparse()), "'odd' has the layout.*to_dense"),
        (
            buffer(torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8)),
            "'odd' is torch.qint8.*quantize after",
        ),
        (buffer(torch.zeros(2, dtype=torch.float8_e4m3fn)), "'odd' is torch.float8_e4m3fn"),
        (buffer(torch.zeros(1).expand(3)), "'odd' is an expanded view.*clone"),
        (nn.Linear(2, 2, device="meta"), "'weight' is on the meta device"),
        (nn.Sequential(nn.LazyLinear(2)), "'0.weight' has no shape yet: pass one batch"),
        (nn.Sequential(nn.Linear(1, 1), nn.LazyBatchNorm1d()), "'1.weight' has no shape yet"),
        (nn.ReLU(), "ReLU has no parameters"),
    ],
    ids=["conjugate", "negative", "sparse", "quantized", "float8", "expanded", "meta", "lazy", "lazy-norm", "empty"],
)
def test_what_cannot_be_merged_is_named_with_its_remedy(model, message):
    with pytest.raises(ModelError, match=message):
        TorchPort(model).schema()


def test_a_stride_of_a_dimension_of_size_1_means_nothing():
    model = buffer(torch.arange(3.0).as_strided((1, 3), (0, 1)))
    assert specs_of(model)["odd"].shape == (1, 3)


def test_a_model_that_changed_since_the_start_is_refused_before_anything_is_written():
    model = nn.Sequential(nn.Linear(2, 2))
    state = state_of(model)
    model.append(nn.Linear(2, 1))
    with pytest.raises(ModelError, match="changed since training began"):
        TorchPort(model).write(state)


EVERY_DTYPE = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.uint8, torch.uint16, torch.uint32,
    torch.uint64, torch.int8, torch.int16, torch.int32, torch.int64,
]  # fmt: skip


@pytest.mark.parametrize("dtype", EVERY_DTYPE, ids=str)
def test_a_written_model_is_read_again_whatever_its_dtype(tmp_path, dtype):
    model = buffer(torch.tensor([[0, 1], [1, 1]]).to(dtype))
    port, path = TorchPort(model), tmp_path / "model.safetensors"
    schema, before = port.schema(), copy.deepcopy(model.state_dict())
    write_model(path, state_of(model), {})
    for tensor in model.state_dict().values():
        tensor.zero_()
    port.write(read_model_file(path, schema))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    loaded = load_file(path)
    assert {name: tensor.dtype for name, tensor in loaded.items()} == {
        name: tensor.dtype for name, tensor in before.items()
    }
    model.load_state_dict(loaded)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
