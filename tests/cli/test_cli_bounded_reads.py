"""What a command is given is read up to a limit, and special files are not waited for."""

from __future__ import annotations

import io
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from abstractruntime._json_size import has_more_values
from abstractruntime.cli import _files, _inputs
from abstractruntime.cli._inputs import parse_inputs, parse_payload
from abstractruntime.errors import UsageError
from abstractruntime.signing import verdict as verdicts

APPROVAL = Path(__file__).resolve().parents[2] / "bundles" / "release-approval" / "flow.json"

GIVEN = [
    pytest.param(("check", "{}"), id="check"),
    pytest.param(("show", "{}"), id="show"),
    pytest.param(("fmt", "{}"), id="fmt"),
    pytest.param(("diff", "{}", "{}"), id="diff"),
    pytest.param(("run", "{}"), id="run"),
    pytest.param(("run", "FLOW", "--input", "@{}"), id="input"),
    pytest.param(("run", "FLOW", "--llm-stub", "{}"), id="stub"),
    pytest.param(("ledger", "verify", "{}"), id="ledger"),
    pytest.param(("ledger", "verify", "LEDGER", "--heads", "{}"), id="heads"),
    pytest.param(("ledger", "verify", "LEDGER", "--pin", "{}"), id="pin"),
    pytest.param(("bundle", "verify", "{}"), id="bundle"),
    pytest.param(("bundle", "verify", "FLOW", "--signature", "{}"), id="signature"),
]


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    path = tmp_path / "flow.json"
    path.write_text(APPROVAL.read_text())
    return path


def _special(path: Path, kind: str) -> Any:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    else:
        holder = socket.socket(socket.AF_UNIX)
        holder.bind(str(path))
        return holder
    return None


@pytest.mark.parametrize("kind", ["pipe", "socket", "endless"])
@pytest.mark.parametrize("command", GIVEN)
def test_special_files_are_refused(
    art: Any, flow: Path, command: tuple[str, ...], kind: str
) -> None:
    """Without the check, opening the pipe never returns and the device never ends."""
    odd = flow.with_name("odd")
    holder = _special(odd, kind)
    ledger = flow.with_name("ledger.jsonl")
    ledger.touch()
    places = {"FLOW": str(flow), "LEDGER": str(ledger)}
    try:
        result = art(*(places.get(part, part).replace("{}", str(odd)) for part in command))
    finally:
        if holder is not None:
            holder.close()
    # Where a run could be meant, what is no file is taken for the name of one.
    assert result.code == 66 or "expected a file" in result.err


def test_a_pipe_that_was_given_is_read(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b'{"a": 1}')
    os.close(writer)
    assert parse_inputs([f"@/dev/fd/{reader}"]) == {"a": 1}
    os.close(reader)


def test_inputs_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inputs, "MAX_INPUT_BYTES", 20)
    file = tmp_path / "in.json"
    file.write_text('{"a": "' + "x" * 30 + '"}')
    with pytest.raises(UsageError, match="longer than 20 bytes"):
        parse_inputs([f"@{file}"])
    monkeypatch.setattr("sys.stdin", io.StringIO(file.read_text()))
    with pytest.raises(UsageError, match="longer than 20 bytes"):
        parse_inputs(["-"])


@pytest.mark.parametrize("text", ['{"a": [1,2,3,4,5,6]}', '{"a": [{},{},{}]}'])
def test_inputs_have_a_number_of_values(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inputs, "MAX_VALUES", 5)
    with pytest.raises(UsageError, match="more than 5 values"):
        parse_inputs([text])
    with pytest.raises(UsageError, match="more than 5 values"):
        parse_payload(text)


@pytest.mark.parametrize(
    "text,limit,expected",
    [
        (b"[1,2,3]", 6, False),
        (b"[1,2,3]", 5, True),
        (b'"' + b"," * 100 + b'"', 5, False),
        (b'["\\"", "[,[,[,[,[", "\\\\", {"a,": "\\\\\\",,:,"}]', 12, False),
        (b'{"a": 1, "b:": 2}', 7, False),
        (b'{"a": 1, "b:": 2}', 6, True),
        (b'["\\\\",1,2,3]', 6, True),
    ],
)
def test_values_are_counted_outside_texts(text: bytes, limit: int, expected: bool) -> None:
    assert has_more_values(text, limit) is expected


@pytest.mark.parametrize("command", [("ledger", "verify"), ("show",)], ids=" ".join)
@pytest.mark.parametrize("kind", ["directory", "pipe", "device"])
def test_what_is_no_file_is_called_what_it_is(
    art: Any, tmp_path: Path, command: tuple[str, ...], kind: str
) -> None:
    place = tmp_path / "odd"
    if kind == "directory":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to("/dev/null")
    refused = art(*command, str(place))
    assert (refused.code, f"is a {kind}" in refused.err) == (2, True), refused.err


def test_noise_ends_a_verification(art: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(verdicts, "MAX_BAD_LINES", 50)
    noise = tmp_path / "noise.jsonl"
    noise.write_bytes(b"\n" * 10_000)
    result = art("ledger", "verify", str(noise), "--json")
    assert result.code == 1
    assert result.document["records"] < 100


def test_a_long_first_line_is_not_parsed(art: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(_files, "_FIRST_LINE_BYTES", 100)
    monkeypatch.setattr(
        _files, "_is_history_text", lambda data: pytest.fail(f"{len(data)} bytes were parsed")
    )
    long = tmp_path / "long.jsonl"
    long.write_bytes(b'{"run_id":"' + b"x" * 1000)
    assert art("ledger", "verify", str(long)).code == 0


def test_no_memory_is_no_defect(art: Any, monkeypatch: Any) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("abstractruntime.cli.flow.read_document", fail)
    Path("f.json").write_text("{}")
    result = art("check", "f.json")
    assert result.code == 2
    assert "needs more memory" in result.err
