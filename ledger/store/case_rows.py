"""The verifier's state between runs: cases, and the records as the verifier last saw them."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, select

from ledger.appraisal.case import Case, decode_case
from ledger.errors import IntegrityError
from ledger.protocol import cbor
from ledger.registry.records import Chip, Licence, Registry
from ledger.store.log_rows import Head, chunks, entry_table, update_head, upsert
from ledger.store.registry_rows import (
    StoreRegistry,
    chip_from,
    chip_row,
    key_table,
    licence_table,
    load_documents,
    party_from,
    party_table,
    readable,
    tally_from,
)
from ledger.store.tables import CaseLicenceRow, CaseRow

case_table: Any = CaseRow.__table__  # type: ignore[attr-defined]
case_licence_table: Any = CaseLicenceRow.__table__  # type: ignore[attr-defined]
MAX_CHIP_BYTES = 8_192


def verifier_time(connection: Connection, head: Head) -> int:
    """Received time of the entry before the verifier's stored position; 0 at the log's beginning.

    Raises ``IntegrityError`` where the log cannot have been read so far: a position past its end
    would have the verifier pass over entries that are still to come.
    """
    position: object = head.verifier_position  # SQLite keeps a text there, if told to
    if not isinstance(position, int) or not 0 <= position <= head.size:
        raise IntegrityError(
            f"the verifier's stored position is {position!r}, the log has {head.size} entries"
        )
    if position == 0:
        return 0
    query = select(entry_table.c.received_ms).where(entry_table.c.idx == position - 1)
    received_ms = connection.execute(query).scalar()
    if not isinstance(received_ms, int):
        raise IntegrityError(
            f"entry {position - 1} is missing or damaged, and the verifier's state is as of it"
        )
    return received_ms


def load_verifier(connection: Connection, position: int) -> tuple[Registry, list[Case]]:
    """Registry and cases as they stood before the entry at ``position``.

    Parties, keys and licences may be ahead of the position: nothing that the verifier reads before
    it reaches them can name them. Chips, tallies, policy and epochs are as of the position.
    """
    registry = Registry()
    load_documents(connection, before=position).give(registry)
    for row in connection.execute(select(party_table)).mappings():
        registry.parties[row["id"]] = party_from(row)
    loader = StoreRegistry(connection)
    used = {
        row["id"]: tally_from(row["used"])
        for row in connection.execute(select(case_licence_table)).mappings()
    }
    for (ident,) in connection.execute(select(licence_table.c.id)):
        licence = loader.find_licence(ident)
        if licence is not None:
            registry.licences[ident] = Licence(licence.body, used.get(ident, {}))
    kids = [kid for (kid,) in connection.execute(select(key_table.c.kid))]
    loader.load_owners(kids)
    for kid in kids:
        owner = loader.find_owner(kid)
        if owner is not None:
            registry.owners[kid] = owner
    cases = []
    for row in connection.execute(select(case_table)).mappings():
        if row["data"]:
            cases.append(decode_case(row["data"]))
        chip = decode_chip(row["chip"])
        registry.chips[chip.ueid] = chip
    return registry, cases


def decode_chip(data: bytes) -> Chip:
    """The chip's record as the verifier stored it; raises ``IntegrityError``."""
    with readable("chip of the verifier"):
        return chip_from(cbor.decode(data, max_size=MAX_CHIP_BYTES))


def save_verifier(
    connection: Connection,
    position: int,
    chips: Iterable[Chip],
    cases: dict[bytes, Case],
    licences: Iterable[Licence],
) -> None:
    """Write the changed cases and records, and the position they are as of."""
    rows = []
    for chip in chips:
        case = cases.get(chip.ueid)
        rows.append(
            {
                "ueid": chip.ueid,
                "data": b"" if case is None else case.encode(),
                "chip": cbor.encode(chip_row(chip)),
                "silent": case is not None and case.silent,
                "suspect": case is not None and case.suspect,
            }
        )
    for part in chunks(rows):
        upsert(connection, case_table, part)
    upsert(
        connection,
        case_licence_table,
        [{"id": item.body.id, "used": cbor.encode(item.used)} for item in licences],
    )
    update_head(connection, verifier_position=position)


def load_cases(connection: Connection, ueids: list[bytes]) -> dict[bytes, Case]:
    """Cases of some chips, as of the stored position."""
    found = {}
    for part in chunks(ueids):
        query = select(case_table.c.ueid, case_table.c.data).where(case_table.c.ueid.in_(part))
        for ueid, data in connection.execute(query):
            if data:
                found[ueid] = decode_case(data)
    return found
