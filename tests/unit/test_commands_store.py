"""Command stores: every store follows the same rules; the file one also survives crashes."""

from __future__ import annotations

import json

import pytest

from abstractruntime.storage.commands import (
    CommandCursorStore,
    CommandRecord,
    CommandStore,
    InMemoryCommandCursorStore,
    InMemoryCommandStore,
    JsonFileCommandCursorStore,
    JsonlCommandStore,
    validated_command,
)


def command(command_id="c1", **fields):
    known = {"run_id": "r", "type": "resume", "payload": {}, "ts": "t"}
    return CommandRecord(command_id, **{**known, **fields})


@pytest.fixture(params=["memory", "jsonl"])
def store(request, tmp_path):
    return InMemoryCommandStore() if request.param == "memory" else JsonlCommandStore(tmp_path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "commands.jsonl"


def ids(store, after=0, **more):
    return [c.command_id for c in store.list_after(after=after, **more)[0]]


# ---- rules of every store


def test_a_store_follows_the_protocol(store):
    assert isinstance(store, CommandStore)


def test_seq_starts_at_one_and_counts_over_runs(store):
    results = [store.append(command("a", run_id="r1")), store.append(command("b", run_id="r2"))]

    assert [(r.accepted, r.duplicate, r.seq) for r in results] == [
        (True, False, 1),
        (True, False, 2),
    ]
    assert store.get_last_seq() == 2


def test_the_first_writer_of_an_id_wins(store):
    store.append(command("a", payload={"n": 1}))
    store.append(command("b"))

    again = store.append(command("a", payload={"n": 2}))

    assert (again.accepted, again.duplicate, again.seq) == (False, True, 1)
    assert [c.payload for c in store.list_after(after=0)[0]] == [{"n": 1}, {}]


@pytest.mark.parametrize(
    "after, limit, expected, cursor",
    [
        (0, 1000, ["a", "b", "c"], 3),
        (1, 1000, ["b", "c"], 3),
        (0, 2, ["a", "b"], 2),
        (0, 0, ["a", "b", "c"], 3),
        (0, -5, ["a", "b", "c"], 3),
        (3, 10, [], 3),
        (9, 10, [], 9),
        (-1, 10, ["a", "b", "c"], 3),
    ],
)
def test_pages(store, after, limit, expected, cursor):
    for name in "abc":
        store.append(command(name))

    found, next_cursor = store.list_after(after=after, limit=limit)

    assert ([c.command_id for c in found], next_cursor) == (expected, cursor)


def test_blank_id_and_time_are_filled(store):
    store.append(command(" ", ts=""))

    (found,), _ = store.list_after(after=0)
    assert len(found.command_id) == 32
    assert found.ts.endswith("+00:00")


def test_a_stored_command_is_a_copy(store):
    payload = {"list": [1]}
    store.append(command(payload=payload, client_id="me"))
    payload["list"].append(2)
    store.list_after(after=0)[0][0].payload["list"].append(3)

    (found,), _ = store.list_after(after=0)
    assert found == command(payload={"list": [1]}, client_id="me", seq=1)


# ---- validation


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"run_id": " "}, "run_id must be non-empty"),
        ({"type": ""}, "type must be non-empty"),
        ({"payload": [1]}, "payload must be a JSON-serializable dict"),
        ({"payload": {"a": (1, 2)}}, "payload must be a JSON-serializable dict"),
        ({"payload": {1: "a"}}, "payload must be a JSON-serializable dict"),
        ({"payload": {"a": {1}}}, "payload must be a JSON-serializable dict"),
        ({"payload": {"a": "\ud800"}}, "payload must be a JSON-serializable dict"),
        ({"payload": {"\ud800": 1}}, "payload must be a JSON-serializable dict"),
    ],
)
def test_what_is_refused(store, changes, message):
    with pytest.raises(ValueError, match=message):
        store.append(command(**changes))
    assert store.get_last_seq() == 0


def test_a_payload_that_contains_itself_is_refused():
    payload = {}
    payload["self"] = payload

    with pytest.raises(ValueError, match="JSON-serializable"):
        validated_command(command(payload=payload))


