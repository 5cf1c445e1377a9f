"""The last part of a check: every table that is derived from the entries is what they make."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Boolean, Connection, Float, Integer, LargeBinary, select

from ledger.appraisal.case import Case
from ledger.protocol import cbor
from ledger.registry.records import Registry, Subject
from ledger.service.audit.report import FaultFound
from ledger.service.publish import checkpoint_table
from ledger.service.sequence import decision_table
from ledger.store.case_rows import case_licence_table, case_table
from ledger.store.cosignature_rows import cosignature_table
from ledger.store.log_rows import (
    entry_table,
    head_table,
    link_table,
    subject_table,
    tile_table,
)
from ledger.store.map_rows import bucket_table, node_table
from ledger.store.registry_rows import (
    chip_row,
    chip_table,
    document_table,
    key_table,
    licence_row,
    licence_table,
    party_row,
    party_table,
)
from ledger.store.token_rows import token_table
from ledger.values import sha256

Row = Mapping[str, Any]
MODULUS = 1 << 256


def check_types(connection: Connection) -> None:
    """SQLite keeps a value of any type in any column; everything behind relies on the declared."""
    for table in _TABLES:
        cases = " ".join(
            f"WHEN {_of_another_type(column)} THEN '{column.name}'" for column in table.columns
        )
        query = (
            f"SELECT name FROM (SELECT CASE {cases} END AS name FROM {table.name}) "  # noqa: S608
            "WHERE name IS NOT NULL LIMIT 1"
        )
        name = connection.exec_driver_sql(query).scalar()
        if name is not None:
            raise FaultFound(f"table {table.name}", f"column {name} has a value of another type")


def _of_another_type(column: Any) -> str:
    name, kind = f'"{column.name}"', column.type
    if isinstance(kind, Boolean):
        return f"typeof({name}) <> 'integer' OR {name} NOT IN (0, 1)"
    if isinstance(kind, Integer):
        stored = "integer"
    elif isinstance(kind, Float):
        stored = "real"
    else:
        stored = "blob" if isinstance(kind, LargeBinary) else "text"
    allowed = f"'{stored}', 'null'" if column.nullable else f"'{stored}'"
    return f"typeof({name}) NOT IN ({allowed})"


_TABLES = (
    head_table,
    entry_table,
    link_table,
    subject_table,
    tile_table,
    bucket_table,
    node_table,
    checkpoint_table,
    cosignature_table,
    document_table,
    key_table,
    party_table,
    licence_table,
    chip_table,
    decision_table,
    case_table,
    case_licence_table,
    token_table,
)


def link_term(subject: bytes, seq: int, index: int) -> int:
    """One row's share in an order-free sum over all link rows."""
    numbers = seq.to_bytes(8, signed=True) + index.to_bytes(8, signed=True)
    return int.from_bytes(sha256(subject + numbers))


def check_links(connection: Connection, expected: int, count: int) -> None:
    """The rows that say which entries a subject has, as an order-free sum and a count."""
    total = rows = 0
    query = select(link_table).execution_options(yield_per=5_000)
    for subject, seq, index in connection.execute(query):
        total = (total + link_term(subject, seq, index)) % MODULUS
        rows += 1
    if (rows, total) != (count, expected):
        raise FaultFound(
            "table entry_subjects", f"its {rows} rows are not the {count} that the leaves make"
        )


def check_subjects(
    connection: Connection, chains: Mapping[bytes, tuple[Subject | None, int, bytes]]
) -> None:
    """Count and head of every subject."""
    expected = (
        {
            "subject": key,
            "kind": subject[0].value,
            "ident": subject[1],
            "count": count,
            "head": head,
        }
        for key, (subject, count, head) in chains.items()
        if subject is not None
    )
    _compare(connection, subject_table, ("subject",), expected)


def check_registry(connection: Connection, registry: Registry) -> None:
    """Keys, parties, licences and chips."""
    keys = (
        {
            "kid": kid,
            "owner_kind": owner.kind.value,
            "owner": owner.ident,
            "cose_key": owner.key.to_cose_key(),
        }
        for kid, owner in registry.owners.items()
    )
    _compare(connection, key_table, ("kid",), keys)
    _compare(connection, party_table, ("id",), map(party_row, registry.parties.values()))
    _compare(connection, licence_table, ("id",), map(licence_row, registry.licences.values()))
    _compare(connection, chip_table, ("ueid",), map(chip_row, registry.chips.values()))


def check_indexes(
    connection: Connection, documents: Iterable[Row], decisions: Iterable[Row]
) -> None:
    """Where genesis, policies, epochs and decisions stand."""
    _compare(connection, document_table, ("kind", "number"), documents)
    _compare(connection, decision_table, ("idx",), decisions)


def check_cases(connection: Connection, registry: Registry, cases: Mapping[bytes, Case]) -> None:
    """The verifier's stored state against the appraiser's at the same position."""
    expected = (_case_row(chip_row(chip), cases.get(ueid)) for ueid, chip in registry.chips.items())
    _compare(connection, case_table, ("ueid",), expected)
    licences = (
        {"id": ident, "used": cbor.encode(licence.used)}
        for ident, licence in registry.licences.items()
    )
    _compare(connection, case_licence_table, ("id",), licences)


def _case_row(chip: dict[str, Any], case: Case | None) -> dict[str, Any]:
    return {
        "ueid": chip["ueid"],
        "data": b"" if case is None else case.encode(),
        "chip": cbor.encode(chip),
        "silent": case is not None and case.silent,
        "suspect": case is not None and case.suspect,
    }


def _compare(
    connection: Connection, table: Any, keys: tuple[str, ...], expected: Iterable[Row]
) -> None:
    """Every expected row is stored so, and no other row is."""
    query = select(table).execution_options(yield_per=2_000)
    stored = {
        tuple(row[key] for key in keys): dict(row) for row in connection.execute(query).mappings()
    }
    for row in expected:
        key = tuple(row[name] for name in keys)
        found = stored.pop(key, None)
        place = f"table {table.name}, row {_text(key)}"
        if found is None:
            raise FaultFound(place, "it is missing")
        for name, value in row.items():
            if found[name] != value:
                raise FaultFound(place, f"column {name} is not what the entries make")
    if stored:
        raise FaultFound(
            f"table {table.name}, row {_text(next(iter(stored)))}", "no entry makes this row"
        )


def _text(key: tuple[Any, ...]) -> str:
    return "/".join(part.hex() if isinstance(part, bytes) else str(part) for part in key)
