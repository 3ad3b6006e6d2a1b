"""Signatures of processes."""

from __future__ import annotations

import pytest

from swarm.certification.keys import ProcessKey, verify


def test_a_key_signs_what_it_verifies() -> None:
    one = ProcessKey()
    signature = one.sign(b"statement")
    assert (len(one.key), len(signature)) == (64, 128)
    assert ProcessKey().verify(one.key, b"statement", signature)
    assert verify(one.key, b"statement", signature)


def test_each_process_has_its_own_key() -> None:
    one, other = ProcessKey(), ProcessKey()
    assert one.key != other.key
    assert not verify(one.key, b"statement", other.sign(b"statement"))


def test_a_signature_is_for_one_statement() -> None:
    one = ProcessKey()
    assert not verify(one.key, b"another", one.sign(b"statement"))


@pytest.mark.parametrize(
    ("key", "signature"),
    [
        ("", ""),
        ("ff" * 32, "00" * 64),
        ("no digits", "00" * 64),
        ("00" * 31, "00" * 64),
        ("00" * 32, "00" * 63),
        ("00" * 32, "no digits"),
    ],
)
def test_what_is_no_key_or_no_signature_verifies_nothing(key: str, signature: str) -> None:
    assert not verify(key, b"statement", signature)
    one = ProcessKey()
    assert not verify(one.key, b"statement", signature)
    assert not verify(key, b"statement", one.sign(b"statement"))
