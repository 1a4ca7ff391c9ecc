"""What is wrong with a text that is no JSON, in words that are ours."""

from __future__ import annotations

import json

import pytest

from abstractruntime._json import load_strict, why_unread

REFUSED = {
    "": "expected a value at line 1, column 1",
    "{hello": "expected a name in double quotes at line 1, column 2",
    '{"a" 1}': "expected ':' after a name at line 1, column 6",
    '{"a": 1\n "b": 2}': "expected ',' or an end at line 2, column 2",
    "1 2": "expected nothing more at line 1, column 3",
    '["abc': "a text begins and does not end at line 1, column 2",
    '"a\nb"': "a text holds a line break or control character as it is at line 1, column 3",
    '"\\x"': "a text holds a backslash that begins nothing at line 1, column 2",
    '"\\u12"': "a text holds \\u without four hex digits at line 1, column 4",
    "\ufeff{}": "it begins with a byte order mark at line 1, column 1",
}


@pytest.mark.parametrize("text", REFUSED)
def test_the_reader_says_what_it_expected_and_where(text: str) -> None:
    with pytest.raises(json.JSONDecodeError) as refused:
        load_strict(text)

    assert str(refused.value).split(" at line ")[0] == REFUSED[text].split(" at line ")[0]
    place = f"line {refused.value.lineno}, column {refused.value.colno}"
    assert str(refused.value).endswith(place)
    assert why_unread(refused.value) == str(refused.value)


@pytest.mark.parametrize("text", ["[1,]", '{"a": 1,}', "{,}", "nul", "[1 2]", "'a'", "{", "["])
def test_no_words_of_the_library_are_left(text: str) -> None:
    with pytest.raises(json.JSONDecodeError) as plain:
        json.loads(text)

    said = why_unread(plain.value)
    assert not {"Expecting", "delimiter", "char"} & set(said.replace("(", " ").split()), said
