"""Where commands write results: what `-o` replaces, writes into, and leaves alone."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

APPROVAL = Path(__file__).resolve().parents[2] / "bundles" / "release-approval" / "flow.json"

ART = [sys.executable, "-m", "abstractruntime"]
FLOW = APPROVAL.read_bytes()


@pytest.fixture
def flow_file(tmp_path: Path) -> Path:
    path = tmp_path / "src.json"
    path.write_bytes(FLOW)
    return path


def compiled(art: Any, flow: Path, target: Path | str, *more: str) -> Any:
    return art("compile", str(flow), "--unsigned", "-o", str(target), *more)


@pytest.mark.parametrize("more", [(), ("--force",)], ids=["plain", "forced"])
def test_a_source_is_never_written_over(art, flow_file, tmp_path, more) -> None:
    of_directory = compiled(art, tmp_path, flow_file, *more)
    (tmp_path / "link.json").symlink_to(flow_file)
    os.link(flow_file, tmp_path / "hard.json")
    of_file = [
        compiled(art, flow_file, tmp_path / name, *more)
        for name in ("src.json", "link.json", "hard.json")
    ]

    for done in (of_directory, *of_file):
        assert (done.code, "reads" in done.err) == (2, True), done.err
    assert flow_file.read_bytes() == FLOW


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="this system has no /proc/self")
@pytest.mark.parametrize("way", ["/proc/self/cwd", "/proc/self/root{}", "/dev/../proc/self/cwd"])
def test_no_other_way_to_a_path_is_an_open_file(parked, flow_file, tmp_path, way) -> None:
    there = way.format(tmp_path)
    ledger = tmp_path / "store" / "ledger_demo.jsonl"
    before = ledger.read_bytes()

    assert compiled(parked, flow_file, f"{there}/{flow_file.name}").code == 2
    assert parked("export-history", "demo", "-o", f"{there}/store/{ledger.name}").code == 2
    assert (flow_file.read_bytes(), ledger.read_bytes()) == (FLOW, before)


def test_a_file_of_another_kind_needs_force(art, flow_file, tmp_path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")

    refused = compiled(art, flow_file, notes)

    assert (refused.code, notes.read_text()) == (2, "mine")
    assert "--force" in refused.err
    assert compiled(art, flow_file, notes, "--force").code == 0
    assert compiled(art, flow_file, notes).code == 0  # a bundle takes the place of a bundle


@pytest.mark.parametrize(
    "command",
    [
        ("export-history", "demo"),
        ("graph", "demo"),
        ("graph", "demo", "--format", "svg"),
        ("graph", "demo", "--format", "mermaid"),
        ("graph", "demo", "--format", "dot"),
    ],
    ids=" ".join,
)
def test_every_result_replaces_its_kind_only(parked, tmp_path, command) -> None:
    target, flow = tmp_path / "result", tmp_path / "flow.json"
    flow.write_bytes(FLOW)

    assert parked(*command, "-o", str(target)).code == 0
    assert parked(*command, "-o", str(target)).code == 0
    assert parked(*command, "-o", str(flow)).code == 2
    assert flow.read_bytes() == FLOW


@pytest.mark.parametrize("more", [(), ("--force",)], ids=["plain", "forced"])
@pytest.mark.parametrize(
    "place", ["store/ledger_demo.jsonl", "store/new.json", "config/trust.json", "link/x", "other/x"]
)
def test_stores_keys_and_configuration_are_left_alone(parked, tmp_path, place, more) -> None:
    (tmp_path / "config").mkdir(exist_ok=True)
    (tmp_path / "link").symlink_to(tmp_path / "store")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "store.json").write_bytes((tmp_path / "store/store.json").read_bytes())
    target = tmp_path / place
    before = target.read_bytes() if target.exists() else None

    done = parked("export-history", "demo", "-o", str(target), *more)

    assert (done.code, str(target) in done.err) == (2, True), done.err
    assert (target.read_bytes() if target.exists() else None) == before


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="no /proc")
def test_a_file_below_proc_is_a_file_where_it_leads(parked, tmp_path) -> None:
    (tmp_path / "old.json").write_text("something else")

    assert parked("export-history", "demo", "-o", "/proc/self/cwd/new.json").code == 0
    assert (tmp_path / "new.json").stat().st_mode & 0o777 == 0o600
    assert parked("export-history", "demo", "-o", "/proc/self/cwd/old.json").code == 2
    assert parked("export-history", "demo", "-o", "/proc/self/cwd").code == 2
    assert (tmp_path / "old.json").read_text() == "something else"


def test_nothing_is_unpacked_into_a_store(parked, flow_file, tmp_path) -> None:
    bundle = tmp_path / "b.flowbundle"
    assert compiled(parked, flow_file, bundle).code == 0

    done = parked(
        "bundle", "unpack", str(bundle), "-o", str(tmp_path / "store"), "--allow-unsigned"
    )

    assert done.code == 2
    assert not (tmp_path / "store" / "manifest.json").exists()


CASE = '{"format": "art-case/1", "name": "n", "flow": "../flow.json", "expect": {"output": 1}}'


@pytest.mark.parametrize("place", ["store", "config", "other", "link"])
@pytest.mark.parametrize(
    "command",
    [
        ("bundle", "sign", "b.flowbundle", "--key", "release"),
        ("fmt", "flow.json"),
        ("test", "cases/c.json", "--update"),
        ("test", "flow.json", "--save-from", "demo"),
    ],
    ids=" ".join,
)
def test_what_is_changed_in_place_lies_in_no_store_either(parked, tmp_path, place, command) -> None:
    """A bundle of a store is its runs' program; signed there, it would be another one."""
    assert parked("key", "new", "release").code == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "store.json").write_bytes((tmp_path / "store/store.json").read_bytes())
    (tmp_path / "link").symlink_to(tmp_path / "store")
    flow, bundle = tmp_path / place / "flow.json", tmp_path / place / "b.flowbundle"
    flow.write_bytes(FLOW)
    (tmp_path / "b").mkdir()
    assert compiled(parked, flow, tmp_path / "b" / "b.flowbundle").code == 0
    bundle.write_bytes((tmp_path / "b" / "b.flowbundle").read_bytes())
    flow.write_bytes(FLOW.replace(b"\n", b"\n\n"))
    (tmp_path / place / "cases").mkdir()
    (tmp_path / place / "cases" / "c.json").write_text(CASE)
    caches = {"index.sqlite", "index.sqlite-journal"}
    files = [path for path in (tmp_path / place).rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files if path.name not in caches}
    target = next(word for word in command if "." in word)

    done = parked(
        *command[: command.index(target)],
        str(tmp_path / place / target),
        *command[command.index(target) + 1 :],
    )

    assert (done.code, "in place" in done.err or "no results" in done.err) == (2, True), done.err
    assert {path: path.read_bytes() for path in before} == before


