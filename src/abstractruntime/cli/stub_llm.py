"""`art stub-llm`: a scripted endpoint of models on this machine."""

from __future__ import annotations

import sys
import threading
from typing import Annotated

import typer

from abstractruntime._json import JsonObject
from abstractruntime.cli._interrupts import stop_on_signals
from abstractruntime.cli._session import Session
from abstractruntime.errors import StoreIOError, UsageError
from abstractruntime.testing.stub_llm import StubLLM
from abstractruntime.testing.stub_server import LoggedRequest

FORMAT = "art-stub-llm-server/1"
_POLL_S = 0.1
_MOST_PORTS = 65_535


def serve(
    session: Session,
    script: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="Answers, JSON or YAML; else an echo.")
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=_MOST_PORTS, help="0: one that is free.")
    ] = 0,
    key_env: Annotated[
        str | None,
        typer.Option(
            "--api-key-env", metavar="NAME", help="Variable with the key that requests must bring."
        ),
    ] = None,
) -> int:
    """Answer model calls in the format of OpenAI from a file, on the loopback interface.

    Prints the URL first, then one line for each request, with --jsonl an object each. Ends with
    SIGINT (130) or SIGTERM (143). What runs in another terminal finds it with
    `ART_LLM_BASE_URL=URL`.
    """
    stub = StubLLM.from_file(script) if script is not None else StubLLM()
    key = _key(session, key_env)
    try:
        server = stub.serve(port=port, api_key=key)
    except OSError as cause:
        raise StoreIOError(
            f"cannot listen on port {port}: {cause.strerror}",
            hint="choose another one, or 0 for one that is free",
            port=port,
        ) from cause
    out, told, pause = session.out, 0, threading.Event()
    with stop_on_signals() as stop, server:
        facts = {"format": FORMAT, "url": server.url}
        out.emit(facts, text=lambda: [server.url], brief=lambda: [server.url])
        sys.stdout.flush()
        while not stop():
            for request in server.requests[told:]:
                told += 1
                out.stream(_document(request), text=_line(request))
            pause.wait(_POLL_S)
    return int(stop.code) if stop.code is not None else 0


def _key(session: Session, variable: str | None) -> str | None:
    if variable is None:
        return None
    key = session.environ.get(variable)
    if not key:
        raise UsageError(
            f"environment variable {variable!r} is not set",
            hint="put the key into it, or leave --api-key-env out",
            argument="--api-key-env",
        )
    return key


def _document(request: LoggedRequest) -> JsonObject:
    """Give a request, without its headers, which hold keys."""
    return {"method": request.method, "path": request.path, "body": request.body}


def _line(request: LoggedRequest) -> str:
    body = request.body
    asked = f" {body.get('model')}, {len(body.get('messages') or ())} messages" if body else ""
    return f"{request.method} {request.path}{asked}"
