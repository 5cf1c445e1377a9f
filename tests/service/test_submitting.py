"""Taking statements: repetitions, contradictions, batches, leases and directives."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1

from ledger.errors import Reason, Refused
from ledger.protocol import cbor
from ledger.protocol import statements as st
from ledger.protocol.keys import P384Signer
from ledger.protocol.statements import Kind
from ledger.service.views import Receipt
from ledger.store.engine import reading
from ledger.store.log_rows import entry_table
from tests.service.harness import HOUR_MS, Stage, found, founded, open_node
from tests.world import SINGAPORE, Chip, World, seed, signer

P384_ORDER = int(
    "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973",
    16,
)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = founded(tmp_path, chips=2)
    yield stage
    stage.node.close()


def forget(chip: Chip) -> Chip:
    """A clone: the chip's key and state, and from then on a life of its own."""
    return replace(chip, uptime=chip.uptime + 1)


def imitate(chip: Chip) -> Chip:
    """Somebody with the chip's key who does not know how far it has come."""
    return replace(chip, counter=1, previous=seed("made up"))


def stored(stage: Stage, index: int) -> Any:
    with reading(stage.node._engine) as connection:
        query = entry_table.select().where(entry_table.c.idx == index)
        return connection.execute(query).mappings().one()


# -- heartbeats -----------------------------------------------------------------------------------


def test_heartbeat_gets_its_place_a_lease_and_no_directive(stage: Stage) -> None:
    (chip, _) = stage.chips
    size = stage.node.status().size
    (receipt,) = stage.take(stage.token(chip))
    assert (receipt.index, receipt.kind, receipt.directive) == (size, Kind.HEARTBEAT, None)
    assert receipt.leaf_hash == stored(stage, size)["leaf_hash"]
    assert receipt.lease is not None
    assert receipt.lease.id == receipt.leaf_hash[:16]
    assert receipt.lease.until_ms == receipt.received_ms + 86_400_000
    assert stage.state(chip) == "active"


def test_replayed_heartbeat_is_refused_and_not_recorded(stage: Stage) -> None:
    (chip, _) = stage.chips
    first, second = stage.token(chip), stage.token(chip)
    stage.take(first, second)
    for token in (second, first, second):
        assert stage.refuse(token).reason is Reason.DUPLICATE
    assert stage.node.passport(chip.ueid)["conflicts"] == 0


@pytest.mark.parametrize(
    "order",
    [(0, 0), (0, 1, 0), (0, 1, 1), (0, 1, 2, 0, 1, 2)],
    ids=lambda order: "".join(map(str, order)),
)
def test_heartbeat_replayed_within_one_batch_is_no_evidence_against_its_chip(
    stage: Stage, order: tuple[int, ...]
) -> None:
    (chip, _) = stage.chips
    tokens = [stage.token(chip) for _ in range(3)]
    results = stage.node.submit([tokens[number] for number in order])
    seen: set[int] = set()
    for number, result in zip(order, results, strict=True):
        if number in seen:
            assert isinstance(result, Refused)
            assert result.reason is Reason.DUPLICATE
        else:
            assert isinstance(result, Receipt)
            assert result.conflict is None
        seen.add(number)
    stage.node.follow()
    assert stage.node.passport(chip.ueid)["flags"] == []


def test_replay_after_a_restart_is_refused_all_the_same(stage: Stage, tmp_path: Path) -> None:
    (chip, _) = stage.chips
    tokens = [stage.token(chip) for _ in range(3)]
    stage.take(*tokens)
    stage.node.close()
    again = Stage(open_node(tmp_path), stage.world)
    for token in tokens:
        assert again.refuse(token).reason is Reason.DUPLICATE
    again.node.close()


def test_older_counter_is_on_record_as_a_rollback(stage: Stage) -> None:
    (chip, _) = stage.chips
    clone = forget(chip)
    stage.take(stage.token(chip), stage.token(chip))
    receipt = stage.conflict(stage.token(clone))
    assert (receipt.conflict, receipt.kind) == (Reason.COUNTER_ROLLBACK, Kind.HEARTBEAT)
    assert receipt.lease is None
    assert stored(stage, receipt.index)["kind"] == "conflict"
    passport = stage.node.passport(chip.ueid)
    assert (passport["conflicts"], passport["last_heartbeat"]["counter"]) == (1, 2)


def test_other_predecessor_is_on_record_as_a_fork(stage: Stage) -> None:
    (chip, _) = stage.chips
    stage.take(stage.token(chip))
    clone = replace(chip, previous=seed("another heartbeat"))
    receipt = stage.conflict(stage.token(clone))
    assert receipt.conflict is Reason.HEARTBEAT_FORK
    stage.take(stage.token(chip))


