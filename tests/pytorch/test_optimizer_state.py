"""The state of torch's optimizers: what is merged of it, and what a peer takes from the others."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn, optim

from swarm.errors import ConfigurationError, IncompatiblePeerError
from swarm.pytorch import TorchCallback, TorchPort, with_optimizers
from swarm.tensors.selection import Normalization, Selection
from swarm.tensors.state import MOMENTS, ModelState, TensorKind
from swarm.testing.swarm import together

OPTIMIZERS = {
    "adam": partial(optim.Adam, lr=1e-3),
    "amsgrad": partial(optim.Adam, lr=1e-3, amsgrad=True),
    "foreach": partial(optim.Adam, lr=1e-3, foreach=True),
    "fused": partial(optim.Adam, lr=1e-3, fused=True),
    "adamw": partial(optim.AdamW, lr=1e-3),
    "nadam": partial(optim.NAdam, lr=1e-3),
    "radam": partial(optim.RAdam, lr=1e-3),
    "adamax": partial(optim.Adamax, lr=1e-3),
    "sgd": partial(optim.SGD, lr=1e-3, momentum=0.9),
    "nesterov": partial(optim.SGD, lr=1e-3, momentum=0.9, nesterov=True),
    "rmsprop": partial(optim.RMSprop, lr=1e-3),
    "rmsprop-all": partial(optim.RMSprop, lr=1e-3, momentum=0.9, centered=True),
    "adagrad": partial(optim.Adagrad, lr=1e-3),
    "adadelta": partial(optim.Adadelta, lr=1e-3),
}
SETTINGS = ("reset", "merge")


class Subclass(optim.AdamW):
    """Keeps what AdamW keeps."""


def model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))


def plain(seed: int = 0) -> nn.Module:
    """A model in which no gradient is 0 but for rounding errors."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))


def train(net: nn.Module, optimizer: optim.Optimizer, steps: int, seed: int = 0) -> None:
    data = torch.Generator().manual_seed(seed)
    net.train()
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(8, 6, generator=data)).square().mean().backward()
        optimizer.step()


def port_of(net: nn.Module, *optimizers: optim.Optimizer, setting: str = "merge", **selection):
    return with_optimizers(TorchPort(net, Selection(**selection)), setting, optimizers)


def read(port) -> ModelState:
    state = ModelState.empty(port.schema())
    port.read(state)
    return state


def values(state: ModelState) -> dict[str, np.ndarray]:
    return {spec.name: array.astype(np.float64) for spec, array in state.arrays()}


