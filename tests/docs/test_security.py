"""The pages for a security review say what the code does: fields, files, modes, ports, constants."""

from __future__ import annotations

import os
import re
import ssl
import stat
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints
from unittest.mock import MagicMock

import numpy as np
import pytest

from swarm import messages
from swarm.cli.init import ENROLMENT_PORT
from swarm.cli.join import PORT
from swarm.config import SETTINGS
from swarm.identity import identity_at
from swarm.identity.authority import AUTHORITY_VALID, Authority
from swarm.identity.certificates import load
from swarm.identity.identity import NOTICE
from swarm.identity.register import KEPT
from swarm.identity.site import Site
from swarm.peer.recent import Recent
from swarm.peer.roster import Roster
from swarm.peer.status import Standing, TrainingStatus
from swarm.records import PeerInfo, RoundReport, SyncState
from swarm.storage.checkpoints import KEEP
from swarm.storage.files import write_model
from swarm.tensors.state import ModelState, Schema, TensorSpec
from swarm.transport.base import MAX_FRAME_BYTES, MAX_MESSAGE_BYTES
from swarm.transport.data_channel.tokens import LIFETIME, TOKEN_BYTES
from swarm.transport.grpc import wire
from swarm.transport.grpc.options import HANDSHAKE_SECONDS
from swarm.transport.grpc.quotas import OF_A_PEER, OF_AN_ADDRESS

ROOT = Path(__file__).parents[2]
ADDRESS = "127.0.0.1:7700"


@pytest.fixture
def review(doc):
    return doc("security-review.md")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A directory in which a consortium was founded."""
    directory = tmp_path_factory.mktemp("site")
    authority = Authority.create(
        directory / "swarm-consortium",
        "heart",
        founder="paris",
        identity=directory / "swarm-identity",
        listen=f"127.0.0.1:{ENROLMENT_PORT}",
        address=f"127.0.0.1:{ENROLMENT_PORT}",
        allowed={},
        valid_days=365,
    )
    Site(directory / "swarm-identity").found(authority, ADDRESS)
    return directory


def records_in(kind: Any) -> set[type]:
    """The dataclasses that a type holds, at any depth."""
    if isinstance(kind, UnionType) or get_args(kind):
        return {record for part in get_args(kind) for record in records_in(part)}
    if not is_dataclass(kind):
        return set()
    hints = get_type_hints(kind)
    return {kind, *(record for field in fields(kind) for record in records_in(hints[field.name]))}


def test_what_travels_is_listed_field_for_field(review) -> None:
    beside = (*get_args(wire.Alone), messages.Envelope)
    travel = {record for root in beside for record in records_in(root)}
    assert {messages.Hello, PeerInfo, SyncState} < travel
    listed = {record: cell.split(", ") for record, cell, _ in review.table("record", "fields", "what for")}
    assert listed == {record.__name__: [field.name for field in fields(record)] for record in travel}


def test_what_the_status_shows_is_listed(review) -> None:
    me = PeerInfo(name="paris", incarnation="1", address=ADDRESS, session="session")
    roster = Roster(me, Schema(()))
    machine = MagicMock(commit=None, closed=False, offered=False)
    exchanger = MagicMock(traffic=(0, 0))
    standing = Standing(machine, roster, exchanger, TrainingStatus(), SyncState(1), "", recent=Recent(), origins={})
    listed = [field for cell, _ in review.table("field", "shows") for field in cell.split(", ")]
    assert sorted(listed) == sorted(standing.describe())


def test_the_report_in_a_status_is_listed(review) -> None:
    sentence = re.search(r"^`last` has (.*?)\.", review.text, re.MULTILINE | re.DOTALL)[1]
    assert re.findall(r"`(\w+)`", sentence) == [field.name for field in fields(RoundReport)]


def test_files_have_the_modes_that_are_listed(review, site) -> None:
    listed = {file: int(mode, 8) for file, mode, _ in review.table("file", "mode", "secret")}
    written = {
        f"{path.relative_to(site)}{'/' if path.is_dir() else ''}": stat.S_IMODE(path.stat().st_mode)
        for path in site.rglob("*")
        if path.parent.name != "issued"
    }
    assert listed == written


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_models_have_the_mode_that_the_umask_gives(tmp_path, umask, mode) -> None:
    schema = Schema((TensorSpec("w", (2,), "float32"),))
    before = os.umask(umask)
    try:
        write_model(tmp_path / "model.safetensors", ModelState.empty(schema), {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model.safetensors").stat().st_mode) == mode
    assert np.dtype("float32").itemsize * 2 < (tmp_path / "model.safetensors").stat().st_size


def test_settings_of_ports_exist(review) -> None:
    rows = review.table("port", "set by", "listens", "what travels")
    named = {name for _, cell, _, _ in rows for name in cell.split(", ") if re.fullmatch("[a-z_]+", name)}
    assert {"listen", "data_port"} < named <= SETTINGS.keys()
    numbers = {number for port, _, _, _ in rows for number in re.findall(r"\d+", port)}
    assert numbers == {str(PORT), str(ENROLMENT_PORT)}


def test_connections_are_what_the_page_says(review, site) -> None:
    said = dict(review.table("question", "answer"))
    identity = identity_at(site / "swarm-identity")
    for context in (identity.server_context, identity.client_context):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED
    ciphers = {each["name"] for each in identity.client_context.get_ciphers() if each["protocol"] == "TLSv1.3"}
    assert set(re.findall(r"TLS_\w+", said["Ciphers"])) >= ciphers - {"TLS_AES_128_CCM_SHA256"}
    for name in ("authority.pem", "identity.pem"):
        certificate = load((site / "swarm-identity" / name).read_bytes())
        assert (certificate.public_key().curve.name, certificate.signature_hash_algorithm.name) == (
            "secp256r1",
            "sha256",
        )
    own = identity.certificate
    assert "ECDSA with P-256 and SHA-256" in said["Certificates"]
    assert f"{(own.not_after - own.not_before).days} days" in said["Certificates"]
    assert f"{AUTHORITY_VALID.days} days" in said["Authority"]
    assert f"{TOKEN_BYTES} random bytes" in said["Data channels"]
    assert f"{LIFETIME:g} seconds" in said["Data channels"]


def test_times_and_numbers_are_those_of_the_code(review) -> None:
    said = dict(review.table("question", "answer"))
    assert NOTICE.days == 14
    assert "two weeks" in said["Renewal"]
    assert f"{KEPT.days} days after" in said["Register of the founder"]
    assert KEEP == 2
    assert "two checkpoints" in review.text
    direct = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert len(direct) == 11
    assert said["What is installed"].startswith("eleven direct dependencies")


def test_the_limits_of_the_guarantees_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \| [^|]+ \|$", text, re.MULTILINE))
    message, frame = (size // 2**20 for size in (MAX_MESSAGE_BYTES, MAX_FRAME_BYTES))
    assert rows["bytes of a message; of a frame of weights"] == f"{message} MiB; {frame} MiB"
    (calls,) = (row for name, row in rows.items() if name.startswith("calls of a peer:"))
    assert calls == ", ".join(map(str, OF_A_PEER.values()))
    assert rows["calls of an address, without certificates"] == ", ".join(map(str, OF_AN_ADDRESS.values()))
    assert rows["time to show a certificate, on both ports"] == f"{HANDSHAKE_SECONDS} s"


def test_security_md_leads_to_the_pages() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert {"docs/threat-model.md", "docs/security-review.md"} <= set(re.findall(r"\]\(([^)#]+)", text))
