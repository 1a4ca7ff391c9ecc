"""Every rule finds its bad example and leaves its good example alone."""

import pytest

from abstractruntime.visualflow_compiler.check import RULES, check_document, check_tree

TREE_RULES = {"VF012", "VF205", "VF208", "VF209"}


def codes_of(data, code):
    beside = {"g": RULES[code].example_bytes(bad=True)} if code == "VF012" else {}
    check = check_tree({"f": data, **beside})["f"] if code in TREE_RULES else check_document(data)
    return {item.code: item.severity for item in check.diagnostics}


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_bad_example_is_reported_with_the_severity_of_the_rule(rule):
    assert codes_of(rule.example_bytes(bad=True), rule.code).get(rule.code) == rule.severity


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_good_example_has_no_error_and_not_this_finding(rule):
    found = codes_of(rule.example_bytes(bad=False), rule.code)

    assert rule.code not in found
    assert "error" not in found.values()


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_rule_is_explained(rule):
    assert rule.code.startswith("VF")
    assert len(rule.explanation) > 60
    assert not rule.title.endswith(".")
