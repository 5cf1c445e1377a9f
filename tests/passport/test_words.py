"""What an entry means, in one sentence."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as h

from ledger.passport.words import describe, moment, place, reasons_once
from ledger.protocol.fields import MAX_SECONDS
from ledger.protocol.statements import Kind
from tests.protocol.examples import BODIES, DIGEST, KINDS, UEID, body

OTHER, THIRD = b"\x02" + bytes(6), b"\x02" + bytes(5) + b"\x01"
SENTENCES = {
    Kind.GENESIS: "ledger test.example/ledger founded by authority, on a simulated clock",
    Kind.PARTY: "maker (Maker, Inc. – Zürich, US) registered as manufacturer, custodian",
    Kind.LICENCE: "licence L-1: holder may have XA-100 in DE, FR from 2026-01-01 to 2026-01-02, "
    "at most 10 a year",
    Kind.BIRTH: "born as a XA-100; device certificate and heartbeat key registered",
    Kind.SHIP: "shipped to holder in DE, under licence L-1",
    Kind.RECEIVE: "received from maker in DE",
    Kind.INSTALL: "installed at Frankfurt 1, DE (50.1109° N, 8.6821° E), under licence L-1",
    Kind.RETIRE: "taken out of service: worn out",
    Kind.POLICY: "policy version 1 in force: test policy",
    Kind.DECISION: "HOLD, decision 1, by licence: it has none",
    Kind.INDEX_ROOT: "committed to how many entries each subject has among the first 7",
    Kind.LANDMARK_DIRECTORY: "landmark directory version 1 in force: 2 landmarks of 1 operators, "
    "1 suspended",
    Kind.RANGING_REPORT: f"beacon measured round trips to 1 chips in epoch {DIGEST[:16].hex()}, "
    "by landmark directory 1",
    Kind.EPOCH: "epoch 0 opened, until 2026-01-01T01:00:00Z",
}


def changed(kind: Kind, **changes: Any) -> Any:
    return body(kind).model_copy(update=changes)


@pytest.mark.parametrize("kind", list(SENTENCES))
def test_each_kind_has_its_sentence(kind: Kind):
    assert describe(kind, body(kind)) == SENTENCES[kind]


def test_a_heartbeat_says_what_it_claims():
    said = describe(Kind.HEARTBEAT, body(Kind.HEARTBEAT))
    assert said.startswith("heartbeat 2: claims 50.1109° N, 8.6821° E ± 12 m, firmware 1.0, boot 1")


def test_every_kind_has_one():
    assert {*SENTENCES, Kind.HEARTBEAT} == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        (Kind.LICENCE, {"quota_per_year": None}, "from 2026-01-01 to 2026-01-02"),
        (Kind.LICENCE, {"not_after": MAX_SECONDS}, "to 9999-12-31, at most 10 a year"),
        (Kind.SHIP, {"licence": None}, "shipped to holder in DE, under no licence"),
        (Kind.DECISION, {"rules": []}, "HOLD, decision 1: licence: it has none"),
        (Kind.DECISION, {"reasons": ["a", "b"]}, "HOLD, decision 1 (licence): a; b"),
        (Kind.EPOCH, {"not_after_ms": MAX_SECONDS * 1_000 + 999}, "until 9999-12-31T23:59:59Z"),
    ],
)
def test_what_is_absent_or_far_off_has_words(kind: Kind, changes: dict[str, Any], said: str):
    assert describe(kind, changed(kind, **changes)).endswith(said)


@pytest.mark.parametrize("kind", [Kind.SHIP, Kind.RECEIVE, Kind.INSTALL, Kind.RETIRE])
@pytest.mark.parametrize(
    ("chips", "said"),
    [([UEID], ""), ([UEID, OTHER], ", with 1 other"), ([UEID, OTHER, THIRD], ", with 2 others")],
)
def test_a_delivery_says_how_many_chips_it_names(kind: Kind, chips: list[bytes], said: str):
    assert describe(kind, changed(kind, chips=chips)) == SENTENCES[kind] + said


def test_a_conflict_says_that_it_has_no_effect_and_what_it_contradicts():
    said = describe(
        Kind.SHIP, body(Kind.SHIP), conflict="not-custodian", detail=f"chip {UEID.hex()}"
    )
    assert said == (
        f"on record as evidence, without effect (not-custodian: chip {UEID.hex()}): "
        "shipped to holder in DE, under licence L-1"
    )


@pytest.mark.parametrize(
    ("rules", "reasons", "said"),
    [
        (
            ["licence"],
            ["licence: licence L-1 covers DE"],
            "HOLD, decision 1, by licence: L-1 covers DE",
        ),
        (["debug"], ["debug: debug status x"], "HOLD, decision 1, by debug: status x"),
        (["licence"], ["licence: licences lack"], "HOLD, decision 1, by licence: licences lack"),
        (
            ["boot", "travel"],
            ["boot: back; again", "travel: too fast"],
            "HOLD, decision 1, by boot: back; again; by travel: too fast",
        ),
        (["boot", "travel"], ["travel: fast"], "HOLD, decision 1 (boot), by travel: fast"),
        (["boot"], ["boot: back", "see report"], "HOLD, decision 1, by boot: back: see report"),
        (["boot"], ["boot: back", "boot: back"], "HOLD, decision 1, by boot: back"),
        ([], ["boot: back"], "HOLD, decision 1: boot: back"),
    ],
)
def test_a_decision_gives_each_rule_and_each_reason_once(
    rules: list[str], reasons: list[str], said: str
):
    assert describe(Kind.DECISION, changed(Kind.DECISION, rules=rules, reasons=reasons)) == said


@given(h.lists(h.sampled_from(["licence", "boot", ""])), h.lists(h.text()))
def test_no_reason_is_lost_whatever_it_says(rules: list[str], reasons: list[str]):
    told = reasons_once(rules, reasons)
    assert len(told) == len(set(told)) <= len(reasons)
    for reason in reasons:
        assert any(reason.endswith(words.partition(": ")[2]) for words in told)


@given(h.integers(0, MAX_SECONDS * 1_000 + 999))
def test_every_time_that_a_statement_may_carry_has_words(ms: int):
    assert len(moment(ms)) == 20


@given(h.floats(-90, 90), h.floats(-180, 180))
def test_every_place_has_words_without_a_sign(latitude: float, longitude: float):
    said = place(latitude, longitude)
    assert "-" not in said
    assert ("N" in said) == (latitude >= 0)
    assert ("E" in said) == (longitude >= 0)


def test_places_known():
    assert place(0.0, 0.0) == "0.0000° N, 0.0000° E"
    assert place(-33.9, -70.55) == "33.9000° S, 70.5500° W"


def test_the_examples_are_whole():
    assert set(SENTENCES) == set(BODIES)
