"""A directory that somebody else filled: what its files can make `art` do, which is nothing."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import flow_builder as build
import pytest

from abstractruntime import open_store
from abstractruntime._json import dump_line, dump_sorted
from abstractruntime.cli._authority import is_sealed, seal
from abstractruntime.cli._session import Session
from abstractruntime.cli._settings import SETTINGS
from abstractruntime.core.commands import Cancel, Command
from abstractruntime.core.limits import RUN_LIMITS
from abstractruntime.core.origin import RunOrigin

APPROVAL = Path(__file__).resolve().parents[2] / "bundles" / "release-approval" / "flow.json"
INPUT = '{"service": "api", "version": "2.1.0"}'
STRANGER = 12_345
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
CODE = build.flow(
    build.START,
    build.node("q", "ask_user", "exec-in prompt", "exec-out response", pinDefaults={"prompt": "p"}),
    build.node("c", "code", "exec-in", "exec-out output", code="def transform(_):\n    return 1\n"),
    build.end("n"),
    edges="s > q; q > c; c > e; c.output > e.n",
)


@pytest.fixture
def project(art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a directory whose content came from elsewhere."""
    monkeypatch.delenv("ART_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home" / "data"))
    place = tmp_path / "cloned"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def first_record(ledger: Path) -> Any:
    return json.loads(ledger.read_text().splitlines()[0])["result"]


def shown(art: Any) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]], str]:
    result = art("config", "show", "--json")
    assert result.code == 0, result.err
    settings = {item["name"]: item for item in result.document["settings"]}
    return settings, result.document["ignored"], result.err


# -- settings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "obeyed"),
    [
        ("sandbox", "in-process", False),
        ("sandbox", "worker", True),
        ("durability", "relaxed", False),
        ("durability", "strict", True),
        ("on_unknown", "fail", True),
        ("trust_store", "t.json", False),
        ("signing_key", "release", False),
        ("host_key", "host", False),
        ("llm.handler", "stub", False),
        ("llm.script", "answers.json", False),
        ("store", "runs", True),
        ("store", "../runs", False),
        ("store", "/tmp/runs", False),
        ("store", "link/runs", False),
        ("workspace", ".", True),
        ("workspace", "'~'", False),
        ("workspace", "link", False),
        ("lock_timeout", "5", True),
        ("llm.attempts", "3", True),
    ],
)
def test_a_project_may_only_tighten(
    art: Any, project: Path, name: str, text: str, obeyed: bool
) -> None:
    (project / "link").symlink_to(project.parent)
    before = shown(art)[0][name]
    (project / "art.yaml").write_text(f"{name}: {text}\n")

    settings, ignored, said = shown(art)

    if obeyed:
        assert ignored == []
        assert said == ""
    else:
        assert settings[name] == before
        assert [item["setting"] for item in ignored] == [name]
        assert said.count("is not obeyed") == 1
        assert "config.yaml" in said
        assert any(f["level"] == "warning" for f in art("doctor", "--json").document["findings"])


def test_what_is_not_obeyed_is_said_in_few_lines_and_by_the_doctor_in_full(
    art: Any, project: Path
) -> None:
    names = ("signing_key", "host_key", "trust_store", "sandbox", "workspace")
    values = ("k", "k", "t.json", "in-process", "'~'")
    lines = (f"{name}: {value}\n" for name, value in zip(names, values, strict=True))
    (project / "art.yaml").write_text("".join(lines))

    said = art("runs").err
    assert said.count("is not obeyed") == 3
    assert "2 more settings are not obeyed; see: art doctor" in said
    doctor = art("doctor").out
    assert all(name in doctor for name in names)


@pytest.mark.parametrize(
    "rule", [s for s in SETTINGS if s.project.leeway == "tighten"], ids=lambda s: s.name
)
def test_every_choice_has_its_place_among_the_looser_ones(rule: Any) -> None:
    assert sorted(rule.project.loosest_first) == sorted(rule.choices)


