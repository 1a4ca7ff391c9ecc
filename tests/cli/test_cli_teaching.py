"""What an error says is so, and its hint leads on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cli_flows import ASKS, LISTENS

from abstractruntime._json import load_strict
from abstractruntime._yaml import load_yaml
from abstractruntime.cli._errors import error_lines
from abstractruntime.cli._flow_page import EXAMPLE
from abstractruntime.errors import Refused, UnsupportedFormat, Untrusted
from abstractruntime.visualflow_compiler import compile_visualflow
from abstractruntime.visualflow_compiler.check import check_document

LONG = "9" * 5000


def write(name: str, document: Any) -> str:
    Path(name).write_text(document if isinstance(document, str) else json.dumps(document))
    return name


# -- what was given ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given, code",
    [
        ('k={"a": 1, "a": 2}', 2),
        ('k=[{"a": 1, "a": 2}]', 2),
        ('{"k": {"a": 1, "a": 2}}', 2),
        ("k=[NaN]", 2),
        (f"k=[{LONG}]", 2),
        ("k=NaN", 0),
        ("k={name}, hello", 0),
        ("k=[1", 0),
        ('k={"a": 1}', 0),
    ],
)
def test_a_value_with_a_key_twice_is_refused_in_every_form(art: Any, given: str, code: int) -> None:
    done = art("run", write("f.json", build_any()), "--input", given)

    assert done.code == code, done.err
    assert "is not JSON that can be kept" in done.err or not code


def build_any() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(LISTENS))
    document["nodes"] = [node for node in document["nodes"] if node["id"] != "w"]
    document["nodes"][0]["data"]["outputs"][1] = {"id": "k", "type": "any"}
    document["edges"] = [
        {"source": "s", "sourceHandle": "exec-out", "target": "e", "targetHandle": "exec-in"},
        {"source": "s", "sourceHandle": "k", "target": "e", "targetHandle": "got"},
    ]
    return document


@pytest.mark.parametrize(
    "read", [lambda: load_strict(f'{{"a": {LONG}}}'), lambda: load_yaml(f"a: {LONG}")]
)
def test_a_number_of_too_many_digits_is_told_in_our_words(read: Any) -> None:
    with pytest.raises(ValueError, match="number") as caught:
        read()
    assert "int_max_str_digits" not in str(caught.value)


def test_the_example_of_the_page_is_a_flow(art: Any) -> None:
    assert check_document(json.dumps(EXAMPLE).encode()).diagnostics == ()
    assert compile_visualflow(EXAMPLE).workflow_id == "greet"
    done = art("run", write("f.json", EXAMPLE), "--input", "name= Ana ")
    assert (done.code, "Hello Ana, shall I go on?" in done.err) == (4, True)


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error, is_about_keys",
    [(Refused("x"), False), (UnsupportedFormat("x"), False), (Untrusted("x"), True)],
)
def test_only_what_is_about_trust_speaks_of_keys(error: Refused, is_about_keys: bool) -> None:
    assert ("art key" in "\n".join(error_lines(error))) == is_about_keys


@pytest.mark.parametrize(
    "content",
    ["{nope", "[]", '{"format": "other/1"}', '{"format": "art-stub-llm/1", "answers": 1}'],
)
def test_a_wrong_file_of_answers_is_named_and_says_its_form(art: Any, content: str) -> None:
    stub = write("stub.json", content)
    done = art("run", write("f.json", ASKS), "--llm-stub", stub)

    assert done.code in (2, 3)
    assert "stub.json" in done.err
    assert "art key list" not in done.err
    assert "art-stub-llm/1" in done.err or "correct the file" in done.err


# -- runs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flow, flags, words",
    [
        (ASKS, (), "add --input ANSWER, --approve or --deny"),
        (LISTENS, ("--input", "key=go"), "it waits for the event"),
    ],
    ids=["question", "event"],
)
def test_without_an_answer_it_says_what_the_run_waits_for(
    art: Any, flow: Any, flags: tuple[str, ...], words: str
) -> None:
    art("run", write("f.json", flow), "--run-id", "r", *flags)

    done = art("resume", "r")

    assert (done.code, words in done.err) == (2, True), done.err


def test_a_timer_asks_nobody(art: Any) -> None:
    root = Path(__file__).resolve().parents[2] / "bundles" / "release-approval" / "flow.json"
    art("run", str(root), "--run-id", "r", "--input", "service=a", "--input", "version=1")
    art("resume", "r", "--input", "hold")

    done = art("resume", "r")

    assert "nobody is asked: it waits until" in done.err
    assert "--input" not in done.err


# -- diff ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("swap", [False, True])
def test_what_cannot_be_compared_is_named_with_its_line(art: Any, swap: bool) -> None:
    sides = [write("a.json", ASKS), write("b.json", '{"id": "b",\n"nodes": [,]}')]

    done = art("diff", *(reversed(sides) if swap else sides))

    assert (done.code, "--> file b.json:2:" in done.err) == (2, True), done.err
    assert "art check b.json" in done.err


HEX = ("0" * 40, "100644")


@pytest.mark.parametrize(
    "given, words",
    [
        (("a.json", *HEX, "a.json", *HEX), ""),
        (("a.json", *HEX, "b.json", *HEX), "+{broken"),
        (("b.json", *HEX, "/dev/null", ".", "."), "cannot be compared as flows"),
        (("a.json", *HEX, "gone.json", *HEX), "nor as lines"),
        (("a.json", *HEX, "wide.json", *HEX), "cannot be compared as flows"),
        (("a.json", *HEX, "a.json", *HEX, "new.json", "similarity 90"), ""),
        ((), "unmerged"),
    ],
    ids=["same", "broken", "deleted", "gone", "binary", "renamed", "conflict"],
)
def test_the_driver_never_fails(art: Any, given: tuple[str, ...], words: str) -> None:
    write("a.json", ASKS)
    write("b.json", "{broken")
    Path("wide.json").write_bytes(b"\xff\xfe\x00")

    done = art("diff", "--driver", "flow.json", *given)

    assert (done.code, words in done.out) == (0, True), done.out


@pytest.mark.parametrize("places", [("a.json",), ("a.json", "a.json", "a.json")])
def test_two_things_are_compared(art: Any, places: tuple[str, ...]) -> None:
    write("a.json", ASKS)

    assert art("diff", *places).code == 2


# -- files of another kind -------------------------------------------------------------------------


def test_a_bundle_is_no_document_and_the_reverse(art: Any) -> None:
    art("compile", write("f.json", ASKS), "--unsigned", "-o", "f.flowbundle")

    for command in ("check", "fmt"):
        done = art(command, "f.flowbundle")
        assert (done.code, "this is a bundle" in done.err + done.out) == (1, True)
        assert "art bundle show f.flowbundle" in done.err + done.out
    done = art("bundle", "verify", "f.json")
    assert (done.code, "art compile f.json" in done.err) == (2, True)


def test_a_bundle_is_never_written_to_a_file_called_dash(art: Any) -> None:
    done = art("compile", write("f.json", ASKS), "--unsigned", "-o", "-")

    assert (done.code, "/dev/stdout" in done.err, Path("-").exists()) == (2, True, False)


def test_a_default_file_is_not_shared_without_a_word(art: Any) -> None:
    compile_ = ("compile", "f.json", "--unsigned")
    write("f.json", ASKS)
    first, again = art(*compile_), art(*compile_)
    write("f.json", {**ASKS, "description": "another flow with this id"})
    other = art(*compile_)

    word = "held another bundle, asks@0.1.0"
    assert [word in done.err for done in (first, again, other)] == [False, False, True]
    assert other.code == 0


def test_a_history_that_names_no_run_says_so(art: Any) -> None:
    done = art("ledger", "verify", write("h.json", {"root_run_id": 1, "ledgers": {}}))

    assert "history of run (unknown)" in done.out
    assert "malformed: at /root_run_id: 1 is not of type" in done.out
    assert "expected /" not in done.out


def test_an_altered_bundle_is_told_in_a_sentence(art: Any) -> None:
    art("run", write("f.json", ASKS), "--run-id", "r")
    (bundle,) = Path("store/bundles").rglob("*.flowbundle")
    bundle.chmod(0o600)
    bundle.write_bytes(b"no zip")

    done = art("resume", "r", "--input", "yes")

    assert done.code == 1
    assert re.search(r"cannot be read, and run 'r' was started from it: ", done.err)
    assert "than run" not in done.err


# -- settings and places -----------------------------------------------------------------------------


def test_the_doctor_says_once_that_the_configuration_is_wrong(art: Any) -> None:
    write("art.yaml", "foo: 1")

    done = art("doctor", "--json")

    found = [item["message"] for item in done.document["findings"] if item["level"] == "error"]
    assert (done.code, len(found)) == (1, 1)


def test_a_wrong_value_has_no_hint_that_fails_as_well(art: Any) -> None:
    write("art.yaml", "durability: maybe")

    done = art("runs")

    assert (done.code, "art config show" in done.err) == (2, False)
    assert "correct it in project" in done.err


@pytest.mark.parametrize("command", [("new", "k"), ("trust", "k.vkey"), ("import", "k.vkey")])
def test_an_empty_glob_is_refused(art: Any, command: tuple[str, ...]) -> None:
    art("key", "new", "other")
    write("k.vkey", Path("config/keys/other.vkey").read_text())

    done = art("key", *command, "--bundle", "")

    assert (done.code, "no bundle is called so" in done.err) == (2, True)


@pytest.mark.parametrize("is_there", [False, True])
def test_a_workspace_that_is_made_is_told(art: Any, is_there: bool) -> None:
    reads = {"id": "r", "type": "read_file", "data": {"pinDefaults": {"file_path": "a.txt"}}}
    flow = {**ASKS, "nodes": [*ASKS["nodes"], reads]}
    if is_there:
        Path("w").mkdir()

    done = art("run", write("f.json", flow), "--workspace", "w")

    assert ("it is made" in done.err) == (not is_there)
