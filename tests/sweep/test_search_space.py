"""The settings that a search varies, from its command line."""

import math

import pytest

from voc_seg.sweep.search_space import corners, parse_search
from voc_seg.system.errors import VocSegError


def test_ranges_and_choices() -> None:
    space = parse_search(
        ["a=log:1e-3..1e-1", "b= 0.1..0.5", "c=int:1..4", "d=choice:2 3 4,1", "e=-1..0.5", "f=choice:[2,3],[4]"], {}
    )
    assert {key: str(dimension) for key, dimension in space.items()} == {
        "a": "log:0.001..0.1", "b": "0.1..0.5", "c": "int:1..4", "d": "choice:2 3 4,1", "e": "-1.0..0.5",
        "f": "choice:[2,3],[4]",
    }  # fmt: skip


def test_corners_contain_all_ends_and_choices() -> None:
    space = parse_search(["a=0.1..0.5", "b=int:1..4", "c=choice:x,y,z"], {})
    assert corners(space) == [
        {"a": "0.1", "b": "1", "c": "x"}, {"a": "0.5", "b": "1", "c": "x"}, {"a": "0.1", "b": "4", "c": "x"},
        {"a": "0.1", "b": "1", "c": "y"}, {"a": "0.1", "b": "1", "c": "z"},
        {"a": repr(0.1 + 0.4 / math.pi), "b": "1", "c": "x"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("a", "'a' must have the form KEY=RANGE. Ranges are log:1e-3"),
        ("a=", "must have the form"),
        ("=0..1", "must have the form"),
        ("a=0.1,0.3", "neither a range nor a choice. Write log:1e-3"),
        ("a=exp:1..2", "neither a range nor a choice"),
        ("a=x..1", "both ends of a range must be numbers"),
        ("a=int:1..2.5", "whole numbers, as in int:1..4"),
        ("a=0..inf", "must be finite"),
        ("a=log:1e-1..1e-3", r"reversed. Write the smaller number first: log:1e-3\.\.1e-1"),
        ("a=1..1", "a single value"),
        (
            "a=log:0..1",
            "begins at 0, but a logarithmic range must begin above 0. Write a small number, such as log:1e-6",
        ),
        ("a=choice:x", "at least two choices"),
        ("a=choice:x,x", "at least two choices, all different"),
        ("a=choice:x,", "a choice is empty"),
        ("data.longer_side=int:100..200", "share the data"),
        ("run=choice:a,b", "share the data"),
        ("seed=int:1..4", "in both --search and --params"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(search: str, message: str) -> None:
    with pytest.raises(VocSegError, match=message):
        parse_search([search], {"seed": "1"})
    with pytest.raises(VocSegError, match="a is repeated"):
        parse_search(["a=0..1", "a=0..2"], {})
