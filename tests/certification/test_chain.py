"""Which records are true, which lineage stands, and who has signed two results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise, permutations
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.certification.chain import Verifier, conflict, origins_with, stands
from swarm.certification.encoding import decode_record, encode_record
from swarm.certification.keys import ProcessKey
from swarm.certification.statements import record_hash
from swarm.messages import Decide, Envelope
from swarm.records import (
    MAX_ORIGINS,
    Attempt,
    Best,
    Commit,
    Credential,
    Origin,
    Proof,
    QuorumCertificate,
    RecordKind,
    Signature,
    SyncState,
)
from swarm.transport.grpc import wire
from tests.signing import certified

from .conftest import Book


def doubt_chain(verifier: Verifier, records: Sequence[Commit], before: Commit | None) -> str:
    """The first reason why ``records`` do not follow ``before``, and one another; empty if there is none."""
    for record in records:
        reason = verifier.doubt(record, before)
        if reason:
            return reason
        before = record
    return ""


FIRST, SECOND, THIRD = (Attempt(counter, "ann") for counter in range(3))


# Doubt ---------------------------------------------------------------------------------------------------------------


def test_an_honest_chain_is_true(book: Book) -> None:
    founding = book.founding("ann", "bob", "cid")
    first = book.following(founding)
    second = book.following(first, "ann", "bob", "dee")
    assert second.members == ("ann", "bob", "cid", "dee")
    third = book.following(second, "ann", "bob", "cid", "dee")
    assert doubt_chain(book.verifier(), [founding, first, second, third], None) == ""
    assert doubt_chain(book.verifier(), [second, third], first) == ""


def test_the_first_record_that_is_not_true_is_named(book: Book) -> None:
    founding = book.founding("ann", "bob", "cid")
    first = book.following(founding)
    second = replace(book.following(first), certificate=None)
    doubt = doubt_chain(book.verifier(), [founding, first, second], None)
    assert doubt == "the record of round 2 has no certificate"
    assert doubt_chain(book.verifier(), [founding, second], None) == (
        "the record of round 2 does not follow the record before it"
    )


KEYS = "the record of round 1 has not one key for each member and one weight for each of the group"
GROUP = "the record of round 1 has a group that is not of its membership"
SMALL = "the record of round 1 has a group of 1, fewer than min_peers=2"
FOLLOWS = "the record of round 1 does not follow the record before it"
LINEAGE = "the record of round 1 is of another lineage than the record before it"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"keys": ("00", "11")}, KEYS),
        ({"keys": ()}, KEYS),
        ({"weights": (1, 1)}, KEYS),
        ({"group": ("ann", "bob", "zoe")}, GROUP),
        ({"contributors": ("zoe",)}, GROUP),
        ({"group": ("ann",), "weights": (1,), "contributors": ()}, SMALL),
        ({"previous": "another"}, FOLLOWS),
        ({"previous": ""}, FOLLOWS),
        ({"round": 2}, FOLLOWS.replace("round 1", "round 2")),
        ({"round": 0}, FOLLOWS.replace("round 1", "round 0")),
        ({"lineage": "other"}, LINEAGE),
        ({"origins": ()}, LINEAGE),
        ({"origins": (Origin("line", 0, majority=True), Origin("line", 1, majority=True))}, LINEAGE),
    ],
)
def test_a_record_in_the_wrong_place_is_not_true_whoever_signs_it(
    book: Book, changes: dict[str, Any], reason: str
) -> None:
    founding = book.founding("ann", "bob", "cid")
    record = certified("s", book.signers, replace(book.following(founding), **changes), by=("ann", "bob", "cid"))
    assert book.verifier(min_peers=2).doubt(record, founding) == reason


def test_the_best_model_is_that_of_the_record_before_or_the_one_that_this_names(book: Book) -> None:
    founding = book.founding("ann", "bob")
    first = book.following(founding, best=Best(0, founding.digest, 0.5))
    assert book.verifier().doubt(first, founding) == ""
    for digest in (first.digest, founding.digest):
        second = book.following(first, digest="third", best=Best(1, digest, 0.25))
        assert book.verifier().doubt(second, first) == ""
    reason = "the record of round 2 names a best model that is not of a record before it"
    assert book.verifier().doubt(book.following(first, best=Best(1, "other", 0.1)), first) == reason


def test_nothing_follows_the_closing_record(book: Book) -> None:
    closing = book.following(book.founding("ann", "bob"), closing=True)
    assert book.verifier().doubt(book.following(closing), closing) == "the record of round 2 follows the closing one"


@pytest.mark.parametrize(
    "changes",
    [
        {"previous": "another"},
        {"round": 1},
        {"origins": ()},
        {"origins": (Origin("other", 0, majority=True),)},
        {"origins": (Origin("line", 0, majority=False),)},
        {"origins": (Origin("line", 3, majority=True),)},
        {"origins": (Origin("parent", 0, majority=True), Origin("line", 0, majority=True))},
        {"best": Best(0, "model", 0.5)},
    ],
)
def test_a_founding_record_says_that_nothing_was_before(book: Book, changes: dict[str, Any]) -> None:
    record = book.founding("ann", "bob", **changes)
    reason = f"the record of round {record.round} is not the founding one that it says it is"
    assert book.verifier().doubt(record, None) == reason
    assert book.verifier().doubt(book.founding("ann", "bob"), None) == ""


def test_a_founding_record_follows_no_other(book: Book) -> None:
    founding = book.founding("ann", "bob")
    assert "not the founding one" in book.verifier().doubt(founding, founding)


def test_any_other_record_needs_the_one_before_it(book: Book) -> None:
    founding = book.founding("ann", "bob")
    assert book.verifier().doubt(book.following(founding), None) == FOLLOWS
    assert book.verifier().doubt(book.branch(founding, "fork", "ann"), None) == FOLLOWS


@pytest.mark.parametrize(
    ("signed_by", "reason"),
    [
        ((), "is signed by nobody, which is no quorum of ann, bob, cid"),
        (("ann",), "is signed by ann, which is no quorum of ann, bob, cid"),
        (("ann", "ann"), "is signed by ann, which is no quorum of ann, bob, cid"),
        (("ann", "zoe", "yan"), "has a signature of zoe that does not count"),
        (("ann", "bob"), ""),
        (("cid", "zoe", "bob"), "has a signature of zoe that does not count"),
    ],
)
def test_a_round_is_true_by_a_majority_of_the_membership_before_it(
    book: Book, signed_by: tuple[str, ...], reason: str
) -> None:
    for stranger in ("yan", "zoe"):
        book.signer(stranger)
    founding = book.founding("ann", "bob", "cid")
    record = certified("s", book.signers, book.following(founding), by=signed_by)
    assert book.verifier().doubt(record, founding) == (f"the record of round 1 {reason}" if reason else "")


def test_newcomers_do_not_vote_in_the_round_in_which_they_come(book: Book) -> None:
    founding = book.founding("ann", "bob", "cid")
    record = book.following(founding, "ann", "dee", "eva", "fay")
    everyone = book.certify(record, by=("ann", "dee", "eva", "fay"))
    assert "a signature of dee that does not count" in book.verifier().doubt(everyone, founding)
    assert "is signed by ann," in book.verifier().doubt(record, founding)
    assert book.verifier().doubt(book.certify(record, by=("bob", "cid")), founding) == ""


def test_with_tolerated_liars_more_votes_are_needed(book: Book) -> None:
    founding = book.founding("ann", "bob", "cid", "dee", "eva")
    record = book.certify(book.following(founding), by=("ann", "bob", "cid"))
    assert book.verifier().doubt(record, founding) == ""
    assert "no quorum" in book.verifier(liars=1).doubt(record, founding)
    more = book.certify(record, by=("ann", "bob", "cid", "dee"))
    assert book.verifier(liars=1).doubt(more, founding) == ""


def _other_session(book: Book, record: Commit) -> Commit:
    return certified("another", book.signers, record)


def _other_key(book: Book, record: Commit) -> Commit:
    return certified("s", {peer: ProcessKey() for peer in record.members}, record)


def _other_record(book: Book, record: Commit) -> Commit:
    return replace(record, digest="another model")


def _other_attempt(book: Book, record: Commit) -> Commit:
    assert record.certificate is not None
    return replace(record, certificate=replace(record.certificate, attempt=Attempt(7, "bob")))


def _each_others(book: Book, record: Commit) -> Commit:
    assert record.certificate is not None
    first, *rest = record.certificate.signatures
    turned = (*(Signature(one.peer, other.value) for one, other in zip(rest, (first, *rest), strict=False)), first)
    return replace(record, certificate=QuorumCertificate(record.certificate.attempt, turned[:-1]))


def _former_keys(book: Book, record: Commit) -> Commit:
    for peer in record.members:
        book.restart(peer)
    return book.certify(record)


@pytest.mark.parametrize(
    "forge", [_other_session, _other_key, _other_record, _other_attempt, _each_others, _former_keys]
)
def test_signatures_of_anything_else_do_not_count(book: Book, forge: Callable[[Book, Commit], Commit]) -> None:
    founding = book.founding("ann", "bob", "cid")
    record = book.following(founding)
    forged = forge(book, record)
    assert "that does not count" in book.verifier().doubt(forged, founding)


def test_a_signature_of_the_round_before_does_not_count(book: Book) -> None:
    founding = book.founding("ann", "bob", "cid")
    record = replace(book.following(founding), certificate=founding.certificate)
    assert "that does not count" in book.verifier().doubt(record, founding)


# Keys ----------------------------------------------------------------------------------------------------------------


def test_a_member_that_restarted_votes_with_its_key_of_the_record_before(book: Book) -> None:
    founding = book.founding("ann", "bob", "cid")
    former = dict(book.signers)
    book.restart("cid")
    record = book.following(founding, "ann", "bob", "cid")
    assert record.key_of("cid") == book.signer("cid").key != founding.key_of("cid")
    assert book.verifier().doubt(book.certify(record, by=("ann", "cid")), founding) != ""
    assert book.verifier().doubt(certified("s", former, record, by=("ann", "cid")), founding) == ""


@pytest.mark.parametrize(
    "credentials",
    [(), (Credential("dee", "00" * 32),), (Credential("ann", "the key"),)],
    ids=["none", "of another key", "of another peer"],
)
def test_a_new_key_needs_its_credential(book: Book, credentials: tuple[Credential, ...]) -> None:
    founding = book.founding("ann", "bob")
    record = book.following(founding, "ann", "bob", "dee", credentials=credentials)
    assert book.verifier().doubt(record, founding) == "the record of round 1 gives dee a key without a credential"


def test_a_known_key_needs_none(book: Book) -> None:
    founding = book.founding("ann", "bob")
    assert book.following(founding).credentials == ()
    assert book.verifier(vouch=lambda _: "asked").doubt(book.following(founding), founding) == ""


def test_a_credential_that_is_not_that_of_its_peer_is_named(book: Book) -> None:
    def vouch(given: Credential) -> str:
        return "it is signed by somebody else" if given.peer == "dee" else ""

    founding = book.founding("ann", "bob")
    record = book.following(founding, "ann", "bob", "dee")
    reason = "the record of round 1 gives dee a key that is not its own: it is signed by somebody else"
    assert book.verifier(vouch=vouch).doubt(record, founding) == reason


# Other lineages ------------------------------------------------------------------------------------------------------


def test_a_fork_is_true_by_a_majority_of_its_own_group(book: Book) -> None:
    founding = book.founding("ann", "bob", "cid", "dee", "eva")
    fork = book.branch(founding, "fork", "ann", "bob")
    assert fork.kind is RecordKind.FORK
    assert book.verifier().doubt(fork, founding) == ""
    assert book.verifier(liars=1).doubt(fork, founding) == "", "liars are tolerated only where a membership decides"
    assert "no quorum of ann, bob" in book.verifier().doubt(book.certify(fork, by=("ann",)), founding)
    assert book.verifier().doubt(book.following(fork), fork) == ""


def test_a_restart_is_signed_by_a_majority_of_the_members_before_it(book: Book) -> None:
    founding = book.founding("ann", "bob", "cid", "dee", "eve")
    restart = book.branch(founding, "again", "ann", "bob", "cid")
    assert restart.kind is RecordKind.RESTART
    few = book.certify(restart, by=("bob", "cid"))
    assert "no quorum" in book.verifier().doubt(few, founding)
    assert book.verifier().doubt(book.certify(restart, by=("ann", "bob", "cid")), founding) == ""


def test_where_members_may_lie_a_restart_needs_as_many_more(book: Book) -> None:
    founding = book.founding("ann", "bob", "cid", "dee", "eve")
    few = book.branch(founding, "again", "ann", "bob", "cid")
    assert "does not say truly" in book.verifier(liars=1).doubt(few, founding)
    enough = book.branch(founding, "again", "ann", "bob", "cid", "dee")
    assert book.verifier(liars=1).doubt(enough, founding) == ""


def test_a_signature_that_does_not_count_makes_a_record_untrue(book: Book) -> None:
    founding = book.founding("ann", "bob")
    record = book.following(founding)
    certificate = record.certificate
    assert certificate is not None
    padded = (*certificate.signatures, Signature("zoe", certificate.signatures[0].value))
    doubt = book.verifier().doubt(replace(record, certificate=replace(certificate, signatures=padded)), founding)
    assert "a signature of zoe that does not count" in doubt


def test_those_who_restarted_sign_the_record_of_a_restart_with_their_new_keys(book: Book) -> None:
    founding = book.founding("ann", "bob", "cid")
    book.restart("ann")
    book.restart("bob")
    restart = book.branch(founding, "again", "ann", "bob")
    assert restart.kind is RecordKind.RESTART
    assert book.verifier().doubt(restart, founding) == ""


@pytest.mark.parametrize(
    ("group", "changes"),
    [
        (("ann", "bob"), {"kind": RecordKind.RESTART}),
        (("ann", "bob", "cid"), {"kind": RecordKind.FORK}),
        (("ann", "bob"), {"origins": (Origin("line", 0, majority=True), Origin("fork", 1, majority=True))}),
        (("ann", "bob", "cid"), {"origins": (Origin("line", 0, majority=True), Origin("fork", 1, majority=False))}),
        (("ann", "bob"), {"origins": (Origin("line", 0, majority=True), Origin("fork", 9, majority=False))}),
        (("ann", "bob"), {"origins": (Origin("line", 0, majority=True), Origin("other", 1, majority=False))}),
        (("ann", "bob"), {"origins": (Origin("line", 5, majority=True), Origin("fork", 1, majority=False))}),
        (("ann", "bob"), {"origins": (Origin("fork", 1, majority=False),)}),
        (("ann", "bob"), {"origins": (Origin("line", 0, majority=True),)}),
        (("ann", "bob"), {"origins": ()}),
    ],
)
def test_a_new_lineage_says_truly_where_it_comes_from(
    book: Book, group: tuple[str, ...], changes: dict[str, Any]
) -> None:
    founding = book.founding("ann", "bob", "cid", "dee", "eva")
    record = book.branch(founding, "fork", *group, **changes)
    assert book.verifier().doubt(record, founding) == ("the record of round 1 does not say truly how its lineage began")
    assert book.verifier().doubt(book.branch(founding, "fork", *group), founding) == ""


def test_a_fork_of_a_fork_names_both(book: Book) -> None:
    founding = book.founding("ann", "bob", "cid", "dee", "eva")
    fork = book.branch(founding, "fork", "ann", "bob")
    grandchild = book.branch(fork, "again", "ann")
    assert [origin.lineage for origin in grandchild.origins] == ["line", "fork", "again"]
    assert book.verifier().doubt(grandchild, fork) == ""
    assert book.verifier().doubt(grandchild, founding) != ""


# Which lineage stands ------------------------------------------------------------------------------------------------


def lineage(*origins: Origin, members: str = "ab", round_: int = 9, signed: int = 0) -> Commit:
    signatures = tuple(Signature(peer, "") for peer in members[: signed or None])
    return Commit(
        lineage=origins[-1].lineage, round=round_, digest="d", members=tuple(members), group=tuple(members),
        contributors=(), sync=SyncState(8), origins=origins,
        certificate=QuorumCertificate(Attempt(0, "a"), signatures),
    )  # fmt: skip


def began(name: str, round_: int = 3, *, majority: bool = False) -> Origin:
    return Origin(name, round_, majority)


LINE = Origin("line", 0, majority=True)

STANDS = {
    "the parent against a minority": (lineage(LINE, round_=3), lineage(LINE, began("a"), round_=90)),
    "the parent against a larger minority": (lineage(LINE), lineage(LINE, began("a"), members="abcd")),
    "a majority against its parent": (lineage(LINE, began("z", majority=True)), lineage(LINE, round_=90)),
    "a majority against a smaller one that stayed": (
        lineage(LINE, began("z", majority=True)),
        lineage(LINE, members="abcd"),
    ),
    "siblings of one round: the majority": (
        lineage(LINE, began("z", majority=True)),
        lineage(LINE, began("a"), members="abcd"),
    ),
    "siblings of one round without a majority: more members": (
        lineage(LINE, began("z"), members="abc"),
        lineage(LINE, began("a"), members="ab"),
    ),
    "siblings of one round and size: the lower id": (lineage(LINE, began("a")), lineage(LINE, began("z"))),
    "siblings of different rounds: the one that stayed longer": (
        lineage(LINE, began("z", 5)),
        lineage(LINE, began("a", 3), members="abcd"),
    ),
    "siblings of different rounds: a majority that left first": (
        lineage(LINE, began("z", 3, majority=True)),
        lineage(LINE, began("a", 5), members="abcd"),
    ),
    "the parent against its grandchild of a minority": (
        lineage(LINE),
        lineage(LINE, began("z"), began("a", 4, majority=True), members="abcd"),
    ),
    "a grandchild through majorities against the parent": (
        lineage(LINE, began("z", majority=True), began("y", 4, majority=True)),
        lineage(LINE, members="abcd"),
    ),
    "a grandchild that left a majority, against the parent that has none": (
        lineage(LINE, began("z", majority=True), began("y", 4)),
        lineage(LINE, members="abcd"),
    ),
    "an uncle with the majority against a nephew": (
        lineage(LINE, began("z", majority=True)),
        lineage(LINE, began("a"), began("b", 4, majority=True), members="abcd"),
    ),
    "cousins: their parents decide": (
        lineage(LINE, began("z", majority=True), began("y", 7)),
        lineage(LINE, began("a"), began("b", 7, majority=True), members="abcd"),
    ),
    "a fork against its own minority": (lineage(LINE, began("z")), lineage(LINE, began("z"), began("a", 5))),
    "two that have nothing in common: more members": (
        lineage(began("z", 0, majority=True), members="abc"),
        lineage(began("a", 0, majority=True), members="ab"),
    ),
    "one that names more members than its signatures are a majority of": (
        lineage(began("z", 0, majority=True), members="abc", signed=2),
        lineage(began("a", 0, majority=True), members="abcdefgh", signed=1),
    ),
    "two of one size that have nothing in common: the lower id": (
        lineage(began("a", 0, majority=True)),
        lineage(began("z", 0, majority=True)),
    ),
}


@pytest.mark.parametrize(("one", "other"), STANDS.values(), ids=STANDS)
def test_of_two_lineages_the_same_one_stands_for_both(one: Commit, other: Commit) -> None:
    assert stands(one, other)
    assert not stands(other, one)


@st.composite
def _trees(draw: st.DrawFn) -> list[Commit]:
    """Lineages that come from one another, each later than the one that it comes from."""
    made: list[tuple[Origin, ...]] = []
    for number in range(draw(st.integers(2, 6))):
        parent = draw(st.sampled_from([(), *made]))
        begun = parent[-1].round + 1 + draw(st.integers(0, 2)) if parent else 0
        taken = any(each[:-1] == parent and each[-1].round == begun and each[-1].majority for each in made)
        majority = not parent or (draw(st.booleans()) and not taken)
        made.append(origins_with(parent, Origin(f"l{number}", begun, majority)))
    return [lineage(*origins, members="abcdef"[: draw(st.integers(1, 6))]) for origins in made]


@given(_trees())
def test_of_any_two_lineages_exactly_one_stands(lineages: list[Commit]) -> None:
    for one, other in permutations(lineages, 2):
        assert stands(one, other) != stands(other, one)


@given(st.data())
def test_of_any_two_lineages_with_many_origins_exactly_one_stands(data: st.DataObject) -> None:
    with patch("swarm.certification.chain.MAX_ORIGINS", 3):
        for one, other in permutations(data.draw(_trees()), 2):
            assert stands(one, other) != stands(other, one)


# Without end ---------------------------------------------------------------------------------------------------------


def restarted(book: Book, founding: Commit, times: int) -> list[Commit]:
    """The first records of the lineages of a whole swarm that is resumed again and again."""
    found = [founding]
    for number in range(times):
        found.append(book.branch(found[-1], f"again-{number}", *founding.members))
    return found


def test_a_swarm_is_resumed_two_hundred_times_and_its_records_are_true_and_fit(book: Book, founding: Commit) -> None:
    path = restarted(book, founding, 200)
    for before, record in pairwise(path):
        assert record.kind is RecordKind.RESTART
        assert book.verifier().doubt(record, before) == ""
        assert decode_record(encode_record(record)) == record
    assert len(path[-1].origins) == MAX_ORIGINS
    sent = Envelope("heart", "ann", "1", "a@1.2.3.4:1", Decide(path[-1]))
    assert wire.decode(Envelope, wire.encode(sent)) == sent


def test_origins_that_became_one_say_what_they_have_to(book: Book, founding: Commit) -> None:
    *_, before, record = restarted(book, founding, 70)
    for changed in (
        (*before.origins, record.origins[-1]),
        (*record.origins[:1], replace(record.origins[1], majority=False), *record.origins[2:]),
        (*record.origins[:1], *record.origins[2:]),
    ):
        doubt = book.verifier().doubt(book.certify(replace(record, origins=changed, certificate=None)), before)
        assert "does not say truly how its lineage began" in doubt


@pytest.mark.parametrize("fork", [False, True], ids=["left behind", "forked"])
def test_what_was_left_behind_never_stands_against_what_was_resumed_since(
    book: Book, founding: Commit, fork: bool
) -> None:
    """Whoever comes back with an old checkpoint, also as a fork of more members with a lower id."""
    path = restarted(book, founding, 200)
    for number in (0, 1, 2, 5, 61, 62, 63, 64, 65, 100, 136, 137, 138, 199):
        old = path[number]
        if fork:
            old = book.branch(old, "a", "ann")
            assert old.kind is RecordKind.FORK
        old = replace(old, members=tuple("abcdefgh"))
        for now in path[-1], book.branch(path[-1], "z", "ann"):
            assert stands(now, old), number
            assert not stands(old, now), number


def test_a_minority_stays_one_however_often_it_is_resumed(book: Book, founding: Commit) -> None:
    fork = book.branch(founding, "a", "ann")
    alone = replace(restarted(book, fork, 200)[-1], members=tuple("abcdefgh"))
    for majority_ in founding, restarted(book, book.following(founding), 3)[-1]:
        assert stands(majority_, alone)
        assert not stands(alone, majority_)


# Two results of one round --------------------------------------------------------------------------------------------


@pytest.fixture
def founding(book: Book) -> Commit:
    return book.founding("ann", "bob", "cid")


def _two(book: Book, founding: Commit) -> tuple[Commit, Commit]:
    one = book.following(founding)
    return one, replace(one, digest="another model", certificate=None)


def test_two_accepts_of_one_attempt_prove_who_has_signed_both(book: Book, founding: Commit) -> None:
    one, other = _two(book, founding)
    one = book.certify(one, by=("ann", "bob"), attempt=SECOND)
    other = book.certify(other, by=("bob", "cid"), attempt=SECOND)
    (proof,) = conflict(one, other, founding)
    assert (proof.peer, proof.key, proof.round) == ("bob", founding.key_of("bob"), 1)
    assert book.verifier().proven(proof)
    assert [each.peer for each in conflict(other, one, founding)] == ["bob"], "in whichever order"


def test_a_promise_that_hides_what_was_accepted_below_it_proves_who_gave_it(book: Book, founding: Commit) -> None:
    one, other = _two(book, founding)
    one = book.certify(one, by=("ann", "bob"), attempt=FIRST)
    promises = tuple(book.promises(peer, one, SECOND) for peer in ("bob", "cid"))
    other = book.certify(other, by=("bob", "cid"), attempt=SECOND, promises=promises)
    for pair in ((one, other), (other, one)):
        (proof,) = conflict(*pair, founding)
        assert (proof.peer, proof.attempt, proof.other_attempt) == ("bob", FIRST, SECOND)
        assert book.verifier().proven(proof)


def test_a_promise_that_tells_of_a_lower_accept_than_the_last_one_proves_it_too(book: Book, founding: Commit) -> None:
    one, other = _two(book, founding)
    one = book.certify(one, by=("ann", "bob"), attempt=SECOND)
    older = (FIRST, record_hash(other))
    promises = (book.promises("bob", one, THIRD, older), book.promises("cid", one, THIRD))
    other = book.certify(other, by=("bob", "cid"), attempt=THIRD, promises=promises)
    (proof,) = conflict(one, other, founding)
    assert (proof.peer, proof.other_accepted) == ("bob", FIRST)
    assert book.verifier().proven(proof)


def test_a_record_decided_after_an_accept_that_was_told_proves_nothing_of_an_honest_voter(
    book: Book, founding: Commit
) -> None:
    """The leader of the higher attempt has passed over what was accepted; its voters did not hide it."""
    one, other = _two(book, founding)
    one = book.certify(one, by=("ann", "bob"), attempt=FIRST)
    promises = (book.promises("bob", one, SECOND, (FIRST, record_hash(one))), book.promises("cid", one, SECOND))
    other = book.certify(other, by=("bob", "cid"), attempt=SECOND, promises=promises)
    assert conflict(one, other, founding) == ()


def test_accepts_of_different_attempts_prove_nothing(book: Book, founding: Commit) -> None:
    """An honest voter may accept another record in a higher attempt."""
    one, other = _two(book, founding)
    one = book.certify(one, by=("ann", "bob"), attempt=FIRST)
    other = book.certify(other, by=("ann", "bob"), attempt=SECOND)
    assert conflict(one, other, founding) == ()


def test_a_promise_below_the_accept_proves_nothing(book: Book, founding: Commit) -> None:
    one, other = _two(book, founding)
    one = book.certify(one, by=("ann", "bob"), attempt=THIRD)
    promises = (book.promises("bob", one, SECOND),)
    other = book.certify(other, by=("bob", "cid"), attempt=SECOND, promises=promises)
    assert conflict(one, other, founding) == ()


def test_two_certificates_of_one_record_prove_nothing(book: Book, founding: Commit) -> None:
    one = book.certify(book.following(founding), by=("ann", "bob"), attempt=FIRST)
    other = book.certify(one, by=("bob", "cid"), attempt=FIRST)
    assert conflict(one, other, founding) == ()
    assert conflict(one, replace(other, certificate=None), founding) == ()


def test_those_who_do_not_vote_are_not_accused(book: Book, founding: Commit) -> None:
    one = book.following(founding, "ann", "bob", "dee")
    other = replace(one, digest="another model")
    both = [book.certify(each, by=("bob", "dee"), attempt=FIRST) for each in (one, other)]
    assert [each.peer for each in conflict(both[0], both[1], founding)] == ["bob"]


def test_two_founding_records_of_one_lineage_accuse_their_own_group(book: Book) -> None:
    one = book.founding("ann", "bob")
    other = book.certify(replace(one, digest="another model"))
    assert {each.peer for each in conflict(one, other, None)} == {"ann", "bob"}


def made_proof(book: Book, founding: Commit) -> Proof:
    one, other = _two(book, founding)
    both = [book.certify(each, by=("bob", "cid"), attempt=SECOND) for each in (one, other)]
    return conflict(both[0], both[1], founding)[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"lineage": "other"},
        {"round": 2},
        {"attempt": FIRST},
        {"attempt": THIRD},
        {"other_attempt": THIRD},
        {"attempt": THIRD, "other_attempt": THIRD},
        {"record": "another"},
        {"other_record": "another"},
        {"signature": "00" * 64},
        {"other_signature": "00" * 64},
        {"key": "00" * 32},
    ],
)
def test_a_proof_with_one_field_changed_is_none(book: Book, founding: Commit, changes: dict[str, Any]) -> None:
    proof = made_proof(book, founding)
    assert book.verifier().proven(proof)
    assert not book.verifier().proven(replace(proof, **changes))


def test_one_accept_told_twice_is_no_proof(book: Book, founding: Commit) -> None:
    proof = made_proof(book, founding)
    same = replace(proof, other_record=proof.record, other_signature=proof.signature)
    assert not book.verifier().proven(same)


def test_an_accept_and_an_honest_promise_are_no_proof(book: Book, founding: Commit) -> None:
    """Nobody can make one of what an honest voter signs: it tells what it has accepted below its promise."""
    record = book.following(founding)
    accept = book.accepts("bob", record, SECOND)
    hashed = record_hash(record)

    def proof(attempt: Attempt, before: tuple[Attempt, str] | None) -> Proof:
        promise = book.promises("bob", record, attempt, before)
        return Proof(
            "bob", founding.key_of("bob"), "line", 1, SECOND, hashed, accept.value,
            attempt, promise.record, promise.accepted, promise.value,
        )  # fmt: skip

    assert not book.verifier().proven(proof(THIRD, (SECOND, hashed)))
    assert not book.verifier().proven(proof(FIRST, None)), "it promised this before it accepted"
    assert book.verifier().proven(proof(THIRD, None))


def test_a_proof_stands_for_its_session_only(book: Book, founding: Commit) -> None:
    proof = made_proof(book, founding)
    assert not replace(book.verifier(), session="another").proven(proof)


# Members that are removed --------------------------------------------------------------------------------------------


def test_a_record_removes_a_member_with_a_proof_and_decides_without_it(book: Book, founding: Commit) -> None:
    proof = made_proof(book, founding)
    assert proof.peer == "bob"
    record = book.record(RecordKind.ROUND, "line", 1, ("ann", "cid"), founding, ("ann", "cid"), proofs=(proof,))
    assert book.verifier().doubt(book.certify(record, by=("ann", "cid")), founding) == ""
    assert "is signed by ann, which is no quorum of ann, cid" in book.verifier().doubt(
        book.certify(record, by=("ann",)), founding
    )
    assert "a signature of bob that does not count" in book.verifier().doubt(
        certified("s", book.signers, record, by=("ann", "bob", "cid")), founding
    )


@pytest.mark.parametrize("changes", [{"record": "another"}, {"peer": "cid"}, {"key": "00" * 32}])
def test_a_record_that_removes_a_member_without_proof_is_not_true(
    book: Book, founding: Commit, changes: dict[str, Any]
) -> None:
    proof = replace(made_proof(book, founding), **changes)
    record = book.certify(replace(book.following(founding), proofs=(proof,)))
    assert book.verifier().doubt(record, founding) == f"the record of round 1 removes {proof.peer} without proof"


def test_a_proof_against_a_key_of_earlier_removes_nobody(book: Book, founding: Commit) -> None:
    """The process that signed twice has ended; another one has its name."""
    proof = made_proof(book, founding)
    former = dict(book.signers)
    book.restart("bob")
    first = certified("s", former, book.following(founding, "ann", "bob", "cid"))
    assert book.verifier().doubt(first, founding) == ""
    second = book.certify(replace(book.following(first), proofs=(proof,)))
    assert book.verifier().doubt(second, first) == "the record of round 2 removes bob without proof"