def test_nan_is_accepted(store):
    store.append(command(payload={"x": float("nan")}))

    assert str(store.list_after(after=0)[0][0].payload["x"]) == "nan"


# ---- the file


def test_a_line_has_these_keys_in_this_order(tmp_path, path):
    JsonlCommandStore(tmp_path).append(command(payload={"é": 1}))

    assert path.read_bytes().endswith(b"\n")
    assert list(json.loads(path.read_bytes())) == [
        "command_id",
        "run_id",
        "type",
        "payload",
        "ts",
        "client_id",
        "seq",
    ]
    assert path.stat().st_mode & 0o777 == 0o600


def test_two_stores_over_one_file_see_each_other(tmp_path):
    one, two = JsonlCommandStore(tmp_path), JsonlCommandStore(tmp_path)
    one.append(command("a"))

    assert two.append(command("a")).duplicate
    assert two.append(command("b")).seq == 2
    assert ids(one) == ["a", "b"]


@pytest.mark.parametrize("torn", [b'{"command_id": "x", "seq": 2', b"\x00" * 40, b"{}"])
def test_a_torn_line_is_cut_by_the_next_append(tmp_path, path, torn):
    JsonlCommandStore(tmp_path).append(command("a"))
    with path.open("ab") as file:
        file.write(torn)

    store = JsonlCommandStore(tmp_path)
    assert ids(store) == ["a"]
    assert store.append(command("b")).seq == 2
    assert ids(JsonlCommandStore(tmp_path)) == ["a", "b"]
    assert [json.loads(line)["seq"] for line in path.read_bytes().splitlines()] == [1, 2]


@pytest.mark.parametrize("bad", [b"nonsense", b"[1]", b'{"seq": 7}', b"\x00{}", b""])
def test_a_line_that_is_no_command_is_passed_over(tmp_path, path, bad):
    path.write_bytes(bad + b"\n")
    store = JsonlCommandStore(tmp_path)
    store.append(command("a"))

    assert ids(store) == ["a"]
    assert path.read_bytes().startswith(bad + b"\n")


def test_a_seq_that_was_given_twice_loses_no_command(tmp_path, path):
    rows = [command("a", seq=1), command("b", seq=2), command("c", seq=1)]
    path.write_text("".join(json.dumps(row.to_json()) + "\n" for row in rows))

    store = JsonlCommandStore(tmp_path)

    assert ids(store) == ["a", "c", "b"]
    assert store.append(command("d")).seq == 3


def test_a_file_that_was_replaced_by_a_shorter_one_is_read_again(tmp_path, path):
    store = JsonlCommandStore(tmp_path)
    for name in "abc":
        store.append(command(name))
    path.write_text(json.dumps(command("z", seq=1).to_json()) + "\n")

    assert ids(store) == ["z"]


def test_looking_creates_nothing(tmp_path):
    store = JsonlCommandStore(tmp_path / "none")

    assert (store.list_after(after=4), store.get_last_seq()) == (([], 4), 0)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\x00b"])
def test_a_file_name_is_no_path(tmp_path, name):
    with pytest.raises(ValueError, match="plain file name"):
        JsonlCommandStore(tmp_path, filename=name)


# ---- cursors


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_cursor_may_go_back(tmp_path, kind):
    path = tmp_path / "deep" / "cursor.json"
    store = InMemoryCommandCursorStore() if kind == "memory" else JsonFileCommandCursorStore(path)
    assert isinstance(store, CommandCursorStore)
    assert store.load() == 0

    for cursor in (7, 3):
        store.save(cursor)
        assert store.load() == cursor


def test_the_cursor_file(tmp_path):
    JsonFileCommandCursorStore(tmp_path / "c.json").save(5)

    saved = json.loads((tmp_path / "c.json").read_text())
    assert (list(saved), saved["cursor"]) == (["cursor", "updated_at"], 5)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"cursor": "x"}', '{"cursor": [1]}'])
def test_an_unreadable_cursor_starts_over(tmp_path, text):
    (tmp_path / "c.json").write_text(text)

    assert JsonFileCommandCursorStore(tmp_path / "c.json").load() == 0


def test_a_memory_cursor_can_start_anywhere():
    assert InMemoryCommandCursorStore(9).load() == 9