def test_what_a_project_tightens_counts_over_the_users_file(
    art: Any, project: Path, tmp_path: Path
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text("sandbox: in-process\ndurability: relaxed\n")
    (project / "art.yaml").write_text("sandbox: worker\ndurability: off\n")

    settings, ignored, _ = shown(art)

    assert settings["sandbox"]["value"] == "worker"
    assert settings["durability"]["value"] == "relaxed"
    assert [item["setting"] for item in ignored] == ["durability"]
    assert art("config", "show", "--json").document["ignored"][0]["instead"] == "relaxed"


@pytest.mark.parametrize("flags", [(), ("--sandbox", "in-process")], ids=["project", "flag"])
def test_code_of_a_flow_leaves_this_process_unless_the_user_says_otherwise(
    art: Any, project: Path, flags: tuple[str, ...]
) -> None:
    (project / "art.yaml").write_text("sandbox: in-process\ntrust_store: t.json\n")
    (project / "f.json").write_text(json.dumps(CODE))

    assert art("run", "f.json", "--run-id", "r", "--store", "runs", *flags).code == 4

    facts = first_record(project / "runs" / "ledger_r.jsonl")
    assert (facts["sandbox"]["backend"] == "in-process") is bool(flags)
    assert ("trust_code" in facts["overrides"]) is bool(flags)


# -- files --------------------------------------------------------------------------------


def _chmod(mode: int) -> Any:
    return lambda path: path.chmod(mode)


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _give(path: Path) -> None:
    os.chown(path, STRANGER, STRANGER)


def _shared(path: Path) -> None:
    os.chown(path, -1, STRANGER)
    path.chmod(0o664)


def _sticky(path: Path) -> None:
    path.parent.chmod(0o1777)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_chmod(0o666), "written by others"),
        pytest.param(_shared, "written by others", marks=needs_root),
        pytest.param(_give, "belongs to user 12345", marks=needs_root),
        (_sticky, "written by others"),
        (_link, "it is a link"),
        (_pipe, "not a file"),
        (_directory, "not a file"),
    ],
    ids=["mode", "group", "owner", "sticky", "link", "pipe", "directory"],
)
def test_a_file_that_others_could_have_written_is_not_obeyed(
    art: Any, project: Path, spoil: Any, why: str
) -> None:
    (project / "art.yaml").write_text("lock_timeout: 5\n")
    assert shown(art)[0]["lock_timeout"]["value"] == 5
    spoil(project / "art.yaml")
    inner = project / "inner"
    inner.mkdir()
    os.chdir(inner)

    settings, ignored, said = shown(art)

    assert settings["lock_timeout"]["origin"] == "default"
    assert why in ignored[0]["why"]
    assert why in said


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_chmod(0o777), "written by others"),
        pytest.param(_give, "belongs to user 12345", marks=needs_root),
        (_link, "it is a link"),
    ],
    ids=["mode", "owner", "link"],
)
def test_a_store_directory_that_others_could_have_filled_is_not_used(
    art: Any, project: Path, spoil: Any, why: str
) -> None:
    (project / ".art").mkdir()
    assert shown(art)[0]["store"]["value"] == str(project / ".art")
    spoil(project / ".art")

    settings, ignored, _ = shown(art)

    assert settings["store"]["origin"] == "default"
    assert why in ignored[0]["why"]


@pytest.mark.parametrize("name", ["config.yaml", "trust.json"])
@pytest.mark.parametrize(
    "spoil",
    [_chmod(0o666), _sticky, pytest.param(_give, marks=needs_root)],
    ids=["mode", "directory", "owner"],
)
def test_own_files_that_others_could_have_written_are_refused_with_the_fix(
    art: Any, tmp_path: Path, name: str, spoil: Any
) -> None:
    art("key", "new", "release")
    path = tmp_path / "config" / name
    path.touch()
    path.chmod(0o600)
    spoil(path)

    refused = art("run", str(APPROVAL))

    assert refused.code == 3
    assert "chmod go-w" in refused.err or "chown" in refused.err
    assert art("doctor").code == 1


# -- a store that came with the project -----------------------------------------------------


