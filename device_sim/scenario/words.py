"""Pydantic's faults in the words of somebody who writes a scenario."""

import difflib
import re
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from ledger.protocol.fields import PRINTABLE

_REMEDIES = {
    "missing": "Add it",
    "extra_forbidden": "Take it out",
    "float_type": "Write a number",
    "int_type": "Write a whole number without quotes",
    "int_from_float": "Write a whole number",
    "string_type": "Write a text in quotes",
    "bool_type": "Write true or false",
    "tuple_type": "Write it as an array, or repeat it as a [[table]]",
    "list_type": "Write it as an array",
    "model_type": "Write it as a table",
    "dict_type": "Write it as a table",
    "datetime_type": "Write a date and time such as 2027-01-04T00:00:00Z",
    "timezone_aware": "End the time with Z or an offset",
    "too_short": "Give at least one",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than {}", "Use more than {}"),
    "greater_than_equal": ("ge", "greater than or equal to {}", "Use {} or more"),
    "less_than": ("lt", "less than {}", "Use less than {}"),
    "less_than_equal": ("le", "less than or equal to {}", "Use {} or less"),
}
_LENGTHS = {
    "string_too_short": ("min_length", "Use at least {} characters"),
    "string_too_long": ("max_length", "Use at most {} characters"),
    "too_long": ("max_length", "Give at most {}"),
}
FORMS = {
    r"^[A-Z]{2}$": "two capital letters such as DE (ISO 3166-1 alpha-2)",
    r"^[a-z0-9][a-z0-9-]{0,39}$": "small letters, digits and hyphens, 40 of them at most",
    r"^[a-z0-9][a-z0-9.-]{0,62}$": "small letters, digits, hyphens and dots, 63 of them at most",
    r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$": "letters, digits and . _ / -, 63 of them at most",
    r"^[\x21-\x7e]{1,32}$": "up to 32 letters, digits and signs of ASCII without blanks",
    r"^[\x21-\x2a\x2c-\x7e]{1,200}$": "up to 200 signs of ASCII without blanks and +",
    PRINTABLE: "a text in one line without control characters",
}
"""What a pattern of a scenario's fields asks for; a test wants every one of them here."""
_QUOTED = re.compile(r"'([^']*)'")


def real_faults(errors: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Without arrays that are too short only because what is in them has a fault of its own."""
    found = list(errors)
    paths = [tuple(error["loc"]) for error in found]
    return [
        error
        for error, path in zip(found, paths, strict=True)
        if error["type"] != "too_short"
        or not any(len(other) > len(path) and other[: len(path)] == path for other in paths)
    ]


def explain(error: Mapping[str, Any], limits: str) -> tuple[str, str]:
    """(problem, remedy) without full stops; ``limits`` is the remedy where nothing says more."""
    kind, value = error["type"], error.get("input")
    if isinstance(value, float) and not isfinite(value):
        return f"{value} is no number that can be calculated with", "Write a finite number"
    if kind == "literal_error":
        words = _QUOTED.findall(str(error["ctx"]["expected"]))
        return f"{_short(value)} is not one of the words that it takes", _choice(value, words)
    context = error.get("ctx", {})
    if kind in _BOUNDS:
        name, wanted, remedy = _BOUNDS[kind]
        bound = f"{context[name]:g}" if isinstance(context[name], float) else context[name]
        return f"{_short(value)} is not {wanted.format(bound)}", remedy.format(bound)
    if kind in _LENGTHS:
        name, remedy = _LENGTHS[kind]
        return f"has {len(value)}" if value else "is empty", remedy.format(context[name])
    if kind == "string_pattern_mismatch":
        form = FORMS.get(str(context["pattern"]))
        return f"{_short(value)} does not have its form", f"Write {form}" if form else limits
    message = "is empty" if kind == "too_short" else str(error["msg"]).removeprefix("Input ")
    return message[:1].lower() + message[1:], _REMEDIES.get(kind, limits)


def _choice(value: Any, words: list[str]) -> str:
    """All words that are allowed, and the one that was meant."""
    remedy = f"Use one of {', '.join(words)}"
    close = difflib.get_close_matches(str(value), words, n=1)
    return f"Did you mean {close[0]}? {remedy}" if close else remedy


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
