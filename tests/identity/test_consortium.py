from __future__ import annotations

import json

import pytest

from swarm.errors import IdentityError
from swarm.identity import Consortium, Member, Role, certificates, consortium
from swarm.identity.consortium import Revoked

DOCUMENT = Consortium(
    "heart",
    7,
    "2027-01-01T00:00:00+00:00",
    (Member("berlin", 3, Role.TRAINER, "10.0.0.1:7700"), Member("paris", 100, Role.OBSERVER)),
    (Revoked("rome", 2**150 + 1, "2027-01-01T00:00:00+00:00"),),
    {"merge_method": ("mean", "coordmedian"), "min_peers": (2,)},
)


def test_what_was_signed_is_read_again(heart):
    assert consortium.verified(DOCUMENT.signed(heart.key), heart.pem) == DOCUMENT
    assert DOCUMENT.member("paris") == Member("paris", 100, Role.OBSERVER)
    assert DOCUMENT.revocation(2**150 + 1)
    assert DOCUMENT.revocation(1) is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 8),
        (("members", 0, "weight"), 100),
        (("members", 1, "role"), "trainer"),
        (("revoked",), []),
        (("allowed", "merge_method"), ["geomedian"]),
    ],
)
def test_a_change_ends_the_signature(heart, path, value):
    outer = json.loads(DOCUMENT.signed(heart.key))
    place = outer["consortium"]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(IdentityError, match="not signed by its authority"):
        consortium.verified(json.dumps(outer).encode(), heart.pem)


def test_a_document_of_another_authority_is_refused(heart):
    with pytest.raises(IdentityError, match="not signed by its authority"):
        consortium.verified(DOCUMENT.signed(certificates.new_key()), heart.pem)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), 2),
        (("version",), -1),
        (("version",), 2**60),
        (("version",), True),
        (("name",), "a\x1b[31m"),
        (("members", 0, "name"), "Berlin"),
        (("members", 0, "weight"), 101),
        (("members", 0, "role"), "king"),
        (("members", 0, "address"), "x" * 301),
        (("members", 0, "address"), "10.0.0.1"),
        (("members", 0, "address"), "0.0.0.0:7700"),
        (("members", 0, "address"), "paris@10.0.0.1:7700"),
        (("members",), [0] * 1001),
        (("members",), {"a": 1}),
        (("revoked", 0, "serial"), "-"),
        (("allowed",), {"codec": [{}]}),
        (("allowed",), {"codec": [float("nan")]}),
        (("allowed",), []),
    ],
)
def test_a_document_out_of_bounds_is_refused(heart, path, value):
    outer = json.loads(DOCUMENT.signed(heart.key))
    place = outer["consortium"]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(IdentityError, match="none:"):
        consortium.read(json.dumps(outer).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b"{" + b" " * 300_000])
def test_what_is_no_document_is_refused(data):
    with pytest.raises(IdentityError):
        consortium.read(data)


def test_a_document_that_nobody_could_read_is_not_signed(heart):
    with pytest.raises(IdentityError):
        Consortium("heart", 1, "now", (Member("Berlin"),)).signed(heart.key)
