from __future__ import annotations

import json
import os

import pytest
from flow_builder import START, Host, end, flow, node
from node_scope import FakeScope, element

from abstractruntime import Runtime
from abstractruntime.nodes.base import NodeError
from abstractruntime.nodes.registry import node_types
from abstractruntime.storage.artifacts import InMemoryArtifactStore
from abstractruntime.storage.directory import open_store
from abstractruntime.storage.in_memory import InMemoryLedgerStore, InMemoryRunStore
from abstractruntime.visualflow_compiler import Services, compile_visualflow
from abstractruntime.workspace import Workspace


@pytest.fixture
def home(tmp_path):
    root = tmp_path / "home"
    root.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    return root


def evaluate(kind, inputs, home, artifacts=None, **workspace):
    scope = FakeScope()
    scope.files = Workspace(home, **workspace)
    scope.artifacts = artifacts
    return node_types()[kind].evaluate(element(kind), inputs, scope)


# -- read_file and write_file -------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "content"),
    [
        ("a.json", '{"a": [1, 2.0]}', {"a": [1, 2.0]}),
        ("a.txt", " [1, 2] ", [1, 2]),
        ("a.json", '\ufeff{"a": 1}', {"a": 1}),
        ("a.txt", "[draft", "[draft"),
        ("a.md", "é\n", "é\n"),
        ("a.JSON", "5", 5),
    ],
)
def test_read(home, name, text, content):
    (home / name).write_text(text, encoding="utf-8")

    record = evaluate("read_file", {"file_path": f" {name} "}, home)

    assert record == {"content": content, "file_path": name}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (None, "read_file requires a non-empty 'file_path' input."),
        (" ", "read_file requires a non-empty 'file_path' input."),
        ("no.txt", "File not found: no.txt"),
        (".", "Not a file: ."),
        ("pipe", "Not a file: pipe"),
        ("bad.txt", "Cannot read 'bad.txt' as UTF-8"),
        ("bad.json", "Invalid JSON in 'bad.json'"),
        ("a\0b", "is not a path"),
    ],
)
def test_read_says_what_is_wrong(home, path, words):
    (home / "bad.txt").write_bytes(b"\xff")
    (home / "bad.json").write_text("{")
    os.mkfifo(home / "pipe")

    with pytest.raises(NodeError) as caught:
        evaluate("read_file", {"file_path": path}, home)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("o.txt", "é\n", "é\n"),
        ("o.txt", None, ""),
        ("o.txt", 5, "5"),
        ("o.txt", {"a": 1}, '{\n  "a": 1\n}'),
        ("o.json", {"é": [1, 2.0]}, '{\n  "é": [\n    1,\n    2.0\n  ]\n}\n'),
        ("o.json", '{"a":1}', '{\n  "a": 1\n}\n'),
        ("o.json", None, "null\n"),
        ("x/y/o.txt", "deep", "deep"),
    ],
)
def test_write(home, name, content, text):
    record = evaluate("write_file", {"file_path": name, "content": content}, home)

    assert (home / name).read_text(encoding="utf-8") == text
    assert record == {"bytes": len(text.encode()), "file_path": str(home / name)}
    assert not list(home.rglob("*.tmp"))


def test_writing_keeps_the_permissions_of_a_file(home):
    (home / "o.txt").write_text("old")
    (home / "o.txt").chmod(0o600)

    evaluate("write_file", {"file_path": "o.txt", "content": "new"}, home)

    assert (home / "o.txt").stat().st_mode & 0o777 == 0o600


def test_write_of_bad_json_writes_nothing(home):
    with pytest.raises(NodeError, match="must be valid JSON"):
        evaluate("write_file", {"file_path": "o.json", "content": "{"}, home)
    assert list(home.iterdir()) == []


def test_writing_needs_a_grant(home):
    with pytest.raises(NodeError, match="--allow file:write"):
        evaluate("write_file", {"file_path": "o.txt", "content": ""}, home, may_write=False)
    assert list(home.iterdir()) == []


# -- confinement --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["../secret.txt", "in/../../secret.txt", "link.txt", "out/secret.txt", "/etc/passwd", "~"],
)
@pytest.mark.parametrize("kind", ["read_file", "write_file", "list_folder_files"])
def test_no_path_leaves_the_workspace(home, kind, path):
    (home / "link.txt").symlink_to(home.parent / "secret.txt")
    (home / "out").symlink_to(home.parent)

    with pytest.raises(NodeError, match="Path escapes workspace_root"):
        evaluate(kind, {"file_path": path, "folder_path": path, "content": "x"}, home)
    assert (home.parent / "secret.txt").read_text() == "secret"


def test_absolute_paths_and_links_inside_are_fine(home):
    (home / "a.txt").write_text("a")
    (home / "link.txt").symlink_to(home / "a.txt")

    for path in (str(home / "a.txt"), "link.txt", "@a.txt", "./a.txt"):
        assert evaluate("read_file", {"file_path": path}, home)["content"] == "a"