def test_recorded_conflict_is_not_recorded_twice(stage: Stage) -> None:
    (chip, _) = stage.chips
    clone = forget(chip)
    stage.take(stage.token(chip), stage.token(chip))
    token = stage.token(clone)
    stage.conflict(token)
    assert stage.refuse(token).reason is Reason.DUPLICATE
    stage.take(stage.token(chip))
    assert stage.refuse(token).reason is Reason.DUPLICATE


def test_conflicts_of_a_chip_are_capped_per_epoch(stage: Stage) -> None:
    (chip, other) = stage.chips
    stage.take(*(stage.token(chip) for _ in range(30)))
    stage.take(*(stage.token(other) for _ in range(3)))
    clone = imitate(chip)
    for _ in range(8):
        stage.conflict(stage.token(clone))
    assert stage.refuse(stage.token(clone)).reason is Reason.CONFLICTS_CAPPED
    stage.conflict(stage.token(imitate(other)))
    stage.take(stage.token(chip))
    stage.hours()
    stage.conflict(stage.token(clone))


def test_cap_is_the_policys(tmp_path: Path) -> None:
    node = open_node(tmp_path)
    stage = found(node, chips=1, conflicts_per_epoch=2)
    stage.take(*(stage.token(stage.chips[0]) for _ in range(5)))
    clone = imitate(stage.chips[0])
    results = node.submit([stage.token(clone) for _ in range(4)])
    assert [isinstance(result, Receipt) for result in results] == [True, True, False, False]
    node.close()


def test_heartbeat_of_an_unborn_chip_is_refused(stage: Stage) -> None:
    chip = stage.world.chip(9)
    assert stage.refuse(stage.token(chip)).reason is Reason.KEY_UNKNOWN
    results = stage.node.submit([stage.world.birth(chip), stage.token(chip)])
    assert isinstance(results[0], Receipt)
    assert isinstance(results[1], Refused), "its key has to be registered before the batch"


def test_heartbeat_by_another_chips_key_is_refused(stage: Stage) -> None:
    (chip, other) = stage.chips
    token = stage.token(replace(chip, signer=other.signer))
    assert stage.refuse(token).reason is Reason.COSE_KEY_MISMATCH


def test_heartbeat_with_a_broken_signature_is_refused(stage: Stage) -> None:
    token = stage.token(stage.chips[0])
    assert stage.refuse(token[:-1] + bytes([token[-1] ^ 1])).reason is Reason.SIGNATURE_INVALID


# -- ES384: a signature that others can change --------------------------------------------------


@pytest.fixture
def es384(stage: Stage) -> Chip:
    """A chip whose heartbeat key is on P-384."""
    chip = stage.world.chip(77)
    key: Any = P384Signer.from_seed(seed("es384 chip"))
    chip = replace(chip, signer=key)
    stage.take(stage.world.birth(chip))
    return chip


def malleated(token: bytes) -> bytes:
    """The same content under the other valid signature (r, n - s)."""
    assert SECP384R1.key_size == 384
    s = int.from_bytes(token[-48:])
    return token[:-48] + (P384_ORDER - s).to_bytes(48)


def test_malleated_heartbeat_is_a_duplicate_and_no_conflict(stage: Stage, es384: Chip) -> None:
    token = stage.token(es384)
    twin = malleated(token)
    message = st.decode(twin)
    message.verify(es384.signer.public)
    assert message.digest != st.decode(token).digest
    stage.take(token)
    assert stage.refuse(twin).reason is Reason.DUPLICATE
    stage.take(stage.token(es384))
    assert stage.refuse(twin).reason is Reason.DUPLICATE
    assert stage.refuse(token).reason is Reason.DUPLICATE
    assert stage.node.passport(es384.ueid)["conflicts"] == 0


def test_malleated_heartbeat_that_comes_first_does_not_fork_the_chip(
    stage: Stage, es384: Chip
) -> None:
    token = stage.token(es384)
    stage.take(malleated(token))
    assert stage.refuse(token).reason is Reason.DUPLICATE
    stage.take(stage.token(es384))


def test_malleated_conflict_is_a_duplicate(stage: Stage, es384: Chip) -> None:
    clone = forget(es384)
    stage.take(stage.token(es384), stage.token(es384))
    token = stage.token(clone)
    results = stage.node.submit([token, malleated(token)])
    assert isinstance(results[0], Receipt)
    assert isinstance(results[1], Refused)
    assert stage.refuse(malleated(token)).reason is Reason.DUPLICATE


