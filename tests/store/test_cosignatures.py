"""The newest cosignature of each key: written, replaced, never by an older one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert

from ledger.errors import IntegrityError
from ledger.store.cosignature_rows import (
    cosignature_table,
    keep_cosignatures,
    read_cosignatures,
)
from ledger.store.engine import open_engine, reading, writing
from ledger.store.schema import migrate
from tests.log.witnessed import ED_COSIGNER, ML_COSIGNER

FIRST, SECOND = sorted(cosigner.vkey.encode() for cosigner in (ED_COSIGNER, ML_COSIGNER))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    database = str(tmp_path / "ledger.db")
    if request.param == "postgresql":
        database = str(request.getfixturevalue("postgres_database"))
    engine = open_engine(database)
    migrate(engine)
    yield engine
    engine.dispose()


def keep(engine: Engine, size: int, signatures: dict[str, bytes]) -> None:
    with writing(engine) as connection:
        keep_cosignatures(connection, size, signatures)


def stored(engine: Engine, size: int | None = None) -> list[tuple[str, int, bytes]]:
    with reading(engine) as connection:
        found = read_cosignatures(connection, size)
    return [(row.vkey.encode(), row.size, row.signature) for row in found]


def test_each_key_has_the_newest_only(engine: Engine) -> None:
    keep(engine, 7, {FIRST: b"a", SECOND: b"b"})
    keep(engine, 9, {SECOND: b"c"})
    keep(engine, 9, {})
    assert stored(engine) == [(FIRST, 7, b"a"), (SECOND, 9, b"c")]
    assert stored(engine, 9) == [(SECOND, 9, b"c")]
    assert stored(engine, 8) == []


def test_older_one_that_comes_late_changes_nothing(engine: Engine) -> None:
    keep(engine, 9, {FIRST: b"a"})
    keep(engine, 7, {FIRST: b"b"})
    assert stored(engine) == [(FIRST, 9, b"a")]
    keep(engine, 9, {FIRST: b"c"})
    assert stored(engine) == [(FIRST, 9, b"c")]


def test_line_is_the_one_that_the_witness_sent(engine: Engine) -> None:
    keep(engine, 7, {FIRST: bytes(range(72))})
    with reading(engine) as connection:
        (found,) = read_cosignatures(connection)
    line = found.line()
    assert (line.name, line.key_id, line.signature) == (
        found.vkey.name,
        found.vkey.key_id,
        bytes(range(72)),
    )


def test_key_that_cannot_be_read_is_an_integrity_error(engine: Engine) -> None:
    with writing(engine) as connection:
        row = {"vkey": "w+00000000+AAAA", "size": 7, "signature": b"a"}
        connection.execute(insert(cosignature_table), [row])
    with pytest.raises(IntegrityError, match="no readable key"):
        stored(engine)
