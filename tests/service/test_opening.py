"""Opening a ledger: wrong keys, wrong clock, damage and a second process are refused in words."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import ConfigurationError, IntegrityError, Reason, Refused
from ledger.protocol.keys import P384Signer
from ledger.service.clock import SimulatedClock
from ledger.service.keys import LEDGER_KEY, VERIFIER_KEY, write_keys
from ledger.service.node import Node, NodeSettings
from ledger.service.views import PassportFilter
from ledger.store.engine import open_engine
from tests.service.harness import Stage, found, open_node
from tests.service.ticking import TickingClock
from tests.world import START_MS, World, seed


def populated(folder: Path) -> Stage:
    """A closed ledger with heartbeats, a hold and checkpoints."""
    stage = found(open_node(folder), chips=2)
    for _ in range(3):
        stage.beat(stage.chips[0], place=(1.3521, 103.8198))
        stage.beat(stage.chips[1])
        stage.hours()
    stage.node.close()
    return stage


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Stage]:
    folder = tmp_path_factory.mktemp("populated")
    return folder, populated(folder)


@pytest.fixture
def folder(made: tuple[Path, Stage], tmp_path: Path) -> Path:
    """A copy that the test may spoil."""
    target = tmp_path / "copy"
    shutil.copytree(made[0], target)
    return target


def sql(folder: Path, statement: str, *values: Any) -> None:
    connection = sqlite3.connect(folder / "ledger.db")
    assert connection.execute(statement, values).rowcount
    connection.commit()
    connection.close()


# -- keys -----------------------------------------------------------------------------------------


def test_keys_are_made_once_with_modes_that_keep_others_out(tmp_path: Path) -> None:
    settings = NodeSettings(str(tmp_path / "ledger.db"), clock=SimulatedClock(START_MS))
    node = Node.open(settings)
    first = node.status()
    node.close()
    keys = tmp_path / "ledger.db.keys"
    assert keys.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in keys.iterdir()} == {
        LEDGER_KEY: 0o600,
        VERIFIER_KEY: 0o600,
    }
    node = Node.open(settings)
    assert (node.status().ledger_key, node.status().verifier_key) == (
        first.ledger_key,
        first.verifier_key,
    )
    node.close()


@pytest.mark.parametrize("name", [LEDGER_KEY, VERIFIER_KEY])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_key_that_others_may_touch_is_refused(folder: Path, name: str, mode: int) -> None:
    (folder / "keys" / name).chmod(mode)
    with pytest.raises(ConfigurationError, match=f"chmod 600 .*{name}"):
        open_node(folder)


@pytest.mark.parametrize("name", [LEDGER_KEY, VERIFIER_KEY])
def test_missing_key_is_refused_and_never_made_anew(folder: Path, name: str) -> None:
    (folder / "keys" / name).unlink()
    with pytest.raises(ConfigurationError, match=f"{name} is missing"):
        open_node(folder)
    assert not (folder / "keys" / name).exists()


def test_ledger_with_entries_and_no_keys_is_refused(folder: Path) -> None:
    settings = NodeSettings(
        str(folder / "ledger.db"), keys=folder / "nowhere", clock=SimulatedClock(START_MS)
    )
    with pytest.raises(ConfigurationError, match="is missing"):
        Node.open(settings)
    assert not (folder / "nowhere").exists()


@pytest.mark.parametrize(("which", "says"), [(0, "ledger key"), (1, "verifier key")])
def test_key_that_is_not_the_genesis_one_is_refused(folder: Path, which: int, says: str) -> None:
    shutil.rmtree(folder / "keys")
    seeds = [seed("ledger"), seed("verifier")]
    seeds[which] = seed("another")
    write_keys(folder / "keys", *seeds)
    with pytest.raises(ConfigurationError, match=f"the {says} is not the one in the genesis"):
        open_node(folder)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no usable key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no usable key"),
        (P384Signer.from_seed(seed("p384")).to_pem(), "Ed25519"),
    ],
    ids=["empty", "broken", "p384"],
)
def test_file_that_is_no_ed25519_key_is_refused(folder: Path, content: bytes, says: str) -> None:
    (folder / "keys" / LEDGER_KEY).write_bytes(content)
    with pytest.raises(ConfigurationError, match=says):
        open_node(folder)


def test_keys_are_never_written_over(tmp_path: Path) -> None:
    write_keys(tmp_path, seed("a"), seed("b"))
    before = (tmp_path / LEDGER_KEY).read_bytes()
    with pytest.raises(ConfigurationError, match="cannot write keys"):
        write_keys(tmp_path, seed("c"), seed("d"))
    assert (tmp_path / LEDGER_KEY).read_bytes() == before


def test_postgresql_needs_a_folder_for_the_keys(postgres_database: str) -> None:
    with pytest.raises(ConfigurationError, match="--keys"):
        Node.open(NodeSettings(postgres_database, clock=SimulatedClock(START_MS)))


# -- authority ------------------------------------------------------------------------------------


def test_ledger_of_another_authority_than_the_named_one_is_refused(folder: Path) -> None:
    founder, other = World().authority.public.kid, seed("other")[:16]
    open_node(folder, authority_kid=founder).close()
    with pytest.raises(ConfigurationError) as caught:
        open_node(folder, authority_kid=other)
    assert str(caught.value) == (
        f"the genesis is by the authority {founder.hex()}, but --authority names {other.hex()}"
    )
    open_node(folder).close()


# -- clock ----------------------------------------------------------------------------------------


def test_simulated_ledger_never_runs_on_a_real_clock(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="--clock simulated"):
        open_node(folder, clock=TickingClock(START_MS + 10**9))


# -- damage that is found at start ----------------------------------------------------------------

_NOTE = "UPDATE checkpoints SET {} WHERE size = (SELECT max(size) FROM checkpoints)"


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DELETE FROM checkpoints", "checkpoint is missing"),
        ("DELETE FROM checkpoints WHERE size = (SELECT max(size) FROM checkpoints)", "not of the"),
        (_NOTE.format("note = substr(note, 1, 30)"), "checkpoint"),
        (_NOTE.format("note = CAST(replace(note, 'test', 'rest') AS BLOB)"), "checkpoint"),
        ("DELETE FROM log_head", "no head row"),
        ("UPDATE log_head SET size = size - 1", "compact range"),
        ("UPDATE log_head SET frontier = substr(frontier, 2)", "compact range"),
        ("UPDATE log_head SET published_size = published_size - 1", "compact range"),
        ("UPDATE entries SET body = substr(body, 2) WHERE kind = 'genesis'", "damaged"),
        (
            "UPDATE entries SET body = substr(body, 2) WHERE idx = "
            "(SELECT max(idx) FROM documents WHERE kind = 'epoch')",
            "damaged",
        ),
    ],
)
def test_damage_is_an_integrity_error_at_start(folder: Path, statement: str, says: str) -> None:
    sql(folder, statement)
    with pytest.raises(IntegrityError, match=says):
        open_node(folder)
    # The lock was let go of.
    with pytest.raises(IntegrityError, match=says):
        open_node(folder)


@pytest.mark.parametrize(
    ("position", "says"),
    [
        ("size + 1", "the verifier's stored position is"),
        ("-1", "position is -1"),
        ("9000000000000000000", "position is 9000000000000000000"),
        ("'soon'", "position is 'soon'"),
        ("0.5", "position is 0.5"),
    ],
)
def test_verifier_that_cannot_have_read_so_far_is_refused_at_start(
    folder: Path, position: str, says: str
) -> None:
    sql(folder, f"UPDATE log_head SET verifier_position = {position}")
    with pytest.raises(IntegrityError, match=says):
        open_node(folder)


def test_verifier_state_as_of_an_entry_that_is_missing_is_refused_at_start(folder: Path) -> None:
    sql(folder, "UPDATE log_head SET verifier_position = 4")
    open_node(folder).close()
    sql(folder, "UPDATE log_head SET verifier_position = 4")
    sql(folder, "DELETE FROM entries WHERE idx = 3")
    with pytest.raises(IntegrityError, match="entry 3 is missing"):
        open_node(folder)


def test_verifier_position_at_either_end_of_the_log_is_taken(folder: Path) -> None:
    for position in ("0", "size"):
        sql(folder, f"UPDATE log_head SET verifier_position = {position}")
        open_node(folder).close()


def test_older_log_behind_a_newer_checkpoint_is_refused(folder: Path) -> None:
    """Entries from a backup, checkpoints from after it."""
    with sqlite3.connect(folder / "ledger.db") as connection:
        size, frontier = connection.execute(
            "SELECT published_size, published_frontier FROM log_head"
        ).fetchone()
    connection.close()
    assert size > 20
    empty = bytes(8)
    sql(folder, "UPDATE log_head SET size = 0, frontier = ?", empty)
    with pytest.raises(IntegrityError, match="shorter than its last checkpoint"):
        open_node(folder)
    sql(folder, "UPDATE log_head SET published_size = 0, published_frontier = ?", empty)
    with pytest.raises(IntegrityError, match="not of the published tree"):
        open_node(folder)
    assert frontier != empty


def test_file_that_is_damaged_inside_is_refused(folder: Path) -> None:
    path = folder / "ledger.db"
    data = bytearray(path.read_bytes())
    data[8_192:8_300] = b"\xff" * 108
    path.write_bytes(data)
    with pytest.raises((ConfigurationError, IntegrityError), match=r"damaged|usable"):
        open_node(folder)


def test_file_of_something_else_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "ledger.db")
    connection.execute("CREATE TABLE customers (id INTEGER)")
    connection.close()
    with pytest.raises(ConfigurationError, match="other tables"):
        open_node(tmp_path)


# -- a second process -----------------------------------------------------------------------------

SERVE = """
import sys
from pathlib import Path
from tests.service.harness import open_node
node = open_node(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def test_second_process_is_refused_and_may_read_meanwhile(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        env=os.environ | {"PYTHONPATH": "."},
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        with pytest.raises(ConfigurationError, match="another process is writing"):
            open_node(folder)
        reader = open_node(folder, read_only=True)
        assert reader.status().origin == "test.example/ledger"
        reader.close()
        first.kill()
    open_node(folder).close()


def test_same_process_cannot_open_a_ledger_twice(folder: Path) -> None:
    node = open_node(folder)
    with pytest.raises(ConfigurationError, match="another process is writing"):
        open_node(folder)
    node.close()
    open_node(folder).close()


# -- reading only ---------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Node, Stage]]:
    """A node that only reads, on the ledger of a closed one."""
    url = None
    if request.param == "postgresql":
        url = str(request.getfixturevalue("postgres_database"))
    stage = found(open_node(tmp_path, url), chips=2)
    for _ in range(3):
        stage.beat(stage.chips[0], place=(1.3521, 103.8198))
    stage.hours()
    stage.node.close()
    node = open_node(tmp_path, url, read_only=True)
    yield node, stage
    node.close()


def test_reading_node_answers_every_question(reader: tuple[Node, Stage]) -> None:
    node, stage = reader
    (chip, _) = stage.chips
    assert node.status().origin == "test.example/ledger"
    assert node.status().now_ms == stage.world.now_ms
    assert node.passport(chip.ueid)["state"] == "held"
    assert len(node.passports(PassportFilter(), None, 10).items) == 2
    assert len(node.history(chip.ueid, None, 100).items) == 8
    assert len(node.decisions(None, None, None, 10).items) == 1
    assert node.checkpoint() is not None
    assert len(node.tile("0/000.p/5")) == 5 * 32
    assert node.ready() is None


@pytest.mark.parametrize(
    "write",
    [
        lambda node, stage: node.submit([stage.world.licence(id="L-7")]),
        lambda node, stage: node.submit([b"junk"]),
        lambda node, stage: node.set_time(stage.world.now_ms + 5),
        lambda node, _stage: node.follow(),
        lambda node, _stage: node.publish(),
    ],
    ids=["submit", "submit-junk", "set_time", "follow", "publish"],
)
def test_reading_node_writes_nothing(
    reader: tuple[Node, Stage], write: Callable[[Node, Stage], object]
) -> None:
    node, stage = reader
    before = node.status()
    with pytest.raises(ConfigurationError, match="for reading only"):
        write(node, stage)
    assert node.status() == before
    assert node.ready() is None


def test_reading_needs_a_ledger(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no ledger"):
        open_node(tmp_path, read_only=True)
    open_engine(str(tmp_path / "ledger.db")).dispose()
    with pytest.raises(ConfigurationError, match="holds no ledger"):
        open_node(tmp_path, read_only=True)


def test_reading_an_empty_ledger_is_possible(tmp_path: Path) -> None:
    open_node(tmp_path).close()
    node = open_node(tmp_path, read_only=True)
    assert (node.status().origin, node.status().size) == (None, 0)
    assert node.passports(PassportFilter(), None, 10).items == []
    with pytest.raises(ConfigurationError, match="for reading only"):
        node.submit([World().policy()])
    node.close()


# -- questions ------------------------------------------------------------------------------------


def test_tiles_are_served_up_to_the_checkpoint_only(tmp_path: Path) -> None:
    stage = found(open_node(tmp_path), chips=1)
    stage.node.publish()
    size = stage.node.status().size
    stage.take(stage.token(stage.chips[0]))
    whole = stage.node.tile(f"0/000.p/{size}")
    assert len(whole) == size * 32
    assert stage.node.tile("0/000.p/3") == whole[:96]
    for path in (f"0/000.p/{size + 1}", "0/000", "0/001.p/1", "1/000.p/1", "62/000.p/1"):
        with pytest.raises(Refused) as refused:
            stage.node.tile(path)
        assert refused.value.reason is Reason.TILE_UNKNOWN
    bundle = stage.node.tile(f"entries/000.p/{size}")
    assert int.from_bytes(bundle[:2]) > 32
    stage.node.close()


def test_missing_entry_is_no_shorter_bundle(folder: Path) -> None:
    sql(folder, "DELETE FROM entries WHERE idx = 3")
    node = open_node(folder)
    with pytest.raises(IntegrityError, match="entry 3 is missing"):
        node.tile("entries/000.p/8")
    assert node.tile("entries/000.p/3")
    node.close()


def test_missing_tile_is_an_integrity_error(folder: Path) -> None:
    sql(folder, "DELETE FROM tiles WHERE level = 0")
    node = open_node(folder)
    with pytest.raises(IntegrityError, match="tile 0/0 is missing"):
        node.tile("0/000.p/8")
    node.close()


# -- a first start that was cut short, a disk that does not answer ---------------------------------


def test_keys_that_were_half_made_are_completed_while_the_ledger_is_empty(tmp_path: Path) -> None:
    node = open_keyless(tmp_path)
    node.close()
    keys = tmp_path / "ledger.db.keys"
    kept = (keys / LEDGER_KEY).read_bytes()
    (keys / VERIFIER_KEY).unlink()
    (keys / f"{VERIFIER_KEY}.new").write_bytes(b"-----BEGIN")
    open_keyless(tmp_path).close()
    assert (keys / LEDGER_KEY).read_bytes() == kept
    assert sorted(path.name for path in keys.iterdir()) == [LEDGER_KEY, VERIFIER_KEY]


def test_keys_are_written_where_files_have_one_name_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_keys(tmp_path / "keys", seed("ledger"), seed("verifier"))
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == [LEDGER_KEY, VERIFIER_KEY]
    with pytest.raises(ConfigurationError, match="Operation not permitted"):
        write_keys(tmp_path / "keys", seed("ledger"), seed("verifier"))


def test_fault_of_the_file_system_at_start_is_told_in_words_and_lets_go_of_the_lock(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path) -> bool:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "is_dir", fail)
    with pytest.raises(ConfigurationError, match=r"ledger\.db: Input/output error"):
        open_node(folder)
    monkeypatch.undo()
    open_node(folder).close()


def open_keyless(folder: Path) -> Node:
    """A node that makes its own keys."""
    return Node.open(NodeSettings(str(folder / "ledger.db"), clock=SimulatedClock(START_MS)))
