"""Statements: every kind there and back, every member at its limits, one encoding, fuzz."""

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as h
from pydantic import ValidationError

from ledger.errors import Reason, Refused
from ledger.protocol import cbor, cose
from ledger.protocol import statements as st
from ledger.protocol.fields import MAX_SECONDS
from ledger.protocol.heartbeat import MAX_HEARTBEAT_BYTES
from ledger.protocol.keys import P384Signer
from ledger.protocol.statements import MAX_STATEMENT_BYTES, Kind
from tests.protocol.examples import BODIES, DIGEST, IAT, KINDS, UEID, body, founder, token
from tests.protocol.refusals import mutations, only_refusals, refused
from tests.world import MODEL, seed, signer

LANDMARK = BODIES[Kind.LANDMARK_DIRECTORY]["landmarks"][0]
ROW = BODIES[Kind.RANGING_REPORT]["rows"][0]
OTHER_UEID = b"\x02" + bytes(6)
UINT, OVER = 2**53 - 1, 2**53
NOT_A_TEXT = [1, b"x", None, "", ["x"]]
NOT_PRINTABLE = ["a\nb", "a\x1b[2J", "\x00", "a\u202eb", "\u2028", "\x85", "a\x7f"]
BAD_TEXT = [*NOT_A_TEXT, "x" * 201, *NOT_PRINTABLE]
BAD_TIME = [-1, MAX_SECONDS + 1, 1.5, True, "1", None]
BAD_COUNTRY = ["de", "DEU", "D", "", "D1", "DE\n", 1, None]
BAD_PARTY = ["", "-a", "A", "a b", "a" * 64, "ä", "a\n", 1, None]
BAD_LICENCE = ["", "-L", "L 1", "L" * 64, "L\n", 1]
BAD_MODEL = ["", "X A", "X" * 33, "Ü", "X\n", b"X", 1]
BAD_MS = [-1, MAX_SECONDS * 1_000 + 1_000, 1.5, True, None]
BAD_DIGEST = [bytes(31), bytes(33), b"", "0" * 32, 1, None]
BAD_CHIPS = [[], [UEID, UEID], [b"\x01short!"], [b"\x09" + bytes(16)], UEID, ["x" * 17], None]
BAD_KEY = [bytes(31), bytes(161), "x" * 40, 1, None]
MANY = [b"\x01" + n.to_bytes(16, "big") for n in range(257)]

