"""What is signed: the hash of a record, and statements that stand for nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from swarm.certification.encoding import encode_record
from swarm.certification.statements import (
    accept_statement,
    canonical,
    credential_statement,
    offer_statement,
    promise_statement,
    ready_statement,
    record_hash,
)
from swarm.records import (
    Attempt,
    Best,
    Commit,
    ContributionStats,
    Credential,
    Origin,
    PeerStatus,
    Proof,
    QuorumCertificate,
    RecordKind,
    Refusal,
    Signature,
    SyncState,
)


def record() -> Commit:
    return Commit(
        lineage="line",
        round=4,
        digest="model",
        members=("ann", "bob"),
        group=("ann",),
        contributors=("ann",),
        sync=SyncState(8, 0.5),
        previous="before",
        keys=("k1", "k2"),
        weights=(1,),
        rule="mean",
        codec="exact",
        settings="agreed",
        refused=(Refusal("bob", "too far"),),
        credentials=(Credential("ann", "k1", "cert", "proof"),),
        origins=(Origin("line", 0, majority=True),),
        best=Best(1, "m", 0.5),
    )


BEST_AND_STOP = Best(1, "m", 0.5, stop=True)
PROOF = Proof("bob", "k2", "line", 4, Attempt(1, "ann"), "one", "s1", Attempt(1, "ann"), "two", None, "s2")
CHANGES: dict[str, tuple[Any, ...]] = {
    "lineage": ("other",),
    "round": (5,),
    "digest": ("another",),
    "members": (("ann", "cid"), ("bob", "ann"), ("ann",)),
    "group": (("ann", "bob"), ()),
    "contributors": ((), ("bob",)),
    "sync": (SyncState(9, 0.5), SyncState(8), SyncState(8, 0.25)),
    "closing": (True,),
    "done": (True,),
    "kind": (RecordKind.FORK, RecordKind.RESTART, RecordKind.FOUNDING),
    "previous": ("",),
    "keys": (("k1", "k3"), ("k2", "k1")),
    "weights": ((2,), (1, 0)),
    "rule": ("coordmedian",),
    "codec": ("int8",),
    "settings": ("",),
    "refused": ((), (Refusal("bob", "another reason"),), (Refusal("cid", "too far"),)),
    "credentials": ((), (Credential("ann", "k1"),), (Credential("ann", "k1", "cert", "another"),)),
    "proofs": ((PROOF,),),
    "origins": ((), (Origin("line", 1, majority=True),), (Origin("line", 0, majority=False),)),
    "best": (None, Best(2, "m", 0.5), Best(1, "n", 0.5), Best(1, "m", 0.25), Best(1, "m", 0.5, 1), BEST_AND_STOP),
    "stop": (True,),
}


def test_every_field_of_a_record_but_the_certificate_is_tried() -> None:
    assert {*CHANGES, "certificate"} == {field.name for field in fields(Commit)}


def test_equal_records_have_one_hash() -> None:
    assert record_hash(record()) == record_hash(record())
    assert len(record_hash(record())) == 64


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in CHANGES.items() for value in values])
def test_a_record_with_one_field_changed_has_another_hash(name: str, value: Any) -> None:
    assert record_hash(replace(record(), **{name: value})) != record_hash(record())


def test_a_record_without_a_best_model_has_the_text_of_one_of_a_release_that_knows_none() -> None:
    assert b"best" not in encode_record(replace(record(), best=None))
    assert b"score" not in offer_statement("heart", "line", "before", STATS, (), "k1")


def test_the_certificate_is_not_covered() -> None:
    """Two peers may hold different signatures of the same record."""
    certificate = QuorumCertificate(Attempt(3, "ann"), (Signature("ann", "signed"),))
    assert record_hash(replace(record(), certificate=certificate)) == record_hash(record())


ATTEMPT = Attempt(2, "ann")
STATS = ContributionStats(peer="ann", round=4, weight=1)
ROUND_STATEMENTS: dict[str, Callable[..., bytes]] = {
    "accept": lambda session, lineage, round_, attempt: accept_statement(session, lineage, round_, attempt, "hash"),
    "ready": lambda session, lineage, round_, attempt: ready_statement(session, lineage, round_, attempt, "hash"),
    "promise": lambda session, lineage, round_, attempt: promise_statement(
        session, lineage, round_, attempt, ATTEMPT, "hash"
    ),
}


@pytest.mark.parametrize("make", ROUND_STATEMENTS.values(), ids=ROUND_STATEMENTS)
def test_a_statement_about_a_round_stands_for_no_other_session_lineage_round_or_attempt(
    make: Callable[..., bytes],
) -> None:
    about = [
        ("s", "line", 4, Attempt(5, "ann")),
        ("t", "line", 4, Attempt(5, "ann")),
        ("s", "other", 4, Attempt(5, "ann")),
        ("s", "line", 5, Attempt(5, "ann")),
        ("s", "line", 4, Attempt(6, "ann")),
        ("s", "line", 4, Attempt(5, "bob")),
    ]
    assert len({make(*each) for each in about}) == len(about)


def test_a_statement_of_one_purpose_stands_for_no_other_purpose() -> None:
    about = ("s", "line", 4, Attempt(5, "ann"))
    assert len({make(*about) for make in ROUND_STATEMENTS.values()}) == len(ROUND_STATEMENTS)


def test_texts_cannot_be_divided_otherwise() -> None:
    def statement(session: str, lineage: str) -> bytes:
        return accept_statement(session, lineage, 1, ATTEMPT, "hash")

    assert statement("ab", "c") != statement("a", "bc")
    assert statement('a","b', "c") != statement("a", 'b","c')


def test_a_promise_says_what_was_accepted_before() -> None:
    told = [
        promise_statement("s", "line", 4, Attempt(5, "ann"), *before)
        for before in ((None, ""), (ATTEMPT, "one"), (ATTEMPT, "two"), (Attempt(1, "ann"), "one"))
    ]
    assert len({*told}) == len(told)


STATS_CHANGES: dict[str, Any] = {
    "peer": "bob",
    "round": 5,
    "weight": 2,
    "status": PeerStatus.SNAPSHOT,
    "steps": 1,
    "finite": False,
    "delta_norm": 0.5,
    "residual": 0.5,
    "signal": 0.5,
    "nan_state": True,
    "moments": True,
}


def _other(field: str) -> Any:
    """Another value for a field that was added since."""
    return STATS_CHANGES.get(field, "another")


@pytest.mark.parametrize("field", [field.name for field in fields(ContributionStats)])
def test_an_offer_is_signed_with_all_that_it_says_of_the_contribution(field: str) -> None:
    changed = replace(STATS, **{field: _other(field)})
    assert offer_statement("s", "line", "before", changed, (), "key") != offer_statement(
        "s", "line", "before", STATS, (), "key"
    )


def test_an_offer_is_signed_with_what_it_follows_whom_it_lacks_and_its_key() -> None:
    told = [
        offer_statement(session, lineage, previous, STATS, gone, key)
        for session, lineage, previous, gone, key in (
            ("s", "line", "before", (), "key"),
            ("t", "line", "before", (), "key"),
            ("s", "other", "before", (), "key"),
            ("s", "line", "after", (), "key"),
            ("s", "line", "before", ("cid",), "key"),
            ("s", "line", "before", (), "another"),
        )
    ]
    assert len({*told}) == len(told)


def test_a_credential_is_that_of_one_key_of_one_peer_in_one_session() -> None:
    told = [
        credential_statement(*each)
        for each in (("s", "ann", "key"), ("t", "ann", "key"), ("s", "bob", "key"), ("s", "ann", "another"))
    ]
    assert len({*told}) == len(told)


def test_one_value_has_one_text() -> None:
    assert canonical({"b": 1, "a": [None, "é"]}) == canonical({"a": [None, "é"], "b": 1})
    assert canonical({"b": 1, "a": [None, "é"]}) == b'{"a":[null,"\\u00e9"],"b":1}'
