"""``check``: sound, unsound with the place, and what it cannot check."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from api.cli import check
from api.cli.options import DEMO_DATABASE
from ledger.service.check import CheckReport
from tests.cli.harness import Program, Story
from tests.service.harness import found, open_node


@pytest.fixture
def copy(story: Story, tmp_path: Path) -> Path:
    """A copy of the ledger that a test may damage."""
    path = tmp_path / "copy.db"
    shutil.copyfile(story.database, path)
    return path


def flip(path: Path, table: str, column: str, where: str, at: int = 40) -> None:
    """Change one byte of a stored value."""
    connection = sqlite3.connect(path)
    (value,) = connection.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchone()
    changed = bytes([*value[:at], value[at] ^ 1, *value[at + 1 :]])
    assert connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (changed,)).rowcount
    connection.commit()
    connection.close()


def test_sound_ledger_is_said_with_counts_and_root(program: Program, story: Story) -> None:
    done = program("check", "--database", story.database)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"sound: {story.database}\n")
    facts = dict(line.split(maxsplit=1) for line in done.out.splitlines()[1:])
    assert len(facts["root"]) == 64
    assert facts["chips"] == "3"


def test_entry_as_of_which_the_verifiers_state_was_saved_is_told(
    program: Program, tmp_path: Path
) -> None:
    stage = found(open_node(tmp_path))
    path = tmp_path / "ledger.db"
    done = program("check", "--database", path)
    assert done.out.splitlines()[-1] == "  the verifier's state has not been saved yet"
    stage.node.close()
    stage.node = open_node(tmp_path)
    saved = stage.node.status().size - 1
    stage.take(stage.token(stage.chips[0]))
    done = program("check", "--database", path)
    stage.node.close()
    assert done.out.splitlines()[-1] == f"  the verifier's state was saved as of entry {saved}"


def test_sound_ledger_as_json(program: Program, story: Story) -> None:
    done = program("check", "--json", "--database", story.database)
    assert (done.code, done.err) == (0, "")
    assert done.json["sound"] is True
    assert done.json["faults"] == []
    assert done.json["entries"] == done.json["signatures"] > 80


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        (lambda path: flip(path, "entries", "body", "idx = 40"), "entry 40, statement"),
        (lambda path: flip(path, "entries", "leaf", "idx = 41"), "entry 41, leaf"),
        (lambda path: flip(path, "tiles", "data", "level = 0 AND n = 0"), "tile"),
        (
            lambda path: flip(
                path, "checkpoints", "note", "size = (SELECT max(size) FROM checkpoints)", at=60
            ),
            "checkpoint",
        ),
    ],
)
def test_flipped_byte_is_named_with_its_place_and_exit_code_1(
    program: Program, copy: Path, damage: Callable[[Path], None], place: str
) -> None:
    damage(copy)
    done = program("check", "--database", copy)
    assert done.code == 1
    assert done.out.splitlines()[0].startswith(f"NOT SOUND: {place}")
    done = program("check", "--json", "--database", copy)
    assert (done.code, done.err) == (1, "")
    assert done.json["sound"] is False
    assert done.json["faults"][0]["place"].startswith(place)


def test_what_was_checked_before_a_fault_is_told(program: Program, copy: Path) -> None:
    flip(copy, "chips", "cose_key", "ueid = (SELECT min(ueid) FROM chips)", at=5)
    lines = program("check", "--database", copy).out.splitlines()
    assert lines[0].startswith("NOT SOUND: table chips, row ")
    assert "entries were found sound until then" in lines[1]
    flip(copy, "entries", "body", "idx = 40")
    lines = program("check", "--database", copy).out.splitlines()
    assert lines[1] == "40 entries before it are sound"


def test_demo_ledger_is_the_default(program: Program, story: Story) -> None:
    assert "run: chip-passport demo" in program("check").complaint
    target = Path(DEMO_DATABASE)
    target.parent.mkdir()
    shutil.copyfile(story.database, target)
    assert program("check").code == 0


def test_database_that_does_not_exist_is_an_error_and_not_unsound(program: Program) -> None:
    assert "no ledger at nowhere.db" in program("check", "--database", "nowhere.db").complaint


# -- passwords ------------------------------------------------------------------------------------


def test_sound_database_server_is_named_without_its_password(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_check", lambda database: CheckReport())
    for url in ("postgresql://u:sEcret@host/db", "postgresql://u@host/db?password=sEcret"):
        done = program("check", "--database", url)
        assert done.code == 0
        assert "sound: postgresql+psycopg://u" in done.out
        assert "sEcret" not in done.out + done.err


@pytest.mark.parametrize("command", ["check", "devices", "serve"])
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:sEcret@127.0.0.1:1/db",
        "postgresql://u:sEcret@127.0.0.1:99999/db",
        "postgresql://u:pass@sEcret/word@127.0.0.1:1/db",
        "postgresql://u:127.0.0.1:sEcret/db",
        "postgresql:/u:sEcret@host/db",
        "postgresql+unheard://u:sEcret@host/db",
        "postgresql+psycopg2://u:sEcret@host/db",
        "sqlite://u:sEcret@host/db",
        "mysql://u:sEcret@host/db",
    ],
)
def test_no_error_repeats_a_password(program: Program, command: str, url: str) -> None:
    assert "sEcret" not in program(command, "--database", url).complaint
