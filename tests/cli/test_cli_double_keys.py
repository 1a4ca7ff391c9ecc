"""A document that readers may read differently: `check` refuses it, and no bundle holds it."""

from __future__ import annotations

import json

from flow_builder import END, START, flow

from abstractruntime.cli.app import main


def test_a_key_that_occurs_twice_is_the_one_error_of_check_and_compile(tmp_path, capsys):
    path = tmp_path / "f.json"
    text = json.dumps(flow(START, END, edges="s > e", name="one"))
    path.write_text(text.replace('"name": "one"', '"name": "one", "name": "two"'))

    checked = main(["check", str(path), "-q"])
    capsys.readouterr()
    compiled = main(
        ["compile", str(path), "--unsigned", "-o", str(tmp_path / "f.flowbundle"), "--json"]
    )

    found = json.loads(capsys.readouterr().out)["error"]["diagnostics"]
    assert (checked, compiled) == (1, 1)
    assert [item["code"] for item in found if item["severity"] == "error"] == ["VF002"]
    assert not (tmp_path / "f.flowbundle").exists()
