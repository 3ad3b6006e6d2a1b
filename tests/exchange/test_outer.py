"""An outer optimizer in an exchange: every member makes the same step from what the group has merged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from swarm.codec import BUILTIN_CODECS
from swarm.exchange.coding import ChunkCoder
from swarm.exchange.exchange import Exchange
from swarm.merge import BUILTIN_RULES, MergeRule
from swarm.messages import Proposal
from swarm.outer import FedAdam, Nesterov, OuterStep
from swarm.records import PeerStatus
from swarm.tensors.buffers import BufferPool
from swarm.tensors.state import ModelState, Schema, SpectralNorm, TensorKind, TensorSpec
from tests.exchange.groups import SCHEMA, ExchangeGroup, frames, joined, proposal, states

pytestmark = pytest.mark.usefixtures("small_chunks")

STEP = OuterStep(Nesterov(learning_rate=0.7, momentum=0.9), SCHEMA)
ADAM = OuterStep(FedAdam(learning_rate=0.1, momentum=0.9, beta2=0.99, epsilon=1e-3), SCHEMA)
MEAN = BUILTIN_RULES["mean"]
WEIGHTS = {"ann": 1, "bob": 3, "cid": 2}


def before(step: OuterStep) -> ModelState:
    """A committed model with state in which nothing is zero."""
    return states(step.schema, 1, seed=9)["ann"]


def run(
    step: OuterStep | None, under: Proposal, rule: MergeRule = MEAN, held: dict[str, ModelState] | None = None
) -> list[Exchange]:
    """The members after a round; their digests are those of their models, and equal."""
    parent = before(step or STEP)
    group = ExchangeGroup(held or states(SCHEMA, 3), WEIGHTS, rule, under=under, parent=parent, outer=step)
    group.run()
    members = list(group.members.values())
    assert len({member.digest() for member in members} | {member.result().digest() for member in members}) == 1
    return members


@pytest.mark.parametrize("step", [STEP, ADAM], ids=["nesterov", "fedadam"])
@pytest.mark.parametrize("rule", BUILTIN_RULES.values(), ids=lambda rule: rule.name)
def test_the_step_is_that_from_the_merged_model_under_every_rule(step: OuterStep, rule: MergeRule) -> None:
    merged = run(None, proposal(WEIGHTS), rule)[0].result()
    expected = step.committed(merged, before(step), BufferPool(0), steps=True)
    stepped = run(step, proposal(WEIGHTS), rule)
    assert stepped[0].digest() == expected.digest() != merged.digest()


def test_slices_are_compared_as_their_owners_gave_them() -> None:
    plain, stepped = (run(step, proposal(WEIGHTS)) for step in (None, STEP))
    assert {member.slice_digests() for member in stepped} == {plain[0].slice_digests()}
    assert stepped[0].partial_norms() == plain[0].partial_norms()


@pytest.mark.parametrize("codec", BUILTIN_CODECS.values(), ids=lambda codec: codec.name)
def test_all_take_what_the_decoded_result_gives(codec) -> None:
    held, parent = states(SCHEMA, 2), before(STEP)
    under = proposal({"ann": 1, "bob": 1})
    members = {
        peer: Exchange(peer, under, MEAN, held[peer], ChunkCoder(codec, parent), parent=parent, outer=STEP)
        for peer in held
    }
    for sender, to in (("ann", "bob"), ("bob", "ann"), ("ann", "bob")):
        for out in frames(members[sender], to):
            members[to].receive(sender, joined(out))
    assert members["ann"].digest() == members["bob"].digest() == members["bob"].result().digest()


def unchanged(under: Proposal, held: dict[str, ModelState] | None = None) -> None:
    """The round commits what it has merged, and the state stays."""
    plain, found = (run(step, under, held=held)[0].result() for step in (None, STEP))
    assert found.contributed().digest() == plain.digest()
    assert found.segments["outer.float32"].tobytes() == before(STEP).segments["outer.float32"].tobytes()


def test_the_closing_round_makes_no_step() -> None:
    unchanged(replace(proposal(WEIGHTS), closing=True))


def test_where_the_last_model_stands_nobody_makes_a_step() -> None:
    entries = proposal({"ann": 1, "bob": 0, "cid": 0}).entries
    active = replace(entries[0], status=PeerStatus.ACTIVE)
    standing = before(STEP).contributed()
    held = dict.fromkeys(WEIGHTS, standing)
    unchanged(replace(proposal(WEIGHTS), entries=(active, *entries[1:])), held)


def test_the_first_model_has_no_momentum() -> None:
    under = replace(proposal({"ann": 0, "bob": 1}), parent="")
    held = states(SCHEMA, 2)
    group = ExchangeGroup(held, {"ann": 0, "bob": 1}, MEAN, under=under, outer=STEP)
    group.run()
    found = group.members["ann"].result()
    assert found.contributed().digest() == held["bob"].digest()
    assert not found.segments["outer.float32"].any()
    assert {member.digest() for member in group.members.values()} == {found.digest()}


def test_vectors_of_spectral_norms_fit_the_weights_after_the_step() -> None:
    """Also where there is one contribution, whose own vectors fit only its own weights."""
    schema = Schema(
        (
            TensorSpec("w", (4, 3), "float32"),
            TensorSpec("u", (4,), "float32", TensorKind.STATE),
            TensorSpec("v", (3,), "float32", TensorKind.STATE),
        ),
        (SpectralNorm(weight=0, axis=0, left=1, right=2),),
    )
    step = OuterStep(Nesterov(learning_rate=0.7, momentum=0.9), schema)
    parent = states(step.schema, 1, seed=9)["ann"]
    group = ExchangeGroup(
        states(schema, 2), {"ann": 1, "bob": 0}, MEAN, under=proposal({"ann": 1, "bob": 0}), parent=parent, outer=step
    )
    group.run()
    weight, left, right = (array for _, array in group.members["bob"].result().contributed().arrays())
    assert abs(float(left @ weight @ right)) == pytest.approx(float(np.linalg.norm(weight, 2)), rel=0.01)
