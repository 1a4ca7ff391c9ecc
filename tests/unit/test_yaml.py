"""YAML of strangers is bounded before it becomes values."""

import tracemalloc

import pytest

from abstractruntime._yaml import load_yaml

BOMB = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    "text,value",
    [
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("at: 12:30\nlong: 1:1:1", {"at": "12:30", "long": "1:1:1"}),
        ("n: 0x10\nm: 1_000", {"n": 16, "m": 1000}),
        ("", None),
    ],
)
def test_what_is_read(text, value):
    assert load_yaml(text) == value


@pytest.mark.parametrize(
    "text,problem",
    [
        (BOMB, "more than 100000 nodes"),
        ("a: &a [*a]", "found a loop"),
        ("a: 0x" + "f" * 17, "more than 64 bits"),
        ("a: [", "while parsing"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
    ],
)
def test_what_is_refused(text, problem):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=problem):
            load_yaml(text)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()