# Member, values that are taken, values that are not. "-": the member may be absent.
COMMON: dict[str, tuple[list[Any], list[Any]]] = {"iat": ([0, MAX_SECONDS], BAD_TIME)}
CASES: dict[Kind, dict[str, tuple[list[Any], list[Any]]]] = {
    Kind.GENESIS: {
        "origin": (["a", "x" * 200, "log.example/1"], ["", "a b", "a+b", "x" * 201, "ä", 1, None]),
        "clock": (["real"], ["Real", "", 1, None]),
        "epoch_s": ([60, 86_400], [59, 86_401, 60.0, True, None]),
        "bucket_bits": ([0, 24], [-1, 25, True, None]),
        "authority": ([founder("other")], [{}, [], None, founder("x") | {"role": "y"}]),
        "ledger": ([bytes(32), bytes(160)], BAD_KEY),
        "verifier": ([founder("other")], [{"id": "v"}, "verifier", None]),
        "officers": ([[founder(f"o{n}") for n in range(32)]], [[], [1], [founder("o")] * 33, None]),
    },
    Kind.PARTY: {
        "id": (["a", "0", "a.b-c", "a" * 63], BAD_PARTY),
        "name": (["x" * 200, "Ö & 北京"], BAD_TEXT),
        "roles": (
            [["officer"], ["carrier", "landmark"], ["custodian"]],
            [[], ["authority"], ["ledger"], ["verifier"], ["officer"] * 2, "officer", None],
        ),
        "country": (["XK"], BAD_COUNTRY),
        "key": ([bytes(32)], BAD_KEY),
        "parent": (["-", "a"], BAD_PARTY),
        "root_certificate": (["-", bytes(64), bytes(4_096)], [bytes(63), bytes(4_097), "x", None]),
    },
    Kind.LICENCE: {
        "id": (["A", "EU/2026-1_a.b", "L" * 63], [*BAD_LICENCE, None]),
        "holder": (["a"], BAD_PARTY),
        "countries": (
            [["DE"], [f"{a}{b}" for a in "ABCDEFGHIJ" for b in "ABCDEFGHIJKLMNOPQRSTUVWXY"]],
            [[], ["DE", "DE"], ["de"], "DE", [f"A{chr(65 + n % 26)}" for n in range(251)], None],
        ),
        "models": ([["A"], ["!", "~" * 32]], [[], [MODEL] * 2, *[[m] for m in BAD_MODEL], None]),
        "not_before": ([0, IAT + 86_399], [*BAD_TIME, IAT + 86_400]),
        "not_after": ([IAT + 1, MAX_SECONDS], [*BAD_TIME, IAT, IAT - 1]),
        "quota_per_year": (["-", 1, 100_000_000], [0, 100_000_001, 1.0, True, None]),
        "assurance": (["cleared", "inside"], ["-", "proven", "", 1, None]),
    },
    Kind.BIRTH: {
        "ueid": ([OTHER_UEID, b"\x03" + bytes(14)], [b"", bytes(17), b"\x01" + bytes(15), "x", 1]),
        "oemid": ([0, UINT], [-1, OVER, b"oem", True, None]),
        "model": (["!", "~" * 32], [*BAD_MODEL, None]),
        "key": ([bytes(32), bytes(160)], BAD_KEY),
        "certificates": ([[bytes(64)] * 2, [bytes(4_096)] * 4], [[bytes(64)], [bytes(64)] * 5, []]),
        "binding": ([bytes(96)], [bytes(95), bytes(97), "x" * 96, None]),
        "processing_performance": (["-", 0, UINT], [-1, OVER, 1.0, None]),
    },
    Kind.SHIP: {
        "chips": ([[OTHER_UEID], MANY[:256]], [*BAD_CHIPS, MANY]),
        "to": (["a"], BAD_PARTY),
        "destination": (["XK"], BAD_COUNTRY),
        "licence": (["-", "A"], [*BAD_LICENCE, None]),
        "reference": (["-", "x" * 200], BAD_TEXT),
    },
    Kind.RECEIVE: {
        "chips": ([MANY[:256]], [*BAD_CHIPS, MANY]),
        "sender": (["a"], BAD_PARTY),
        "country": (["XK"], BAD_COUNTRY),
        "reference": (["-", "x"], BAD_TEXT),
    },
    Kind.INSTALL: {
        "chips": ([MANY[:256]], [*BAD_CHIPS, MANY]),
        "site": (["x"], BAD_TEXT),
        "country": (["XK"], BAD_COUNTRY),
        "latitude": ([-90.0, 90.0], [-90.5, 91.0, 50, float("nan"), float("inf"), True, "1", None]),
        "longitude": ([-180.0, 180.0], [-180.5, 181.0, 8, float("nan"), "1", None]),
        "licence": (["A"], ["-", *BAD_LICENCE, None]),
    },
    Kind.RETIRE: {"chips": ([MANY[:256]], [*BAD_CHIPS, MANY]), "cause": (["x"], BAD_TEXT)},
    Kind.EPOCH: {
        "id": ([bytes(16)], [bytes(15), bytes(17), "x" * 16, None]),
        "counter": ([UINT], [-1, OVER, True, None]),
        "not_before_ms": ([0], [*BAD_MS, MAX_SECONDS * 1_000]),
        "not_after_ms": ([MAX_SECONDS * 1_000 + 999], [*BAD_MS, 0]),
    },
    Kind.INDEX_ROOT: {
        "size": ([0, UINT], [-1, OVER, True, None]),
        "root": ([bytes(32)], BAD_DIGEST),
        "bucket_bits": ([0, 24], [-1, 25, True, 8.0, None]),
    },
    Kind.DECISION: {
        "action": (["release", "revoke"], ["Hold", "", 1, None]),
        "ueid": ([OTHER_UEID], [b"\x01" + bytes(15), "x", None]),
        "key": ([bytes(32)], BAD_DIGEST),
        "sequence": ([2**31], [0, -1, 2**31 + 1, True, None]),
        "previous": ([DIGEST], BAD_DIGEST),
        "rules": ([[], ["silence", "boot"]], [["weather"], ["boot", "boot"], "boot", None]),
        "reasons": ([["x" * 500], ["x"] * 16], [[], ["x" * 501], ["x"] * 17, [""], ["a\nb"], "x"]),
        "evidence": (
            [[], [n.to_bytes(32, "big") for n in range(32)]],
            [[DIGEST, DIGEST], [n.to_bytes(32, "big") for n in range(33)], [b"x"], None],
        ),
        "policy": ([bytes(32)], BAD_DIGEST),
        "issued_ms": ([0, MAX_SECONDS * 1_000], BAD_MS),
        "effective_ms": ([0], [*BAD_MS, MAX_SECONDS * 1_000]),
        "expires_ms": (["-", MAX_SECONDS * 1_000], [*BAD_MS, 0]),
        "appeal": (["x" * 200], BAD_TEXT),
    },
    Kind.LANDMARK_DIRECTORY: {
        "version": ([1, 2**31], [0, 2**31 + 1, True, "1", None]),
        "landmarks": (
            [
                [LANDMARK | {"id": f"l{number}"} for number in range(256)],
                [LANDMARK | {"addresses": [], "latitude": -90.0, "longitude": 180.0}],
                [LANDMARK | {"addresses": ["h:1"] * 4, "suspended": "x" * 200}],
            ],
            [
                [],
                [LANDMARK, LANDMARK],
                [LANDMARK | {"id": f"l{number}"} for number in range(257)],
                [LANDMARK | {"latitude": 90.5}],
                [LANDMARK | {"latitude": float("nan")}],
                [LANDMARK | {"longitude": float("inf")}],
                [LANDMARK | {"operator": ""}],
                [LANDMARK | {"suspended": ""}],
                [LANDMARK | {"addresses": ["h:1"] * 5}],
                [LANDMARK | {"addresses": ["h"]}],
                [LANDMARK | {"addresses": ["h h:1"]}],
                [LANDMARK | {"city": "x"}],
                [{"id": "beacon"}],
                "beacon",
                None,
            ],
        ),
    },
    Kind.RANGING_REPORT: {
        "landmark": (["a"], BAD_PARTY),
        "epoch": ([bytes(16)], [bytes(15), bytes(17), "x" * 16, None]),
        "directory": ([1, 2**31], [0, 2**31 + 1, True, "1", None]),
        "rows": (
            [
                [ROW | {"ueid": ueid} for ueid in MANY[:256]],
                [ROW | {"round_trip_us": 1, "probes": 1}],
                [ROW | {"round_trip_us": 1_000_000, "probes": 64}],
            ],
            [
                [],
                [ROW, ROW],
                [ROW | {"ueid": ueid} for ueid in (MANY[1], MANY[0])],
                [ROW | {"ueid": ueid} for ueid in MANY],
                [ROW | {"ueid": b"\x01short!"}],
                [ROW | {"round_trip_us": 0}],
                [ROW | {"round_trip_us": -8_125}],
                [ROW | {"round_trip_us": 1_000_001}],
                [ROW | {"round_trip_us": 8.125}],
                [ROW | {"round_trip_us": float("nan")}],
                [ROW | {"round_trip_us": True}],
                [ROW | {"probes": 0}],
                [ROW | {"probes": 65}],
                [ROW | {"transcript": bytes(31)}],
                [ROW | {"distance_km": 1}],
                [{"ueid": UEID}],
                ROW,
                None,
            ],
        ),
        "root": ([bytes(32)], BAD_DIGEST),
        "rows_signature": ([bytes(64), bytes(96)], [bytes(63), bytes(97), "x" * 64, None]),
    },
    Kind.POLICY: {
        "version": ([1, 2**31], [0, 2**31 + 1, True, "1", None]),
        "title": (["x"], BAD_TEXT),
        "max_clock_skew_s": ([1, 604_800], [0, 604_801, 1.0, "-"]),
        "allowed_debug": ([[], [0, 1, 2, 3, 4]], [[5], [-1], [2, 2], [True], "-"]),
        "reference_values": (
            [{}, {"M": [{"version": "x" * 200, "svn": UINT, "digest": DIGEST}] * 64}],
            [{"M": []}, {"M M": []}, {1: []}, {"M": [{"version": "1", "svn": 1}]}, [], "-"],
        ),
        "minimum_svn": ([{}, {"M": 0}], [{"M": -1}, {"M": OVER}, {"M M": 1}, "-"]),
        "hold_after": ([{}, {"boot": 1_000}], [{"boot": 0}, {"boot": 1_001}, {"weather": 1}, "-"]),
        "clear_after": ([1, 1_000], [0, 1_001, "-"]),
        "max_accuracy_m": ([1, 10_000_000], [0, 10_000_001, "-"]),
        "max_fix_age_s": ([1, 31_536_000], [0, 31_536_001, "-"]),
        "unclear_after": ([0, 10_000], [-1, 10_001, "-"]),
        "travel_speed_kmh": ([0, 100_000], [-1, 100_001, "-"]),
        "silence_after_h": ([0, 8_760], [-1, 8_761, "-"]),
        "silence_hold_after_h": ([0, 8_760], [-1, 8_761, "-"]),
        "transit_limit_h": ([0, 8_760], [-1, 8_761, "-"]),
        "revoke_after_forks": ([0, 1_000], [-1, 1_001, "-"]),
        "revoke_after_held_d": ([0, 3_650], [-1, 3_651, "-"]),
        "conflicts_per_epoch": ([1, 64], [0, 65, "-"]),
        "lease_s": ([60, 7_776_000], [59, 7_776_001, "-"]),
    },
}


