"""Records of every type come back as they were, and the first registration of a key stands."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from sqlalchemy import Engine, update

from ledger.appraisal.case import Case, Seen, decode_case
from ledger.errors import IntegrityError, StorageError
from ledger.protocol import cbor
from ledger.protocol import statements as st
from ledger.protocol.keys import P384Signer, PublicKey
from ledger.protocol.statements import Kind, Role
from ledger.registry.records import Chip, ChipState, Licence, Owner, Party, Registry
from ledger.store.case_rows import decode_chip, load_cases, load_verifier, save_verifier
from ledger.store.engine import reading, writing
from ledger.store.log_rows import Appender, read_head
from ledger.store.registry_rows import (
    StoreRegistry,
    chip_from,
    chip_row,
    chip_table,
    document_entry,
    key_table,
    licence_from,
    licence_row,
    licence_table,
    load_documents,
    party_from,
    party_row,
    party_table,
)
from ledger.values import ZERO_DIGEST, SubjectKind
from tests.store.rows import dump
from tests.world import World, seed, signer

ES384 = P384Signer.from_seed(seed("es384")).public
WORLD = World()
NUMBERS = {
    Kind.POLICY: "version",
    Kind.LANDMARK_DIRECTORY: "version",
    Kind.EPOCH: "counter",
}


def chip(number: int = 1, **changes: Any) -> Chip:
    ueid = b"\x01" + seed(f"chip {number}")[:16]
    key = signer(f"chip key {number}").public
    return replace(Chip(ueid, 99_999, "XA-100", "maker", key, "maker", 1_000), **changes)


FULL_CHIP = chip(
    2,
    oemid=2**53 - 1,
    key=ES384,
    state=ChipState.HELD,
    consignee="holder",
    shipped_ms=2**47,
    shipped_licence="L-1",
    country="DE",
    site="Frankfurt «1» – Süd",
    latitude=50.110_900_000_000_004,
    longitude=-180.0,
    licence="L-1",
    over_quota=True,
    counter=2**53,
    heartbeat_digest=seed("a"),
    heartbeat_ms=2**47,
    decision_sequence=2**31,
    decision_digest=seed("b"),
    decision_action="hold",
    conflict_epoch=2**40,
    conflicts=64,
    forks=9,
    retired=True,
)
PARTIES = [
    Party("a", "A", frozenset({"officer"}), "", ES384),
    Party(
        "maker.2",
        "Ø" * 200,
        frozenset({"manufacturer", "custodian", "carrier"}),
        "US",
        signer("maker").public,
        "a",
        WORLD.root_certificate,
        conflict_epoch=3,
        conflicts=2,
    ),
]


def licence(**changes: Any) -> st.Licence:
    body = st.decode(WORLD.licence(**changes)).body
    assert isinstance(body, st.Licence)
    return body


def flush(engine: Engine, **records: Any) -> None:
    with writing(engine) as connection:
        registry = StoreRegistry(connection)
        for name, values in records.items():
            getattr(registry, name).update(values)
        registry.flush()


# -- round trips ----------------------------------------------------------------------------------


@pytest.mark.parametrize("record", [chip(), FULL_CHIP], ids=["new", "full"])
def test_chip_comes_back(engine: Engine, record: Chip) -> None:
    flush(engine, chips={record.ueid: record})
    with reading(engine) as connection:
        found = StoreRegistry(connection).find_chip(record.ueid)
    assert found == record
    assert chip_from(chip_row(record)) == record


@pytest.mark.parametrize("record", PARTIES, ids=["founder", "full"])
def test_party_comes_back(engine: Engine, record: Party) -> None:
    flush(engine, parties={record.id: record})
    with reading(engine) as connection:
        assert StoreRegistry(connection).find_party(record.id) == record
    assert party_from(party_row(record)) == record


@pytest.mark.parametrize("used", [{}, {2026: 5, 2027: 1}])
@pytest.mark.parametrize("quota", [None, 7])
def test_licence_comes_back(engine: Engine, used: dict[int, int], quota: int | None) -> None:
    record = Licence(licence(quota_per_year=quota, assurance="inside"), used)
    flush(engine, licences={record.body.id: record})
    with reading(engine) as connection:
        assert StoreRegistry(connection).find_licence(record.body.id) == record
    assert licence_from(licence_row(record)) == record


@pytest.mark.parametrize(
    "owner",
    [
        Owner(SubjectKind.PARTY, b"maker", signer("maker").public),
        Owner(SubjectKind.CHIP, FULL_CHIP.ueid, ES384),
    ],
    ids=["party-ed25519", "chip-es384"],
)
def test_owner_of_a_key_comes_back(engine: Engine, owner: Owner) -> None:
    flush(engine, owners={owner.key.kid: owner})
    with reading(engine) as connection:
        assert StoreRegistry(connection).find_owner(owner.key.kid) == owner


def test_unknown_records_are_none(engine: Engine) -> None:
    with reading(engine) as connection:
        registry = StoreRegistry(connection)
        assert registry.find_chip(b"\x01" + bytes(16)) is None
        assert registry.find_party("nobody") is None
        assert registry.find_licence("L-9") is None
        assert registry.find_owner(bytes(16)) is None


# -- changes --------------------------------------------------------------------------------------

_CHANGES: dict[str, Any] = {
    "counter": 7,
    "heartbeat_digest": seed("new"),
    "heartbeat_ms": 5,
    "conflict_epoch": 4,
    "conflicts": 1,
    "forks": 1,
    "holder": "holder",
    "state": ChipState.ACTIVE,
    "consignee": "holder",
    "shipped_ms": 9,
    "shipped_licence": "L-2",
    "country": "FR",
    "site": "Lyon",
    "latitude": 45.75,
    "longitude": 4.85,
    "licence": "L-2",
    "over_quota": True,
    "retired": True,
    "decision_sequence": 1,
    "decision_digest": seed("decision"),
    "decision_action": "hold",
}


@pytest.mark.parametrize("name", _CHANGES)
def test_change_of_one_member_of_a_chip_is_written(sqlite_engine: Engine, name: str) -> None:
    record = chip()
    flush(sqlite_engine, chips={record.ueid: record, FULL_CHIP.ueid: FULL_CHIP})
    with writing(sqlite_engine) as connection:
        registry = StoreRegistry(connection)
        found = registry.chip(record.ueid)
        setattr(found, name, _CHANGES[name])
        registry.flush()
    with reading(sqlite_engine) as connection:
        registry = StoreRegistry(connection)
        assert registry.find_chip(record.ueid) == replace(record, **{name: _CHANGES[name]})
        assert registry.find_chip(FULL_CHIP.ueid) == FULL_CHIP


def test_every_member_of_a_chip_that_may_change_is_among_them() -> None:
    fixed = {"ueid", "oemid", "model", "manufacturer", "key", "born_ms"}
    assert set(_CHANGES) == set(Chip.__dataclass_fields__) - fixed


def test_light_and_heavy_changes_of_many_chips_are_written_together(engine: Engine) -> None:
    records = {record.ueid: record for record in map(chip, range(1_200))}
    flush(engine, chips=records)
    with writing(engine) as connection:
        registry = StoreRegistry(connection)
        registry.load_chips(records)
        for at, record in enumerate(registry.chips.values()):
            if at % 3 == 0:
                record.counter = at + 1
            if at % 5 == 0:
                record.state = ChipState.RETIRED
        registry.flush()
        expected = dict(registry.chips)
    with reading(engine) as connection:
        registry = StoreRegistry(connection)
        registry.load_chips(records)
        assert registry.chips == expected


def test_tallies_of_parties_and_licences_are_written(engine: Engine) -> None:
    body = licence()
    flush(engine, parties={"a": replace(PARTIES[0])}, licences={body.id: Licence(body)})
    with writing(engine) as connection:
        registry = StoreRegistry(connection)
        party, record = registry.find_party("a"), registry.find_licence(body.id)
        assert party is not None
        assert record is not None
        party.conflicts, party.conflict_epoch, record.used[2026] = 3, 9, 1
        registry.flush()
    with reading(engine) as connection:
        registry = StoreRegistry(connection)
        assert registry.find_party("a") == replace(PARTIES[0], conflicts=3, conflict_epoch=9)
        assert registry.find_licence(body.id) == Licence(body, {2026: 1})


def test_looking_changes_nothing(engine: Engine) -> None:
    flush(engine, chips={FULL_CHIP.ueid: FULL_CHIP}, parties={"a": PARTIES[0]})
    before = dump(engine)
    with writing(engine) as connection:
        registry = StoreRegistry(connection)
        registry.find_chip(FULL_CHIP.ueid)
        registry.find_party("a")
        registry.flush()
    assert dump(engine) == before


@pytest.mark.parametrize("kind", ["owners", "chips", "parties", "licences"])
def test_second_registration_is_a_storage_error_and_overwrites_nothing(
    engine: Engine, kind: str
) -> None:
    key = signer("maker").public
    body = licence()
    first: dict[str, Any] = {
        "owners": {key.kid: Owner(SubjectKind.PARTY, b"maker", key)},
        "chips": {FULL_CHIP.ueid: FULL_CHIP},
        "parties": {"a": PARTIES[0]},
        "licences": {body.id: Licence(body)},
    }
    second: dict[str, Any] = {
        "owners": {key.kid: Owner(SubjectKind.PARTY, b"thief", key)},
        "chips": {FULL_CHIP.ueid: replace(chip(3), ueid=FULL_CHIP.ueid)},
        "parties": {"a": replace(PARTIES[0], name="thief")},
        "licences": {body.id: Licence(licence(countries=["FR"]))},
    }
    flush(engine, **first)
    before = dump(engine)
    with pytest.raises(StorageError):
        flush(engine, **{kind: second[kind]})
    assert dump(engine) == before


# -- stored records that are damaged --------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        (chip_table, "cose_key", b"\x00"),
        (chip_table, "state", "asleep"),
        (party_table, "cose_key", b"\x00"),
        (licence_table, "body", b"\x00"),
        (licence_table, "used", b"\xff"),
        (key_table, "cose_key", b"\x00"),
        (key_table, "owner_kind", "nobody"),
    ],
    ids=str,
)
def test_damaged_record_is_an_integrity_error_and_no_refusal(
    sqlite_engine: Engine, table: Any, column: str, value: Any
) -> None:
    key, body = signer("maker").public, licence()
    flush(
        sqlite_engine,
        chips={FULL_CHIP.ueid: FULL_CHIP},
        parties={"a": PARTIES[0]},
        licences={body.id: Licence(body)},
        owners={key.kid: Owner(SubjectKind.PARTY, b"maker", key)},
    )
    with writing(sqlite_engine) as connection:
        connection.execute(update(table).values(**{column: value}))
    with reading(sqlite_engine) as connection:
        registry = StoreRegistry(connection)
        looks: dict[str, Callable[[], object]] = {
            "chips": lambda: registry.find_chip(FULL_CHIP.ueid),
            "parties": lambda: registry.find_party("a"),
            "licences": lambda: registry.find_licence(body.id),
            "keys": lambda: registry.find_owner(key.kid),
        }
        with pytest.raises(IntegrityError, match="damaged"):
            looks[table.name]()


# -- documents ------------------------------------------------------------------------------------


def log(engine: Engine, *tokens: bytes) -> None:
    """Append documents as the sequencer does."""
    with writing(engine) as connection:
        appender = Appender(connection, read_head(connection, lock=True), {})
        registry = StoreRegistry(connection)
        notes = []
        for token in tokens:
            message = st.decode(token)
            index, _ = appender.add(
                message.kind.value,
                1,
                [(SubjectKind.PARTY, b"authority")],
                digest=message.digest,
                content_digest=message.content_digest,
                body=token,
            )
            body: Any = message.body
            notes.append((message.kind, getattr(body, NUMBERS.get(message.kind, ""), 0), index))
        appender.flush()
        for note in notes:
            registry.note_document(*note)


def epoch(counter: int) -> bytes:
    body = st.Epoch(
        iat=0,
        id=seed(f"epoch {counter}")[:16],
        counter=counter,
        not_before_ms=counter * 60_000,
        not_after_ms=counter * 60_000 + 60_000,
    )
    return st.sign(body, signer("ledger"))


def genesis() -> bytes:
    keys = [signer(name).public.to_cose_key() for name in ("ledger", "verifier")]
    return WORLD.genesis(*keys)


def test_ledger_without_documents_has_none(engine: Engine) -> None:
    with reading(engine) as connection:
        found = load_documents(connection)
        assert document_entry(connection, Kind.GENESIS) is None
    assert (found.position, found.genesis, found.policy, found.epochs) == (0, None, None, [])
    assert found.policy_digest == ZERO_DIGEST


def test_the_newest_landmark_directory_is_found_and_the_one_as_of_a_position(
    engine: Engine,
) -> None:
    log(engine, genesis(), WORLD.directory(), epoch(0), WORLD.directory(version=2))
    with reading(engine) as connection:
        documents = [load_documents(connection, before=end) for end in (1, 2, 3, 4)]
        registry = StoreRegistry(connection, documents=documents[-1])
    versions = [found.directory and found.directory.version for found in documents]
    assert versions == [None, 1, 1, 2]
    assert registry.directory == documents[-1].directory


def test_newest_documents_are_found_and_older_ones_as_of_a_position(engine: Engine) -> None:
    tokens = [
        genesis(),
        epoch(0),
        WORLD.policy(),
        epoch(1),
        WORLD.policy(version=2, title="second"),
        epoch(2),
    ]
    log(engine, *tokens[:4])
    log(engine, *tokens[4:])
    with reading(engine) as connection:
        assert read_head(connection).documents == 6
        assert document_entry(connection, Kind.EPOCH) == (5, tokens[5])
        now, then = load_documents(connection), load_documents(connection, before=4)
    assert now.position == 6
    assert now.genesis == st.decode(tokens[0]).body
    assert (now.policy, now.policy_digest) == (
        st.decode(tokens[4]).body,
        sha256(tokens[4]).digest(),
    )
    assert [e.counter for e in now.epochs] == [1, 2]
    assert then.position == 4
    assert then.policy is not None
    assert then.policy.version == 1
    assert [e.counter for e in then.epochs] == [0, 1]
    registry = Registry()
    then.give(registry)
    assert registry.epoch == then.epochs[-1]
    registry.epochs.append(now.epochs[-1])
    assert len(then.epochs) == 2, "what was given is a copy"


def test_document_number_twice_is_a_storage_error(engine: Engine) -> None:
    log(engine, genesis(), epoch(0))
    before = dump(engine)
    body = replace_id(epoch(0))
    with pytest.raises(StorageError):
        log(engine, body)
    assert dump(engine) == before


def replace_id(token: bytes) -> bytes:
    body: Any = st.decode(token).body
    return st.sign(body.model_copy(update={"id": bytes(16)}), signer("ledger"))


# -- the verifier's state -------------------------------------------------------------------------

SEEN = Seen(5, 4, 1.5, -2.25, 10.0, 3, seed("boot"), 60, seed("leaf"), ("DE", "FR"))


def test_case_comes_back(engine: Engine) -> None:
    case = Case(FULL_CHIP.ueid, seen=SEEN, silent=True, suspect=True, pending=4, held_ms=77)
    case.record("boot", seed("leaf"), "went back – «boot»")
    used = Licence(licence(), {2026: 3})
    flush(
        engine, chips={FULL_CHIP.ueid: FULL_CHIP}, licences={"L-1": Licence(used.body, {2026: 9})}
    )
    behind = replace(FULL_CHIP, counter=5)
    with writing(engine) as connection:
        save_verifier(connection, 12, [behind], {case.ueid: case}, [used])
    with reading(engine) as connection:
        assert read_head(connection).verifier_position == 12
        registry, cases = load_verifier(connection, 12)
        assert load_cases(connection, [case.ueid, b"other"]) == {case.ueid: case}
    assert cases == [case]
    assert registry.chips == {behind.ueid: behind}, "as the verifier saw it, not as it is now"
    assert registry.licences == {"L-1": used}


def test_chip_without_a_case_comes_back_without_one(engine: Engine) -> None:
    with writing(engine) as connection:
        save_verifier(connection, 1, [chip()], {}, [])
    with reading(engine) as connection:
        registry, cases = load_verifier(connection, 1)
        assert load_cases(connection, [chip().ueid]) == {}
    assert (list(registry.chips.values()), cases) == ([chip()], [])


def test_saving_again_overwrites(engine: Engine) -> None:
    for held_ms in (1, 2):
        case = Case(chip().ueid, held_ms=held_ms)
        with writing(engine) as connection:
            save_verifier(connection, held_ms, [chip()], {case.ueid: case}, [])
    with reading(engine) as connection:
        assert load_cases(connection, [case.ueid])[case.ueid].held_ms == 2
        assert read_head(connection).verifier_position == 2


def test_verifier_knows_parties_and_keys(engine: Engine) -> None:
    key = PARTIES[1].key
    owner = Owner(SubjectKind.PARTY, b"maker.2", key)
    flush(engine, parties={"maker.2": PARTIES[1]}, owners={key.kid: owner})
    with reading(engine) as connection:
        registry, _ = load_verifier(connection, 0)
    assert registry.parties["maker.2"].roles == {Role.MANUFACTURER, Role.CUSTODIAN, Role.CARRIER}
    assert registry.owners == {key.kid: owner}


def test_mutilated_case_is_an_integrity_error(engine: Engine) -> None:
    case = Case(chip().ueid)
    with writing(engine) as connection:
        save_verifier(connection, 1, [chip()], {case.ueid: case}, [])
        connection.exec_driver_sql("UPDATE cases SET data = chip")
    with pytest.raises(IntegrityError, match="damaged"), reading(engine) as connection:
        load_verifier(connection, 1)


@pytest.mark.parametrize("column", ["chip", "data"])
@settings(max_examples=60)
@given(bits=some.data())
def test_flipped_bit_of_a_case_is_another_case_or_an_integrity_error(
    tmp_path_factory: pytest.TempPathFactory, column: str, bits: some.DataObject
) -> None:
    case = Case(FULL_CHIP.ueid, seen=SEEN)
    case.record("boot", seed("leaf"), "words")
    whole = case.encode() if column == "data" else cbor.encode(chip_row(FULL_CHIP))
    at = bits.draw(some.integers(0, len(whole) * 8 - 1))
    data = bytearray(whole)
    data[at // 8] ^= 1 << at % 8
    with suppress(IntegrityError):
        (decode_case if column == "data" else decode_chip)(bytes(data))


def test_public_key_is_kept_in_its_cose_form() -> None:
    assert PublicKey.from_cose_key(chip_row(FULL_CHIP)["cose_key"]) == ES384
