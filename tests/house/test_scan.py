"""`make lint` finds what would run code that a file or a peer has brought."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from torch import distributed

ROOT = Path(__file__).parents[2]


def findings(source: str) -> str:
    """What ruff says of a file of the package with this content."""
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--stdin-filename",
        "swarm/peer/new.py",
        "--output-format=concise",
        "-",
    ]
    return subprocess.run(command, cwd=ROOT, input=source, text=True, capture_output=True, check=False).stdout


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("import pickle\n\nprint(pickle.loads(b''))\n", "TID251"),
        ("from pickle import loads\n\nprint(loads(b''))\n", "TID251"),
        ("import cloudpickle\n\nprint(cloudpickle.loads(b''))\n", "TID251"),
        ("import torch\n\nprint(torch.load('file'))\n", "TID251"),
        ("import _pickle\n\nprint(_pickle.loads(b''))\n", "TID251"),
        ("from torch.serialization import load\n\nprint(load('file'))\n", "TID251"),
        ("import torch\n\nprint(torch.serialization.load('file'))\n", "TID251"),
        ("import torch\n\nprint(torch.jit.load('file'))\n", "TID251"),
        ("from torch import jit\n\nprint(jit.load('file'))\n", "TID251"),
        ("import torch\n\nprint(torch.export.load('file'))\n", "TID251"),
        ("import torch\n\nprint(torch.hub.load('there', 'model'))\n", "TID251"),
        ("from torch.package import PackageImporter\n\nprint(PackageImporter('file'))\n", "TID251"),
        ("from torch.distributed import rpc\n\nprint(rpc.rpc_sync('a', print))\n", "TID251"),
        ("from accelerate.utils import gather_object\n\nprint(gather_object([]))\n", "TID251"),
        ("import pandas as pd\n\nprint(pd.read_pickle('file'))\n", "TID251"),
        ("import yaml\n\nprint(yaml.unsafe_load('file'))\n", "TID251"),
        ("from multiprocessing.connection import Client\n\nprint(Client('there').recv())\n", "TID251"),
        ("import multiprocessing.connection\n\nprint(multiprocessing.connection.Client('there').recv())\n", "TID251"),
        ("from multiprocessing import Pipe\n\nprint(Pipe()[0].recv())\n", "TID251"),
        ("import multiprocessing\n\nprint(multiprocessing.Queue().get())\n", "TID251"),
        ("from multiprocessing.managers import BaseManager\n\nprint(BaseManager())\n", "TID251"),
        ("import asyncio\n\nprint(asyncio.create_subprocess_shell('ls'))\n", "TID251"),
        ("import subprocess\n\nsubprocess.getoutput('ls')\n", "S605"),
        ("import numpy as np\n\nprint(np.load('file'))\n", "TID251"),
        ("from numpy import load\n\nprint(load('file'))\n", "TID251"),
        ("print(eval(input()))\n", "S307"),
        ("exec(input())\n", "S102"),
        ("import subprocess\n\nsubprocess.run('ls', shell=True)\n", "S602"),
        ("import os\n\nos.system('ls')\n", "S605"),
    ],
)
def test_it_is_found(source, rule):
    assert rule in findings(source)


def test_each_way_of_torch_to_send_objects_is_found():
    names = sorted(name for name in dir(distributed) if "object" in name and not name.startswith("_"))
    assert "broadcast_object_list" in names
    for name in names:
        for where in ("torch.distributed", "torch.distributed.distributed_c10d"):
            assert "TID251" in findings(f"from {where} import {name}\n\nprint({name})\n"), name
        assert "TID251" in findings(f"from torch import distributed\n\nprint(distributed.{name})\n"), name


def test_nothing_else_is_found():
    assert "TID251" not in findings("from torch import distributed\n\nprint(distributed.broadcast([]))\n")
    assert "TID251" not in findings("import json\n\nprint(json.loads('1'))\n")
