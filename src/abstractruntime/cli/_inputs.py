"""What people type or pipe in, as JSON values."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from abstractruntime._files import read_bounded
from abstractruntime._json import (
    MAX_DEPTH,
    TOO_MANY_DIGITS,
    JsonObject,
    dump_line,
    load_strict,
    normalise,
    why_unread,
)
from abstractruntime._json_size import has_more_values
from abstractruntime._text import shell_word
from abstractruntime.cli._files import MAX_INPUT_BYTES, MAX_VALUES
from abstractruntime.errors import InvalidValue, NotFound, UsageError

# How a text begins that opens one object or list in the other.
_OPENED = re.compile(r'(?:[\s\[{]|"[^"\\]*"\s*:)*')
_START = 64 * 1024
_QUOTED = "for a text that begins so, quote it as JSON: --input {}"
_TOO_LARGE = "it holds a number that is beyond the range of numbers"
FORMS = "use JSON, @FILE, - for stdin, or name=value"


def parse_inputs(values: Iterable[str], *, text_names: Collection[str] = ()) -> JsonObject:
    """Give the input of a run; later values win over earlier ones.

    Args:
        values: JSON objects, `@FILE`, `-`, or `name=value`, where a value that is JSON counts as such.
        text_names: Names whose values stay the text that was typed.

    Raises:
        UsageError: a value is neither a JSON object nor `name=value`.
    """
    merged: JsonObject = {}
    typed = list(values)
    for value in typed:
        merged.update(_input(value, text_names))
    _require_storable(merged, *typed)
    return merged


def _require_storable(given: JsonObject, *typed: str, option: str = "--input") -> None:
    """Refuse what no ledger can keep: numbers beyond all range, lone surrogates, and what is too deep."""
    try:
        _store(given)
    except (ValueError, TypeError, RecursionError) as cause:
        name = next(filter(lambda name: not _is_storable({name: given[name]}), given), "")
        sources = [text for text in typed if text.partition("=")[0].strip() == name] or typed
        raise UsageError(
            f"{option[2:]} {name!r} of {_short(sources[-1])} cannot be kept: {_why_unkept(cause)}",
            hint="use finite numbers and whole characters",
            argument=option,
        ) from cause


def _is_storable(value: JsonObject) -> bool:
    try:
        _store(value)
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def _store(value: JsonObject) -> None:
    dump_line(value)
    normalise(value)


def _why_unkept(cause: Exception) -> str:
    if isinstance(cause, UnicodeError):
        return "it holds half a character"
    # Numbers and characters are refused before it is looked how deep they lie.
    is_deep = isinstance(cause, RecursionError | InvalidValue)
    return why_unread(RecursionError()) if is_deep else _TOO_LARGE


def _input(value: str, text_names: Collection[str]) -> JsonObject:
    if value == "-" or value.startswith(("@", "{")):
        return _json_object(read_text(value), value)
    name, equals, text = value.partition("=")
    if not equals or not name.strip():
        raise UsageError(
            f"input {value!r} has no form that is known", hint=FORMS, argument="--input"
        )
    name = name.strip()
    return {name: text if name in text_names else _value(text, value)}


def _value(text: str, shown: str) -> Any:
    """Give JSON where `text` is JSON, else the text itself.

    Raises:
        UsageError: it is JSON that cannot be kept, as an object with a key twice.
    """
    try:
        return load_strict(text)
    except (ValueError, RecursionError) as cause:
        if _is_meant_as_json(text, cause):
            raise UsageError(
                f"input {_short(shown)} is not JSON that can be kept: {why_unread(cause)}",
                hint="correct the value, or quote it as JSON for a text: name='\"...\"'",
                argument="--input",
            ) from cause
        return text


def _is_meant_as_json(text: str, cause: Exception) -> bool:
    """Tell a value that is JSON, but none to keep, from a text that only begins like one."""
    if why_unread(cause) == TOO_MANY_DIGITS:
        return True
    if text.lstrip()[:1] not in {"{", "["}:
        return False
    try:
        json.loads(text)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _json_object(text: str, shown: str) -> JsonObject:
    _require_values(text)
    try:
        data = load_strict(text)
    except (ValueError, RecursionError) as cause:
        raise UsageError(
            f"input {_short(shown)} is not JSON that can be kept: {why_unread(cause)}",
            hint=FORMS,
            argument="--input",
        ) from cause
    if not isinstance(data, dict):
        raise UsageError(
            f"input {_short(shown)} is not a JSON object", hint=FORMS, argument="--input"
        )
    return data


def _require_values(text: str) -> None:
    """Refuse a text of too many JSON values before they are made: each takes far more than its text."""
    if has_more_values(text.encode("utf-8", "replace"), MAX_VALUES):
        # Hazard: matching takes memory for each opening, and a few too many tell enough.
        opened = _OPENED.match(text[:_START])
        is_deep = opened is not None and len(re.findall(r"[\[{]", opened[0])) > MAX_DEPTH
        limit = MAX_DEPTH if is_deep else MAX_VALUES
        raise UsageError(
            f"input is nested deeper than {limit} levels"
            if is_deep
            else f"input holds more than {limit} values",
            hint="give less, or name a file that the flow reads itself",
            limit=limit,
        )


def parse_loosely(text: str) -> Any:
    """Give JSON where `text` is JSON, else the text itself."""
    try:
        return load_strict(text)
    except (ValueError, RecursionError):
        return text


def parse_answer(value: str) -> Any:
    """Give the answer to a wait: an object as it is, everything else as `{"response": text}`.

    A JSON string counts as its content; numbers and other JSON stay the text that was typed.

    Raises:
        UsageError: it starts like a JSON object or a file, and is none.
    """
    try:
        text = read_text(value) if value == "-" or value.startswith("@") else value
    except NotFound as cause:
        cause.hint = f"check the spelling of the path; {_QUOTED.format(_quoted(value))}"
        raise
    text = text.strip("\r\n") if value != text else text
    if text.lstrip().startswith("{"):
        try:
            answer = _json_object(text, value)
        except UsageError as cause:
            cause.hint = f"use a JSON object; {_QUOTED.format(_quoted(value))}"
            raise
    else:
        parsed = parse_loosely(text)
        answer = {"response": parsed if isinstance(parsed, str) else text}
    _require_storable(answer, value)
    return answer


def parse_payload(value: str) -> Any:
    """Give the JSON value that is typed, in `@FILE`, or on stdin for `-`.

    Raises:
        UsageError: it is no JSON.
    """
    try:
        text = read_text(value)
        _require_values(text)
        payload = load_strict(text)
    except (ValueError, RecursionError) as cause:
        raise UsageError(
            f"payload {_short(value)} is not JSON that can be kept: {why_unread(cause)}",
            hint="use JSON, @FILE, or - for stdin; a text needs quotes: '\"yes\"'",
            argument="--payload",
        ) from cause
    _require_storable({"payload": payload}, value, option="--payload")
    return payload


def _quoted(value: str) -> str:
    return shell_word(json.dumps(value[:80], ensure_ascii=False))


def read_text(value: str) -> str:
    """Give the text behind `-` (stdin) or `@FILE`, without a byte order mark, or the value itself.

    Raises:
        NotFound, UsageError, StoreIOError: there is no such file, or it cannot be read.
    """
    if value == "@":
        raise UsageError("'@' names no file", hint="use @FILE", argument="--input")
    if value == "-":
        text = sys.stdin.read(MAX_INPUT_BYTES + 1).removeprefix("\ufeff")
        if len(text) > MAX_INPUT_BYTES:
            raise UsageError(
                f"stdin is longer than {MAX_INPUT_BYTES} bytes",
                hint="give less, or name a file that the flow reads itself",
                limit=MAX_INPUT_BYTES,
            )
        return text
    if value.startswith("@"):
        try:
            return read_bounded(home_path(value[1:]), MAX_INPUT_BYTES).decode("utf-8-sig")
        except UnicodeDecodeError as cause:
            raise UsageError(
                f"file {value[1:]!r} is not UTF-8: {cause.reason} at byte {cause.start}",
                hint="save it as UTF-8",
                path=value[1:],
            ) from cause
    return value


def home_path(text: str) -> Path:
    """Give a path whose `~` stands for a home directory.

    Raises:
        UsageError: nobody has that home, or it can be no path at all.
    """
    if "\0" in text:
        raise UsageError(f"path {text!r} holds a NUL character", hint="check the spelling")
    try:
        return Path(text).expanduser()
    except RuntimeError as cause:
        raise UsageError(
            f"path {text!r} begins with the home of nobody", hint="check the name behind '~'"
        ) from cause


def parse_labels(values: Iterable[str]) -> dict[str, str]:
    """Give `name=value` pairs.

    Raises:
        UsageError: one of them is not a pair.
    """
    labels = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name:
            raise UsageError(
                f"label {value!r} is not a pair", hint="use --label name=value", argument="--label"
            )
        labels[name] = text
    return labels


def parse_label_filter(values: Iterable[str]) -> dict[str, frozenset[str]]:
    """Give, by name, the values that a label may have.

    Raises:
        UsageError: one of them is not a pair.
    """
    found: dict[str, frozenset[str]] = {}
    for value in values:
        for name, text in parse_labels((value,)).items():
            found[name] = found.get(name, frozenset()) | {text}
    return found


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