@pytest.fixture
def planted(art: Any, project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store whose run says that its code runs outside of the sandbox; a stranger made it."""
    (project / "f.json").write_text(json.dumps(CODE))
    with monkeypatch.context() as patch:
        patch.setenv("ART_CONFIG_DIR", str(project.parent / "stranger"))
        parked = art("run", "f.json", "--run-id", "r", "--store", ".art", "--trust-code")
    assert parked.code == 4, parked.err
    return project


@pytest.mark.parametrize(
    "command",
    [
        ("resume", "r", "--input", "x"),
        ("tick", "r"),
        ("cancel", "r"),
        ("pause", "r"),
        ("run", "f.json", "--run-id", "r"),
    ],
    ids=lambda command: command[0],
)
def test_a_run_that_came_with_the_project_is_only_read(
    art: Any, planted: Path, command: tuple[str, ...]
) -> None:
    (planted / ".art" / "index.sqlite").unlink(missing_ok=True)
    ledger = (planted / ".art" / "ledger_r.jsonl").read_bytes()

    assert art(*command).code in (2, 3)
    assert (planted / ".art" / "ledger_r.jsonl").read_bytes() == ledger
    assert art("inspect", "r").code == 0


def test_whoever_knows_the_store_names_it(art: Any, planted: Path) -> None:
    refused = art("resume", "r", "--input", "x")

    assert (refused.code, f"--store {planted / '.art'}" in refused.err) == (3, True)
    named = ("resume", "r", "--input", "x", "--store", ".art")
    assert art(*named).code == 3
    assert art(*named, "--accept-origin").code == 0


def test_serve_leaves_such_a_run_alone(art: Any, planted: Path) -> None:
    art("emit", "x", "--run", "r", "--store", ".art")

    art("serve", "--once")

    assert art("inspect", "r", "--json").document["status"] == "waiting"


def test_own_runs_of_a_project_go_on(art: Any, project: Path) -> None:
    (project / ".art").mkdir()
    assert art("run", str(APPROVAL), "--run-id", "r", "--input", INPUT).code == 4
    assert art("resume", "r", "--input", "approve").code == 0


def rewrite(ledger: Path, change: Any, *, keep: int | None = None) -> None:
    """Change the records of a ledger, as somebody does who knows how they are chained."""
    records = [json.loads(line) for line in ledger.read_text().splitlines()][:keep]
    change(records)
    previous = None
    for record in records:
        record["prev_hash"] = previous
        body = {k: v for k, v in record.items() if k not in ("record_hash", "signature")}
        previous = record["record_hash"] = sha256(dump_sorted(body)).hexdigest()
    ledger.write_bytes(b"".join(dump_line(record) + b"\n" for record in records))


def _variables(records: Any) -> None:
    records[0]["commit"]["set"]["/service"] = "forged"


def _position(records: Any) -> None:
    records[0]["commit"]["init"]["current_node"] = "end"


def _last(records: Any) -> None:
    records[-1]["commit"]["updated_at"] = "2020-01-01T00:00:00.000000+00:00"


@pytest.mark.parametrize("keep", [None, 1], ids=["whole", "first"])
@pytest.mark.parametrize("change", [_variables, _position, _last])
@pytest.mark.parametrize("where", ["project", "elsewhere"])
def test_nothing_that_was_written_behind_a_seal_is_believed(
    art: Any, project: Path, tmp_path: Path, where: str, change: Any, keep: int | None
) -> None:
    """Whoever has a ledger of somebody has the seal of its first record."""
    own = project / ".art"
    store = own if where == "project" else tmp_path / "store"
    own.mkdir()
    run = ("run", str(APPROVAL), "--run-id", "r", "--input", INPUT, "--store", str(store))
    assert art(*run).code == 4
    if store != own:
        shutil.copytree(store, own, dirs_exist_ok=True)
    for cached in ("run_r.json", "index.sqlite"):
        (own / cached).unlink(missing_ok=True)
    ledger = own / "ledger_r.jsonl"
    rewrite(ledger, change, keep=keep)
    before = ledger.read_bytes()

    for command in (("tick", "r"), ("tick", "--due"), ("resume", "r", "--input", "approve")):
        assert art(*command).code in ((0, 3) if "--due" in command else (3,))
    assert ledger.read_bytes() == before


def test_a_command_that_came_with_the_project_is_not_applied(art: Any, project: Path) -> None:
    (project / ".art").mkdir()
    assert art("run", str(APPROVAL), "--run-id", "r", "--input", INPUT).code == 4
    with contextlib.closing(open_store(project / ".art")) as stranger:
        stranger.post("r", Command("c", Cancel(reason="mine")))

    assert art("tick", "r").code == 4
    assert art("ledger", "verify", "r").code == 0
    (aside,) = (project / ".art" / "quarantine").iterdir()
    assert b"mine" in aside.read_bytes()
    assert art("pause", "r").code == art("unpause", "r").code == 0
    assert art("cancel", "r", "--yes").code in (0, 2, 5)


def test_who_names_the_store_takes_the_commands_of_others(art: Any, project: Path) -> None:
    """A program in Python, or somebody with another configuration, was told that its command counts."""
    (project / ".art").mkdir()
    assert art("run", str(APPROVAL), "--run-id", "r", "--input", INPUT).code == 4
    with contextlib.closing(open_store(project / ".art")) as host:
        host.post("r", Command("c", Cancel(reason="theirs")))

    assert art("tick", "r", "--store", ".art").code == 5
    assert not list((project / ".art").glob("quarantine/*"))


def test_a_start_key_stands_for_own_runs_alone(art: Any, planted: Path) -> None:
    start = ("run", "f.json", "--once", "daily", "--store", ".art")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ART_CONFIG_DIR", str(planted.parent / "stranger"))
        assert art(*start).code == 4

    refused = art("run", "f.json", "--once", "daily")
    assert (refused.code, "came with the project" in refused.err) == (3, True)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _short(path: Path) -> None:
    path.write_bytes(b"secret")


@pytest.mark.parametrize("spoil", [_empty, _short, _chmod(0o644)], ids=["empty", "short", "mode"])
def test_a_secret_that_is_none_seals_nothing(art: Any, tmp_path: Path, spoil: Any) -> None:
    assert art("run", str(APPROVAL), "--input", INPUT).code == 4
    spoil(tmp_path / "config" / "seal.key")

    refused = art("run", str(APPROVAL), "--input", INPUT)
    assert (refused.code, "seal.key" in refused.err) == (3, True)
    doctor = art("doctor")
    assert (doctor.code, "seal.key" in doctor.out) == (1, True)


@pytest.mark.parametrize(
    ("run_id", "changes"),
    [
        ("s", {}),
        ("r", {"grants": ("file:write",)}),
        ("r", {"overrides": ("trust_code",)}),
        ("r", {"workspace": "/"}),
        ("r", {"bundle_digest": "d"}),
        ("r", {"signers": ("acme",)}),
        ("r", {"seal": None}),
        ("r", {"seal": "0" * 64}),
    ],
    ids=lambda value: "-".join(value),
)
def test_a_seal_covers_all_that_the_first_record_says(
    tmp_path: Path, run_id: str, changes: dict[str, Any]
) -> None:
    session = Session(environ={"ART_CONFIG_DIR": str(tmp_path)})
    stated = RunOrigin("w", bundle_digest="x", settings={"sandbox": {"value": "worker"}})
    sealed = replace(stated, seal=seal(session, "r", stated), entry_node="n")

    assert is_sealed(session, "r", sealed)
    assert not is_sealed(session, run_id, replace(sealed, **changes))


def test_a_run_starts_where_no_secret_can_be_kept(art: Any, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("")

    assert seal(Session(), "r", RunOrigin("w")) is None


@pytest.mark.parametrize("name", ["index.sqlite", "locks", "inbox", "bundles", "store.json"])
def test_a_part_of_such_a_store_that_leads_elsewhere_is_refused(
    art: Any, planted: Path, tmp_path: Path, name: str
) -> None:
    part, outside = planted / ".art" / name, tmp_path / "outside"
    if part.exists():
        part.rename(outside)
    part.symlink_to(outside)

    assert art("runs").code == 3
    assert art("tick", "--due").code == 3


def test_a_file_of_a_store_that_leads_elsewhere_is_not_followed(
    art: Any, planted: Path, tmp_path: Path
) -> None:
    ledger = planted / ".art" / "ledger_r.jsonl"
    ledger.rename(tmp_path / "outside.jsonl")
    ledger.symlink_to(tmp_path / "outside.jsonl")

    assert art("ledger", "show", "r").code == 74


def test_the_doctor_says_once_what_is_not_obeyed(art: Any, tmp_path: Path) -> None:
    (tmp_path / "art.yaml").write_text("sandbox: in-process\n")

    done = art("doctor")

    assert (done.out + done.err).count("is not obeyed") == 1
    assert "is not obeyed" in done.out


# -- the first record -----------------------------------------------------------------------


def test_the_first_record_says_what_was_in_force_and_where_it_came_from(
    art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ART_ON_UNKNOWN", "ask")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "art.yaml").write_text("durability: strict\n")
    for name, usage in (("host", "host"), ("release", "bundle")):
        art("key", "new", name, "--usage", usage)
    monkeypatch.setenv("ART_SIGNING_KEY", "release")

    art(
        "run",
        str(APPROVAL),
        "--run-id",
        "r",
        "--input",
        INPUT,
        "--trust-code",
        "--host-key",
        "host",
    )

    assert first_record(tmp_path / "store" / "ledger_r.jsonl")["settings"] == {
        "store": {"value": "~/store", "origin": "env ART_HOME"},
        "durability": {"value": "strict", "origin": "project ~/art.yaml"},
        "signing_key": {"value": "release", "origin": "env ART_SIGNING_KEY"},
        "host_key": {"value": "host", "origin": "flag"},
        "trust_store": {"value": "~/config/trust.json", "origin": "default"},
        "sandbox": {"value": "in-process", "origin": "flag --trust-code"},
        "sandbox_minimum": {"value": "none", "origin": "default"},
        "on_unknown": {"value": "ask", "origin": "env ART_ON_UNKNOWN"},
        "on_revoked": {"value": "refuse", "origin": "default"},
        "unsigned_bundles": {"value": "deny", "origin": "default"},
    }


def test_only_what_permits_nothing_is_left_out_of_it() -> None:
    unstated = {setting.name for setting in SETTINGS if not setting.is_stated}

    # Limits stand in the variables of the run, which its first record holds.
    limits = {f"limits.{name}" for name in RUN_LIMITS}
    assert unstated == {"lock_timeout", "llm.attempts", "llm.timeout", "llm.script", *limits}
