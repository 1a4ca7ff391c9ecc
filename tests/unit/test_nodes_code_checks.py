from __future__ import annotations

import sys

import pytest

from abstractruntime.nodes._code_checks import check_expression, check_source, free_names

REFUSED = {
    "import": ("import os", "VF402", "Imports are not allowed", 1),
    "nested_import": ("def f():\n  from os import path", "VF402", "Imports are not allowed", 2),
    "exec": ("x = 1\nexec('y')", "VF403", "'exec' is not allowed", 2),
    "eval": ("f = lambda: eval('1')", "VF403", "'eval' is not allowed", 1),
    "compile": ("compile('1', '', 'eval')", "VF403", "'compile' is not allowed", 1),
    "dunder_import": ("__import__('os')", "VF403", "'__import__' is not allowed", 1),
    "dunder": (
        "().__class__",
        "VF404",
        "Access to dunder attributes ('__class__') is not allowed",
        1,
    ),
    "dunder_pattern": (
        "match 1:\n  case int(__class__=c): pass",
        "VF404",
        "Access to dunder attributes ('__class__') is not allowed",
        2,
    ),
    "syntax": ("def f(:\n", "VF401", "Syntax error: invalid syntax (<unknown>, line 1)", 1),
    "return_outside": (
        "x = 1\nreturn x",
        "VF401",
        "Syntax error: 'return' outside function (<unknown>, line 2)",
        2,
    ),
}


@pytest.mark.parametrize(("source", "code", "message", "line"), REFUSED.values(), ids=REFUSED)
def test_refused(source, code, message, line):
    (finding,) = check_source(source)

    assert (finding.code, finding.message, finding.line) == (code, message, line)
    assert finding.hint


ALLOWED = {
    "empty": "",
    "underscore_names": "def transform(_input):\n    _input['a'] += 1\n    return _input\n",
    "private_attribute": "x._private",
    "half_dunder": "x.__mangled",
    "super_init": "class A(Exception):\n    def __init__(self): super().__init__(1)",
    "method_named_eval": "df.eval('a')",
    "class": "class A: pass",
    "match": "match 1:\n  case {'a': [b, *c]}: pass",
    "invalid_escape": "x = '\\d'",
    "future_walrus": "[y := 1, y**2]",
}


@pytest.mark.parametrize("source", ALLOWED.values(), ids=ALLOWED)
def test_allowed(source):
    assert check_source(source) == []


@pytest.mark.parametrize(
    "source",
    ["\0", "'\ud800'", "(" * 5000, "-" * 40_000 + "1"],
    ids=["nul", "surrogate", "deep", "long"],
)
def test_unparsable_text_is_a_syntax_error(source):
    assert [f.code for f in check_source(source)] == ["VF401"]


def test_all_findings_come_in_line_order():
    source = "def f():\n  return eval('1')\nimport os\nx.__dict__\n"

    assert [(f.code, f.line) for f in check_source(source)] == [
        ("VF403", 2),
        ("VF402", 3),
        ("VF404", 4),
    ]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="valid from Python 3.12 on")
def test_newer_grammar_is_named():
    (finding,) = check_source("x = f'{\"\\n\".join([])}'")

    assert "Python 3.12" in finding.hint


@pytest.mark.parametrize(
    ("expression", "codes"),
    [
        (" x + 1 ", []),
        ("x = 1", ["VF401"]),
        ("x.__class__", ["VF404"]),
        ("1)\nimport os\n(2", ["VF401"]),
    ],
)
def test_expression(expression, codes):
    assert [f.code for f in check_expression(expression)] == codes


def test_free_names():
    assert free_names("[a + b for a in c] + x['d']") == ["a", "b", "c", "x"]
