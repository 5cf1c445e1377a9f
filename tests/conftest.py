"""Settings and fixtures that every suite shares.

A test that uses ``postgres_url`` or ``postgres_database`` gets the marker ``postgres`` by itself.
One that picks its engine by parameter marks the parameter:
``pytest.param("postgresql", marks=pytest.mark.postgres)``.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import postgres

ROOT = Path(__file__).resolve().parent.parent

# Deterministic by default: a red test is red for everybody. HYPOTHESIS_PROFILE=deep looks further.
settings.register_profile(
    "default",
    derandomize=True,
    deadline=None,
    max_examples=100,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("deep", deadline=None, max_examples=5_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs PostgreSQL before pytest selects by marker."""
    for item in items:
        if {"postgres_url", "postgres_database"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.postgres)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a running PostgreSQL server (SQLAlchemy form, psycopg driver)."""
    manager = postgres.any_server()
    try:
        url = manager.__enter__()
    except postgres.ServerUnavailable as error:
        if os.environ.get("CI"):
            pytest.fail(f"no PostgreSQL server: {error}", pytrace=False)
        pytest.skip(f"no PostgreSQL server: {error}")
    try:
        yield postgres.text(url)
    finally:
        manager.__exit__(None, None, None)


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """URL of an empty PostgreSQL database of the test's own."""
    with postgres.fresh_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def peer_python() -> str:
    """The interpreter of the environment with other implementations (`make test-peer`)."""
    named = os.environ.get("CHIP_PASSPORT_PEER_PYTHON")
    usual = ROOT / ".venv-peer" / "bin" / "python"
    if named and not os.access(named, os.X_OK):
        pytest.fail(f"CHIP_PASSPORT_PEER_PYTHON is not an interpreter: {named}", pytrace=False)
    if named or usual.exists():
        return named or str(usual)
    pytest.skip("no environment with test peers; make one with: make peer")
