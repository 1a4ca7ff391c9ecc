"""Foreign text among our own: shown so that it can neither steer a terminal nor forge a line."""

from __future__ import annotations

import re
import shlex

# What continuous integration systems obey when it begins a line of a log.
_LOG_COMMAND = re.compile(r"(?:\s|\x1b\[[\d;]*m)*(?=(?:::|##\w*\[))")


def one_line(text: str, *, keep: str = "") -> str:
    """Give text as part of one line: what is not printable becomes an escape, but what is in `keep`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else escape_char(c) for c in text)


def log_line(text: str) -> str:
    """Give a whole line, tabs between its columns included, that no reader of logs obeys."""
    return _unheard(one_line(text, keep="\t"))


def painted_line(text: str) -> str:
    """Give the same of a line that holds our colours; foreign text in it is harmless already."""
    return _unheard(one_line(text, keep="\t\x1b"))


def _unheard(line: str) -> str:
    found = _LOG_COMMAND.match(line)
    if found is None:
        return line
    start = found.end()
    return f"{line[:start]}{escape_char(line[start])}{line[start + 1 :]}"


def escape_char(char: str) -> str:
    """Give the escape that stands for a character."""
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"


def shell_word(value: object) -> str:
    """Give foreign text as one word of a command to paste; what a shell reads as it is stays so."""
    return shlex.quote(str(value))
