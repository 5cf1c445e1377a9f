"""Reading cases: what is refused, with its field; and that nothing else comes out of garbage."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Reason, Refused
from ledger.location.cases import read_case, write_answer
from ledger.location.verdict import Terms, judge
from tests.location.ground import ATLAS, left

MARK = {"id": "a", "latitude": 50.1, "longitude": 8.7, "rtt_ms": 3.2}
CASE: dict[str, Any] = {
    "case_id": "c",
    "permitted": ["DE", "XK"],
    "prohibited": ["RU"],
    "max_faulty": 1,
    "landmarks": [MARK, {**MARK, "id": "b", "operator": "o"}],
}


def test_case_is_read() -> None:
    case = read_case(json.dumps(CASE))
    assert (case.case_id, case.permitted, case.prohibited) == ("c", ("DE", "XK"), ("RU",))
    assert (case.max_faulty, case.round_trips_ms) == (1, (3.2, 3.2))
    assert [one.id for one in case.landmarks] == ["a", "b"]


def test_landmark_without_an_operator_is_its_own_even_if_another_has_its_name() -> None:
    marks = [MARK, {**MARK, "id": "b", "operator": "a"}, {**MARK, "id": "c", "operator": "a"}]
    case = read_case(json.dumps({**CASE, "landmarks": marks}))
    assert len({one.operator for one in case.landmarks}) == 2


def test_one_landmark_may_be_wrong_unless_the_case_says_otherwise() -> None:
    case = {name: value for name, value in CASE.items() if name != "max_faulty"}
    assert read_case(json.dumps(case)).max_faulty == 1


def test_empty_lists_and_members_that_are_not_known_are_taken() -> None:
    case = {**CASE, "permitted": [], "prohibited": [], "landmarks": [], "note": "x"}
    assert read_case(json.dumps(case)).landmarks == ()


def mark(**changes: Any) -> dict[str, Any]:
    return {**CASE, "landmarks": [MARK, {**MARK, "id": "b", **changes}]}


@pytest.mark.parametrize(
    ("case", "field"),
    [
        (mark(latitude=90.1), "landmarks[1].latitude"),
        (mark(latitude="50"), "landmarks[1].latitude"),
        (mark(longitude=-180.5), "landmarks[1].longitude"),
        (mark(longitude=None), "landmarks[1].longitude"),
        (mark(longitude=float("nan")), "landmarks[1].longitude"),
        (mark(rtt_ms=0), "landmarks[1].rtt_ms"),
        (mark(rtt_ms=-0.5), "landmarks[1].rtt_ms"),
        (mark(rtt_ms=float("nan")), "landmarks[1].rtt_ms"),
        (mark(rtt_ms=float("inf")), "landmarks[1].rtt_ms"),
        (mark(rtt_ms=60_001), "landmarks[1].rtt_ms"),
        (mark(rtt_ms=10**400), "landmarks[1].rtt_ms"),
        (mark(rtt_ms=True), "landmarks[1].rtt_ms"),
        (mark(id="a"), "landmarks[1].id"),
        (mark(id=""), "landmarks[1].id"),
        (mark(id=7), "landmarks[1].id"),
        (mark(id="\ud800"), "landmarks[1].id"),
        (mark(operator=""), "landmarks[1].operator"),
        ({**CASE, "landmarks": [7]}, "landmarks[0]"),
        ({**CASE, "landmarks": {}}, "landmarks"),
        ({**CASE, "permitted": ["DE", "QQ"]}, "permitted[1]"),
        ({**CASE, "permitted": ["de"]}, "permitted[0]"),
        ({**CASE, "permitted": "DE"}, "permitted"),
        ({**CASE, "prohibited": [None]}, "prohibited[0]"),
        ({**CASE, "prohibited": [["RU"]]}, "prohibited[0]"),
        ({**CASE, "max_faulty": -1}, "max_faulty"),
        ({**CASE, "max_faulty": 1.0}, "max_faulty"),
        ({**CASE, "max_faulty": True}, "max_faulty"),
        ({**CASE, "case_id": ""}, "case_id"),
        ({**CASE, "case_id": 7}, "case_id"),
        ([], "line"),
        (7, "line"),
    ],
)
def test_rule_that_is_broken_is_refused_with_its_field(case: Any, field: str) -> None:
    with pytest.raises(Refused) as refused:
        read_case(json.dumps(case))
    assert (refused.value.reason, refused.value.field) == (Reason.FIELD_INVALID, field)


@pytest.mark.parametrize("name", ["case_id", "permitted", "prohibited", "landmarks"])
def test_member_that_is_missing_is_named(name: str) -> None:
    case = {other: value for other, value in CASE.items() if other != name}
    with pytest.raises(Refused) as refused:
        read_case(json.dumps(case))
    assert (refused.value.field, refused.value.detail) == (name, "is missing")


@pytest.mark.parametrize("name", ["id", "latitude", "longitude", "rtt_ms"])
def test_member_of_a_landmark_that_is_missing_is_named(name: str) -> None:
    row = {other: value for other, value in MARK.items() if other != name}
    with pytest.raises(Refused) as refused:
        read_case(json.dumps({**CASE, "landmarks": [row]}))
    assert refused.value.field == f"landmarks[0].{name}"


def test_member_that_is_there_twice_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        read_case('{"case_id": "a", "case_id": "b"}')
    assert refused.value.field == "case_id"


@pytest.mark.parametrize("line", ["", "{", "nul", "[" * 100_000, '{"a": 1' + "0" * 5_000 + "}"])
def test_what_is_not_json_is_refused(line: str) -> None:
    with pytest.raises(Refused):
        read_case(line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.text(max_size=60) | json_values.map(json.dumps))
def test_garbage_is_refused_and_nothing_else_happens(line: str) -> None:
    with pytest.raises(Refused):
        read_case(line)


@given(st.sampled_from([*CASE, *MARK]), json_values)
def test_member_of_any_value_is_read_or_refused(name: str, value: Any) -> None:
    changed = mark(**{name: value}) if name in MARK else {**CASE, name: value}
    try:
        case = read_case(json.dumps(changed))
    except Refused as refused:
        if not refused.field:
            raise
        return
    assert all(0.0 < trip <= 60_000.0 for trip in case.round_trips_ms)


def test_answer_has_these_members_in_this_order() -> None:
    verdict = judge(left([(51.2, 10.0, 0.5), (51.2, 10.1, 0.5)]), Terms.of(ATLAS, ["DE"], ["RU"]))
    assert write_answer("é", verdict) == (
        '{"case_id": "é", "verdict": "inside", "cleared": true, "possible": ["DE"], '
        '"contradiction": false}'
    )
    assert "reasons" in json.loads(write_answer("a", verdict, reasons=True))