@pytest.mark.parametrize(
    ("variables", "path", "fails"),
    [
        ({}, "sub/a.txt", None),
        ({"workspace_root": "sub"}, "a.txt", None),
        ({"workspace_root": "sub"}, "../b.txt", "Path escapes"),
        ({"workspace_root": ".."}, "secret.txt", "Path escapes"),
        ({"workspace_root": "/"}, "etc/passwd", "Path escapes"),
        ({"workspace_ignored_paths": ["sub"]}, "sub/a.txt", "workspace_ignored_paths"),
        ({"workspace_ignored_paths": '["sub"]'}, "sub/a.txt", "workspace_ignored_paths"),
        ({"workspace_ignored_paths": "sub\nother"}, "sub/a.txt", "workspace_ignored_paths"),
        ({"workspace_ignored_paths": ["sub"]}, "b.txt", None),
    ],
)
def test_the_run_can_only_narrow_the_workspace(home, variables, path, fails):
    (home / "sub").mkdir()
    (home / "sub" / "a.txt").write_text("a")
    (home / "b.txt").write_text("a")

    def read():
        return Workspace(home).for_run(variables).read(path, limit=10)

    if fails is None:
        assert read() == b"a"
    else:
        with pytest.raises(NodeError, match=fails):
            read()


def test_long_files_are_refused(home):
    (home / "a.txt").write_text("12345")

    with pytest.raises(NodeError, match="longer than 4 bytes"):
        Workspace(home).read("a.txt", limit=4)


# -- folders and artifacts ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "files", "truncated"),
    [
        ({}, ["a.md", "b.txt"], False),
        ({"pattern": "*.md", "recursive": "yes"}, ["a.md", "sub/c.md"], False),
        ({"folder_path": "sub"}, ["sub/c.md"], False),
        ({"recursive": True, "limit": 2}, ["a.md", "b.txt"], True),
    ],
)
def test_list(home, inputs, files, truncated):
    (home / "sub").mkdir()
    for name in ("b.txt", "a.md", "sub/c.md"):
        (home / name).write_text("")
    (home / "link").symlink_to(home.parent)

    record = evaluate("list_folder_files", inputs, home)

    assert record == {"files": files, "count": len(files), "truncated": truncated}


def test_a_file_survives_as_an_artifact(home):
    store = InMemoryArtifactStore()
    (home / "a.json").write_text('{"a": 1}')

    kept = evaluate("import_workspace_file", {"file_path": "a.json"}, home, store)
    again = evaluate("import_workspace_file", {"file_path": "a.json"}, home, store)
    (home / "a.json").unlink()
    read = evaluate("read_artifact", {"artifact": kept["artifact"]}, home, store)
    evaluate("export_artifact", {"artifact": kept["artifact_id"], "file_path": "b"}, home, store)

    assert kept == again
    assert read == {"content": {"a": 1}, "content_type": "application/json", "bytes": 8}
    assert json.loads((home / "b").read_text()) == {"a": 1}


@pytest.mark.parametrize(
    ("artifact", "words"),
    [(None, "requires an 'artifact'"), ("gone", "not found"), ("../x", "Invalid artifact_id")],
)
def test_unknown_artifacts(home, artifact, words):
    with pytest.raises(NodeError, match=words):
        evaluate("read_artifact", {"artifact": artifact}, home, InMemoryArtifactStore())


def test_without_a_store_the_next_step_is_named(home):
    with pytest.raises(NodeError, match=r"Services\(artifacts=store\)"):
        evaluate("read_artifact", {"artifact": "a"}, home)


# -- in a run -----------------------------------------------------------------------------

WRITE = node("w", "write_file", "exec-in file_path content", "exec-out bytes")
WRITE["data"]["pinDefaults"] = {"file_path": "o.txt"}
DOCUMENT = flow(
    START,
    node("v", "set_var", "exec-in name value", "exec-out", pinDefaults={"name": "a", "value": 1}),
    WRITE,
    node("u", "set_var", "exec-in name value", "exec-out", pinDefaults={"name": "b", "value": 2}),
    end("n"),
    edges="s > v; v > w; w > u; u > e; w.bytes > e.n",
)


def test_default_workspace_is_the_current_directory(home, monkeypatch):
    monkeypatch.chdir(home)

    assert Host(DOCUMENT, {"content": "hi"}).go().output == {"n": 2, "success": True}
    assert (home / "o.txt").read_text() == "hi"


def test_the_run_is_committed_around_a_file_step(home):
    spec = compile_visualflow(DOCUMENT, services=Services(workspace=Workspace(home)))
    saved = []

    class Watched(InMemoryRunStore):
        def save(self, run):
            saved.append((run.current_node, (home / "o.txt").exists()))
            super().save(run)

    runtime = Runtime(run_store=Watched(), ledger_store=InMemoryLedgerStore())
    runtime.tick(workflow=spec, run_id=runtime.start(workflow=spec))

    assert spec.guarded == {"w"}
    assert ("w", False) in saved
    assert ("u", True) in saved


def test_a_crash_repeats_only_the_file_step(home, tmp_path):
    spec = compile_visualflow(DOCUMENT, services=Services(workspace=Workspace(home)))
    write = spec.nodes["w"]

    def killed(run, context):
        write(run, context)
        raise KeyboardInterrupt

    spec.nodes["w"] = killed
    runtime = Runtime.on_engine(open_store(tmp_path / "store"))
    run_id = runtime.start(workflow=spec, vars={"content": "x"})
    with pytest.raises(KeyboardInterrupt):
        runtime.tick(workflow=spec, run_id=run_id)

    found = open_store(tmp_path / "store").peek(run_id)
    assert (found.current_node, found.vars["a"]) == ("w", 1)
    spec.nodes["w"] = write
    again = Runtime.on_engine(open_store(tmp_path / "store"))
    assert again.tick(workflow=spec, run_id=run_id).output == {"n": 1, "success": True}
