"""Node types that editors know and this version does not run.

A flow with such a node is refused when it is compiled: copying inputs to outputs, as
0.4.2 did with types it did not know, gives wrong results without a word. A type that
gets a class in the registry is found there first and leaves this table.
"""

from __future__ import annotations

from typing import Final

_AGENT = "use llm_call in a while loop, or a subflow with your own agent loop"
_EVENT = "wait for a host with wait_event, and tell the host something with answer_user"
_TOOLS = "do the work in a code node, or ask the host with wait_event"
_CATALOG = "write provider and model into the llm_call node, or pass them as start parameters"
_FILE = "pass the content as a start parameter, or return it through on_flow_end"
_MEMORY = "keep the data in a run variable with set_var and get_var"
_MEDIA = "produce it outside the flow, and hand it over through wait_event"
_INTERNAL = "open the flow in the editor that wrote it and export it again as a source document"

_GROUPS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (_AGENT, ("agent",)),
    (_EVENT, ("emit_event", "on_event")),
    ("start the run from cron or a systemd timer, or loop over wait_until", ("on_schedule",)),
    (_TOOLS, ("tool_calls", "call_tool")),
    (_CATALOG, ("provider_catalog", "provider_models", "model_catalog", "model_residency")),
    (_FILE, ("read_file", "write_file", "list_folder_files", "import_workspace_file")),
    (_FILE, ("read_pdf", "write_pdf", "read_artifact", "export_artifact")),
    (
        _MEMORY,
        (
            "memory_tag",
            "memory_compact",
            "memory_rehydrate",
            "memory_kg_assert",
            "memory_kg_query",
            "memory_kg_resolve",
            "memact_compose",
        ),
    ),
    ("compare with '' in a compare node, after trim", ("is_empty_string",)),
    ("build the schema with set or merge, starting from a json_schema node", ("edit_json_schema",)),
    (
        _MEDIA,
        (
            "transcribe_audio",
            "listen_voice",
            "generate_image",
            "edit_image",
            "image_to_image",
            "upscale_image",
            "generate_video",
            "image_to_video",
            "text_to_video",
            "generate_voice",
            "text_to_speech",
            "generate_music",
        ),
    ),
    (_INTERNAL, ("join_exec", "path_mux")),
)

REFUSED_TYPES: Final[dict[str, str]] = {name: hint for hint, names in _GROUPS for name in names}
"""What to do instead, by type name."""
