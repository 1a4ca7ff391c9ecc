"""Node types that editors know and this version does not run.

A flow with such a node is refused when it is compiled: copying inputs to outputs, as
0.4.2 did with types it did not know, gives wrong results without a word. A type that
gets a class in the registry is found there first and leaves this table.
"""

from __future__ import annotations

from typing import Final

_RESIDENCY = "load or unload the model where it is served; a flow only names it in llm_call"
_PDF = "convert it outside the flow, and use the text with read_file or write_file"
_MEDIA = "produce it outside the flow, and hand it over through wait_event"
_INTERNAL = "open the flow in the editor that wrote it and export it again as a source document"

_GROUPS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (_RESIDENCY, ("model_residency",)),
    (_PDF, ("read_pdf", "write_pdf")),
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
