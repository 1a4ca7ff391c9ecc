"""Examples of the node types that need more than their inputs: variables, files, handles."""

from __future__ import annotations

from typing import Final

from abstractruntime.nodes.base import Example

STEP_EXAMPLES: Final[dict[str, tuple[Example, ...]]] = {
    "sequence": (
        Example(
            {},
            output=[{"handle": "then:0"}, {"handle": "then:1"}],
            around={"handles": ["then:1", "then:0"]},
        ),
    ),
    "parallel": (
        Example(
            {},
            output=[{"handle": "then:0"}, {"handle": "then:1"}, {"handle": "completed"}],
            around={"handles": ["then:0", "then:1", "completed"]},
        ),
    ),
    "loop": (
        Example(
            {"items": ["a", "b"]},
            output=[
                {"handle": "loop", "item": "a", "index": 0, "total": 2},
                {"handle": "loop", "item": "b", "index": 1, "total": 2},
                {"handle": "done"},
            ],
        ),
    ),
    "while": (
        Example(
            {"condition": True},
            output=[
                {"handle": "loop", "item": "a", "index": 0},
                {"handle": "loop", "item": "a", "index": 1},
            ],
            around={"ambient": {"item": "a"}},
        ),
        Example(
            {"condition": 0},
            output=[{"handle": "done"}],
        ),
    ),
    "for": (
        Example(
            {"start": 5, "end": 1, "step": -2},
            output=[
                {"handle": "loop", "i": 5, "index": 0, "total": 2},
                {"handle": "loop", "i": 3, "index": 1, "total": 2},
                {"handle": "done"},
            ],
        ),
    ),
    "on_flow_start": (
        Example(
            {},
            output={"topic": "tea", "depth": 2},
            data={"outputs": [{"id": "topic"}, {"id": "depth"}], "pinDefaults": {"depth": 2}},
            around={"variables": {"topic": "tea"}},
            after={"variables": {"topic": "tea", "depth": 2}},
        ),
    ),
    "get_var": (
        Example(
            {"name": "user.name"},
            output={"value": "Ada"},
            around={"variables": {"user": {"name": "Ada"}}},
        ),
    ),
    "get_context": (
        Example(
            {},
            output={"context": {"task": "greet", "messages": []}, "task": "greet", "messages": []},
            around={"variables": {"context": {"task": "greet", "messages": []}}},
        ),
    ),
    "set_var": (
        Example(
            {"name": "user.name", "value": "Ada"},
            output={"value": "Ada"},
            around={"variables": {"user": {"age": 36}}},
            after={"variables": {"user": {"age": 36, "name": "Ada"}}},
        ),
    ),
    "set_var_property": (
        Example(
            {"name": "user", "key": "name", "value": "Ada"},
            output={"value": {"age": 36, "name": "Ada"}},
            around={"variables": {"user": {"age": 36}}},
            after={"variables": {"user": {"age": 36, "name": "Ada"}}},
        ),
    ),
    "set_vars": (
        Example(
            {"updates": {"count": 1, "user.name": "Ada"}},
            output={"updates": {"count": 1, "user.name": "Ada"}},
            after={"variables": {"count": 1, "user": {"name": "Ada"}}},
        ),
    ),
    "system_datetime": (
        Example(
            {},
            output={
                "iso": "2026-01-02T03:04:05+00:00",
                "timezone": "UTC",
                "utc_offset_minutes": 0,
                "locale": "en_US",
            },
        ),
    ),
    "read_file": (
        Example(
            {"file_path": "a.json"},
            output={"content": {"n": 1}, "file_path": "a.json"},
            around={"files": {"a.json": '{"n": 1}'}},
        ),
    ),
    "write_file": (
        Example(
            {"file_path": "out/a.json", "content": {"n": 1}},
            output={"bytes": 13, "file_path": "/workspace/out/a.json"},
            after={"files": {"out/a.json": '{\n  "n": 1\n}\n'}},
        ),
    ),
    "list_folder_files": (
        Example(
            {"pattern": "*.md", "limit": 1},
            output={"files": ["a.md"], "count": 1, "truncated": True},
            around={"files": {"a.md": "A", "b.md": "B", "c.txt": "C"}},
        ),
    ),
    "import_workspace_file": (
        Example(
            {"file_path": "a.txt"},
            output={
                "artifact": {"$artifact": "17006668178249981c831cfb063b0735"},
                "artifact_id": "17006668178249981c831cfb063b0735",
                "content_type": "text/plain",
                "bytes": 5,
            },
            around={"files": {"a.txt": "hello"}},
        ),
    ),
    "export_artifact": (
        Example(
            {"artifact": {"$artifact": "17006668178249981c831cfb063b0735"}, "file_path": "b.txt"},
            output={"file_path": "/workspace/b.txt", "bytes": 5},
            around={"artifacts": ["hello"]},
            after={"files": {"b.txt": "hello"}},
        ),
    ),
    "read_artifact": (
        Example(
            {"artifact": {"$artifact": "17006668178249981c831cfb063b0735"}},
            output={"content": "hello", "content_type": "text/plain", "bytes": 5},
            around={"artifacts": ["hello"]},
        ),
    ),
    "provider_catalog": (
        Example(
            {"allowed_providers": ["Local"]},
            output={"providers": ["local"]},
            around={"models": {"local": ["small"], "cloud": ["large"]}},
        ),
    ),
    "provider_models": (
        Example(
            {"provider": "local", "allowed_models": ["small"]},
            output={"provider": "local", "models": ["small"]},
            around={"models": {"local": ["small", "large"]}},
        ),
    ),
    "model_catalog": (
        Example(
            {"index": 1},
            output={
                "providers": ["local", "cloud"],
                "models": ["local/small", "cloud/large"],
                "pair": {"provider": "cloud", "model": "large", "id": "cloud/large"},
                "provider": "cloud",
                "model": "large",
            },
            around={"models": {"local": ["small"], "cloud": ["large"]}},
        ),
    ),
    "memact_compose": (
        Example(
            {"kg_result": "no result"},
            output={
                "ok": False,
                "delta": {},
                "trace": {},
                "active_memory": {},
                "memact_blocks": [],
                "memact_system_prompt": "",
                "error": "memact_compose requires a dict kg_result (connect memory_kg_query.raw or "
                "output)",
            },
        ),
    ),
    "add_message": (
        Example(
            {"role": "user", "content": "hi"},
            output={
                "message": {
                    "role": "user",
                    "content": "hi",
                    "timestamp": "2026-01-02T03:04:05.000000+00:00",
                    "metadata": {"message_id": "msg_1"},
                },
                "context": {
                    "messages": [
                        {
                            "role": "user",
                            "content": "hi",
                            "timestamp": "2026-01-02T03:04:05.000000+00:00",
                            "metadata": {"message_id": "msg_1"},
                        }
                    ]
                },
                "task": "",
                "messages": [
                    {
                        "role": "user",
                        "content": "hi",
                        "timestamp": "2026-01-02T03:04:05.000000+00:00",
                        "metadata": {"message_id": "msg_1"},
                    }
                ],
            },
            after={
                "variables": {
                    "context": {
                        "messages": [
                            {
                                "role": "user",
                                "content": "hi",
                                "timestamp": "2026-01-02T03:04:05.000000+00:00",
                                "metadata": {"message_id": "msg_1"},
                            }
                        ]
                    }
                }
            },
        ),
    ),
}
