"""Texts: joining, cutting, changing case, replacing, templates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime._near import close_names
from abstractruntime.nodes._coerce import (
    as_list,
    compact_json,
    text_of,
    unescape,
    whole,
    whole_or,
)
from abstractruntime.nodes._format import field_names, format_fields, why_unreadable
from abstractruntime.nodes._pure import BareNode
from abstractruntime.nodes._shown import shown_value
from abstractruntime.nodes._template import (
    filter_names,
    placeholders,
    render_template,
    unclosed,
    unknown_filters,
)
from abstractruntime.nodes.base import (
    Constant,
    Element,
    Example,
    Pin,
    Problem,
    Scope,
    register,
)
from abstractruntime.nodes.budget import joined, replaced
from abstractruntime.nodes.keys import TEXT, settings

_TEXT = (Pin("result", "string", "The text."),)
_NULL_COMPAT = "A null input counts as absent instead of becoming the text None (quirk 13)."
_RENDER_SCHEMA: Final[JsonObject] = {
    "enum": ["text", "json"],
    "description": "How objects, lists and bools become text: Python text, or JSON.",
}


class _TextNode(BareNode):
    family = "text"
    outputs = _TEXT


def _rendered(value: JsonValue, config: JsonObject) -> str:
    """Give the text of a joined item, in the rendering that the author chose."""
    if config.get("render") == "json" and not isinstance(value, str) and value is not None:
        return compact_json(value)
    return text_of(value)


@register
class Concat(_TextNode):
    type = "concat"
    doc = (
        "Joins the texts of its pins in the order declared, with a separator that is one space "
        "unless the node says otherwise. Pins without a value add nothing, not even a separator; "
        "null adds an empty text. Objects and bools appear as Python text (True, {'k': 1}) unless "
        "`concatConfig.render` is `json`."
    )
    inputs = (
        Pin("a", "string", "The first text."),
        Pin("b", "string", "The second text."),
        Pin("*", "string", "Further texts.", dynamic=True, declared=True),
    )
    data_schema = settings(
        "concatConfig",
        separator={**TEXT, "description": "Text between the parts."},
        render=_RENDER_SCHEMA,
    )
    examples = (
        Example({"a": "x", "b": "y"}, "x y"),
        Example(
            {"a": 1, "b": True}, "1-true", {"concatConfig": {"separator": "-", "render": "json"}}
        ),
    )

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> str:
        config = element.config("concatConfig")
        separator = config.get("separator")
        glue = " " if separator is None else unescape(text_of(separator))
        order = element.input_ids or sorted(inputs, key=_letters_first)
        parts = (_rendered(inputs[name], config) for name in order if name in inputs)
        return joined(glue, parts)


def _letters_first(name: str) -> tuple[bool, str]:
    return (not (len(name) == 1 and "a" <= name <= "z"), name)


@register
class Split(_TextNode):
    type = "split"
    needs = ("text",)
    doc = (
        "Cuts a text at every delimiter; \\n, \\t and \\r in the delimiter mean the control "
        "characters. Parts are trimmed and empty ones dropped unless the flags say otherwise; a "
        'flag given as text is true, also "false". An empty delimiter gives the text as one part.'
    )
    inputs = (
        Pin("text", "string", "The text to cut."),
        Pin("delimiter", "string", "Where to cut.", default=","),
        Pin("trim", "boolean", "Trim each part.", default=True),
        Pin("drop_empty", "boolean", "Drop empty parts.", default=True),
        Pin("maxsplit", "number", "Cut at most this often; absent or negative: everywhere."),
    )
    outputs = (Pin("result", "array", "The parts."),)
    examples = (
        Example({"text": "a, b,,c"}, ["a", "b", "c"]),
        Example({"text": "a-b-c", "delimiter": "-", "maxsplit": 1}, ["a", "b-c"]),
        Example({"text": "a,,b", "drop_empty": False}, ["a", "", "b"]),
    )

    def compute(self, inputs: JsonObject) -> list[str]:
        _, _, trim, drop_empty, _ = self.arguments(inputs)
        text = text_of(inputs.get("text"))
        delimiter = unescape(text_of(inputs.get("delimiter", ",")))
        if not delimiter:
            return [text] if text else []
        limit = whole_or(inputs.get("maxsplit"), -1)
        parts = text.split(delimiter, _split_count(limit))
        if trim:
            parts = [part.strip() for part in parts]
        return [part for part in parts if part] if drop_empty else parts


def _split_count(limit: int | None) -> int:
    return -1 if limit is None or limit < 0 else min(limit, 2**31)


@register
class Join(_TextNode):
    type = "join"
    needs = ("items",)
    doc = (
        "Joins the items of a list into one text; \\n, \\t and \\r in the delimiter mean the "
        "control characters. Null items are empty texts; something that is not a list is one item. "
        "Objects and bools appear as Python text unless `joinConfig.render` is `json`."
    )
    inputs = (
        Pin("items", "array", "The items."),
        Pin("delimiter", "string", "Text between the items.", default=","),
    )
    data_schema = settings("joinConfig", render=_RENDER_SCHEMA)
    examples = (
        Example({"items": ["a", None, 1]}, "a,,1"),
        Example({"items": ["a", "b"], "delimiter": "\\n"}, "a\nb"),
    )
    compat = "A null delimiter is the default one instead of the text None (quirk 13)."

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> str:
        items, delimiter = self.arguments(inputs)
        config = element.config("joinConfig")
        parts = (_rendered(item, config) for item in as_list(items))
        return joined(unescape(text_of(delimiter)), parts)


@register
class Format(_TextNode):
    type = "format"
    needs = ("template",)
    doc = (
        "Fills a template with `{name}` fields from `values`, with Python's format rules for width, "
        "precision and `!r`; `{name[key]}` and `{name[0]}` reach into objects and lists. A field "
        "without a value is an error. Doubled braces stand for a brace. When `values` is not an "
        "object the template is given unchanged."
    )
    inputs = (
        Pin("template", "string", "The text with fields.", default=""),
        Pin("values", "object", "The values by name.", default={}),
    )
    examples = (
        Example({"template": "{n:>4}|{p[0]}", "values": {"n": 5, "p": ["x"]}}, "   5|x"),
        Example({"template": "{{{x}}}", "values": {"x": 1}}, "{1}"),
    )
    compat = (
        "A null template is empty (quirk 13); attribute access in a field is an error (quirk 15); "
        "widths and precisions above 10000 are refused."
    )

    def lookups(self, element: Element, constant: Constant) -> Iterable[tuple[str, str]]:
        template = constant("template")
        return (
            [("values", name) for name in field_names(template)]
            if isinstance(template, str)
            else []
        )

    def doubts(self, element: Element, inputs: JsonObject) -> Iterable[Problem]:
        reason = why_unreadable(text_of(inputs.get("template")))
        if reason:
            yield Problem(
                f"the template cannot be filled: {reason}",
                "VF319",
                pin="template",
                hint="close the brace, or double the one that is meant as text",
            )

    def compute(self, inputs: JsonObject) -> str:
        template = text_of(inputs.get("template"))
        values = inputs.get("values", {})
        return format_fields(template, values) if isinstance(values, dict) else template


@register
class StringTemplate(_TextNode):
    type = "string_template"
    needs = ("template",)
    doc = (
        "Fills `{{path}}` placeholders from `vars`: names separated by dots, `[n]` or a number for "
        'list elements. Filters follow after pipes: `json`, `join(", ")`, `trim`, `lower`, '
        "`upper`; others are ignored. A missing or null value is an empty text, and lists and "
        "objects appear as Python text unless the `json` filter is used."
    )
    inputs = (
        Pin("template", "string", "The text with placeholders."),
        Pin("vars", "object", "The values by name.", default={}),
    )
    examples = (
        Example({"template": "Hi {{u.name | trim}}!", "vars": {"u": {"name": " Ana "}}}, "Hi Ana!"),
        Example({"template": "{{l[1]}} {{l|json}}", "vars": {"l": [1, "x"]}}, 'x [1, "x"]'),
        Example({"template": '{{l | join(" & ")}}', "vars": {"l": ["a", "b"]}}, "a & b"),
    )

    def check(self, element: Element) -> Iterable[Problem]:
        template = element.pin_defaults.get("template")
        if "template" in element.wired or not isinstance(template, str):
            return
        for name in unknown_filters(template):
            near = close_names(name, filter_names())
            yield Problem(
                f"the template has the filter {name!r}, which is ignored",
                "VF210",
                pin="template",
                hint=f"did you mean {near[0]!r}?" if near else "delete it",
            )

    def lookups(self, element: Element, constant: Constant) -> Iterable[tuple[str, str]]:
        template = constant("template")
        return (
            [("vars", path) for path in placeholders(template)] if isinstance(template, str) else []
        )

    def doubts(self, element: Element, inputs: JsonObject) -> Iterable[Problem]:
        for line in unclosed(text_of(inputs.get("template"))):
            yield Problem(
                f"the placeholder in {shown_value(line)} has no end, so it is text",
                "VF210",
                pin="template",
                hint="write }} behind it, in the same line",
            )

    def compute(self, inputs: JsonObject) -> str:
        values = inputs.get("vars")
        template = text_of(inputs.get("template"))
        return render_template(template, values if isinstance(values, dict) else {})


class _OneText(_TextNode):
    """A node with the single input `text`."""

    inputs: ClassVar[tuple[Pin, ...]] = (Pin("text", "string", "The text.", default=""),)
    compat = _NULL_COMPAT

    def compute(self, inputs: JsonObject) -> JsonValue:
        return self.apply(text_of(inputs.get("text")))

    def apply(self, text: str) -> JsonValue:
        raise NotImplementedError


@register
class Uppercase(_OneText):
    type = "uppercase"
    needs = ("text",)
    doc = "Gives the text in upper case. Values that are not texts are turned into text first."
    examples = (Example({"text": "Héllo"}, "HÉLLO"), Example({"text": None}, ""))

    def apply(self, text: str) -> str:
        return text.upper()


@register
class Lowercase(_OneText):
    type = "lowercase"
    needs = ("text",)
    doc = "Gives the text in lower case. Values that are not texts are turned into text first."
    examples = (Example({"text": "HÉllo"}, "héllo"),)

    def apply(self, text: str) -> str:
        return text.lower()


@register
class Trim(_OneText):
    type = "trim"
    needs = ("text",)
    doc = "Removes white space, line ends included, from both ends of the text."
    examples = (Example({"text": "\n a\tb \r\n"}, "a\tb"),)

    def apply(self, text: str) -> str:
        return text.strip()


@register
class Length(_OneText):
    type = "length"
    needs = ("text",)
    doc = (
        "Counts the characters of the text. For a list it counts the characters of its text; use "
        "`array_length` to count elements."
    )
    outputs = (Pin("result", "number", "The number of characters, an integer."),)
    examples = (Example({"text": "straße"}, 6), Example({"text": None}, 0))

    def apply(self, text: str) -> int:
        return len(text)


@register
class Substring(_TextNode):
    type = "substring"
    needs = ("text",)
    doc = (
        "Cuts out the characters from `start` up to, not including, `end`; without `end`, up to "
        "the end of the text. Negative positions count from the end. Positions outside the text "
        "are not an error, and floats are truncated."
    )
    inputs = (
        Pin("text", "string", "The text.", default=""),
        Pin("start", "number", "The first position, from 0.", default=0),
        Pin("end", "number", "The position after the last one."),
    )
    examples = (
        Example({"text": "abcdef", "start": 1, "end": 4}, "bcd"),
        Example({"text": "abcdef", "start": -2}, "ef"),
    )
    compat = _NULL_COMPAT

    def compute(self, inputs: JsonObject) -> str:
        text, start, end = self.arguments(inputs)
        return text_of(text)[whole(start) : None if end is None else whole(end)]


@register
class Contains(_TextNode):
    type = "contains"
    needs = ("text", "pattern")
    doc = "True when `pattern` occurs in `text`, case included. An empty pattern occurs nowhere."
    inputs = (
        Pin("text", "string", "The text to search in."),
        Pin("pattern", "string", "The text to look for."),
    )
    outputs = (Pin("result", "boolean", "True or false."),)
    examples = (
        Example({"text": "workflow", "pattern": "flow"}, True),
        Example({"text": "workflow", "pattern": ""}, False),
    )

    def compute(self, inputs: JsonObject) -> bool:
        pattern = text_of(inputs.get("pattern"))
        return bool(pattern) and pattern in text_of(inputs.get("text"))


@register
class IsEmptyString(_TextNode):
    type = "is_empty_string"
    needs = ("text",)
    doc = "True when `text` has no character at all; null and a missing value count as empty, blanks do not."
    inputs = (Pin("text", "string", "The text to look at."),)
    outputs = (Pin("result", "boolean", "True or false."),)
    examples = (
        Example({"text": ""}, True),
        Example({}, True),
        Example({"text": " "}, False),
    )
    compat = "Unknown to 0.4.2, which copied its inputs (quirk 9)."

    def compute(self, inputs: JsonObject) -> bool:
        return not text_of(inputs.get("text"))


@register
class Replace(_TextNode):
    type = "replace"
    needs = ("text", "pattern")
    doc = (
        "Replaces `pattern` in `text`. `mode` is `all` (the default), `first`, or a number of "
        "occurrences: 0 replaces none, a negative number all. An empty pattern changes nothing."
    )
    inputs = (
        Pin("text", "string", "The text."),
        Pin("pattern", "string", "The text to replace."),
        Pin("replacement", "string", "What to put there.", default=""),
        Pin(
            "mode",
            "any",
            "all, first, or how many occurrences.",
            default="all",
            choices=("all", "first"),
            also=("number",),
        ),
    )
    examples = (
        Example({"text": "a-b-a", "pattern": "a", "replacement": "x"}, "x-b-x"),
        Example({"text": "a-b-a", "pattern": "a", "replacement": "x", "mode": "first"}, "x-b-a"),
    )

    def compute(self, inputs: JsonObject) -> str:
        text, pattern, replacement, mode = self.arguments(inputs)
        subject, wanted = text_of(text), text_of(pattern)
        if not wanted:
            return subject
        return replaced(subject, wanted, text_of(replacement), _replace_count(mode))


def _replace_count(mode: Any) -> int:
    """Give how many occurrences `mode` means; -1 is all of them."""
    if isinstance(mode, bool | float):
        mode = int(mode)
    if isinstance(mode, str):
        word = mode.strip().lower()
        mode = 1 if word in {"first", "once"} else _integer_text(word)
    return max(-1, min(mode, 2**31)) if isinstance(mode, int) else -1


def _integer_text(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        return -1
