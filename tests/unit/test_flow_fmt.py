"""The normal form of flow documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from abstractruntime.errors import FlowError
from abstractruntime.visualflow_compiler.document import FlowDocument
from abstractruntime.visualflow_compiler.fmt import format_document

ROOT = Path(__file__).parents[2]
SHARED_FLOWS = ROOT.parent / "shared" / "flows"

UGLY = """{"edges": [{"target": "b", "targetHandle": "exec-in", "source": "a", "sourceHandle":
"exec-out", "id": "e1"}], "zeta": 1, "alpha": {"b": 1, "a": 2}, "nodes": [{"data": {"outputs":
[{"type": "execution", "id": "exec-out"}], "literalValue": {"z": 1.50, "a": 1e3}, "label": "A"},
"type": "x", "id": "a"}], "id": "f"}"""
PRETTY = """\
{
  "id": "f",
  "alpha": {"b": 1, "a": 2},
  "zeta": 1,
  "nodes": [
    {
      "id": "a",
      "type": "x",
      "data": {
        "label": "A",
        "outputs": [
          {"id": "exec-out", "type": "execution"}
        ],
        "literalValue": {"z": 1.50, "a": 1e3}
      }
    }
  ],
  "edges": [
    {"id": "e1", "source": "a", "sourceHandle": "exec-out", "target": "b", "targetHandle": "exec-in"}
  ]
}
"""


def fmt(text: str) -> str:
    return format_document(text.encode()).decode()


def test_normal_form() -> None:
    assert fmt(UGLY) == PRETTY


@pytest.mark.parametrize(
    "before",
    [
        pytest.param("\ufeff" + PRETTY, id="byte-order-mark"),
        pytest.param(PRETTY.replace("\n", "\r\n"), id="crlf"),
        pytest.param(PRETTY.replace("  ", "\t"), id="tabs"),
        pytest.param(PRETTY.rstrip("\n"), id="no-last-line-end"),
    ],
)
def test_layout_is_one_of_its_kind(before: str) -> None:
    assert fmt(before) == PRETTY


@pytest.mark.parametrize(
    "value",
    [
        "1.0", "1", "-0", "123456789012345678901234567890", "1.10", r'"é"',
        r'"\u00e9\ud83d\ude00"', r'"a\/b"', '"[{,:}]"', r'"\\"', r'"\""', "[]", "{}", "null",
    ],
)  # fmt: skip
def test_values_keep_their_spelling(value: str) -> None:
    document = '{"id": "f", "note": VALUE, "nodes": [], "edges": []}'.replace("VALUE", value)

    assert f'  "note": {value},\n' in fmt(document)


def test_order_that_flows_can_see_stays() -> None:
    document = '{"id": "f", "nodes": [{"id": "b", "data": {"pinDefaults": {"z": 1, "a": 2}}}, {"id": "a"}]}'

    done = json.loads(fmt(document))

    assert [node["id"] for node in done["nodes"]] == ["b", "a"]
    assert list(done["nodes"][0]["data"]["pinDefaults"]) == ["z", "a"]


def test_a_long_value_takes_several_lines_and_an_edge_does_not() -> None:
    edge = json.dumps({"source": "s" * 90, "target": "t" * 90})
    document = f'{{"id": "f", "x": ["{"y" * 99}"], "nodes": [], "edges": [{edge}]}}'

    lines = fmt(document).splitlines()

    assert '  "x": [' in lines
    assert f"    {edge}" in lines


@pytest.mark.parametrize(
    "text, code, said",
    [
        pytest.param('{"id": "f", "id": "g"}', "VF002", "key 'id' occurs twice", id="twice"),
        pytest.param('{"id": "f", "a": NaN}', "VF005", "NaN", id="not-a-number"),
        pytest.param('{"id": ', "VF001", "not JSON", id="cut"),
        pytest.param("[]", "VF003", "an array", id="array"),
    ],
)
def test_what_has_no_clear_meaning_is_refused(text: str, code: str, said: str) -> None:
    with pytest.raises(FlowError, match=said) as caught:
        fmt(text)

    assert caught.value.findings[0].code == code


REAL = [
    *sorted(ROOT.glob("bundles/*/*.json")),
    *sorted(ROOT.glob("tests/flows/*.json")),
    *sorted(SHARED_FLOWS.glob("*.json")),
]


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_real_documents_keep_their_content(path: Path) -> None:
    data = path.read_bytes()
    if FlowDocument.read(data).repeated_keys:
        pytest.skip("it has a key twice")

    once = format_document(data)

    assert json.loads(once) == json.loads(data.decode("utf-8-sig"))
    assert format_document(once) == once
