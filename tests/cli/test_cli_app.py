"""The frame: what is imported when, exit codes, signals, pipes, defects."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from abstractruntime.cli import keys
from abstractruntime.cli._table import COMMANDS, Group

ROOT = Path(__file__).resolve().parents[2]
APPROVAL = str(ROOT / "bundles" / "release-approval" / "flow.json")
INPUT = '{"service": "api", "version": "2.1.0"}'
ART = [
    sys.executable,
    "-c",
    "import sys; from abstractruntime.cli.app import main; sys.exit(main())",
]

PROBE = """
import sys
from abstractruntime.cli.app import main
code = main(sys.argv[1:])
print("\\n".join(sys.modules), file=sys.stderr)
raise SystemExit(code)
"""


def loaded_by(*args: str) -> set[str]:
    command = [sys.executable, "-c", PROBE, *args]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_version_loads_nothing_of_weight() -> None:
    loaded = loaded_by("--version")

    assert not {"typer", "click", "orjson", "json", "dataclasses"} & loaded


def test_help_loads_no_command() -> None:
    loaded = loaded_by("--help")
    ours = {name for name in loaded if name.startswith("abstractruntime.")}

    assert not {"rich", "yaml", "jsonschema", "cryptography", "platformdirs"} & loaded
    assert ours - {
        f"abstractruntime.{n}"
        for n in ("errors", "_exports", "_json", "_near", "_text", "_version", "cli")
    } <= {
        f"abstractruntime.cli.{name}"
        for name in (
            "app",
            "_arguments",
            "_hints",
            "_interrupts",
            "_lazy",
            "_output",
            "_session",
            "_table",
        )
    }


def entries(group: Group, *path: str) -> list[tuple[str, ...]]:
    found = []
    for name, entry in group.entries.items():
        inner = entries(entry, *path, name) if isinstance(entry, Group) else [(*path, name)]
        found += inner
    return found


@pytest.mark.parametrize("path", entries(COMMANDS), ids=" ".join)
def test_every_command_has_help_with_an_example(art: Any, path: tuple[str, ...]) -> None:
    result = art(*path, "--help")

    assert result.code == 0
    assert "Examples:" in result.out
    assert "--json" in result.out


def test_no_arguments_gives_the_help(art: Any) -> None:
    result = art()

    assert result.code == 0
    assert "Commands:" in result.out


def test_group_without_command_is_a_usage_error(art: Any) -> None:
    result = art("key")

    assert result.code == 2
    assert "= hint: see: art key --help" in result.err


def test_defect_becomes_70_with_a_detail_file(
    art: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(keys, "all_keys", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    result = art("key", "list", "--json")

    assert result.code == 70
    assert "Traceback" not in result.err
    details = Path(result.document["error"]["details"]["path"])
    assert "ZeroDivisionError: oops" in details.read_text()


def test_wrong_output_mode_is_a_usage_error(art: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ART_OUTPUT", "xml")

    assert art("key", "list").code == 2


def test_output_mode_of_the_environment(art: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ART_OUTPUT", "json")

    assert art("key", "list").document == {"format": "art-keys/1", "keys": []}
    assert art("key", "show", "x").document["format"] == "art-error/1"


@pytest.mark.parametrize(
    "args, code",
    [
        (["--version"], 0),
        (["run", "--help"], 0),
        (["schema", "visualflow"], 0),
        (["show", "nobody", "--json"], 66),
        (["run", APPROVAL, "--input", INPUT], 4),
        (["run", APPROVAL, "--input", INPUT, "--jsonl"], 4),
    ],
    ids=["version", "help", "long", "error", "run", "stream"],
)
def test_a_reader_that_went_away_changes_no_exit_code(tmp_path, args, code) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environ = {**os.environ, "ART_HOME": str(tmp_path / "store")}
    command = [*ART, *map(str, args)]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environ, check=False)
    os.close(writer)

    assert done.returncode == code
    assert b"rror" not in done.stderr


def test_following_ends_with_its_reader(tmp_path) -> None:
    environ = {**os.environ, "ART_HOME": str(tmp_path / "store")}
    start = [*ART, "run", str(APPROVAL), "--input", INPUT, "--run-id", "r"]
    assert subprocess.run(start, env=environ, capture_output=True, check=False).returncode == 4
    reader, writer = os.pipe()
    os.close(reader)
    command = [*ART, "ledger", "tail", "r", "-f"]
    done = subprocess.run(command, stdout=writer, env=environ, timeout=30, check=False)
    os.close(writer)

    assert done.returncode == 0


@pytest.mark.parametrize(
    "number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_signal_stops_at_a_record_boundary(tmp_path: Path, number: int, code: int) -> None:
    environ = {
        **os.environ,
        "ART_HOME": str(tmp_path / "store"),
        "ART_CONFIG_DIR": str(tmp_path),
    }
    command = [*ART, "run", APPROVAL, "--run-id", "r1", "--until", "done", "--follow", "--json"]
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        # The question was recorded: from here on the driver only waits.
        next(line for line in process.stderr if line.startswith("waiting: "))
        process.send_signal(number)
        out, _ = process.communicate(timeout=20)

    assert process.returncode == code
    assert json.loads(out)["waiting"]["reason"] == "user"


def test_terminal_controls_of_a_flow_do_not_reach_the_terminal(art: Any, tmp_path: Path) -> None:
    flow = json.loads(Path(APPROVAL).read_text("utf-8"))
    (tmp_path / "f.json").write_text(json.dumps(flow))

    result = art("run", "f.json", "--input", json.dumps({"service": "\x1b[2J"}))

    assert "\x1b" not in result.err + result.out
    assert "\\x1b" in result.err
