"""A small ledger on disk, made once, and a way to run the command line in this process."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.cli.options import DATABASE_VARIABLE, URL_VARIABLE
from tests.cli.harness import Program, Story, make_story


@pytest.fixture(scope="package")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Three chips: one stays, one is diverted and held, one is silent for some days."""
    return make_story(tmp_path_factory.mktemp("ledger"))


@pytest.fixture(autouse=True)
def _bytecode_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that a test starts compile every library anew where this is set."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)


@pytest.fixture
def program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Program]:
    """The program in an empty folder and a clean environment; its logging ends with the test."""
    monkeypatch.chdir(tmp_path)
    for name in (DATABASE_VARIABLE, URL_VARIABLE, "COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    root, handlers, level = logging.getLogger(), logging.getLogger().handlers[:], logging.root.level
    yield Program(capfd)
    root.handlers[:] = handlers
    root.setLevel(level)
