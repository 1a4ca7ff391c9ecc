"""Structured output: from the many spellings of a schema to one, and from an answer to data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

from abstractruntime._json import TOLERANT_DECODER, JsonObject, JsonValue, join_pointer, load_strict
from abstractruntime.errors import UsageError

__all__ = ["parse_answer", "parse_object", "read_schema", "schema_violation"]

_WRAPPERS = ("response_format", "responseFormat", "json_schema", "schema")
_SCHEMA_KEYS = {
    "$schema", "$id", "$ref", "$defs", "definitions", "oneOf", "anyOf", "allOf", "enum", "const", "items",
}  # fmt: skip
_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_IDENTIFIER = re.compile(r"[^\W\d]\w*\Z")
_FENCE = re.compile(r"```[\w-]*[^\S\n]*\n(.*?)```", re.DOTALL)
_STARTS = 50


def read_schema(value: JsonValue) -> JsonObject:
    """Give the JSON Schema that `value` means.

    Accepted are a schema, its JSON text, the usual wrappers around one, and a field map such
    as `{"score": 0, "why": "a sentence"}`, whose keys all become required.

    Raises:
        UsageError: it means no schema of an object with identifier-like property names.
    """
    schema = _unwrap(_parsed(value))
    if not _is_schema(schema):
        schema = _from_example(schema)
    if "properties" in schema and "type" not in schema:
        schema = {"type": "object", **schema}
    _check_root(schema)
    return schema


def parse_answer(text: str) -> tuple[JsonValue, str | None]:
    """Read data out of an answer: the text itself, a fenced block, or the first object in prose.

    Gives the data and what went wrong, one of them None; data that is no object comes as
    `{"value": data}`.
    """
    for data in _readings(text):
        return (data if isinstance(data, dict) else {"value": data}), None
    return None, "the answer holds no JSON"


def parse_object(text: str) -> JsonObject | None:
    """Give the first object in an answer, looking where `parse_answer` looks."""
    return next((data for data in _readings(text) if isinstance(data, dict)), None)


def _readings(text: str) -> Iterator[JsonValue]:
    for attempt in _candidates(text):
        try:
            yield attempt()
        except (ValueError, RecursionError):
            continue


def schema_violation(data: JsonValue, schema: JsonObject) -> str | None:
    """Tell how `data` breaks `schema`, None when it does not."""
    # 0.2 s of imports that only structured output needs.
    import jsonschema  # noqa: PLC0415 - see above
    from referencing import Registry  # noqa: PLC0415 - see above
    from referencing.exceptions import Unresolvable  # noqa: PLC0415 - see above

    # Hazard: without a registry of its own the validator fetches remote references.
    validator = jsonschema.Draft202012Validator(schema, registry=Registry())
    try:
        validator.check_schema(schema)
        error = jsonschema.exceptions.best_match(validator.iter_errors(data))
    except jsonschema.exceptions.SchemaError as broken:
        return f"the schema itself is invalid: {broken.message}"
    except Unresolvable as broken:
        return f"the schema itself is invalid: no definition for {broken.ref!r}"
    if error is None:
        return None
    where = join_pointer(error.absolute_path) or "/"
    return f"{error.message} at {where!r}"


def _parsed(value: JsonValue) -> JsonObject:
    if isinstance(value, str):
        try:
            value = load_strict(value)
        except ValueError as cause:
            raise UsageError(f"response schema is text that is not JSON: {cause}") from None
    if not isinstance(value, dict):
        raise UsageError(f"response schema is {type(value).__name__}, expected an object")
    return value


def _unwrap(schema: JsonObject) -> JsonObject:
    for name in _WRAPPERS:
        inner = schema.get(name)
        is_wrapper = schema.get("type") in (None, "json_schema") and "properties" not in schema
        if isinstance(inner, dict) and is_wrapper:
            return _unwrap(inner)
    return schema


def _is_schema(value: JsonObject) -> bool:
    return (
        bool(_SCHEMA_KEYS & value.keys())
        or isinstance(value.get("properties"), dict)
        or isinstance(value.get("required"), list)
        or value.get("type") in _TYPES
    )


def _from_example(value: JsonValue) -> JsonObject:
    if isinstance(value, dict):
        fields = {name: _from_example(item) for name, item in value.items()}
        return {"type": "object", "properties": fields, "required": list(fields)}
    if isinstance(value, str):
        return {"type": "string", "description": value}
    if isinstance(value, list):
        first = next((item for item in value if item is not None), "")
        return {"type": "array", "items": {"type": "string"} if first == "" else _type_only(first)}
    if isinstance(value, bool):
        return {"type": "boolean"}
    return {} if value is None else {"type": "integer" if isinstance(value, int) else "number"}


def _type_only(value: JsonValue) -> JsonObject:
    schema = _from_example(value)
    return {"type": "string"} if isinstance(value, str) else schema


def _check_root(schema: JsonObject) -> None:
    if schema.get("type", "object") != "object":
        raise UsageError(
            f"response schema describes {schema['type']!r}, expected an object",
            hint="wrap it: an object with one property",
        )
    properties = schema.get("properties")
    for name in properties if isinstance(properties, dict) else ():
        if not _IDENTIFIER.match(name):
            raise UsageError(
                f"response schema has the property {name!r}, expected a name of letters, digits and underscores"
            )


def _candidates(text: str) -> Iterator[Callable[[], JsonValue]]:
    yield partial(load_strict, text)
    for block in _FENCE.findall(text):
        yield partial(load_strict, block)
    for start in islice(re.finditer(r"[{\[]", text), _STARTS):
        yield partial(_decode_from, text, start.start())


def _decode_from(text: str, start: int) -> JsonValue:
    return TOLERANT_DECODER.raw_decode(text, start)[0]
