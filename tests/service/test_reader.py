"""A reader answers as a node that is open for reading does, and writes nothing."""

from pathlib import Path

import pytest

from ledger.errors import ConfigurationError, Reason, Refused
from ledger.service.node import Node, NodeSettings
from ledger.service.reader import Reader
from ledger.service.views import PassportFilter
from tests.service.storied import run, tell


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("story")
    tell(folder)
    return folder / "ledger.db"


def test_every_answer_is_the_nodes(made: Path) -> None:
    node, reader = Node.open(NodeSettings(str(made), read_only=True)), Reader.open(str(made))
    try:
        everybody = node.passports(PassportFilter(), None, 100)
        assert reader.passports(PassportFilter(), None, 100) == everybody
        assert len(everybody.items) == 6
        held = PassportFilter(state="held")
        assert reader.passports(held, None, 1) == node.passports(held, None, 1)
        for item in everybody.items:
            ueid = bytes.fromhex(item["ueid"])
            assert reader.passport(ueid) == item
            assert reader.history(ueid, 1, 3) == node.history(ueid, 1, 3)
            assert reader.passports(PassportFilter(), ueid, 9) == node.passports(
                PassportFilter(), item["ueid"], 9
            )
            assert reader.decisions(ueid, None, None, 9) == node.decisions(ueid, None, None, 9)
        assert reader.decisions(None, "hold", 3, 2) == node.decisions(None, "hold", 3, 2)
    finally:
        node.close()
        reader.close()


def test_nothing_is_written(made: Path) -> None:
    before = made.read_bytes(), sorted(path.name for path in made.parent.iterdir())
    reader = Reader.open(str(made))
    reader.passports(PassportFilter(), None, 100)
    reader.close()
    assert (made.read_bytes(), sorted(path.name for path in made.parent.iterdir())) == before


def test_unknown_chip_is_refused(made: Path) -> None:
    reader = Reader.open(str(made))
    for ask in (reader.passport, lambda ueid: reader.history(ueid, None, 1)):
        with pytest.raises(Refused) as refusal:
            ask(b"\x01" * 17)
        assert refusal.value.reason is Reason.CHIP_UNKNOWN
    reader.close()


def test_no_ledger_or_one_of_another_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no ledger"):
        Reader.open(str(tmp_path / "gone.db"))
    tell(tmp_path)
    run(tmp_path / "ledger.db", "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="has schema 9999"):
        Reader.open(str(tmp_path / "ledger.db"))
