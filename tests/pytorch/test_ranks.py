"""Sites of several processes with torch models and optimizers; the processes are threads here."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from swarm.pytorch import TorchPort, with_optimizers
from tests.ranks.sites import Rank, Sites, all_of


def site(sites: Sites, name: str, setting: str, nets: list[nn.Module], optimizers: list[torch.optim.Optimizer]):
    def port(rank: int, _model):
        return with_optimizers(TorchPort(nets[rank]), setting, [optimizers[rank]])

    return sites.site(name, {}, size=len(nets), port=port)


@pytest.mark.parametrize("setting", ["keep", "reset", "merge"])
@pytest.mark.parametrize("overlap", [False, True])
def test_optimizers_are_alike_in_all_processes(setting: str, overlap: bool) -> None:
    def made(seed: int, processes: int):
        nets = []
        for _ in range(processes):
            torch.manual_seed(seed)
            nets.append(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2).bfloat16()))
        return nets, [torch.optim.Adam(net.parameters(), lr=0.01) for net in nets]

    ada, bob = made(1, 2), made(2, 1)
    x = torch.randn(5, 3)

    def program_of(nets, optimizers, batches: int):
        def program(rank: Rank) -> None:
            net, optimizer = nets[rank.group.rank], optimizers[rank.group.rank]

            def step(_rank: Rank, _batch: int) -> None:
                optimizer.zero_grad()
                net[1](net[0](x).bfloat16()).float().square().sum().backward()
                optimizer.step()

            rank.train(batches, step)

        return program

    sites = Sites(world_size=2, sync_interval=2, optimizer_state=setting, overlap=overlap)
    all_of(
        (site(sites, "ada", setting, *ada), program_of(*ada, 9)),
        (site(sites, "bob", setting, *bob), program_of(*bob, 5)),
    )
    for name, tensor in ada[0][0].state_dict().items():
        assert torch.equal(tensor, ada[0][1].state_dict()[name])
        assert torch.equal(tensor, bob[0][0].state_dict()[name])
    first, second = (optimizer.state_dict()["state"] for optimizer in ada[1])
    assert first.keys() == second.keys() != set()
    for key, state in first.items():
        for name, value in state.items():
            assert torch.equal(value, second[key][name]), (key, name)
