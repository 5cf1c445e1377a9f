"""Appending made-up entries, and reading everything that is stored."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, select
from sqlmodel import SQLModel

from ledger.registry.records import Subject, chip_subject, licence_subject, party_subject
from ledger.store import tables
from ledger.store.engine import reading, writing
from ledger.store.log_rows import Appender, read_head

SUBJECTS: tuple[Subject, ...] = (
    chip_subject(b"\x01" + bytes(16)),
    chip_subject(b"\x01" + b"\x07" * 16),
    party_subject("maker"),
    party_subject("maker2"),
    licence_subject("L-1"),
)


@dataclass(frozen=True)
class Item:
    """One entry to append."""

    body: bytes
    subjects: tuple[Subject, ...]
    received_ms: int
    plain: bool = True
    """A statement; else a heartbeat, which has no content digest."""
    conflict: str | None = None


def items(count: int, subjects: Sequence[Subject] = SUBJECTS) -> list[Item]:
    """Deterministic entries that differ in everything."""
    return [
        Item(
            b"body %d" % number,
            tuple(s for at, s in enumerate(subjects) if (number >> at) & 1) or (subjects[0],),
            1_000 + number // 3,
            number % 2 == 0,
            "counter-rollback" if number % 7 == 6 else None,
        )
        for number in range(count)
    ]


def locked(connection: Connection) -> Appender:
    """An appender on the locked head that has to look every chain up."""
    return Appender(connection, read_head(connection, lock=True), {})


def add(appender: Appender, batch: Iterable[Item]) -> list[tuple[int, bytes]]:
    """Add entries to an appender, without flushing."""
    return [
        appender.add(
            "conflict" if item.conflict else "party",
            item.received_ms,
            item.subjects,
            digest=sha256(item.body).digest(),
            content_digest=sha256(b"content" + item.body).digest() if item.plain else None,
            body=item.body,
            conflict=item.conflict,
            detail="why" if item.conflict else None,
        )
        for item in batch
    ]


def append(engine: Engine, batch: Iterable[Item]) -> list[tuple[int, bytes]]:
    """Append a batch in a transaction of its own."""
    with writing(engine) as connection:
        appender = locked(connection)
        places = add(appender, batch)
        appender.flush()
    return places


def metadata() -> MetaData:
    """The ledger's tables."""
    assert tables.HeadRow.metadata is SQLModel.metadata
    return SQLModel.metadata


def dump(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the log's and the registry's tables, in order of their primary keys."""
    found = {}
    with reading(engine) as connection:
        for name in TABLES:
            table = metadata().tables[name]
            query = select(table).order_by(*table.primary_key.columns)
            found[name] = [tuple(row) for row in connection.execute(query)]
    return found


TABLES = (
    "log_head",
    "entries",
    "entry_subjects",
    "subjects",
    "tiles",
    "checkpoints",
    "documents",
    "keys",
    "parties",
    "licences",
    "chips",
    "decisions",
    "cases",
    "case_licences",
)
