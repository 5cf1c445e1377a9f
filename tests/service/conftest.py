"""Two nodes on one ledger, as two processes have them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.service.node import Node
from ledger.store.engine import WriterLock
from tests.service.harness import open_node


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def two_nodes(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Node, Node]]:
    """Two nodes with the same keys on one database.

    Only PostgreSQL is meant to be used so. On SQLite the lock that forbids it is left out, and the
    nodes have to keep to the same rules.
    """
    database = None
    if request.param == "postgresql":
        database = str(request.getfixturevalue("postgres_database"))
    else:
        monkeypatch.setattr(WriterLock, "__init__", lambda self, _database: self.release())
        monkeypatch.setattr(WriterLock, "release", lambda _self: None)
    nodes = open_node(tmp_path, database), open_node(tmp_path, database)
    yield nodes
    for node in nodes:
        node.close()
