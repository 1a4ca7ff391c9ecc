"""Code nodes that hold only the body of their function, as newer editors write them."""

from __future__ import annotations

import io
import keyword
import re
import textwrap
import token
import tokenize
from collections.abc import Iterable

PERMISSIONS = "permissions"
"""The pin that says what the code may do; it is no input of the function."""
_BEGINS = {token.STRING, getattr(token, "FSTRING_START", token.STRING)}
_ENDS = {token.STRING, getattr(token, "FSTRING_END", token.STRING)}


def with_function(body: str, name: str, inputs: Iterable[str]) -> tuple[str, int]:
    """Give the source of the function `name(_input)`, and the number of lines before the body.

    The body sees each of `inputs` under its name, None when it is missing. An empty body gives the
    input back.
    """
    lines = [f"def {name}(_input):", "    _given = _input if isinstance(_input, dict) else {}"]
    lines += [
        f"    {local_name(pin)} = _given.get({pin!r})" for pin in inputs if pin != PERMISSIONS
    ]
    text = textwrap.dedent(body).strip("\n")
    return "\n".join([*lines, _indented(text) if text.strip() else "    return _input", ""]), len(
        lines
    )


def local_name(pin: str) -> str:
    """Give the name under which a body sees an input: `class` is `class_`, `2nd part` `p_2nd_part`."""
    name = re.sub(r"\W", "_", pin)
    if name[:1].isdigit():
        name = f"p_{name}"
    return f"{name}_" if keyword.iskeyword(name) else name


def _indented(text: str) -> str:
    """Indent the lines of code; what a text of several lines says stays as it is."""
    inside = _lines_in_texts(text)
    return "\n".join(
        line if number in inside or not line.strip() else f"    {line}"
        for number, line in enumerate(text.split("\n"), 1)
    )


def _lines_in_texts(text: str) -> set[int]:
    inside: set[int] = set()
    begins: list[int] = []
    try:
        for item in tokenize.generate_tokens(io.StringIO(text).readline):
            if item.type in _BEGINS:
                begins.append(item.start[0])
            if item.type in _ENDS:
                inside.update(range(begins.pop() + 1, item.end[0] + 1))
    except (tokenize.TokenError, SyntaxError):
        return inside  # What is wrong with it is said when it is parsed.
    return inside


def says_the_same(code: str, body: str) -> bool:
    """Tell whether the lines of a body are in the code, one after the other."""
    wanted, present = _bare(body), _bare(code)
    starts = range(len(present) - len(wanted) + 1)
    return any(present[at : at + len(wanted)] == wanted for at in starts)


def _bare(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
