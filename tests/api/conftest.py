"""A ledger on SQLite for every test, with its simulated clock at the world's start."""
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.fake import FakeNode
from tests.api.harness import Http, serving


@pytest.fixture
def node(tmp_path: Path) -> Iterator[object]:
    """An empty ledger on a simulated clock."""
    node = FakeNode()
    yield node
    node.close()


@pytest.fixture
def http(node: object) -> Iterator[Http]:
    """Requests to the app over ``node``."""
    with serving(node) as http:
        yield http
