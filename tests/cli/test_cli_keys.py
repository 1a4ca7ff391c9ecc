"""Keys, trust, compiling and signing through the command line."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
APPROVAL = str(ROOT / "bundles" / "release-approval" / "flow.json")


def test_new_key_is_private_and_trusted(art: Any, tmp_path: Path) -> None:
    key = art("key", "new", "acme.org/release", "--bundle", "acme-*", "--json").document["keys"][0]

    assert stat.S_IMODE(Path(key["private_key"]).stat().st_mode) == 0o600
    assert Path(key["private_key"]).is_relative_to(tmp_path / "config")
    assert (key["status"], key["usages"], key["bundles"]) == ("active", ["bundle"], ["acme-*"])
    assert art("key", "new", "acme.org/release").code == 2


def test_passphrase_protects_the_key(art: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ART_KEY_PASSPHRASE", "secret")
    art("key", "new", "release")
    compile_ = ("compile", APPROVAL, "--key", "release", "-o", "x.flowbundle")

    assert art(*compile_).code == 0
    monkeypatch.setenv("ART_KEY_PASSPHRASE", "wrong")
    assert art(*compile_).code == 2


def test_a_trusted_key_of_someone_else_lets_their_bundle_run(
    art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    art("key", "new", "acme")
    art("compile", APPROVAL, "--key", "acme", "-o", "x.flowbundle")
    vkey = tmp_path / "config" / "keys" / "acme.vkey"
    monkeypatch.setenv("ART_CONFIG_DIR", str(tmp_path / "other"))
    art("key", "new", "own")

    assert art("run", "x.flowbundle").code == 3
    assert art("key", "trust", vkey.read_text().strip()).code == 0
    assert art("run", "x.flowbundle").code == 4
    assert art("key", "revoke", "acme").code == 0
    assert art("run", "x.flowbundle").code == 3
    assert art("key", "trust", str(vkey)).code == 2


@pytest.mark.parametrize("usage, word", [("party", "party"), ("", "''")])
def test_unknown_usage(art: Any, usage: str, word: str) -> None:
    result = art("key", "new", "x", "--usage", usage)

    assert result.code == 2
    assert word in result.err


def test_compile_wants_a_decision_about_signing(art: Any) -> None:
    assert "--unsigned" in art("compile", APPROVAL).err
    assert art("compile", APPROVAL, "--unsigned", "--key", "x").code == 2


def test_compile_is_reproducible_and_signing_keeps_the_digest(art: Any, tmp_path: Path) -> None:
    art("key", "new", "release")
    for name in ("a", "b"):
        art("compile", APPROVAL, "--unsigned", "-o", f"{name}.flowbundle")
    plain = art("bundle", "show", "a.flowbundle", "--json").document

    assert (tmp_path / "a.flowbundle").read_bytes() == (tmp_path / "b.flowbundle").read_bytes()
    signed = art("bundle", "sign", "b.flowbundle", "--key", "release", "--json").document
    assert signed["digest"] == plain["digest"]
    assert signed["signers"] != plain["signers"] == []


def test_compile_sanitises_the_bundle_id(art: Any) -> None:
    result = art("compile", APPROVAL, "--unsigned", "--id", "My Flow!", "--json")

    assert result.document["id"] == "my-flow"
    assert "my-flow" in result.err
    assert result.document["file"] == "my-flow.flowbundle"


def test_compile_of_a_directory_finds_the_root_and_its_subflows(art: Any) -> None:
    document = art(
        "compile", str(ROOT / "bundles" / "price-orders"), "--unsigned", "-o", "x.flowbundle", "--json"
    ).document  # fmt: skip

    assert len(document["flows"]) == 2
    assert document["entrypoints"][0]["input_schema"]["type"] == "object"


def test_bundle_show_tells_the_input_contract(art: Any) -> None:
    art("compile", APPROVAL, "--unsigned", "-o", "x.flowbundle")

    entry = art("bundle", "show", "x.flowbundle", "--json").document["entrypoints"][0]

    assert entry["input_schema"]["properties"]["service"] == {"type": "string"}
    assert entry["input_schema"]["properties"]["hold_minutes"] == {"type": "number", "default": 60}


def test_unpack_writes_the_flows_and_nothing_twice(art: Any, tmp_path: Path) -> None:
    art("compile", APPROVAL, "--unsigned", "-o", "x.flowbundle")
    command = ("bundle", "unpack", "x.flowbundle", "-o", "content")

    assert art(*command).code == 0
    flow = tmp_path / "content" / "flows" / "release-approval.json"
    assert flow.read_bytes() == Path(APPROVAL).read_bytes()
    assert art(*command).code == 2
    assert art(*command, "--force").code == 0