def state_of(optimizer: optim.Optimizer) -> list[dict[str, torch.Tensor]]:
    """The state of each parameter, copied."""
    return [
        {key: torch.as_tensor(value).clone() for key, value in optimizer.state[parameter].items() if value is not None}
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_the_state_is_read_as_bfloat16_and_second_moments_as_roots(make) -> None:
    net = model()
    optimizer = make(net.parameters())
    train(net, optimizer, 3)
    port = port_of(net, optimizer)
    found, names = values(read(port)), dict(net.named_parameters())
    squares = {"exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "acc_delta"}
    for name, parameter in names.items():
        for key, value in optimizer.state[parameter].items():
            if key not in ("step", "mu_product") and not (
                key == "square_avg" and "grad_avg" in optimizer.state[parameter]
            ):
                expected = value.double().sqrt() if key in squares else value.double()
                given = found[f"optimizer.{key} of {name}"]
                np.testing.assert_allclose(given, expected.numpy(), rtol=2**-8, atol=1e-38)
                assert (given >= 0).all() or key not in squares
    steps = 1 if isinstance(optimizer, optim.SGD) else 3
    assert found["optimizer.step"].tolist() == [steps] * len(names)


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_an_optimizer_that_has_not_stepped_takes_the_state_and_goes_on_like_its_source(make) -> None:
    source = plain()
    first = make(source.parameters())
    train(source, first, 3)
    state = read(port_of(source, first))
    twins = []
    for steps in (0, 2):  # a newcomer, and a peer with state of its own
        net = plain(1)
        optimizer = make(net.parameters())
        train(net, optimizer, steps, seed=9)
        port = port_of(net, optimizer)
        port.schema()
        port.write(state)
        assert read(port).digest() == state.digest()
        train(net, optimizer, 2, seed=5)
        twins.append(net)
    train(source, first, 2, seed=5)
    for one, two, three in zip(*(net.state_dict().values() for net in (*twins, source)), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
        torch.testing.assert_close(one, three, rtol=0, atol=2e-4)


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_the_state_is_written_in_place(make) -> None:
    net = model()
    optimizer = make(net.parameters())
    train(net, optimizer, 3)
    port = port_of(net, optimizer)
    state = read(port)
    before = [dict(each) for each in optimizer.state.values()]
    train(net, optimizer, 1)
    port.write(state)
    for one, two in zip(before, optimizer.state.values(), strict=True):
        assert one.keys() == two.keys()
        assert all(one[key] is two[key] for key in one)


def test_a_step_counter_of_zero_leaves_the_state_alone() -> None:
    net = model()
    optimizer = optim.Adam(net.parameters())
    empty = read(port := port_of(net, optimizer))
    assert not optimizer.state
    train(net, optimizer, 3)
    before = state_of(optimizer)
    port.write(empty)
    for one, two in zip(before, state_of(optimizer), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_small_second_moments_do_not_vanish() -> None:
    net = nn.Linear(2, 1, bias=False)
    optimizer = optim.Adam(net.parameters())
    net.weight.grad = torch.tensor([[1e-6, 1e-12]])
    optimizer.step()
    port = port_of(net, optimizer)
    state = read(port)
    port.write(state)
    second = optimizer.state[net.weight]["exp_avg_sq"].double()
    torch.testing.assert_close(second, torch.tensor([[1e-15, 1e-27]]).double(), rtol=2**-7, atol=0)


def test_centred_rmsprop_stays_bounded_where_gradients_hardly_vary() -> None:
    net = nn.Linear(64, 1, bias=False)
    optimizer = optim.RMSprop(net.parameters(), lr=1e-3, centered=True)
    gradient = torch.linspace(0.1, 1, 64).reshape(1, 64)
    for batch in range(2000):
        net.weight.grad = gradient * (1 + 0.01 * (-1) ** batch)
        optimizer.step()
    port = port_of(net, optimizer)
    before = net.weight.detach().clone()
    optimizer.step()
    usual = (net.weight - before).abs()
    port.write(read(port))
    before = net.weight.detach().clone()
    optimizer.step()
    torch.testing.assert_close((net.weight - before).abs(), usual, rtol=0.1, atol=0)


def test_a_second_moment_that_is_too_large_is_cut_and_not_infinite() -> None:
    net = nn.Linear(1, 1, bias=False)
    optimizer = optim.Adam(net.parameters())
    train_on = read(port := port_of(net, optimizer))
    for spec, array in train_on.arrays():
        if spec.kind is TensorKind.ROOT_MOMENT:
            array[...] = 1e30
        elif spec.kind is TensorKind.STEPS:
            array[...] = 1
    port.write(train_on)
    assert optimizer.state[net.weight]["exp_avg_sq"].isfinite().all()


def test_only_parameters_that_are_merged_count() -> None:
    net = model()
    optimizer = optim.Adam(net.parameters())
    train(net, optimizer, 1)
    names = port_of(net, optimizer, local=("2.*",)).schema().names(TensorKind.MOMENT)
    assert names == tuple(f"optimizer.exp_avg of {name}" for name in ("0.weight", "0.bias", "1.weight", "1.bias"))


def test_parameters_without_state_count_as_zeros() -> None:
    net = model()
    net[2].requires_grad_(requires_grad=False)
    optimizer = optim.Adam(net.parameters())
    train(net, optimizer, 2)
    port = port_of(net, optimizer)
    state = read(port)
    found = values(state)
    assert not found["optimizer.exp_avg of 2.weight"].any()
    assert found["optimizer.step"].tolist() == [2, 2, 2, 2, 0, 0]
    port.write(state)
    assert not optimizer.state[net[2].weight]


def test_parameters_that_the_optimizer_does_not_train_have_none() -> None:
    net = model()
    optimizer = optim.Adam([{"params": net[0].parameters()}, {"params": [net[2].bias], "amsgrad": True}])
    train(net, optimizer, 1)
    schema = port_of(net, optimizer).schema()
    weights = ["0.weight", "0.bias", "2.bias"]
    expected = [f"optimizer.{key} of {name}" for name in weights for key in ("exp_avg", "exp_avg_sq")]
    names = [spec.name for spec in schema.tensors if spec.kind.is_moment]
    assert names == [*expected, "optimizer.max_exp_avg_sq of 2.bias"]


def test_parameters_may_join_and_leave_the_optimizer() -> None:
    net = model()
    optimizer = optim.Adam(net[0].parameters())
    port = port_of(net, optimizer)
    schema = port.schema()
    optimizer.add_param_group({"params": net[2].parameters()})
    train(net, optimizer, 2)
    del optimizer.param_groups[0]["params"][1]  # the bias of the layer
    state = ModelState.empty(schema)
    port.read(state)
    found = values(state)
    assert found["optimizer.step"].tolist() == [2, 0]
    assert not found["optimizer.exp_avg of 0.bias"].any()
    before = state_of(optimizer)
    port.write(state)
    for one, two in zip(before[1:], state_of(optimizer)[1:], strict=True):  # the layer that joined
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_tied_parameters_count_once() -> None:
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    net[1].weight = net[0].weight
    optimizer = optim.Adam(net.parameters())
    assert port_of(net, optimizer).schema().names(TensorKind.MOMENT) == ("optimizer.exp_avg of 0.weight",)


def test_several_optimizers() -> None:
    net = model()
    first, second = optim.Adam(net[0].parameters()), optim.SGD(net[2].parameters(), lr=0.1, momentum=0.5)
    train(net, first, 2)
    second.step()
    port = port_of(net, first, second)
    found = values(read(port))
    assert found["optimizer.step"].tolist() == [2, 2]
    assert found["optimizer2.step"].tolist() == [1, 1]
    np.testing.assert_allclose(
        found["optimizer2.momentum_buffer of 2.bias"], net[2].bias.grad.double().numpy(), rtol=2**-8
    )


def test_plain_sgd_has_nothing_to_merge() -> None:
    net = model()
    assert port_of(net, optim.SGD(net.parameters(), lr=0.1)).schema() == TorchPort(net).schema()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64])
def test_every_dtype_of_parameters(dtype: torch.dtype) -> None:
    net = nn.Linear(3, 2, bias=False).to(dtype)
    optimizer = optim.Adam(net.parameters())
    net.weight.grad = torch.full_like(net.weight, 0.5)
    optimizer.step()
    port = port_of(net, optimizer)
    state = read(port)
    optimizer.state.clear()
    port.write(state)
    assert read(port).digest() == state.digest()
    assert optimizer.state[net.weight]["exp_avg"].dtype == dtype


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("make", [partial(optim.LBFGS, lr=1), partial(optim.Rprop, lr=1)], ids=["LBFGS", "Rprop"])
def test_an_unknown_optimizer_is_refused_with_the_remedy(make, setting: str) -> None:
    net = model()
    with pytest.raises(ConfigurationError, match=r"optimizer \w+, whose state is not known: use one of Adam, .*keep"):
        port_of(net, make(net.parameters()), setting=setting).schema()


def test_state_of_another_shape_is_refused() -> None:
    net = model()
    optimizer = Subclass(net.parameters())
    train(net, optimizer, 1)
    optimizer.state[net[0].weight]["exp_avg_sq"] = torch.zeros(5)
    with pytest.raises(ConfigurationError, match=r"Subclass, whose exp_avg_sq of '0.weight' is not shaped like it"):
        port_of(net, optimizer).schema()


def test_subclasses_are_known() -> None:
    net = model()
    assert "optimizer.exp_avg of 0.bias" in port_of(net, Subclass(net.parameters())).schema().names(TensorKind.MOMENT)


@pytest.mark.parametrize("setting", SETTINGS)
def test_an_optimizer_of_another_model_is_refused(setting: str) -> None:
    with pytest.raises(ConfigurationError, match="the one given trains no parameter that is merged"):
        port_of(model(), optim.Adam(model().parameters()), setting=setting).schema()


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("how", ["write", "add"])
def test_a_reset_optimizer_goes_on_like_a_new_one(make, how: str) -> None:
    net, twin = model(), model()
    used, new = make(net.parameters()), make(twin.parameters())
    port = port_of(net, used, setting="reset")
    loaded = read(port)
    train(net, used, 3)
    if how == "add":  # nothing is left of the steps, either
        for (spec, array), (_, now) in zip(loaded.arrays(), read(port).arrays(), strict=True):
            if spec.kind is TensorKind.WEIGHT:
                np.subtract(array, now, out=array)
    getattr(port, how)(loaded)
    port.write(read(TorchPort(twin)))
    train(net, used, 3, seed=4)
    train(twin, new, 3, seed=4)
    for one, two in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-7)


def test_a_borrowed_model_has_the_state() -> None:
    net = model()
    optimizer = optim.Adam(net.parameters())
    train(net, optimizer, 2)
    port = port_of(net, optimizer)
    schema = port.schema()
    borrowed = port.borrow(schema)
    for (_, array), own in zip(read(port).arrays(), borrowed, strict=True):
        np.testing.assert_array_equal(array, own)


def test_state_is_replaced_where_weights_are_added() -> None:
    net = model()
    optimizer = optim.Adam(net.parameters())
    train(net, optimizer, 2)
    port = port_of(net, optimizer)
    step = read(port)
    train(net, optimizer, 2)
    before = values(read(port))
    port.add(step)
    after = read(port)
    assert after.segments[MOMENTS].tobytes() == step.segments[MOMENTS].tobytes()
    np.testing.assert_allclose(values(after)["0.bias"], before["0.bias"] + values(step)["0.bias"], rtol=1e-6)


# Sessions ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["update", "add"])
def test_the_moments_of_weights_that_the_site_keeps_stay_its_own(how: str) -> None:
    """With normalization="fedbn", those of the whole layer: its step counter and its momenta belong together."""
    source, own = model(1), model(2)
    adam, mine = optim.Adam(source.parameters()), optim.Adam(own.parameters())
    train(source, adam, 5, seed=1)
    train(own, mine, 2, seed=2)
    merged = read(port_of(source, adam))
    port = port_of(own, mine, normalization=Normalization.FEDBN)
    moments = {spec.name: spec.kept for spec in port.schema().tensors if spec.kind.is_moment}
    assert {name for name, kept in moments.items() if kept} == {name for name in moments if " of 1." in name}
    before = state_of(mine)
    getattr(port, how)(ModelState(port.schema(), merged.segments, merged.side))
    for number, (old, new) in enumerate(zip(before, state_of(mine), strict=True)):
        kept = number in (2, 3)
        assert new["step"] == (2 if kept else 5)
        assert torch.equal(old["exp_avg"], new["exp_avg"]) is kept
        assert torch.equal(old["exp_avg_sq"], new["exp_avg_sq"]) is kept
    port.write(ModelState(port.schema(), merged.segments, merged.side))
    assert {int(each["step"]) for each in state_of(mine)} == {5}


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_callback_needs_the_optimizer(setting: str) -> None:
    with pytest.raises(ConfigurationError, match=f"optimizer_state='{setting}' needs the optimizer: give optimizer="):
        TorchCallback(model=model(), optimizer_state=setting)


class Peer:
    """One peer of a real session."""

    def __init__(self, name: str, place, seed: int, make=OPTIMIZERS["adam"], **arguments) -> None:
        self.net = model(seed)
        self.optimizer = make(self.net.parameters())
        self.seed = seed
        self.before: list[dict[str, torch.Tensor]] = []
        self.after: list[dict[str, torch.Tensor]] = []
        arguments = {"world_size": 2, "sync_interval": 4, "optimizer_state": "merge", **arguments}
        self.callback = TorchCallback(
            model=self.net, optimizer=self.optimizer, name=name, rendezvous=place, model_dir=place / name, **arguments
        )

    def run(self, batches: int = 4) -> None:
        self.callback.on_train_begin()
        for batch in range(batches):
            train(self.net, self.optimizer, 1, seed=100 * self.seed + batch)
            if batch == 3:
                self.before = state_of(self.optimizer)
            self.callback.on_batch_end()
            if batch == 3:
                self.after = state_of(self.optimizer)
        self.callback.on_train_end()


def test_two_peers_have_the_mean_of_their_moments(tmp_path) -> None:
    peers = [Peer("ada", tmp_path, 1), Peer("bob", tmp_path, 2)]
    together(*(peer.run for peer in peers))
    ada, bob = peers
    for one, two, three, four in zip(ada.before, bob.before, ada.after, bob.after, strict=True):
        torch.testing.assert_close(three, four, rtol=0, atol=0)
        mean = (one["exp_avg"].double() + two["exp_avg"].double()) / 2
        square = ((one["exp_avg_sq"].double().sqrt() + two["exp_avg_sq"].double().sqrt()) / 2).square()
        largest = (one["exp_avg"].abs() + two["exp_avg"].abs()).double()
        assert ((three["exp_avg"].double() - mean).abs() <= 2**-7 * largest + 1e-30).all()
        torch.testing.assert_close(three["exp_avg_sq"].double(), square, rtol=2**-6, atol=1e-30)
        assert three["step"] == 4
    for name in ("local", "swarm-final"):
        assert b"optimizer" not in (tmp_path / "ada" / f"{name}.safetensors").read_bytes()
    assert (tmp_path / "ada/swarm-final.safetensors").read_bytes() == (
        tmp_path / "bob/swarm-final.safetensors"
    ).read_bytes()


def test_files_of_sites_that_keep_their_normalization_have_no_moments(tmp_path) -> None:
    peers = {name: Peer(name, tmp_path, seed, normalization="fedbn") for seed, name in enumerate(("ada", "bob"))}
    together(*(peer.run for peer in peers.values()))
    for name, peer in peers.items():
        tensors = set(peer.net.state_dict())
        (kept,) = (tmp_path / name).rglob("kept.safetensors")
        assert names_in(kept) == {tensor for tensor in tensors if tensor.startswith("1.")}
        for file in ("local", "swarm-final", "site-final"):
            assert names_in(tmp_path / name / f"{file}.safetensors") == tensors


def names_in(path) -> set[str]:
    with safe_open(path, "numpy") as file:
        return set(file.keys())


def test_a_reset_peer_begins_anew_after_each_merge(tmp_path) -> None:
    peers = [Peer(name, tmp_path, seed, optimizer_state="reset") for name, seed in (("ada", 1), ("bob", 2))]
    together(*(peer.run for peer in peers))
    for peer in peers:
        assert all(not value.any() for state in peer.after for value in state.values())


def test_peers_must_agree(tmp_path) -> None:
    peers = [Peer("ada", tmp_path, 1), Peer("bob", tmp_path, 2, optimizer_state="keep")]
    with pytest.raises(IncompatiblePeerError, match=r"optimizer_state is (merge|keep) at"):
        together(*(peer.run for peer in peers))


def test_another_optimizer_is_named(tmp_path) -> None:
    peers = [Peer("ada", tmp_path, 1), Peer("bob", tmp_path, 2, OPTIMIZERS["adamax"])]
    with pytest.raises(IncompatiblePeerError, match=r"optimizer\.exp_(avg_sq|inf) of 0\.weight"):
        together(*(peer.run for peer in peers))


@pytest.mark.parametrize("kind", ["adam", "nadam"])
def test_a_step_counter_that_nobody_can_have_does_not_stop_the_peer(kind: str) -> None:
    net = plain()
    optimizer = OPTIMIZERS[kind](net.parameters())
    train(net, optimizer, 2)
    port = port_of(net, optimizer)
    state = read(port)
    for spec, array in state.arrays():
        if spec.kind is TensorKind.STEPS:
            array[...] = np.iinfo(np.int64).max
    port.update(state)
    train(net, optimizer, 2)
    (counts,) = [array for spec, array in read(port).arrays() if spec.kind is TensorKind.STEPS]
    assert (counts > 2).all()
    assert all(torch.isfinite(parameter).all() for parameter in net.parameters())