def test_commands_write_by_the_rules_alone() -> None:
    """Keys and the secret of the configuration are no results."""
    import abstractruntime.cli

    directory = Path(abstractruntime.cli.__file__).parent
    writers = {path.name for path in directory.glob("*.py") if "write_atomic" in path.read_text()}
    assert writers == {"_outputs.py", "_authority.py"}


def test_a_link_stays_and_its_file_is_written(art, flow_file, tmp_path) -> None:
    real, link = tmp_path / "real.flowbundle", tmp_path / "link.flowbundle"
    link.symlink_to(real)

    assert compiled(art, flow_file, link).code == 0
    assert link.is_symlink()
    assert real.read_bytes().startswith(b"PK")


def test_pipes_and_devices_are_written_into(art, flow_file, tmp_path) -> None:
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()

    assert compiled(art, flow_file, pipe).code == 0
    reader.join()

    assert found[0].startswith(b"PK")
    assert pipe.is_fifo()
    assert compiled(art, flow_file, os.devnull).code == 0
    assert Path(os.devnull).is_char_device()


def test_standard_output_has_a_name(flow_file, tmp_path) -> None:
    target = tmp_path / "redirected"
    command = [*ART, "graph", str(flow_file), "--format", "dot", "-o", "/dev/stdout", "-q"]
    with target.open("wb") as file:
        file.write(b"before\n")
        file.flush()
        assert subprocess.run(command, stdout=file, check=False).returncode == 0

    assert target.read_bytes().startswith(b"before\ndigraph ")


def test_a_socket_is_refused(art, flow_file, tmp_path, monkeypatch) -> None:
    import socket

    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.sock")
        done = compiled(art, flow_file, "s.sock", "--force")

    assert done.code == 2
    assert "special file" in done.err


def test_a_block_device_is_refused_by_any_name(art, flow_file, tmp_path) -> None:
    node = tmp_path / "disk"
    try:
        os.mknod(node, 0o600 | stat.S_IFBLK, os.makedev(42, 0))  # a number kept free
    except PermissionError:
        pytest.skip("only root makes devices")
    held = os.open(node, os.O_PATH)
    try:
        for name, word in ((node, "special file"), (f"/proc/self/fd/{held}", "block device")):
            done = compiled(art, flow_file, name, "--force")
            assert (done.code, word in done.err) == (2, True), done.err
    finally:
        os.close(held)


def test_signing_in_place_keeps_mode_and_link(art, flow_file, tmp_path) -> None:
    bundle, link = tmp_path / "b.flowbundle", tmp_path / "l.flowbundle"
    assert art("key", "new", "release").code == 0
    assert compiled(art, flow_file, bundle).code == 0
    bundle.chmod(0o600)
    link.symlink_to(bundle)

    assert art("bundle", "sign", str(link), "--key", "release").code == 0
    assert link.is_symlink()
    assert bundle.stat().st_mode & 0o777 == 0o600


def test_flows_whose_ids_look_alike_become_bundles_of_their_own(art, tmp_path) -> None:
    ids = ("release", "Release", "a/b", "a b", "流程", "データ", "x" * 80, "x" * 81)
    for number, flow_id in enumerate(ids):
        document = {**json.loads(FLOW), "id": flow_id}
        (tmp_path / f"{number}.json").write_text(json.dumps(document))
        assert art("compile", f"{number}.json", "--unsigned").code == 0

    found = {path.name for path in tmp_path.glob("*.flowbundle")}
    assert len(found) == len(ids)
    assert "release.flowbundle" in found
    assert all(len(name) <= 64 + len(".flowbundle") for name in found)
