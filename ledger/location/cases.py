"""Cases as JSON, one a line: what ``chip-passport locate`` reads and answers."""

import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn

import iso3166

from ledger.errors import Reason, Refused
from ledger.location.sightings import Landmark
from ledger.location.verdict import LocationVerdict

MOST_ROUND_TRIP_MS = 60_000.0
"""No reply is waited for longer; light in fibre goes round the Earth in 200 ms."""

MOST_LANDMARKS = 10_000
MOST_CHARACTERS = 2_000_000
MOST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Case:
    """One device: its round trips, and the countries that its licence and the policy name."""

    case_id: str
    permitted: tuple[str, ...]
    prohibited: tuple[str, ...]
    max_faulty: int
    landmarks: tuple[Landmark, ...]
    round_trips_ms: tuple[float, ...]


def read_case(line: str) -> Case:
    """A case from its JSON text; members that are not known are left unread.

    Raises:
        Refused: FIELD_INVALID with the member as ``field``, and its rule in the detail.
    """
    if len(line) > MOST_CHARACTERS:
        _refuse("line", f"has more than {MOST_CHARACTERS} characters")
    try:
        case = json.loads(line, object_pairs_hook=_once)
    except Refused:
        raise
    except (ValueError, RecursionError) as error:
        _refuse("line", f"is not JSON: {error}")
    if not isinstance(case, dict):
        _refuse("line", "is not a JSON object")
    rows = _list(case, "landmarks", MOST_LANDMARKS)
    landmarks = [_landmark(row, f"landmarks[{index}]") for index, row in enumerate(rows)]
    _different([one.id for one, _ in landmarks])
    return Case(
        _text(case, "case_id", ""),
        _codes(case, "permitted"),
        _codes(case, "prohibited"),
        _count(case),
        tuple(one for one, _ in landmarks),
        tuple(round_trip for _, round_trip in landmarks),
    )


def write_answer(case_id: str, verdict: LocationVerdict, *, reasons: bool = False) -> str:
    """The answer as JSON text, without a line's end."""
    answer: dict[str, Any] = {
        "case_id": case_id,
        "verdict": verdict.proof.value,
        "cleared": verdict.cleared,
        "possible": list(verdict.possible),
        "contradiction": verdict.contradiction,
    }
    if reasons:
        answer["reasons"] = list(verdict.reasons)
    return json.dumps(answer, ensure_ascii=False)


def _landmark(row: Any, field: str) -> tuple[Landmark, float]:
    if not isinstance(row, dict):
        _refuse(field, "is not a JSON object")
    id_ = _text(row, "id", f"{field}.")
    # A landmark without an operator is its own, whatever others are called.
    operator = f"landmark {id_}"
    if row.get("operator") is not None:
        operator = f"operator {_text(row, 'operator', f'{field}.')}"
    landmark = Landmark(
        id_,
        _number(row, "latitude", field, -90.0, 90.0),
        _number(row, "longitude", field, -180.0, 180.0),
        operator,
    )
    return landmark, _number(row, "rtt_ms", field, 0.0, MOST_ROUND_TRIP_MS, above=True)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        _refuse(twice, "is there twice")
    return members


def _list(members: dict[str, Any], name: str, most: int) -> list[Any]:
    value = members.get(name)
    if not isinstance(value, list):
        _refuse(name, "has to be a list" if name in members else "is missing")
    if len(value) > most:
        _refuse(name, f"has more than {most} items")
    return value


def _codes(case: dict[str, Any], name: str) -> tuple[str, ...]:
    codes = _list(case, name, 1_000)
    for index, code in enumerate(codes):
        if not isinstance(code, str) or (
            code not in iso3166.countries_by_alpha2 or code != code.upper()
        ):
            _refuse(f"{name}[{index}]", f"{_shown(code)} is no ISO 3166-1 alpha-2 code (nor XK)")
    return tuple(codes)


def _count(case: dict[str, Any]) -> int:
    value = case.get("max_faulty", 1)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_LANDMARKS:
        _refuse("max_faulty", f"has to be a whole number from 0 to {MOST_LANDMARKS}")
    return value


def _text(members: dict[str, Any], name: str, before: str) -> str:
    value = members.get(name)
    if name not in members:
        _refuse(before + name, "is missing")
    if not isinstance(value, str) or not 0 < len(value) <= MOST_TEXT:
        _refuse(before + name, f"has to be a text of 1 to {MOST_TEXT} characters")
    if not value.isprintable():
        _refuse(before + name, "has a character that cannot be printed")
    return value


def _number(
    row: dict[str, Any], name: str, field: str, low: float, high: float, *, above: bool = False
) -> float:
    value, field = row.get(name), f"{field}.{name}"
    if name not in row:
        _refuse(field, "is missing")
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(field, "has to be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not low <= number <= high or (above and number <= low):
        bounds = f"more than {low:g} and at most {high:g}" if above else f"{low:g} to {high:g}"
        _refuse(field, f"has to be {bounds}, not {_shown(value)}")
    return number


def _different(ids: list[str]) -> None:
    first: dict[str, int] = {}
    for index, name in enumerate(ids):
        if name in first:
            _refuse(f"landmarks[{index}].id", f"is the same as that of landmarks[{first[name]}]")
        first[name] = index


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except ValueError:  # a whole number too long to print
        return "this"
    return text if len(text) <= 40 else text[:37] + "..."


def _refuse(field: str, rule: str) -> NoReturn:
    raise Refused(Reason.FIELD_INVALID, rule, field=field)
