"""Ledgers on SQLite: empty, with a genesis, and with parties and chips on it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.service.clock import SimulatedClock
from ledger.service.node import Node, NodeSettings
from tests.api.harness import CBOR_SEQ, COSE, Http, serving
from tests.api.world import T0_MS, Chip, World


def open_node(folder: Path) -> Node:
    """An empty ledger, its simulated clock at the world's start."""
    return Node.open(NodeSettings(str(folder / "ledger.db"), clock=SimulatedClock(T0_MS)))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty ledger, made once: its migrations take longer than most tests."""
    folder = tmp_path_factory.mktemp("empty")
    open_node(folder).close()
    return folder


@pytest.fixture
def node(tmp_path: Path, migrated: Path) -> Iterator[Node]:
    """An empty ledger of the test's own."""
    shutil.copytree(migrated, tmp_path, dirs_exist_ok=True)
    node = open_node(tmp_path)
    yield node
    node.close()


@pytest.fixture
def http(node: Node) -> Iterator[Http]:
    """Requests to the app over an empty ledger."""
    with serving(node) as http:
        yield http


@pytest.fixture(scope="session")
def world() -> World:
    return World()


@pytest.fixture
def genesis(node: Node, world: World) -> bytes:
    """The genesis statement that fits ``node``."""
    status = node.status()
    return world.genesis(status.ledger_key, status.verifier_key)


@pytest.fixture
def chips() -> list[Chip]:
    return [Chip(number) for number in range(1, 6)]


@pytest.fixture
def fleet(http: Http, world: World, genesis: bytes, chips: list[Chip]) -> Http:
    """The app over a ledger with its parties and ``chips``."""
    assert http.post("/v1/statements", genesis, COSE).status_code == 201
    tokens = [*world.parties(), *map(world.birth, chips)]
    answer = http.post("/v1/statements", b"".join(tokens), CBOR_SEQ)
    assert answer.status_code == 200, answer.text
    return http
