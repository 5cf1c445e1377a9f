"""The index of lines against tomllib's own reading."""

import string
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from device_sim.scenario.lines import Path, line_index, line_of

DOCUMENT = """\
# a comment with = and [brackets]
name = "x # no comment"
"quoted key" = 1
a.b.c = 1          # dotted

[calendar]
start = 2027-01-01T00:00:00Z
"days" = 3

[[cohort]]
id = "first"
note = \"\"\"
[not a table]
key = "neither"
two quotes at the end\"\"\"\"\"
after = 1

  [[cohort.incident]]
  kind = 'single # quoted'

  [[cohort.incident]]
  chips = [
    1,   # one
    [2, 3],
    { x = 1, y = { z = 2 } },
  ]

[[cohort]]
id = "second"
multi = '''
[x]
'''
inline = [{ kind = "a", day = 1 }, { kind = "b" }]

[cohort.extra.deep]
value = 1e3

[[cohort.incident]]
kind = "last"
"""

PLACES: list[tuple[Path, str]] = [
    (("name",), 'name = "x'),
    (("quoted key",), '"quoted key"'),
    (("a", "b", "c"), "a.b.c"),
    (("calendar", "start"), "start ="),
    (("calendar", "days"), '"days"'),
    (("cohort", 0, "id"), 'id = "first"'),
    (("cohort", 0, "note"), "note ="),
    (("cohort", 0, "after"), "after = 1"),
    (("cohort", 0, "incident", 0, "kind"), "kind = 'single"),
    (("cohort", 0, "incident", 1, "chips", 0), "    1,"),
    (("cohort", 0, "incident", 1, "chips", 1, 1), "    [2, 3]"),
    (("cohort", 0, "incident", 1, "chips", 2, "y", "z"), "    { x = 1"),
    (("cohort", 1, "id"), 'id = "second"'),
    (("cohort", 1, "inline", 1, "kind"), "inline ="),
    (("cohort", 1, "extra", "deep", "value"), "value = 1e3"),
    (("cohort", 1, "incident", 0, "kind"), 'kind = "last"'),
]


@pytest.mark.parametrize(("path", "text"), PLACES)
def test_key_is_found_on_its_line(path: Path, text: str) -> None:
    tomllib.loads(DOCUMENT)
    found = DOCUMENT.splitlines()[line_index(DOCUMENT)[path] - 1]
    assert found.startswith(text) or found.strip().startswith(text)


def test_element_of_an_array_of_tables_is_at_its_header() -> None:
    index = line_index(DOCUMENT)
    lines = DOCUMENT.splitlines()
    assert [number for number, line in enumerate(lines, 1) if line == "[[cohort]]"] == [
        index["cohort", 0],
        index["cohort", 1],
    ]


def test_missing_key_is_at_the_nearest_table() -> None:
    index = line_index(DOCUMENT)
    assert line_of(index, ("cohort", 1, "count")) == index["cohort", 1]
    assert line_of(index, ("nowhere", "at all")) == 0


def paths(value: Any, path: Path = ()) -> list[Path]:
    """Every path in a document's value."""
    found = [path] if path else []
    if isinstance(value, dict):
        items: Any = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return found
    for key, item in items:
        found += paths(item, (*path, key))
    return found


KEYS = some.text(string.ascii_letters + '_-. "é\\', min_size=1, max_size=6)
LEAVES = some.one_of(
    some.integers(-9, 9),
    some.booleans(),
    some.text(
        string.printable.replace("\r", "").replace("\x0b", "").replace("\x0c", ""), max_size=8
    ),
)
VALUES = some.recursive(
    LEAVES,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def write(value: Any) -> str:
    """A value in TOML, arrays over several lines."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return write_text(value)
    if isinstance(value, list):
        return "[\n" + "".join(f"  {write(item)}, # ]\n" for item in value) + "]"
    return "{ " + ", ".join(f"{write_text(k)} = {write(v)}" for k, v in value.items()) + " }"


def write_text(text: str) -> str:
    out = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in out) + '"'


@given(
    top=some.dictionaries(KEYS, VALUES, max_size=4),
    tables=some.lists(some.dictionaries(KEYS, VALUES, max_size=3), max_size=3),
)
def test_every_path_of_any_document_has_a_line_on_which_its_key_stands(
    top: dict[str, Any], tables: list[dict[str, Any]]
) -> None:
    top.pop("table", None)
    # Inline tables have to stay on one line, so what they hold is written without line breaks.
    lines = [f"{write_text(key)} = {flat(item)}" for key, item in top.items()]
    for table in tables:
        lines += ["[[table]]"] + [f"{write_text(key)} = {flat(v)}" for key, v in table.items()]
    text = "\n".join(lines)
    value = tomllib.loads(text)
    index = line_index(text)
    assert set(paths(value)) <= set(index)
    for path, line in index.items():
        if isinstance(path[-1], str) and path != ("table",):
            assert write_text(path[-1]) in text.splitlines()[line - 1]


def flat(value: Any) -> str:
    """Like ``write``; dictionaries, and so what holds one, on one line."""
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        return write(value)
    if isinstance(value, list):
        return "[ " + ", ".join(flat_inline(item) for item in value) + " ]"
    return flat_inline(value)


def flat_inline(value: Any) -> str:
    if isinstance(value, list):
        return "[ " + ", ".join(flat_inline(item) for item in value) + " ]"
    if isinstance(value, dict):
        body = ", ".join(f"{write_text(k)} = {flat_inline(v)}" for k, v in value.items())
        return "{ " + body + " }"
    return write(value)
