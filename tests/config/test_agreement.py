"""Facts that must be the same at all sites: what they may be, and how a difference is told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from swarm.config import resolve
from swarm.config.agreement import MAX_FACTS, difference, is_fact, told_value
from swarm.errors import ConfigurationError
from swarm.records import MAX_SETTING


def facts(agree=None, environment=None):
    arguments = {"name": "a", "agree": agree}
    found = resolve(arguments, environment=environment or {}).settings
    return {name: value for name, value in found.agreed() if is_fact(name)}


def test_nothing_is_declared_without_facts():
    assert facts() == facts({}) == {}


def test_text_numbers_switches_and_lists_are_facts():
    given = {"b": [1, 2.5, True, "é", ["x"]], "a": ("left", "right"), "c": "v3"}
    assert facts(given) == {
        "agree['a']": '["left","right"]',
        "agree['b']": '[1,2.5,true,"\\u00e9",["x"]]',
        "agree['c']": '"v3"',
    }


def test_the_same_number_is_the_same_fact_whatever_its_type():
    assert facts({"n": 3}) == facts({"n": 3.0}) == facts({"n": np.int64(3)}) == facts({"n": np.float32(3)})
    assert facts({"n": True}) == facts({"n": np.bool_(True)}) != facts({"n": 1})
    assert facts({"n": np.str_("x")}) == facts({"n": "x"})


def test_the_variable_takes_json_and_the_file_a_table(tmp_path):
    assert facts(environment={"SWARM_AGREE": '{"n": [1, 2]}'}) == {"agree['n']": "[1,2]"}
    (tmp_path / "swarm.toml").write_text('[swarm.agree]\nclasses = ["a", "b"]\n')
    found = resolve({"name": "a"}, environment={}, directory=tmp_path).settings
    assert ("agree['classes']", '["a","b"]') in found.agreed()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"x": np.zeros(2)}, r"agree\['x'\] is a ndarray: allowed are text, numbers, true or false, and lists"),
        ({"x": ["a", {"b": 1}]}, r"agree\['x'\]\[1\] is a dict"),
        ({"x": None}, r"agree\['x'\] is a NoneType"),
        ({"x": object}, r"agree\['x'\] is a type"),
        ({"x": float("nan")}, r"agree\['x'\] is nan: allowed are finite numbers"),
        ({"x y": 1}, "agree has the key 'x y': allowed are 1 to 48 ASCII letters"),
        ({"x" * 49: 1}, "agree has the key 'xxx"),
        ({3: 1}, "agree has the key 3"),
        ({f"k{index}": 1 for index in range(MAX_FACTS + 1)}, "agree has 25 entries: allowed are 24"),
        ({"x": [[[[[[[[[1]]]]]]]]]}, "at most 8 within one another"),
        (["x"], "agree=.* is not allowed: allowed is a dict of names and values"),
    ],
)
def test_anything_else_is_refused_by_name(given, told):
    with pytest.raises(ConfigurationError, match=told):
        facts(given)


@pytest.mark.parametrize("text", ["{", "[1]", '{"x": NaN}', "7"])
def test_a_variable_without_a_json_object_is_refused(text):
    with pytest.raises(ConfigurationError, match="as text in JSON"):
        facts(environment={"SWARM_AGREE": text})


@pytest.mark.parametrize(
    ("berlin", "paris", "told"),
    [
        (
            ["a", "b"],
            ["a", "c"],
            "['a', 'b'] at berlin and ['a', 'c'] at paris: the 2nd entry is 'b' at berlin and 'c' at paris",
        ),
        (
            ["a"],
            ["a", "é"],
            "['a'] at berlin and ['a', 'é'] at paris: 1 entries at berlin and 2 at paris; only paris has 'é'",
        ),
        ([1, 2], [2, 1], "[1, 2] at berlin and [2, 1] at paris: the 1st entry is 1 at berlin and 2 at paris"),
        ("v3", "v4", "'v3' at berlin and 'v4' at paris"),
        ("3", 3, "'3' at berlin and 3 at paris"),
        (["a"], "a", "['a'] at berlin and 'a' at paris"),
        (0.5, None, "0.5 at berlin and not given at paris"),
    ],
)
def test_the_first_difference_is_told(berlin, paris, told):
    values = {
        peer: None if value is None else next(iter(facts({"x": value}).values()))
        for peer, value in (("berlin", berlin), ("paris", paris))
    }
    assert difference("agree['x']", values) == f"agree['x'] is {told}"


def shortened(entries):
    return told_value(json.dumps(entries, separators=(",", ":")))


def test_a_long_list_travels_as_its_beginning_with_a_hash_of_all_of_it():
    columns = [f"column_{index}" for index in range(2000)]
    one, other = shortened(columns), shortened([*columns[:-1], "another"])
    assert one != other
    assert max(len(one), len(other)) <= MAX_SETTING
    told = difference("agree['x']", {"berlin": one, "paris": other})
    assert "2000 entries" in told
    assert told.endswith("the first 311 entries are equal, later ones differ")
    assert len(told) < 600


def test_the_first_difference_of_long_lists_is_told_where_it_is_known():
    columns = [f"column_{index}" for index in range(2000)]
    told = difference("agree['x']", {"berlin": shortened(columns), "paris": shortened(["column_0", "b", *columns[2:]])})
    assert told.endswith("the 2nd entry is 'column_1' at berlin and 'b' at paris")


@pytest.mark.parametrize(
    "hostile", ["", "[", "[" * 4000, "[1e999,2]", "{}", "1" * 4000, "x… (9 characters, sha256 00)"]
)
def test_whatever_a_peer_declares_is_told_in_one_short_line(hostile):
    told = difference("agree['x']", {"berlin": '["a"]', "paris": hostile})
    assert told.isprintable()
    assert len(told) < 600