# -- other statements -----------------------------------------------------------------------------


def test_statement_sent_again_is_a_duplicate(stage: Stage) -> None:
    token = stage.world.licence(id="L-2")
    stage.take(token)
    assert stage.refuse(token).reason is Reason.DUPLICATE
    token = stage.world.licence(id="L-3")
    results = stage.node.submit([token, token])
    assert [type(result) for result in results] == [Receipt, Refused]


def test_first_registration_of_a_ueid_stands(stage: Stage) -> None:
    (chip, _) = stage.chips
    before = stage.node.passport(chip.ueid)
    thief = replace(chip, signer=signer("thief"))
    receipt = stage.conflict(stage.world.birth(thief))
    assert receipt.conflict is Reason.UEID_REGISTERED
    after = stage.node.passport(chip.ueid)
    assert after == before | {"entries": before["entries"] + 1}
    assert stage.refuse(stage.token(thief)).reason is Reason.KEY_UNKNOWN
    stage.take(stage.token(chip))


def test_first_owner_of_a_key_stands(stage: Stage) -> None:
    (chip, _) = stage.chips
    newcomer = replace(stage.world.chip(9), signer=chip.signer)
    receipt = stage.conflict(stage.world.birth(newcomer))
    assert receipt.conflict is Reason.KEY_IN_USE
    with pytest.raises(Refused) as refused:
        stage.node.passport(newcomer.ueid)
    assert refused.value.reason is Reason.CHIP_UNKNOWN
    history = stage.node.history(chip.ueid, None, 100).items
    assert history[-1]["index"] == receipt.index, "filed under the owner whom it concerns"
    stage.take(stage.token(chip))


def test_key_of_a_party_is_not_given_to_a_chip(stage: Stage) -> None:
    newcomer = replace(stage.world.chip(9), signer=stage.world.holder)
    assert stage.conflict(stage.world.birth(newcomer)).conflict is Reason.KEY_IN_USE


def test_conflicts_of_a_party_are_capped_per_epoch(stage: Stage) -> None:
    w = stage.world
    for number in range(8):
        stage.conflict(w.ship(stage.chips[0], by=w.reseller, reference=f"no. {number}"))
    refused = stage.refuse(w.ship(stage.chips[0], by=w.reseller, reference="too many"))
    assert refused.reason is Reason.CONFLICTS_CAPPED
    stage.hours()
    stage.conflict(w.ship(stage.chips[0], by=w.reseller, reference="next epoch"))


def test_statement_may_rest_on_one_before_it_in_the_batch(stage: Stage) -> None:
    w, key = stage.world, signer("new custodian")
    party = st.PartyStatement(
        iat=w.iat,
        id="newco",
        name="Newco",
        roles=["custodian"],
        country="FR",
        key=key.public.to_cose_key(),
    )
    (chip, _) = stage.chips
    tokens = [
        st.sign(party, w.authority),
        w.licence(id="L-9", holder="newco"),
        w.ship(chip, by=w.holder, to="newco", destination="FR", licence="L-9"),
        w.receive(chip, by=key, sender="holder", country="FR"),
    ]
    backwards = stage.node.submit(tokens[::-1][:2])
    assert all(isinstance(result, Refused) for result in backwards)
    stage.take(*tokens)
    assert stage.node.passport(chip.ueid)["holder"]["id"] == "newco"


def test_party_registered_in_the_batch_still_has_to_sign_rightly(stage: Stage) -> None:
    w, key = stage.world, signer("new custodian")
    party = st.PartyStatement(
        iat=w.iat,
        id="newco",
        name="Newco",
        roles=["custodian"],
        country="FR",
        key=key.public.to_cose_key(),
    )
    retire = st.sign(st.Retire(iat=w.iat, chips=[stage.chips[0].ueid], cause="x"), key)
    forged = retire[:-1] + bytes([retire[-1] ^ 1])
    results = stage.node.submit([st.sign(party, w.authority), forged])
    assert isinstance(results[0], Receipt)
    assert isinstance(results[1], Refused)
    assert results[1].reason is Reason.SIGNATURE_INVALID


