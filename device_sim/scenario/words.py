"""Pydantic's faults in the words of somebody who writes a scenario."""

import difflib
import re
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

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
    if kind == "too_short":
        problem = "is empty"
    elif kind == "string_pattern_mismatch":
        problem = "has characters, or a length, that its kind does not allow"
    else:
        message = str(error["msg"])
        problem = message[:1].lower() + message[1:]
    return problem, _REMEDIES.get(kind, limits)


def _choice(value: Any, words: list[str]) -> str:
    """All words that are allowed, and the one that was meant."""
    remedy = f"Use one of {', '.join(words)}"
    close = difflib.get_close_matches(str(value), words, n=1)
    return f"Did you mean {close[0]}? {remedy}" if close else remedy


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
