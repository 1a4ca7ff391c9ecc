"""What no path of a flow reaches, whatever the workspace is and however the path is written."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from abstractruntime.errors import Refused
from abstractruntime.nodes.base import NodeError
from abstractruntime.workspace import Workspace

KEY = "-----BEGIN PRIVATE KEY-----\nsecret\n"
STORE = '{"format":"art-store/1","origin":"host/1"}\n'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory with everything in it that flows must not touch."""
    root = tmp_path / "home"
    config, store, old = root / ".config" / "art", root / "runs", root / "old"
    for place in (config / "keys", store / "artifacts", old, root / "notes"):
        place.mkdir(parents=True)
    monkeypatch.setenv("ART_CONFIG_DIR", str(config))
    (config / "trust.json").write_text("secret")
    (config / "keys" / "release.pem").write_text("secret")
    (store / "store.json").write_text(STORE)
    (store / "ledger_r.jsonl").write_text("secret")
    (store / "artifacts" / "a.bin").write_text("secret")
    (old / "ledger_r.jsonl").write_text("secret")
    (old / "run_r.json").write_text('"secret"')
    (root / "notes" / "a.txt").write_text("a")
    (root / "notes" / "id_rsa").write_text(KEY)
    (root / "guarded.txt").write_text("secret")
    (tmp_path / "outside.txt").write_text("secret")
    return root


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(NodeError) as caught:
        call()
    return str(caught.value)


KEPT = [
    ".config/art/trust.json",
    ".config/art/new.json",
    ".config/art/keys/release.pem",
    "notes/../.config/art/trust.json",
    "runs/store.json",
    "runs/ledger_r.jsonl",
    "runs/ledger_new.jsonl",
    "runs/artifacts/a.bin",
    "old/ledger_r.jsonl",
    "old/run_r.json",
    "guarded.txt",
    "to-config/trust.json",
    "to-trust",
    "deep/to-runs/ledger_r.jsonl",
    "hard/trust.txt",
    "@.config/art/trust.json",
]


@pytest.fixture
def linked(home: Path) -> Path:
    (home / "to-config").symlink_to(".config/art")
    (home / "to-trust").symlink_to(home / ".config" / "art" / "trust.json")
    (home / "deep").mkdir()
    (home / "deep" / "to-runs").symlink_to("../runs")
    (home / "hard").mkdir()
    os.link(home / ".config" / "art" / "trust.json", home / "hard" / "trust.txt")
    return home