def test_batch_answers_in_order_whatever_each_one_gets(stage: Stage) -> None:
    w = stage.world
    chip, other = stage.chips
    first = stage.token(chip)
    makers: list[tuple[bytes, str]] = [
        (b"", "refused"),
        (first, "taken"),
        (stage.token(other, epoch=bytes(16)), "refused"),
        (w.ship(chip, by=w.reseller), "conflict"),
        (first, "refused"),
        (w.birth(w.chip(5)), "taken"),
        (w.birth(replace(w.chip(5), signer=signer("thief"))), "conflict"),
        (w.ship(chip, by=w.reseller), "refused"),
        (w.licence(id="L-5"), "taken"),
    ]
    size = stage.node.status().size
    results = stage.node.submit([token for token, _ in makers])
    outcomes = []
    for result in results:
        if isinstance(result, Refused):
            outcomes.append("refused")
        else:
            assert result.index == size
            size += 1
            outcomes.append("taken" if result.conflict is None else "conflict")
    assert outcomes == [outcome for _, outcome in makers]
    assert stage.node.status().size == size


def test_batch_equals_its_statements_one_by_one(tmp_path: Path) -> None:
    roots = set()
    for name in ("batch", "single"):
        (tmp_path / name).mkdir()
        stage = found(open_node(tmp_path / name), chips=2)
        tokens = [stage.token(chip) for _ in range(5) for chip in stage.chips]
        tokens += [stage.world.licence(id="L-2"), stage.world.ship(stage.chips[0])]
        if name == "batch":
            stage.node.submit(tokens)
        else:
            for token in tokens:
                stage.node.submit([token])
        stage.node.publish()
        roots.add(stage.node.checkpoint())
        stage.node.close()
    assert len(roots) == 1


def test_expected_kind_is_the_only_one_taken(stage: Stage) -> None:
    tokens = [stage.token(stage.chips[0]), stage.world.licence(id="L-2")]
    results = stage.node.submit(tokens, Kind.HEARTBEAT)
    assert isinstance(results[0], Receipt)
    assert isinstance(results[1], Refused)
    assert results[1].reason is Reason.COSE_TYPE


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"",
        lambda: b"\xd2\x84",
        lambda: cbor.encode([1, 2, 3]),
        lambda: bytes(40_000),
        lambda: World().policy()[:-1],
    ],
    ids=["empty", "cut", "not-cose", "too-large", "short"],
)
def test_junk_is_refused_and_leaves_no_trace(stage: Stage, make: Callable[[], bytes]) -> None:
    stage.refuse(make())


# -- what a chip is told --------------------------------------------------------------------------


def test_held_chip_gets_the_hold_and_no_lease(stage: Stage) -> None:
    (chip, _) = stage.chips
    for _ in range(2):
        stage.beat(chip, place=SINGAPORE)
    (decision,) = stage.decisions(chip)
    (receipt,) = stage.take(stage.token(chip))
    assert receipt.lease is None
    assert receipt.directive is not None
    assert (receipt.directive.sequence, receipt.directive.action) == (1, "hold")
    assert receipt.directive.digest.hex() == decision["digest"]
    released = stage.world.release(chip, 2, receipt.directive.digest)
    stage.take(released)
    (receipt,) = stage.take(stage.token(chip))
    assert receipt.lease is not None
    assert receipt.directive is not None
    assert (receipt.directive.action, receipt.directive.digest) == (
        "release",
        st.decode(released).digest,
    )


def test_lease_is_as_long_as_the_policy_says(tmp_path: Path) -> None:
    stage = found(open_node(tmp_path), chips=1, lease_s=120)
    (receipt,) = stage.take(stage.token(stage.chips[0]))
    assert receipt.lease is not None
    assert receipt.lease.until_ms == receipt.received_ms + 120_000
    stage.node.close()


def test_cloned_chip_gets_the_directive_too(stage: Stage) -> None:
    (chip, _) = stage.chips
    for _ in range(2):
        stage.beat(chip, place=SINGAPORE)
    receipt = stage.conflict(stage.token(imitate(chip)))
    assert receipt.directive is not None
    assert receipt.directive.action == "hold"


def test_decision_signed_by_an_officer_cannot_hold(stage: Stage) -> None:
    (chip, _) = stage.chips
    token = stage.world.release(chip, 1, bytes(32), action="hold")
    assert stage.refuse(token).reason is Reason.NOT_AUTHORISED


def test_statement_may_be_a_day_late_and_no_later(stage: Stage) -> None:
    w = stage.world
    late = w.licence(id="L-2")
    later = w.licence(id="L-3")
    w.now_ms += 24 * HOUR_MS
    stage.node.set_time(w.now_ms)
    stage.take(late)
    stage.node.set_time(w.now_ms + 1)
    assert stage.refuse(later).reason is Reason.TIME_IMPLAUSIBLE
