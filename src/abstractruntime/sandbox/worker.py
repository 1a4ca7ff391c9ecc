"""The code worker: a program that runs author code and holds no authority.

Started by path, without the package on its search path. It reads its order, confines
itself, reports the layers, then answers one request after another until its input closes.

    order    {"limits", "lifeline", "namespaces", "without"}
    report   {"backend", "layers", "missing", "abi", "filter"}
    request  {"id", "source", "function", "value"}
    reply    {"id", "stdout", "value"} or {"id", "stdout", "error", "line", "spent", "raised"}
"""

from __future__ import annotations

import codecs
import json
import sys
import unicodedata  # noqa: F401 - compile() needs it for \N{...}, and nothing can be loaded later
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import Any

_IN, _OUT = 0, 1
_CODECS = (
    "utf-8", "ascii", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "cp1252",
)  # fmt: skip


def _sibling(name: str) -> ModuleType:
    path = f"{__file__.rpartition('/')[0]}/{name}.py"
    loader = SourceFileLoader(f"_worker_{name.rpartition('/')[2].strip('_')}", path)
    module = ModuleType(loader.name)
    module.__spec__ = ModuleSpec(loader.name, loader, origin=path)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


def _part(name: str) -> ModuleType | None:
    try:
        return _sibling(name)
    except (ImportError, OSError, AttributeError):
        # Without ctypes, a C library to ask, or the call, the layer is missing, and the report
        # says so.
        return None


def _parts() -> dict[str, ModuleType | None]:
    process = _part("_prctl")
    # Hazard: numbers of system calls mean something else where there is no `prctl`.
    return {
        "lifeline": _part("_lifeline"),
        "process": process,
        "landlock": process and _part("_landlock"),
        "seccomp": process and _part("_seccomp"),
    }


class Worker:
    """Answers requests; owns the modules loaded before the doors closed."""

    def __init__(self) -> None:
        self._protocol = _sibling("protocol")
        self._json_size = _sibling("../_json_size")
        self._author = _sibling("_author")
        self._confine = _sibling("_confine")
        self._limits: dict[str, Any] = {}

    def start(self) -> None:
        """Read the order, confine this process, report."""
        frame = self._protocol.read_frame(_IN)
        if frame is None:
            raise SystemExit(0)
        order = json.loads(frame)
        self._limits = order["limits"]
        for name in _CODECS:
            codecs.lookup(name)
        report = self._confine.confine(order, _parts())
        self._confine.seal_imports()
        self._send(json.dumps(report))

    def serve(self) -> None:
        """Answer until the other side closes."""
        while (frame := self._protocol.read_frame(_IN)) is not None:
            request = json.loads(frame)
            self._confine.allow_cpu(self._limits["cpu_s"])
            self._protocol.write_frame(_OUT, self._answer(request))

    def _answer(self, request: dict[str, Any]) -> bytes:
        output = self._author.Output(self._limits["stdout_chars"])
        head = {"id": request["id"]}
        try:
            result = self._author.call_function(
                request["source"], request["function"], request["value"], output
            )
            value = self._author.encode_result(result, request["function"])
            if len(value) > self._limits["result_bytes"]:
                raise self._author.Failure(
                    f"Result of {request['function']!r} cannot be stored: {len(value)} bytes of JSON, "
                    f"at most {self._limits['result_bytes']} are allowed"
                )
            if self._json_size.has_more_values(value, self._limits["result_values"]):
                raise self._author.Failure(
                    f"Result of {request['function']!r} cannot be stored: more than"
                    f" {self._limits['result_values']} values"
                )
        except self._author.Failure as failure:
            names = {"error": "text", "line": "line", "spent": "spent", "raised": "raised"}
            body = {key: getattr(failure, name) for key, name in names.items()}
            return self._encode({**head, "stdout": output.text(), **body})
        reply: bytes = (
            self._encode({**head, "stdout": output.text()})[:-1] + b',"value":' + value + b"}"
        )
        return reply

    def _encode(self, data: dict[str, Any]) -> bytes:
        encoded: bytes = self._author.encode_text(json.dumps(data, ensure_ascii=False))
        return encoded

    def _send(self, text: str) -> None:
        self._protocol.write_frame(_OUT, text.encode())


def main() -> None:
    """Run as a program."""
    worker = Worker()
    worker.start()
    worker.serve()


if __name__ == "__main__":
    main()
