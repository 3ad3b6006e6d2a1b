"""Settings: the file ``swarm.toml``, and the variables of the environment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from swarm.config import resolve
from swarm.config.agreement import difference, told_value
from swarm.config.links import report_ignored
from swarm.errors import ConfigurationError
from swarm.records import MAX_SETTING
from swarm.text import MAX_SHOWN
from tests.fuzz.mutation import TEXT
from tests.fuzz.target import Target
from tests.fuzz.workspace import folder


def _file(data: bytes) -> int:
    place = folder("settings")
    (place / "swarm.toml").write_bytes(data)
    return len(set(resolve(environment={}, directory=place).origins.values()))


def _environment(data: bytes) -> int:
    """Lines ``NAME=VALUE``, as ``env`` prints them; a variable of Swarm cannot name a file here."""
    variables = {}
    for line in os.fsdecode(data.replace(b"\0", b"")).split("\n"):
        name, _, value = line.partition("=")
        if name != "SWARM_CONFIG":
            variables[name] = value
    found = len(set(resolve(environment=variables, directory=folder("no-settings")).origins.values()))
    report_ignored.cache_clear()  # it remembers what it has logged
    return found


def _files() -> Mapping[str, bytes]:
    full = """\
# a site
[swarm]
name = "berlin"
model_name = "hospitals"
listen = "127.0.0.1:7000"
peers = ["127.0.0.1:7001", "[::1]:7002"]
min_peers = 2
sync_interval = 128
node_weightage = 30
failure_timeout = 7.5
overlap = true
merge_method = "coordmedian"
codec = "int8"
share = ["head.*", "body.1.*"]
model_dir = "out/models"
samples = 4500
largest_share = 0.5

[swarm.agree]
classes = ["ill", "well"]
preprocessing = "v3"
"""
    return {"full": full.encode(), "empty": b"[swarm]\n"}


def _fact(data: bytes) -> str:
    """A fact as another peer declares it, in a message about a difference."""
    value = data.decode(errors="replace")[:MAX_SETTING]
    told = difference("agree['classes']", {"berlin": told_value('["ill","well"]'), "paris": value})
    assert told.isprintable()
    assert len(told) < MAX_SHOWN
    return told


def _facts() -> Mapping[str, bytes]:
    columns = json.dumps([f"column_{index}" for index in range(1000)], separators=(",", ":"))
    return {"list": b'["ill","sick"]', "number": b"0.5", "shortened": told_value(columns).encode()}


def _variables() -> Mapping[str, bytes]:
    full = """\
SWARM_NAME=berlin
SWARM_MODEL_NAME=hospitals
SWARM_LISTEN=127.0.0.1:7000
SWARM_ADVERTISE=
SWARM_PEERS=127.0.0.1:7001, localhost:7002
SWARM_MIN_PEERS=2
SWARM_SYNC_INTERVAL=+128
SWARM_FAILURE_TIMEOUT=7.5
SWARM_OVERLAP=yes
SWARM_LOOPBACK=off
SWARM_MODEL_DIR=~/models
SWARM_DATA_PORT=0
"""
    links = """\
SWARM_SERVICE_HOST=10.0.0.1
SWARM_SERVICE_PORT=7000
SWARM_PORT=tcp://10.0.0.1:7000
SWARM_NAME=/web/swarm
HOME=/root
"""
    return {"full": full.encode(), "links": links.encode()}


GROUP = [
    Target(name="settings-file", run=_file, refusals=(ConfigurationError,), values=_files, form=TEXT),
    Target(name="fact", run=_fact, refusals=(), values=_facts, form=TEXT),
    Target(name="settings-environment", run=_environment, refusals=(ConfigurationError,), values=_variables, form=TEXT),
]
