"""The reference: PyTorch's gloo ``all_reduce`` of one flat tensor, in C++, unencrypted, without a commit."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from swarm.tensors.state import Array, numpy_dtype

JOINING = timedelta(seconds=120)


class Gloo:
    """One process of a group that adds up its arrays."""

    def __init__(self, store: Path, rank: int, size: int) -> None:
        """Join the group on the loopback interface; its processes find each other through the file ``store``."""
        torch.set_num_threads(1)
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size, timeout=JOINING)

    def all_reduce(self, array: Array) -> None:
        """Replace ``array`` by the sum of the arrays of all processes."""
        tensor: Any
        if array.dtype == numpy_dtype("bfloat16"):
            tensor = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        else:
            tensor = torch.from_numpy(array)
        dist.all_reduce(tensor)

    def close(self) -> None:
        """Leave the group."""
        dist.destroy_process_group()