def changed(kind: Kind, member: str, value: Any) -> bytes:
    fields = {name: item for name, item in BODIES[kind].items() if name != member}
    return cbor.encode(fields if value == "-" else fields | {member: value})


def expand(side: int) -> list[Any]:
    return [
        pytest.param(kind, member, value, id=f"{kind.value}-{member}-{number}")
        for kind, members in CASES.items()
        for member, sides in (COMMON | members).items()
        for number, value in enumerate(sides[side])
    ]


def test_the_cases_name_every_member_of_every_kind():
    for kind, model in st.STATEMENT_MODELS.items():
        assert set(COMMON | CASES[kind]) == set(model.model_fields), kind
        assert set(BODIES[kind]) == set(model.model_fields), kind


@pytest.mark.parametrize(("kind", "member", "value"), expand(0))
def test_a_member_within_its_limits_is_taken(kind: Kind, member: str, value: Any):
    payload = changed(kind, member, value)
    taken = st.decode_body(kind, payload)
    assert st.encode_body(taken) == payload


@pytest.mark.parametrize(("kind", "member", "value"), expand(1))
def test_a_member_beyond_its_limits_is_refused(kind: Kind, member: str, value: Any):
    with pytest.raises(Refused) as caught:
        st.decode_body(kind, changed(kind, member, value))
    assert caught.value.reason in (Reason.FIELD_INVALID, Reason.CLAIM_INVALID)
    assert caught.value.field is not None
    assert caught.value.field.split(".")[0] in (member, "ueid", "not_after", *_SPAN_ENDS)


