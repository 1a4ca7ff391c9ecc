import random

import pytest
from pure_nodes import error_of, evaluate, same

CASES = [
    ("add", {"a": 0.1, "b": 0.2}, 0.30000000000000004),
    ("add", {}, 0.0),
    ("add", {"a": None, "b": 1}, 1.0),
    ("add", {"a": 10**20, "b": 1}, 1e20),
    ("subtract", {"a": "12", "b": " 2.5 "}, 9.5),
    ("subtract", {"a": True, "b": 2}, -1.0),
    ("multiply", {"b": 4}, 0.0),
    ("divide", {"a": 4, "b": None}, 4.0),
    ("divide", {"a": -7, "b": 2}, -3.5),
    ("modulo", {"a": 7, "b": -3}, -2.0),
    ("power", {"base": None, "exp": 2}, 0.0),
    ("power", {"base": -2, "exp": 3}, -8.0),
    ("abs", {"value": None}, 0.0),
    ("round", {"value": 2.675, "decimals": 2.9}, 2.67),
    ("round", {"value": 3.5, "decimals": None}, 4.0),
    ("round", {"value": 1250, "decimals": -2}, 1200.0),
    ("random_int", {"min": "9", "max": "9.7"}, 9),
    ("random_float", {"min": 2, "max": 2}, 2.0),
]
ERRORS = [
    ("add", {"a": "x", "b": 1}, "could not convert string to float: 'x'"),
    ("abs", {"value": []}, "float() argument must be a string or a real number, not 'list'"),
    ("add", {"a": 10**400}, "int too large to convert to float"),
    ("divide", {"a": 1, "b": 0}, "Division by zero"),
    ("modulo", {"a": 1, "b": "0"}, "Modulo by zero"),
    ("power", {"base": 0, "exp": -1}, "0.0 cannot be raised to a negative power"),
    ("power", {"base": 10, "exp": 400}, "(34, 'Numerical result out of range')"),
    ("power", {"base": -8, "exp": 0.5}, "complex"),
    ("multiply", {"a": 1e308, "b": 10}, "not a JSON number"),
    ("add", {"a": "nan"}, "not a JSON number"),
    ("abs", {"value": "-inf"}, "not a JSON number"),
]


@pytest.mark.parametrize("name,inputs,expected", CASES)
def test_a_result_is_a_float(name, inputs, expected):
    assert same(evaluate(name, inputs), expected)


@pytest.mark.parametrize("name,inputs,message", ERRORS)
def test_what_has_no_number_is_an_error(name, inputs, message):
    assert message in error_of(name, inputs)


def test_random_numbers_are_drawn_as_the_standard_library_draws_them():
    expected = random.Random("s")

    assert evaluate("random_int", {"min": 9, "max": 3}, seed="s") == expected.randint(3, 9)
    assert evaluate("random_float", {"min": "x"}, seed="s") == random.Random("s").uniform(0, 1)


@pytest.mark.parametrize("bad", [None, "x", [], "inf", "1e999"], ids=repr)
def test_a_bad_limit_takes_its_default(bad):
    drawn = [evaluate("random_int", {"min": 100, "max": bad}, seed=s) for s in range(5)]

    assert drawn == [100] * 5
