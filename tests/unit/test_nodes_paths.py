import copy

import pytest
from exploring import examples
from hypothesis import given
from hypothesis import strategies as st

from abstractruntime.nodes.base import MISSING, NodeError
from abstractruntime.nodes.paths import parse_path, read_path, write_path

NAMES = st.text("abz é-0", min_size=1, max_size=3)


@pytest.mark.parametrize(
    "path,tokens",
    [
        ("a.b[1].c", ("a", "b", 1, "c")),
        ("[0][2].0", (0, 2, "0")),
        ("a b.é", ("a b", "é")),
        ("l[-1].x[y].[", ("l[-1]", "x[y]", "[")),
        ("", ("",)),
        ("a..b.", ("a", "b")),
    ],
)
def test_a_text_is_split_into_names_and_indexes(path, tokens):
    assert parse_path(path) == tokens


@pytest.mark.parametrize(
    "value,path",
    [([1], "1"), ([1], "a"), ({"0": 1}, "[0]"), (None, "a"), ("text", "0"), ({}, "a.b")],
)
def test_nothing_there_is_missing(value, path):
    assert read_path(value, path) is MISSING


@examples(60)
@given(
    names=st.lists(NAMES, min_size=1, max_size=4),
    source=st.recursive(st.integers(), lambda v: st.dictionaries(NAMES, v, max_size=3)),
)
def test_what_was_written_is_read_again_and_the_source_stays(names, source):
    root = source if isinstance(source, dict) else {}
    before = copy.deepcopy(root)

    changed = write_path(root, names, "new")

    assert read_path(changed, ".".join(names)) == "new"
    assert root == before


@pytest.mark.parametrize("path", ["l.k", "l[2]", "l.2", "l[9].x"])
def test_a_list_is_only_changed_at_its_elements(path):
    with pytest.raises(NodeError):
        write_path({"l": [1, 2]}, parse_path(path), "v")
