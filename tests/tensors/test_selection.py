from __future__ import annotations

import pytest

from swarm.errors import ModelError
from swarm.tensors.selection import Candidate, Selection
from swarm.tensors.state import TensorKind

WEIGHT, MEAN, VARIANCE, STATE = TensorKind.WEIGHT, TensorKind.MEAN, TensorKind.VARIANCE, TensorKind.STATE
MODEL = [
    Candidate(("body.weight",), WEIGHT),
    Candidate(("first.running_mean",), MEAN),
    Candidate(("first.running_var",), VARIANCE),
    Candidate(("second.running_mean",), MEAN),
    Candidate(("second.running_var",), VARIANCE),
    Candidate(("head.weight",), WEIGHT),
    Candidate(("head.mask",), STATE),
]


def taken(selection: Selection) -> list[str]:
    selection.check(MODEL)
    return [name for (name,), _ in MODEL if selection.takes(name)]


@pytest.mark.parametrize(
    ("share", "local", "left_out"),
    [
        ((), (), set()),
        (("*",), (), set()),
        ((), ("head.*",), {"head.weight", "head.mask"}),
        (("*.weight",), (), {name for (name,), kind in MODEL if kind is not WEIGHT}),
        (("*.weight", "head.*"), ("body.*",), {name for (name,), _ in MODEL if not name.startswith("head")}),
        ((), ("*.running_*",), {name for (name,), _ in MODEL if "running" in name}),
        ((), ("[hb]e*",), {"head.weight", "head.mask"}),
    ],
)
def test_a_tensor_takes_part_if_share_allows_it_and_local_does_not_keep_it(share, local, left_out) -> None:
    everything = [name for (name,), _ in MODEL]
    assert taken(Selection(share, local)) == [name for name in everything if name not in left_out]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (
            Selection(local=("haed.*",)),
            "local has 'haed.*', which matches no tensor of the model; nearest [^']*('[^']*', ){2}'[^']*'$",
        ),
        (Selection(share=("*.weight", "Head.*")), "share has 'Head.*', which matches no tensor"),
        (Selection(share=("head.*",), local=("*.weight",)), "leave no weight of the model to merge"),
        (Selection(local=("*",)), r"share=\[\] and local=\['\*'\] leave no weight"),
        (
            Selection(local=("second.running_mean",)),
            "'second.running_var' is shared and 'second.running_mean' is not: the statistics of a layer",
        ),
        (Selection(local=("*_var",)), "'first.running_mean' is shared and 'first.running_var' is not"),
    ],
)
def test_patterns_that_cannot_be_meant_are_refused(selection: Selection, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        selection.check(MODEL)


def test_a_model_without_weights_needs_none_where_nothing_is_selected() -> None:
    Selection().check([Candidate(("mask",), STATE)])


@pytest.mark.parametrize(
    ("selection", "takes"),
    [
        (Selection(share=("decoder",)), True),
        (Selection(share=("other",)), False),
        (Selection(local=("*coder",)), False),
        (Selection(share=("other",), local=("decoder",)), False),
    ],
)
def test_tied_weights_take_part_under_any_of_their_names(selection: Selection, takes: bool) -> None:
    assert selection.takes("encoder", "decoder") is takes


def test_tied_weights_are_not_shared_and_local_at_once() -> None:
    with pytest.raises(ModelError, match="'encoder' and 'decoder' are one tensor, tied: the first is shared"):
        Selection(local=("decoder",)).takes("encoder", "decoder")
