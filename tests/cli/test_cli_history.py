"""An exported history is verified like a ledger, with the same exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from abstractruntime._json import join_pointer
from abstractruntime.cli._history_verdict import judge_history
from abstractruntime.schemas import load_schema

ROOT = Path(__file__).resolve().parents[2]
APPROVAL = str(ROOT / "bundles" / "release-approval" / "flow.json")
VKEY = "config/keys/host.vkey"


@pytest.fixture
def exported(art: Any, tmp_path: Path) -> Any:
    """The histories of a signed and an unsigned run."""
    art("key", "new", "host", "--usage", "host")
    service = ("--input", "service=api")
    art("run", APPROVAL, "--run-id", "s1", "--host-key", "host", *service)
    art("run", APPROVAL, "--run-id", "u1", *service)
    for name in ("s1", "u1"):
        assert art("export-history", name, "-o", f"{name}.json").code == 0
    return art


def test_an_export_names_its_format(exported: Any, tmp_path: Path) -> None:
    document = json.loads((tmp_path / "s1.json").read_text())

    assert (document["format"], document["version"]) == ("art-history/1", 1)
    Draft202012Validator(load_schema("history")).validate(document)


@pytest.mark.parametrize(
    "args, code, verdict",
    [
        (("s1.json",), 0, "valid"),
        (("s1.json", "--vkey", VKEY, "--require-signed"), 0, "valid"),
        (("u1.json",), 0, "valid_unsigned"),
        (("u1.json", "--require-signed"), 3, "valid_unsigned"),
    ],
    ids=["signed", "named-key", "unsigned", "required"],
)
def test_verdict(exported: Any, args: tuple[str, ...], code: int, verdict: str) -> None:
    result = exported("ledger", "verify", *args, "--json")

    assert (result.code, result.document["verdict"]) == (code, verdict)
    Draft202012Validator(load_schema("verify-history")).validate(result.document)


@pytest.mark.parametrize("name", ["s1.json", "u1.json"])
def test_a_changed_value_shows(exported: Any, tmp_path: Path, name: str) -> None:
    text = (tmp_path / name).read_text()
    (tmp_path / "forged.json").write_text(text.replace('"api"', '"web"'))

    result = exported("ledger", "verify", "forged.json", "--json")

    assert (result.code, result.document["verdict"]) == (1, "invalid")
    assert result.document["defects"]


def test_a_foreign_key_does_not_vouch(exported: Any, tmp_path: Path) -> None:
    exported("key", "new", "other", "--usage", "host")
    args = ("ledger", "verify", "s1.json", "--vkey", "config/keys/other.vkey")

    assert exported(*args).code == 1
    assert "head_key_unknown" in exported(*args).out


@pytest.mark.parametrize(
    "content", ["{", "{\n", '{\n"ledgers": 3,\n"root_run_id": []}', '{"root_run_id":1,"ledgers":2}']
)
def test_a_broken_history_is_invalid(art: Any, tmp_path: Path, content: str) -> None:
    (tmp_path / "h.json").write_text(content)

    result = art("ledger", "verify", "h.json")

    assert result.code == 1
    assert "Traceback" not in result.err


def test_one_line_history_and_show_are_recognised(exported: Any, tmp_path: Path) -> None:
    document = json.loads((tmp_path / "s1.json").read_text())
    (tmp_path / "line.json").write_text(json.dumps(document, ensure_ascii=False))

    assert exported("ledger", "verify", "line.json").out.startswith("valid: history of run s1")
    assert exported("show", "s1.json").out.startswith("valid: history of run s1")


def test_a_history_needs_no_heads_file(exported: Any) -> None:
    result = exported("ledger", "verify", "s1.json", "--heads", "store/heads_s1.jsonl")

    assert result.code == 2
    assert "holds its own" in result.err


@pytest.mark.parametrize("line", [b"5\n", b"{}\n", b"\xff\n", b'{"note": 3}\n'])
def test_damaged_heads_are_not_exported(exported: Any, tmp_path: Path, line: bytes) -> None:
    (tmp_path / "store" / "heads_s1.jsonl").write_bytes(line)

    result = exported("export-history", "s1", "-o", "again.json")

    assert result.code == 1
    assert "signed heads" in result.err


def test_no_directory_is_made_up(exported: Any, tmp_path: Path) -> None:
    result = exported("export-history", "s1", "-o", "nowhere/x.json")

    assert result.code == 66
    assert "mkdir -p nowhere" in result.err
    assert not (tmp_path / "nowhere").exists()


def places(value: Any, at: tuple[Any, ...] = ()) -> Any:
    """Give the path of every value of a document."""
    if at:
        yield at
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*at, key))


FORGERIES = {
    "changed": lambda parent, key: parent.__setitem__(key, ["forged"]),
    "removed": lambda parent, key: parent.__delitem__(key),
    "emptied": lambda parent, key: parent.__setitem__(key, None),
    "beside": lambda parent, key: isinstance(parent, dict) and parent.update({f"{key}2": 1}),
}


@pytest.mark.parametrize("name", ["s1.json", "u1.json", "done.json"])
@pytest.mark.parametrize("how", FORGERIES)
def test_what_a_history_shows_is_judged_or_named(exported: Any, tmp_path: Path, name, how) -> None:
    exported("resume", "s1", "--input", "approve")
    exported("export-history", "s1", "-o", "done.json")
    text = (tmp_path / name).read_text()
    found = judge_history(text.encode(), ())
    believed = []
    for place in places(json.loads(text)):
        document = json.loads(text)
        parent = document
        for token in place[:-1]:
            parent = parent[token]
        FORGERIES[how](parent, place[-1])
        verdict = judge_history(json.dumps(document).encode(), ())
        named = [*verdict.not_covered, *found.not_covered]
        if how == "beside":
            place = (*place[:-1], f"{place[-1]}2")
        where = join_pointer(place)
        # A head that is left out vouches for nothing; that is all it does.
        named += ["/provenance/heads/"] if how == "removed" else []
        is_named = any(where.startswith(pointer) for pointer in named)
        if document != json.loads(text) and not verdict.defects and not is_named:
            believed.append(where)

    assert found.defects == ()
    assert believed == []


@pytest.mark.parametrize("key", ["run", "input_data", "ledgers", "actor_id"])
def test_a_key_that_occurs_twice_is_refused(exported: Any, tmp_path: Path, key: str) -> None:
    text = (tmp_path / "s1.json").read_text()
    (tmp_path / "twice.json").write_text(text.replace(f'"{key}": ', f'"{key}": 1, "{key}": ', 1))

    assert exported("ledger", "verify", "twice.json").code == 1
