"""Cases: stored and read back, and nothing else is taken for one."""

from dataclasses import fields
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as h

from ledger.appraisal.case import EVIDENCE_KEPT, MAX_CASE_BYTES, Case, Fix, Seen, decode_case
from ledger.errors import IntegrityError
from ledger.protocol import cbor
from ledger.protocol.policy import RuleId
from tests.protocol.refusals import mutations

UEID = b"\x01" + bytes(16)
DIGESTS = h.binary(min_size=32, max_size=32)
RULES = h.sampled_from(get_args(RuleId))
UINT = h.integers(0, 2**63 - 1)
LATITUDES, LONGITUDES = h.floats(-90, 90), h.floats(-180, 180)
ACCURACIES = h.floats(0, 2e7)
SEEN = h.builds(
    Seen,
    UINT,
    UINT,
    LATITUDES,
    LONGITUDES,
    ACCURACIES,
    UINT,
    DIGESTS,
    UINT,
    DIGESTS,
    h.lists(h.sampled_from(["DE", "FR", "XK"]), max_size=3).map(tuple),
)
CASES = h.builds(
    Case,
    h.just(UEID),
    h.dictionaries(RULES, UINT),
    h.dictionaries(RULES, h.lists(DIGESTS, max_size=EVIDENCE_KEPT)),
    h.dictionaries(RULES, h.text(max_size=500)),
    UINT,
    h.dictionaries(RULES, h.sampled_from([2, 32, 96])),
    h.none() | SEEN,
    h.none() | h.builds(Fix, UINT, LATITUDES, LONGITUDES, ACCURACIES),
    h.booleans(),
    h.booleans(),
    UINT,
    h.booleans(),
    UINT,
    UINT,
    UINT,
    h.lists(DIGESTS, max_size=EVIDENCE_KEPT),
    UINT,
    h.lists(RULES).map(tuple),
    UINT,
)
FULL = Case(
    UEID,
    {"boot": 2},
    {"boot": [bytes(32)]},
    {"boot": "words"},
    1,
    {"boot": 96, "debug": 2},
    Seen(1, 2, 3.5, 4.5, 5.0, 6, bytes(32), 7, bytes(32), ("DE", "FR")),
    Fix(1, 2.5, 3.5, 4.0),
    True,
    True,
    5,
    True,
    6,
    7,
    8,
    [bytes(32)],
    9,
    ("boot",),
    10,
)


@settings(max_examples=60)
@given(CASES)
def test_every_case_goes_there_and_back(case: Case):
    data = case.encode()
    assert decode_case(data) == case
    assert decode_case(data).encode() == data


def test_the_full_case_leaves_no_member_at_its_default():
    empty = Case(UEID)
    for item in fields(Case):
        assert item.name == "ueid" or getattr(FULL, item.name) != getattr(empty, item.name)
    assert decode_case(FULL.encode()) == FULL


def test_the_largest_case_fits():
    case = Case(UEID)
    for rule in get_args(RuleId):
        for number in range(20):
            case.record(rule, number.to_bytes(32, "big"), "…" * 500)
        case.record_fork(bytes(32))
    assert all(len(leaves) == EVIDENCE_KEPT for leaves in case.evidence.values())
    assert len(case.encode()) < MAX_CASE_BYTES
    assert decode_case(case.encode()) == case


WRONG = {
    bytes: [1, "x", None],
    int: [True, 1.5, "1", None],
    bool: [1, None],
    dict: [[], {1: 1}, {"boot": True}, {"boot": [1]}, None],
    list: [{}, [1], None],
    tuple: [{}, [1], None, 7],
}


@pytest.mark.parametrize("at", range(len(fields(Case))))
def test_a_member_of_another_type_is_damage(at: int):
    values: list[Any] = cbor.decode(FULL.encode(), max_size=MAX_CASE_BYTES)
    item = fields(Case)[at]
    kind: Any = getattr(item.type, "__origin__", item.type)
    wrong = WRONG.get(kind, [1, "x", [], [1, 2], {}])
    for value in wrong:
        with pytest.raises(IntegrityError):
            decode_case(cbor.encode([*values[:at], value, *values[at + 1 :]]))


@pytest.mark.parametrize("value", [1, "x" * 19, {}, None, [], [UEID], [0] * 19, [0] * 20])
def test_something_else_is_damage(value: Any):
    with pytest.raises(IntegrityError):
        decode_case(cbor.encode(value))


@settings(max_examples=200)
@given(h.binary(max_size=200) | mutations(FULL.encode()))
def test_damaged_bytes_give_a_case_in_its_one_form_or_an_integrity_fault(data: bytes):
    try:
        case = decode_case(data)
    except IntegrityError:
        return
    assert case.encode() == data


def test_what_a_release_forgets_and_what_it_keeps():
    case = decode_case(FULL.encode())
    case.release()
    kept = {
        item.name for item in fields(Case) if getattr(case, item.name) == getattr(FULL, item.name)
    }
    assert kept == {"ueid", "tiers", "seen", "fix", "expected_since_ms", "pending"}
    assert case.flags == []