_SPAN_ENDS = ("not_after_ms", "expires_ms")


@pytest.mark.parametrize("kind", list(BODIES))
def test_a_missing_member_is_refused_unless_it_is_optional(kind: Kind):
    for member, sides in (COMMON | CASES[kind]).items():
        if "-" in sides[0]:
            continue
        with refused(Reason.FIELD_INVALID, member):
            st.decode_body(kind, changed(kind, member, "-"))


@pytest.mark.parametrize("kind", list(BODIES))
def test_an_unknown_member_is_refused(kind: Kind):
    with refused(Reason.FIELD_INVALID, "extra"):
        st.decode_body(kind, cbor.encode(BODIES[kind] | {"extra": 1}))


@pytest.mark.parametrize("kind", list(BODIES))
@pytest.mark.parametrize("value", [[], 1, "x", None, {1: 2}, {}])
def test_a_body_that_is_no_map_of_texts_is_refused(kind: Kind, value: Any):
    with refused(Reason.FIELD_INVALID):
        st.decode_body(kind, cbor.encode(value))


def test_null_for_an_absent_member_is_refused_by_name():
    with refused(Reason.FIELD_INVALID, "licence"):
        st.decode_body(Kind.SHIP, changed(Kind.SHIP, "licence", None))


def test_a_default_that_is_left_out_on_the_wire_is_refused_by_name():
    with refused(Reason.FIELD_INVALID, "unclear_after"):
        st.decode_body(Kind.POLICY, changed(Kind.POLICY, "unclear_after", "-"))