def everything(home: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(home.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("path", KEPT)
@pytest.mark.parametrize("how", ["relative", "absolute"])
def test_no_path_reaches_configuration_keys_or_a_store(linked: Path, path: str, how: str) -> None:
    given = path if how == "relative" or path[0] == "@" else str(linked / path)
    flows = Workspace(linked, guarded=(linked / "guarded.txt",))
    before = everything(linked)

    assert "no flow may touch" in refused(lambda: flows.read(given, limit=100))
    assert "no flow may touch" in refused(lambda: flows.write(given, b"mine"))
    assert everything(linked) == before


@pytest.mark.parametrize(
    "content",
    [
        KEY,
        f"-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n{KEY}",
        f"Bag Attributes\n    localKeyID: 01\n{KEY}",
        f"# mine\n{KEY}",
        f"\ufeff{KEY}",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\n",
        "-----BEGIN OPENSSH PRIVATE KEY-----\n",
        json.dumps({"key": KEY}),
    ],
)
def test_a_file_that_holds_a_private_key_is_not_read(home: Path, content: str) -> None:
    (home / "notes" / "b.txt").write_text(content)
    problem = refused(lambda: Workspace(home).read("notes/b.txt", limit=1000))
    assert "holds a private key" in problem


@pytest.mark.parametrize(
    "path",
    ["art.yaml", "notes/Art.YAML", ".art/store.json", ".git/hooks/pre-commit", "a/.git/config"],
)
def test_what_the_directory_obeys_is_not_written(home: Path, path: str) -> None:
    assert "configuration" in refused(lambda: Workspace(home).write(path, b"store: x"))
    assert not (home / path).exists()


@pytest.mark.parametrize("root", [".git", "a/.git/modules", ".Art"])
def test_what_the_directory_obeys_is_not_written_from_within(home: Path, root: str) -> None:
    (home / root).mkdir(parents=True)

    assert "configuration" in refused(lambda: Workspace(home / root).write("hooks/new", b"x"))
    assert not (home / root / "hooks").exists()


def test_lists_pass_over_what_is_kept(linked: Path) -> None:
    flows = Workspace(linked, guarded=(linked / "guarded.txt",))

    found = flows.list_files(".", pattern="*", recursive=True, limit=100).paths

    assert not any(path.startswith((".config", "runs", "to-", "deep/to-")) for path in found)
    assert "notes/a.txt" in found
    for folder in (".config/art", "runs", "to-config", "deep/to-runs"):
        assert "no flow may touch" in refused(
            partial(flows.list_files, folder, pattern="*", recursive=True, limit=9)
        )


@pytest.mark.parametrize("inside", ["", "keys", "../../runs", "../../runs/artifacts", "new"])
def test_a_root_in_there_is_refused(home: Path, inside: str) -> None:
    root = home / ".config" / "art" / inside

    with pytest.raises(Refused, match="cannot be a workspace"):
        Workspace(root).require_usable()
    refused(lambda: Workspace(root).read("trust.json", limit=9))
    refused(lambda: Workspace(root).write("x", b""))
    assert not (home / ".config" / "art" / "new").exists()


def test_configuration_that_is_not_there_yet_is_not_made(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ART_CONFIG_DIR", str(home / "later"))

    for path in ("later/trust.json", "LATER/trust.json", "notes/../later/keys/a.pem"):
        assert "no flow may touch" in refused(partial(Workspace(home).write, path, b"{}"))
    assert not (home / "later").exists()


def test_a_workspace_beside_a_store_that_shares_the_configuration_directory(home: Path) -> None:
    made = home / ".config" / "art" / "store-workspaces"
    root = made / "review--1"
    root.mkdir(parents=True)
    flows = Workspace(root, home=made)

    flows.require_usable()

    assert flows.write("a.txt", b"a").endswith("review--1/a.txt")
    refused(lambda: flows.read("../../trust.json", limit=9))
    for other in (Workspace(root), Workspace(made, home=made), Workspace(root, home=root)):
        with pytest.raises(Refused, match="cannot be a workspace"):
            other.require_usable()


@pytest.mark.parametrize("inside", ["x", "inbox", "artifacts/deep/er"])
@pytest.mark.parametrize("name", ["runs-workspaces", "runs"])
def test_no_name_makes_a_place_in_a_store_a_workspace(home: Path, name: str, inside: str) -> None:
    """Also where the host makes its workspaces just there."""
    store = (home / "runs").rename(home / name)
    (store / inside).mkdir(parents=True, exist_ok=True)

    for made in (None, store, home / "runs-workspaces"):
        flows = Workspace(store / inside, home=made)
        with pytest.raises(Refused, match="cannot be a workspace"):
            flows.require_usable()
        assert "no flow may touch" in refused(partial(flows.write, "a.txt", b""))
        assert "no flow may touch" in refused(partial(flows.read, "a.txt", limit=9))


# -- what is no plain file ------------------------------------------------------------------


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as found:
        here = Path.cwd()
        os.chdir(path.parent)  # names of sockets are short
        found.bind(path.name)
        os.chdir(here)


def _device(path: Path) -> None:
    try:
        os.mknod(path, 0o020600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")


@pytest.mark.parametrize("make", [_pipe, _socket, _device])
def test_special_files_are_left_alone(home: Path, make: Any) -> None:
    place = home / "notes" / "x"
    make(place)
    kind = place.lstat().st_mode

    assert refused(lambda: Workspace(home).read("notes/x", limit=9)) == "Not a file: notes/x"
    assert refused(lambda: Workspace(home).write("notes/x", b"")) == "Not a file: notes/x"
    assert place.lstat().st_mode == kind


def test_a_private_key_is_not_read_wherever_it_lies(home: Path) -> None:
    assert "private key" in refused(lambda: Workspace(home).read("notes/id_rsa", limit=99))


def test_a_file_with_other_names_is_not_read_and_not_written_through(home: Path) -> None:
    os.link(home.parent / "outside.txt", home / "notes" / "hard.txt")

    assert "other names" in refused(lambda: Workspace(home).read("notes/hard.txt", limit=9))
    Workspace(home).write("notes/hard.txt", b"new")
    assert (home.parent / "outside.txt").read_text() == "secret"


def test_a_written_file_does_not_run_as_its_owner(home: Path) -> None:
    (home / "notes" / "a.txt").chmod(0o4755)

    Workspace(home).write("notes/a.txt", b"x")

    assert (home / "notes" / "a.txt").stat().st_mode & 0o7777 == 0o755


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
@pytest.mark.parametrize(
    "path", ["/proc/self/environ", "proc/self/environ", "/proc/self/root/etc/passwd", "dev/null"]
)
def test_the_system_is_no_workspace(home: Path, path: str) -> None:
    refused(lambda: Workspace(Path("/")).read(path, limit=10**6))
    refused(
        lambda: (
            Workspace(home).read(path, limit=10**6)
            if path[0] == "/"
            else Workspace(Path("/proc")).read("self/environ", limit=9)
        )
    )


def test_the_way_through_proc_back_inside_is_the_same_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)

    assert "no flow may touch" in refused(
        lambda: Workspace(home).read("/proc/self/cwd/runs/store.json", limit=99)
    )


# -- links and races --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("notes", b"a"),
        ("./notes/../notes", b"a"),
        ("again", b"a"),
        ("..", None),
        ("/etc", None),
        ("loop", None),
        ("notes/../../home/notes", None),
    ],
)
def test_links_are_walked_inside_and_nowhere_else(
    home: Path, target: str, answer: bytes | None
) -> None:
    (home / "again").symlink_to(home / "notes")
    (home / "loop").symlink_to("loop")
    (home / "link").symlink_to(target)

    if answer is None:
        refused(lambda: Workspace(home).read("link/a.txt", limit=9))
    else:
        assert Workspace(home).read("link/a.txt", limit=9) == answer


@pytest.mark.parametrize("act", ["read", "write", "list"])
def test_a_directory_swapped_for_a_link_while_it_is_walked_leads_nowhere(
    home: Path, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    outside = home.parent / "elsewhere"
    outside.mkdir()
    (outside / "a.txt").write_text("secret")
    (home / "top" / "sub").mkdir(parents=True)
    (home / "top" / "sub" / "a.txt").write_text("mine")
    flows, real = Workspace(home), os.open
    swapped = []

    def opening(path: Any, *rest: Any, **options: Any) -> int:
        descriptor = real(path, *rest, **options)
        if path == "sub" and not swapped:
            swapped.append(True)
            (home / "top" / "sub").rename(home / "moved")
            (home / "top" / "sub").symlink_to(outside)
        return descriptor

    monkeypatch.setattr(os, "open", opening)
    if act == "read":
        assert flows.read("top/sub/a.txt", limit=9) == b"mine"
    elif act == "write":
        flows.write("top/sub/a.txt", b"new")
        assert (home / "moved" / "a.txt").read_bytes() == b"new"
    else:
        assert flows.list_files("top/sub", pattern="*", recursive=False, limit=9).paths
    assert swapped
    assert (outside / "a.txt").read_text() == "secret"


def test_a_file_swapped_for_a_link_before_it_is_opened_is_not_followed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def opening(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if path == "a.txt" and not flags & os.O_DIRECTORY:
            (home / "notes" / "a.txt").unlink(missing_ok=True)
            (home / "notes" / "a.txt").symlink_to(home.parent / "outside.txt")
        return real(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", opening)
    refused(lambda: Workspace(home).read("notes/a.txt", limit=9))


def test_descriptors_are_given_back(home: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("counts in /proc")
    before = len(os.listdir("/proc/self/fd"))

    for path in (*KEPT, "notes/a.txt", "..", "no/such/file"):
        for act in (
            lambda p: Workspace(home).read(p, limit=9),
            lambda p: Workspace(home).list_files(p, pattern="*", recursive=True, limit=9),
        ):
            try:
                act(path)
            except NodeError:
                continue

    assert len(os.listdir("/proc/self/fd")) == before


# -- what a run takes away ---------------------------------------------------------------------


def test_what_is_ignored_has_no_other_name(home: Path) -> None:
    (home / "notes" / "sub").mkdir()
    (home / "notes" / "sub" / "b.txt").write_text("b")
    (home / "same").symlink_to("notes/sub")
    os.link(home / "notes" / "a.txt", home / "notes" / "twin.txt")
    ignored = ["same", "runs", "none", "notes/a.txt"]
    flows = Workspace(home).for_run({"workspace_ignored_paths": ignored})

    for path in ("notes/sub/b.txt", "same/b.txt", "none/x", "notes/twin.txt"):
        assert "workspace_ignored_paths" in refused(partial(flows.write, path, b""))
    assert flows.list_files("notes", pattern="*", recursive=True, limit=9).paths == (
        "notes/id_rsa",
        "notes/twin.txt",
    )


def test_reading_needs_a_grant(home: Path) -> None:
    flows = Workspace(home, may_read=False)

    assert "--allow file:read" in refused(lambda: flows.read("notes/a.txt", limit=9))
    assert "--allow file:read" in refused(
        lambda: flows.list_files(".", pattern="*", recursive=False, limit=9)
    )
    assert flows.write("notes/b.txt", b"b")


def test_the_mark_of_a_store_is_its_content(home: Path) -> None:
    (home / "notes" / "store.json").write_text('{"format": "mine"}')

    assert Workspace(home).read("notes/a.txt", limit=9) == b"a"
