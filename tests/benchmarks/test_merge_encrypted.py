from __future__ import annotations

import json
import ssl

import pytest

from benchmarks.merge.__main__ import figures, table
from benchmarks.merge.cipher import NAME, RECORD_BYTES, Cipher
from benchmarks.merge.encrypted import EncryptedSamples, compare_encrypted, encrypted_figures
from benchmarks.merge.plan import Plan
from swarm.identity import Identity
from swarm.identity.throwaway import make_identities

PLAN = Plan(peers=2, mib=0.25, tensors=3, codec="exact", seed=1)


def samples(seconds, plaintext, floor):
    count = len(seconds)
    return EncryptedSamples(
        seconds=seconds,
        plaintext_seconds=plaintext,
        floor_seconds=floor,
        peer_seconds=seconds,
        gloo_seconds=[0.5] * count,
        bytes_sent=[PLAN.bound] * count,
        extra=[2**18] * count,
    )


def test_what_tls_adds_is_compared_with_the_cipher_round_by_round():
    invocations = [
        samples([3.0, 8.0, 4.0], [2.0, 2.0, 2.0], [1.0, 2.0, 0.5]),
        samples([3.0, 3.0, 3.0], [2.0, 1.0, 1.5], [1.0, 1.0, 1.0]),
    ]
    result = json.loads(json.dumps(encrypted_figures(invocations)))
    assert result["added_over_floor"] == {"median": 1.75, "q1": 1.125, "q3": 2.75, "by_invocation": [3.0, 1.5]}
    assert result["plaintext_ratio"] == {"median": 2.0, "q1": 1.625, "q3": 2.75, "by_invocation": [2.0, 2.0]}
    assert result["plaintext_seconds"]["median"] == 2.0
    assert result["crypto_floor_seconds"]["median"] == 1.0
    assert result["goal"] == {"added_over_floor": 1.5, "met": False}


def test_the_goal_is_met_at_its_value():
    invocations = [samples([3.5, 3.5], [2.0, 2.0], [1.0, 1.0])]
    record = {**figures(PLAN, invocations, private=True), **encrypted_figures(invocations)}
    assert record["goal"]["met"]
    assert record["ratio"]["median"] == 7.0
    shown = table(record)
    assert "exact, over TLS" in shown
    assert "goal, at most 1.5: met" in shown
    assert f"{NAME} alone" in shown


def test_a_record_without_tls_has_no_such_rows():
    assert "TLS" not in table(figures(PLAN, [samples([1.0] * 2, [], [])], private=True))


@pytest.mark.parametrize("records", [1, 2, 5])
def test_the_cipher_encrypts_and_decrypts_as_much(records):
    cipher = Cipher()
    cipher.record[:] = bytes(range(256)) * (RECORD_BYTES // 256)
    for _ in range(2):
        cipher.run(records * RECORD_BYTES)
        assert cipher.record[:] == bytes(range(256)) * (RECORD_BYTES // 256)


def test_the_cipher_is_the_one_that_peers_negotiate(tmp_path):
    make_identities({"berlin": tmp_path / "berlin"})
    identity = Identity(tmp_path / "berlin")
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = identity.client_context.wrap_bio(back, there)
    server = identity.server_context.wrap_bio(there, back, server_side=True)
    for side in (client, server):
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
    client.do_handshake()
    assert client.cipher()[0] == f"TLS_{NAME.replace('-', '_')}_SHA384"


def test_all_arms_are_measured_in_each_round():
    measured = compare_encrypted(PLAN, rounds=2, warmup=0)
    counts = {len(getattr(measured, f"{arm}seconds")) for arm in ("", "plaintext_", "gloo_", "floor_")}
    assert counts == {2}
    assert len(measured.bytes_sent) == len(measured.extra) == 2
    assert min(measured.bytes_sent) > PLAN.bound