def test_whole_degrees_have_to_be_floating_point_numbers():
    with refused(Reason.FIELD_INVALID, "latitude"):
        st.decode_body(Kind.INSTALL, changed(Kind.INSTALL, "latitude", 50))


# -- tokens ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_goes_there_and_back(kind: Kind):
    made = token(kind)
    message = st.decode(made, expect=kind)
    assert message == st.decode(made)
    assert (message.kind, message.token, message.body) == (kind, made, body(kind))
    assert message.digest == sha256(made).digest()
    assert message.content_digest == sha256(message.tbs).digest()
    assert st.encode_body(message.body) == message.sign1.payload
    assert st.kind_of(message.body) is kind


def test_a_message_is_verified_with_the_signers_key_only():
    message = st.decode(token(Kind.LICENCE))
    message.verify(signer("authority").public)
    with refused(Reason.COSE_KEY_MISMATCH):
        message.verify(signer("officer").public)
    forged = message.token[:-1] + bytes([message.token[-1] ^ 1])
    with refused(Reason.SIGNATURE_INVALID):
        st.decode(forged).verify(signer("authority").public)


def test_two_signatures_over_one_body_have_one_content_digest():
    key = signer("authority")
    first = st.decode(token(Kind.RETIRE))
    raw = cose.sign1(first.sign1.payload, key, typ=st.typ_of(Kind.RETIRE))
    assert st.decode(raw).content_digest == first.content_digest
    other = P384Signer.from_seed(seed("p384"))
    again = st.decode(st.sign(first.body, other))
    assert again.content_digest != first.content_digest  # another key id in the header
    again.verify(other.public)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_of_one_kind_is_refused_where_another_is_expected(kind: Kind):
    made = token(kind)
    for other in KINDS:
        if other is not kind:
            with pytest.raises(Refused) as caught:
                st.decode(made, expect=other)
            assert caught.value.reason in (Reason.COSE_TYPE, Reason.TOO_LARGE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_under_the_name_of_another_kind_is_refused(kind: Kind):
    payload = st.decode(token(kind)).sign1.payload
    for other in KINDS:
        if other is not kind:
            with pytest.raises(Refused):
                st.decode(cose.sign1(payload, signer("authority"), typ=st.typ_of(other)))


@pytest.mark.parametrize(
    "typ",
    [
        None,
        "application/cose",
        "application/chip-passport.conflict+cbor",
        "application/chip-passport.birthday+cbor",
        "application/chip-passport.+cbor",
        "application/chip-passport.birth",
        "Application/chip-passport.birth+cbor",
        "application/chip-passport.birth+cbor; v=1",
    ],
)
def test_a_typ_that_names_no_kind_is_refused(typ: str | None):
    made = cose.sign1(cbor.encode(BODIES[Kind.BIRTH]), signer("maker"), typ=typ)
    with refused(Reason.KIND_UNKNOWN, "typ"):
        st.decode(made)


def test_a_key_id_of_another_length_is_refused():
    payload = cbor.encode(BODIES[Kind.RETIRE])
    made = cose.sign1(payload, signer("maker"), typ=st.typ_of(Kind.RETIRE), kid=bytes(15))
    with refused(Reason.COSE_HEADER, "kid"):
        st.decode(made)


def test_size_limits_are_those_of_the_kind():
    long = cose.sign1(bytes(MAX_STATEMENT_BYTES), signer("maker"), typ=st.typ_of(Kind.RETIRE))
    with refused(Reason.TOO_LARGE):
        st.decode(long)
    beat = cose.sign1(bytes(MAX_HEARTBEAT_BYTES), signer("maker"), typ=st.typ_of(Kind.HEARTBEAT))
    for expect in (None, Kind.HEARTBEAT):
        with refused(Reason.TOO_LARGE):
            st.decode(beat, expect=expect)


def test_the_largest_custody_statement_fits():
    made = st.sign(
        st.Retire(
            iat=0, chips=[b"\x01" + n.to_bytes(32, "big") for n in range(256)], cause="x" * 200
        ),
        signer("holder"),
    )
    assert len(st.decode(made).body.chips) == 256


def test_binding_message_binds_ueid_and_key():
    one = st.binding_message(UEID, b"key")
    assert cbor.decode(one, max_size=200) == ["chip-passport binding v1", UEID, b"key"]
    assert one != st.binding_message(OTHER_UEID, b"key")


def test_bodies_are_frozen():
    with pytest.raises(ValidationError):
        body(Kind.SHIP).to = "x"
    with pytest.raises(AttributeError):
        body(Kind.HEARTBEAT).counter = 7


# -- fuzz ------------------------------------------------------------------------------------

CBOR = h.recursive(
    h.none()
    | h.booleans()
    | h.integers(-(2**64), 2**64 - 1)
    | h.floats()
    | h.text(max_size=20)
    | h.binary(max_size=40),
    lambda inner: (
        h.lists(inner, max_size=3) | h.dictionaries(h.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(h.binary(max_size=400))
def test_random_bytes_are_refused(data: bytes):
    assert only_refusals(st.decode, data) is None


@settings(max_examples=120)
@given(h.data())
def test_changed_tokens_give_a_statement_in_its_one_form_or_a_refusal(data: h.DataObject):
    kind = data.draw(h.sampled_from(KINDS))
    message = only_refusals(st.decode, data.draw(mutations(token(kind))))
    if message is not None and message.kind is not Kind.HEARTBEAT:
        assert st.encode_body(message.body) == message.sign1.payload


@settings(max_examples=120)
@given(h.data())
def test_changed_members_give_a_statement_in_its_one_form_or_a_refusal(data: h.DataObject):
    kind = data.draw(h.sampled_from(list(BODIES)))
    names = sorted(BODIES[kind])
    changes = data.draw(h.dictionaries(h.sampled_from(names), CBOR, min_size=1, max_size=2))
    payload = cbor.encode(BODIES[kind] | changes)
    taken = only_refusals(lambda raw: st.decode_body(kind, raw), payload)
    if taken is not None:
        assert st.encode_body(taken) == payload


@settings(max_examples=100)
@given(h.data())
def test_changed_body_bytes_are_taken_in_one_form_only(data: h.DataObject):
    kind = data.draw(h.sampled_from(list(BODIES)))
    payload = data.draw(mutations(cbor.encode(BODIES[kind])))
    taken = only_refusals(lambda raw: st.decode_body(kind, raw), payload)
    if taken is not None:
        assert st.encode_body(taken) == payload
