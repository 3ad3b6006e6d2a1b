"""`make lint` finds what would run code that a file or a peer has brought."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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


def test_nothing_else_is_found():
    assert "TID251" not in findings("import json\n\nprint(json.loads('1'))\n")
