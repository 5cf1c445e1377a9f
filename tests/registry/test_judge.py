"""Admission: for each kind, what joins the log, what goes on record, what is refused and why."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.errors import Reason
from ledger.protocol import statements as st
from ledger.protocol import x509
from ledger.protocol.keys import Ed25519Signer, P384Signer
from ledger.protocol.statements import Kind
from ledger.registry.judge import MAX_STATEMENT_SKEW_MS, contradiction, judge
from ledger.registry.records import Registry, licence_subject, party_subject
from ledger.values import ZERO_DIGEST, SubjectKind
from tests.registry.bench import (
    DAY_MS,
    HOUR_MS,
    LEDGER,
    VERIFIER,
    Bench,
    born,
    founded,
    installed,
    refuses,
)
from tests.world import LONG_AGO, LONG_AHEAD, MODEL, START_MS, seed, signer

CHIP = SubjectKind.CHIP
SMALL_ORDER = signer("x").public.to_cose_key().replace(signer("x").public.raw, bytes(32))
"""A COSE_Key whose point has order 4."""


@pytest.fixture
def bench() -> Bench:
    return founded()


def genesis(bench: Bench, **changes: Any) -> bytes:
    keys = LEDGER.public.to_cose_key(), VERIFIER.public.to_cose_key()
    return bench.world.genesis(*keys, **changes)


def founder(name: str, key: str | None = None) -> st.Founder:
    return st.Founder(id=name, name=name, key=signer(key or name).public.to_cose_key())


# -- genesis and order -----------------------------------------------------------------------


def test_a_ledger_begins_with_its_genesis():
    bench = Bench()
    verdict = bench.put(genesis(bench))
    assert verdict.subjects == (party_subject("authority"),)
    assert set(bench.registry.parties) == {"authority", "verifier", "officer", "ledger"}


def test_anything_before_the_genesis_is_refused():
    bench = Bench()
    message = st.decode(bench.world.licence())
    with refuses(Reason.LEDGER_EMPTY):
        judge(bench.registry, message, bench.now_ms)


def test_a_second_genesis_is_refused(bench: Bench):
    with refuses(Reason.GENESIS_EXISTS):
        bench.put(genesis(bench))


@pytest.mark.parametrize("officers", [["a", "a"], ["authority"], ["verifier"], ["ledger"]])
def test_founders_with_one_id_are_refused(officers: list[str]):
    bench = Bench()
    rows = [founder(name, f"key {number}") for number, name in enumerate(officers)]
    with refuses(Reason.FIELD_INVALID):
        bench.put(genesis(bench, officers=rows))


@pytest.mark.parametrize("key", ["authority", "verifier", "ledger"])
def test_founders_with_one_key_are_refused(key: str):
    bench = Bench()
    with refuses(Reason.KEY_IN_USE):
        bench.put(genesis(bench, officers=[founder("officer", key)]))


def test_a_genesis_key_off_its_curve_is_refused():
    bench = Bench()
    with refuses(Reason.KEY_INVALID):
        bench.put(bench.world.genesis(SMALL_ORDER, VERIFIER.public.to_cose_key()))


# -- signers ---------------------------------------------------------------------------------


def test_an_unknown_key_is_refused(bench: Bench):
    with refuses(Reason.KEY_UNKNOWN, "kid"):
        bench.put(bench.world.ship(born(bench), by=signer("stranger")))


def test_a_chips_key_signs_heartbeats_only(bench: Bench):
    chip = born(bench)
    with refuses(Reason.NOT_AUTHORISED):
        bench.put(bench.world.ship(chip, by=chip.signer))


def test_a_partys_key_signs_no_heartbeat(bench: Bench):
    chip = born(bench)
    chip.signer = bench.world.maker
    with refuses(Reason.NOT_AUTHORISED):
        bench.put(bench.beat(chip))


def test_a_chips_key_signs_for_its_own_chip_only(bench: Bench):
    chip, other = born(bench, 1), born(bench, 2)
    with refuses(Reason.COSE_KEY_MISMATCH, "ueid"):
        bench.put(bench.beat(chip, ueid=other.ueid))


def test_a_chips_key_is_nobodys_signer(bench: Bench):
    message = st.decode(bench.beat(born(bench)))
    with refuses(Reason.KEY_UNKNOWN):
        bench.registry.signer(message)


def index_root(bucket_bits: int = 8) -> bytes:
    """An index-root as the ledger signs it."""
    body = st.IndexRoot(iat=START_MS // 1_000, size=9, root=bytes(32), bucket_bits=bucket_bits)
    return st.sign(body, signer("ledger"))


def test_an_index_root_keeps_to_the_number_of_buckets(bench: Bench):
    assert bench.judge(index_root())[1].subjects == ()
    with refuses(Reason.FIELD_INVALID, "bucket_bits"):
        bench.judge(index_root(bucket_bits=9))


def statement(bench: Bench, kind: Kind, by: Ed25519Signer) -> bytes:
    """A statement of a kind that is in order but for its signer."""
    world = bench.world
    body = {
        Kind.PARTY: lambda: bench.party("new", ["custodian"]),
        Kind.LICENCE: lambda: world.licence(id="L-2"),
        Kind.POLICY: lambda: world.policy(version=2),
        Kind.EPOCH: bench.epoch_token,
        Kind.INDEX_ROOT: index_root,
        Kind.LANDMARK_DIRECTORY: bench.directory,
        Kind.RANGING_REPORT: lambda: reported(bench, by),
        Kind.BIRTH: lambda: world.birth(world.chip(9)),
        Kind.SHIP: lambda: world.ship(born(bench)),
        Kind.RECEIVE: lambda: world.receive(born(bench)),
        Kind.INSTALL: lambda: world.install(born(bench)),
        Kind.RETIRE: lambda: bench.retire(born(bench)),
        Kind.DECISION: lambda: bench.decision(born(bench), "hold"),
    }[kind]()
    return st.sign(st.decode(body).body, by)


def reported(bench: Bench, by: Ed25519Signer) -> bytes:
    """A report on one chip, whose rows ``by`` has signed."""
    bench.take(bench.directory())
    return bench.report(born(bench), by=by)


SIGNERS = ("authority", "officer", "verifier", "ledger", "maker", "holder", "carrier", "beacon")
ALLOWED = {
    Kind.PARTY: {"authority"},
    Kind.LICENCE: {"authority"},
    Kind.POLICY: {"authority"},
    Kind.EPOCH: {"ledger"},
    Kind.INDEX_ROOT: {"ledger"},
    Kind.LANDMARK_DIRECTORY: {"authority"},
    Kind.RANGING_REPORT: {"beacon"},
    Kind.BIRTH: {"maker"},
    Kind.SHIP: {"maker", "holder", "carrier"},
    Kind.RECEIVE: {"maker", "holder", "carrier"},
    Kind.INSTALL: {"maker", "holder"},
    Kind.RETIRE: {"maker", "holder", "carrier"},
    Kind.DECISION: {"verifier"},
}


@pytest.mark.parametrize("kind", list(ALLOWED))
@pytest.mark.parametrize("who", SIGNERS)
def test_the_role_decides_who_signs_what(bench: Bench, kind: Kind, who: str):
    token = statement(bench, kind, signer(who))
    if who in ALLOWED[kind]:
        bench.judge(token)
    else:
        with refuses(Reason.NOT_AUTHORISED):
            bench.judge(token)


@pytest.mark.parametrize(
    ("action", "who"), [("hold", "officer"), ("revoke", "officer"), ("release", "verifier")]
)
def test_each_action_takes_its_own_role(bench: Bench, action: str, who: str):
    chip = installed(bench)
    if action == "release":
        bench.take(bench.decision(chip, "hold"))
    bench.judge(bench.decision(chip, action))
    with refuses(Reason.NOT_AUTHORISED):
        bench.judge(bench.decision(chip, action, by=signer(who)))


@pytest.mark.parametrize("skew_s", [-1, 1])
def test_a_statement_dated_more_than_a_day_off_is_refused(bench: Bench, skew_s: int):
    limit = MAX_STATEMENT_SKEW_MS // 1000
    bench.judge(bench.world.licence(id="L-2", iat=bench.world.iat + skew_s * limit))
    with refuses(Reason.TIME_IMPLAUSIBLE, "iat"):
        bench.judge(bench.world.licence(id="L-2", iat=bench.world.iat + skew_s * (limit + 1)))


# -- party, licence, policy ------------------------------------------------------------------


def test_a_party_is_filed_under_itself(bench: Bench):
    assert bench.put(bench.party("new", ["custodian"])).subjects == (party_subject("new"),)


@pytest.mark.parametrize("name", ["holder", "ledger", "authority"])
def test_a_party_id_is_given_once(bench: Bench, name: str):
    key = signer("fresh").public.to_cose_key()
    with refuses(Reason.PARTY_REGISTERED, "id"):
        bench.put(bench.party(name, ["custodian"], key=key))


@pytest.mark.parametrize("owner", ["holder", "authority", "ledger", "chip key 1"])
def test_a_partys_key_has_no_other_owner(bench: Bench, owner: str):
    born(bench)
    with refuses(Reason.KEY_IN_USE, "key"):
        bench.put(bench.party("new", ["custodian"], key=signer(owner).public.to_cose_key()))


def test_a_parent_has_to_be_registered(bench: Bench):
    bench.take(bench.party("daughter", ["custodian"], parent="holder"))
    with refuses(Reason.PARTY_UNKNOWN, "parent"):
        bench.put(bench.party("new", ["custodian"], parent="nobody"))


def test_a_manufacturer_and_only_a_manufacturer_has_a_root(bench: Bench):
    root = bench.world.root_certificate
    bench.take(bench.party("fab", ["manufacturer"], root_certificate=root))
    with refuses(Reason.FIELD_INVALID, "root_certificate"):
        bench.put(bench.party("fab-2", ["manufacturer"]))
    with refuses(Reason.FIELD_INVALID, "root_certificate"):
        bench.put(bench.party("shop", ["custodian"], root_certificate=root))


def test_a_root_that_is_no_root_is_refused(bench: Bench):
    for certificate in (bench.world.ca_certificate, bytes(100)):
        with refuses(Reason.CERTIFICATE_INVALID):
            bench.put(bench.party("fab", ["manufacturer"], root_certificate=certificate))


def test_a_partys_key_has_to_be_a_key(bench: Bench):
    with refuses(Reason.KEY_INVALID):
        bench.put(bench.party("new", ["custodian"], key=SMALL_ORDER))


def test_a_licence_is_filed_under_itself_and_its_holder(bench: Bench):
    verdict = bench.put(bench.world.licence(id="L-2"))
    assert verdict.subjects == (licence_subject("L-2"), party_subject("holder"))


def test_a_licence_id_is_given_once(bench: Bench):
    with refuses(Reason.LICENCE_REGISTERED, "id"):
        bench.put(bench.world.licence())


def test_a_licence_holder_has_to_be_registered(bench: Bench):
    with refuses(Reason.PARTY_UNKNOWN, "holder"):
        bench.put(bench.world.licence(id="L-2", holder="nobody"))


@pytest.mark.parametrize("version", [1, 3])
def test_policy_versions_count_up_by_one(bench: Bench, version: int):
    with refuses(Reason.POLICY_VERSION, "version"):
        bench.put(bench.world.policy(version=version))
    assert bench.put(bench.world.policy(version=2)).subjects == (party_subject("authority"),)


# -- epochs and freshness --------------------------------------------------------------------


def test_epochs_count_up_and_are_filed_under_the_ledger(bench: Bench):
    bench.world.now_ms += HOUR_MS
    assert bench.put(bench.epoch_token()).subjects == (party_subject("ledger"),)
    assert [epoch.counter for epoch in bench.registry.epochs] == [0, 1]


@pytest.mark.parametrize("counter", [0, 2])
def test_an_epoch_out_of_turn_is_refused(bench: Bench, counter: int):
    bench.world.now_ms += HOUR_MS
    with refuses(Reason.FIELD_INVALID):
        bench.put(bench.epoch_token(counter=counter))


def test_an_epoch_with_an_id_of_before_is_refused(bench: Bench):
    bench.world.now_ms += HOUR_MS
    with refuses(Reason.FIELD_INVALID):
        bench.put(bench.epoch_token(id=bench.epoch))


@pytest.mark.parametrize("start_h", [1, -1])
def test_an_epoch_is_opened_while_it_runs(bench: Bench, start_h: int):
    bench.world.now_ms += 2 * HOUR_MS
    start = bench.now_ms + start_h * HOUR_MS
    limits = {"not_before_ms": start, "not_after_ms": start + HOUR_MS}
    with refuses(Reason.TIME_IMPLAUSIBLE):
        bench.put(bench.epoch_token(**limits))


def test_an_epoch_does_not_begin_before_the_last_one(bench: Bench):
    with refuses(Reason.TIME_IMPLAUSIBLE):
        bench.put(bench.epoch_token(not_before_ms=bench.now_ms - 1, not_after_ms=bench.now_ms + 1))


def test_an_epoch_is_no_longer_than_genesis_says(bench: Bench):
    bench.world.now_ms += HOUR_MS
    with refuses(Reason.FIELD_INVALID, "not_after_ms"):
        bench.put(bench.epoch_token(not_after_ms=bench.now_ms + HOUR_MS + 1))


def test_the_current_and_the_previous_epoch_are_fresh(bench: Bench):
    chip, first = born(bench), bench.epoch
    bench.take(bench.beat(chip))
    bench.tick()
    bench.take(bench.beat(chip, epoch=first), bench.beat(chip))
    bench.tick()
    with refuses(Reason.EPOCH_UNKNOWN, "eat_nonce"):
        bench.put(bench.beat(chip, epoch=first))


def test_nothing_is_fresh_when_the_current_epoch_is_over(bench: Bench):
    chip, first = born(bench), bench.epoch
    bench.tick()
    bench.world.now_ms += HOUR_MS - 1
    bench.judge(bench.beat(chip))
    bench.world.now_ms += 1
    for epoch in (bench.epoch, first):
        with refuses(Reason.EPOCH_EXPIRED, "eat_nonce"):
            bench.put(bench.beat(chip, epoch=epoch))


def test_a_previous_epoch_that_ended_long_ago_is_not_fresh(bench: Bench):
    chip, first = born(bench), bench.epoch
    bench.tick(hours=30 * 24)
    with refuses(Reason.EPOCH_EXPIRED, "eat_nonce"):
        bench.put(bench.beat(chip, epoch=first))


def test_no_epoch_no_heartbeat():
    bench = Bench()
    bench.take(genesis(bench), *bench.world.parties())
    with refuses(Reason.EPOCH_UNKNOWN):
        bench.put(bench.beat(born(bench), epoch=bytes(16)))


# -- birth -----------------------------------------------------------------------------------


def certificates(bench: Bench, ueid: bytes, **changes: Any) -> list[bytes]:
    """Device and model CA certificate, with one thing wrong."""
    world, device = bench.world, P384Signer.from_seed(seed("device 1"))
    ca, ca_certificate = world.ca, world.ca_certificate
    if "ca_not_after" in changes:
        ca_certificate = x509.issue_model_ca(
            world.root,
            world.root_certificate,
            ca.public,
            "old",
            LONG_AGO,
            changes["ca_not_after"],
            serial=3,
        )
    if "root" in changes:
        other = P384Signer.from_seed(seed("other root"))
        root = x509.build_root(other, changes["root"], LONG_AGO, LONG_AHEAD)
        ca_certificate = x509.issue_model_ca(
            other, root, ca.public, "other", LONG_AGO, LONG_AHEAD, serial=4
        )
    certificate = x509.issue_device(
        ca,
        ca_certificate,
        device.public,
        ueid,
        LONG_AGO,
        changes.get("not_after", LONG_AHEAD),
        serial=7,
    )
    return [certificate, ca_certificate]


PAST = datetime(2025, 12, 31, tzinfo=UTC)


def test_a_birth_is_filed_under_chip_and_maker(bench: Bench):
    chip = bench.world.chip(1)
    verdict = bench.put(bench.world.birth(chip))
    assert verdict.subjects == ((CHIP, chip.ueid), party_subject("maker"))


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("device.subject", {"ueid": b"\x01" + bytes(16)}),
        ("device.validity", {"not_after": PAST}),
        ("model.validity", {"ca_not_after": PAST}),
        ("model.issuer", {"root": "Another root"}),
        ("model.signature", {"root": "Maker root"}),
    ],
)
def test_certificates_that_do_not_lead_to_the_root_are_refused(
    bench: Bench, field: str, changes: dict[str, Any]
):
    chip = bench.world.chip(1)
    ueid = changes.pop("ueid", chip.ueid)
    chain = certificates(bench, ueid, **changes)
    with refuses(Reason.CERTIFICATE_INVALID, field):
        bench.put(bench.world.birth(chip, certificates=chain))


def test_the_right_certificates_made_here_are_taken(bench: Bench):
    chip = bench.world.chip(1)
    bench.take(bench.world.birth(chip, certificates=certificates(bench, chip.ueid)))


def test_a_chain_in_the_wrong_order_or_length_is_refused(bench: Bench):
    chip = bench.world.chip(1)
    chain = st.decode(bench.world.birth(chip)).body.certificates
    for wrong in (chain[::-1], [*chain, bench.world.root_certificate]):
        with refuses(Reason.CERTIFICATE_INVALID):
            bench.put(bench.world.birth(chip, certificates=wrong))


@pytest.mark.parametrize("what", ["ueid", "key", "signer"])
def test_a_binding_that_does_not_vouch_for_ueid_and_key_is_refused(bench: Bench, what: str):
    chip, key = bench.world.chip(1), bench.world.chip(1).signer.public.to_cose_key()
    device = P384Signer.from_seed(seed("device 2" if what == "signer" else "device 1"))
    ueid = bench.world.chip(2).ueid if what == "ueid" else chip.ueid
    bound = signer("thief").public.to_cose_key() if what == "key" else key
    with refuses(Reason.BINDING_INVALID, "binding"):
        bench.put(bench.world.birth(chip, binding=device.sign(st.binding_message(ueid, bound))))


def test_a_heartbeat_key_has_to_be_a_key(bench: Bench):
    with refuses(Reason.KEY_INVALID):
        bench.put(bench.world.birth(bench.world.chip(1), key=SMALL_ORDER))


def test_a_second_birth_of_a_ueid_goes_on_record_under_the_chip(bench: Bench):
    chip = born(bench)
    verdict = bench.conflict(bench.world.birth(chip, model="XA-200"), Reason.UEID_REGISTERED)
    assert verdict.subjects == ((CHIP, chip.ueid), party_subject("maker"))
    assert bench.record(chip).model == MODEL


def test_a_birth_with_another_chips_key_is_filed_under_that_chip(bench: Bench):
    chip, other = born(bench, 1), bench.world.chip(2)
    token = bench.world.birth(other, key=chip.signer.public.to_cose_key())
    verdict = bench.conflict(token, Reason.KEY_IN_USE)
    assert verdict.subjects == ((CHIP, chip.ueid), party_subject("maker"))
    assert bench.registry.find_chip(other.ueid) is None


def test_a_birth_with_a_partys_key_is_filed_under_that_party(bench: Bench):
    key = bench.world.holder.public.to_cose_key()
    verdict = bench.conflict(bench.world.birth(bench.world.chip(1), key=key), Reason.KEY_IN_USE)
    assert verdict.subjects == (party_subject("holder"), party_subject("maker"))


def test_a_birth_with_the_makers_own_key_is_filed_once(bench: Bench):
    key = bench.world.maker.public.to_cose_key()
    verdict = bench.conflict(bench.world.birth(bench.world.chip(1), key=key), Reason.KEY_IN_USE)
    assert verdict.subjects == (party_subject("maker"),)


# -- heartbeats ------------------------------------------------------------------------------


def test_a_heartbeat_is_filed_under_its_chip(bench: Bench):
    chip = born(bench)
    assert bench.put(bench.beat(chip)).subjects == ((CHIP, chip.ueid),)


def test_an_unknown_chip_is_refused(bench: Bench):
    chip = born(bench)
    message = st.decode(bench.beat(chip))
    del bench.registry.chips[chip.ueid]
    with refuses(Reason.CHIP_UNKNOWN, "ueid"):
        judge(bench.registry, message, bench.now_ms)


def test_a_heartbeat_sent_twice_is_a_duplicate(bench: Bench):
    chip = born(bench)
    token = bench.beat(chip)
    bench.take(token)
    with refuses(Reason.DUPLICATE):
        bench.put(token)


def test_a_counter_may_leave_a_gap(bench: Bench):
    chip = born(bench)
    bench.beat(chip)
    bench.take(bench.beat(chip), bench.beat(chip))
    assert bench.record(chip).counter == 3


@pytest.mark.parametrize("back", [0, 1, 2])
def test_a_counter_that_is_not_above_the_last_goes_on_record(bench: Bench, back: int):
    chip = born(bench)
    bench.take(*(bench.beat(chip) for _ in range(4)))
    chip.counter -= back + 1
    bench.conflict(bench.beat(chip, debug_status=1), Reason.COUNTER_ROLLBACK)


def test_a_heartbeat_that_names_another_predecessor_goes_on_record(bench: Bench):
    chip = born(bench)
    bench.take(bench.beat(chip))
    chip.previous = seed("another")
    bench.conflict(bench.beat(chip), Reason.HEARTBEAT_FORK)


def test_a_chip_may_come_with_a_counter_from_before_its_birth(bench: Bench):
    chip = born(bench)
    chip.counter, chip.previous = 6, seed("before")
    bench.take(bench.beat(chip))


def test_a_jump_to_the_end_of_the_counter_leaves_only_conflicts(bench: Bench):
    chip = born(bench)
    chip.counter, chip.previous = 2**53 - 2, seed("x")
    bench.take(bench.beat(chip))
    chip.counter = 5
    bench.conflict(bench.beat(chip), Reason.COUNTER_ROLLBACK)


# -- decisions -------------------------------------------------------------------------------


def test_a_decision_is_filed_under_chip_and_signer(bench: Bench):
    chip = installed(bench)
    verdict = bench.put(bench.decision(chip, "hold"))
    assert verdict.subjects == ((CHIP, chip.ueid), party_subject("verifier"))


@pytest.mark.parametrize(
    ("reason", "field", "changes"),
    [
        (Reason.TIME_IMPLAUSIBLE, "issued_ms", {"issued_ms": 1}),
        (Reason.TIME_IMPLAUSIBLE, "effective_ms", {"effective_ms": 1}),
        (Reason.COSE_KEY_MISMATCH, "key", {"key": seed("k")}),
        (Reason.DECISION_SEQUENCE, "sequence", {"sequence": 2}),
        (Reason.DECISION_SEQUENCE, "sequence", {"previous": seed("p")}),
        (Reason.CHIP_UNKNOWN, "ueid", {"ueid": b"\x01" + bytes(16)}),
    ],
)
def test_a_decision_that_does_not_fit_the_record_is_refused(
    bench: Bench, reason: Reason, field: str, changes: dict[str, Any]
):
    chip = installed(bench)
    moved = {k: bench.now_ms + v if k.endswith("_ms") else v for k, v in changes.items()}
    with refuses(reason, field):
        bench.put(bench.decision(chip, "hold", **moved))


def test_an_old_decision_may_come_late(bench: Bench):
    chip = installed(bench)
    bench.take(bench.decision(chip, "hold", issued_ms=1, effective_ms=1, iat=0))


def test_decisions_form_a_chain(bench: Bench):
    chip = installed(bench)
    assert bench.record(chip).decision_digest == ZERO_DIGEST
    hold = bench.decision(chip, "hold")
    bench.take(hold)
    assert bench.record(chip).decision_digest == st.decode(hold).digest
    with refuses(Reason.DECISION_SEQUENCE):
        bench.put(hold)
    bench.take(bench.decision(chip, "release"))


# -- the cap on conflicts --------------------------------------------------------------------


def test_conflicts_are_recorded_up_to_the_cap_of_an_epoch(bench: Bench):
    chip, honest = installed(bench, 1), installed(bench, 2)
    limit = bench.registry.conflicts_per_epoch
    bench.take(bench.beat(chip), bench.beat(honest))
    chip.counter = 0
    for _ in range(limit):
        bench.conflict(bench.beat(chip, counter=1, previous=ZERO_DIGEST), Reason.COUNTER_ROLLBACK)
    again = bench.beat(chip, counter=1, previous=ZERO_DIGEST)
    with refuses(Reason.CONFLICTS_CAPPED):
        bench.put(again)
    assert bench.record(chip).conflicts == limit
    honest.counter = 0
    honest.previous = ZERO_DIGEST
    bench.conflict(bench.beat(honest, debug_status=0), Reason.COUNTER_ROLLBACK)  # a tally each
    bench.tick()
    bench.conflict(bench.beat(chip, counter=1, previous=ZERO_DIGEST), Reason.COUNTER_ROLLBACK)
    assert bench.record(chip).conflicts == 1
    assert bench.record(chip).forks == limit + 1


def test_a_partys_conflicts_are_capped_and_its_accepted_statements_are_not(bench: Bench):
    chip = installed(bench)
    bench.take(bench.world.policy(version=2, conflicts_per_epoch=2))
    rival = signer("rival")
    for number in range(2):
        token = bench.world.ship(chip, by=rival, reference=f"no {number}")
        bench.conflict(token, Reason.NOT_CUSTODIAN)
    with refuses(Reason.CONFLICTS_CAPPED):
        bench.put(bench.world.ship(chip, by=rival, reference="no 3"))
    bench.take(bench.world.ship(chip, by=bench.world.holder, to="rival", licence=None))
    bench.take(bench.world.receive(chip, by=rival, sender="holder"))


def test_before_the_first_policy_there_is_a_cap_too():
    assert Registry().conflicts_per_epoch == 8


def test_a_conflict_on_record_is_one_whatever_its_authors_tally_says_now(bench: Bench):
    chip = installed(bench)
    message = st.decode(bench.world.ship(chip, by=signer("rival")))
    party = bench.registry.find_party("rival")
    assert party is not None
    party.conflicts, party.conflict_epoch = 8, 0
    with refuses(Reason.CONFLICTS_CAPPED):
        judge(bench.registry, message, bench.now_ms)
    verdict = contradiction(bench.registry, message, bench.now_ms)
    assert verdict.conflict is Reason.NOT_CUSTODIAN


def test_a_day_is_a_day():
    assert MAX_STATEMENT_SKEW_MS == DAY_MS
