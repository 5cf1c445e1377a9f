"""One suite, two engines: every test that takes ``database`` or ``engine`` runs on both."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ledger.store.engine import open_engine
from ledger.store.schema import migrate

ENGINES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=ENGINES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Path or URL of an empty database."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.db")
    return str(request.getfixturevalue("postgres_database"))


@pytest.fixture
def empty_engine(database: str) -> Iterator[Engine]:
    """An engine on a database without any table."""
    engine = open_engine(database)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(empty_engine: Engine) -> Engine:
    """An engine on a ledger without entries."""
    migrate(empty_engine)
    return empty_engine


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    """A ledger without entries on SQLite, for what does not depend on the engine."""
    engine = open_engine(str(tmp_path / "lite.db"))
    migrate(engine)
    yield engine
    engine.dispose()
