"""Opening a database: what durability rests on is confirmed or the database is refused."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import DatabaseError, OperationalError

from ledger.errors import ConfigurationError, IntegrityError, StorageError
from ledger.store import engine as engine_module
from ledger.store.engine import (
    WriterLock,
    database_url,
    open_engine,
    reading,
    reading_url,
    storage_error,
    write_failure,
    writing,
)
from ledger.store.log_rows import read_head, update_head
from ledger.store.schema import migrate


def pragma(engine: Engine, name: str) -> object:
    with engine.connect() as connection:
        return connection.execute(text(f"PRAGMA {name}")).scalar()


# -- durability -----------------------------------------------------------------------------------


def test_every_sqlite_connection_is_durable(tmp_path: Path) -> None:
    engine = open_engine(str(tmp_path / "ledger.db"))
    with engine.connect() as first, engine.connect() as second:
        for connection in (first, second):
            assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
            assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
    engine.dispose()


def test_sqlite_without_wal_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's dot-file locking has no shared memory, so its files stay in DELETE mode."""
    address = f"sqlite:///file:{tmp_path}/ledger.db?vfs=unix-dotfile&uri=true"
    monkeypatch.setattr(
        engine_module, "create_engine", lambda _url, **options: create_engine(address, **options)
    )
    with pytest.raises(ConfigurationError, match="does not take WAL") as caught:
        open_engine(str(tmp_path / "ledger.db"))
    assert "it has delete" in str(caught.value)


def test_postgresql_with_commits_that_do_not_wait_is_refused(postgres_database: str) -> None:
    open_engine(postgres_database).dispose()
    for setting in ("local", "on"):
        _set(postgres_database, setting)
        open_engine(postgres_database).dispose()
    _set(postgres_database, "off")
    with pytest.raises(ConfigurationError, match="synchronous_commit"):
        open_engine(postgres_database)


def _set(url: str, setting: str) -> None:
    plain = make_url(url).set(drivername="postgresql")
    with psycopg.connect(
        plain.render_as_string(hide_password=False), autocommit=True
    ) as connection:
        connection.execute(
            f'ALTER DATABASE "{plain.database}" SET synchronous_commit = {setting}'.encode()
        )


# -- refusals with a remedy -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("database", "says"),
    [
        ("mysql://localhost/ledger", "not supported"),
        ("://", "file path or a URL"),
        ("sqlite://", "lives in a file"),
        ("sqlite:///:memory:", "lives in a file"),
        ("missing folder/ledger.db", "missing folder does not exist; .* mkdir -p 'missing folder'"),
        ("sqlite:///file:ledger.db?uri=true", "takes no options"),
        ("sqlite:///file:ledger.db", "takes no options"),
        ("sqlite:///ledger.db?nolock=1&uri=true", "takes no options"),
        (".", "is a folder"),
        ("postgresql://nobody@127.0.0.1:1/ledger", "does not answer"),
    ],
)
def test_unusable_address_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=says):
        open_engine(database)
    assert list(tmp_path.iterdir()) == []


def test_postgresql_url_gets_the_projects_driver() -> None:
    for spelling in ("postgresql://h/d", "postgres://h/d", "postgresql+psycopg://h/d"):
        assert database_url(spelling).drivername == "postgresql+psycopg"


@pytest.mark.parametrize("options", [{"read_only": True}, {"create": False}])
def test_missing_file_is_not_made_where_it_has_to_exist(
    tmp_path: Path, options: dict[str, bool]
) -> None:
    with pytest.raises(ConfigurationError, match="there is no ledger"):
        open_engine(str(tmp_path / "ledger.db"), **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read_only", [False, True])
def test_file_that_is_no_database_is_refused(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"these are not the bytes of a database at all" * 200)
    with pytest.raises(ConfigurationError, match="not a usable ledger"):
        open_engine(str(path), read_only=read_only)


def test_damaged_page_is_refused_by_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    engine = open_engine(str(path))
    migrate(engine)
    engine.dispose()
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    data = bytearray(path.read_bytes())
    data[4096:4104] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"damaged|not a usable ledger"):
        open_engine(str(path))
    # Who only writes a row beside a service does not read the whole file first.
    open_engine(str(path), examine=False).dispose()


# -- reading only ---------------------------------------------------------------------------------


def crashed(folder: Path) -> Path:
    """A ledger whose last transaction is in its WAL, as a kill leaves it."""
    engine = open_engine(str(folder / "source.db"))
    migrate(engine)
    with writing(engine) as connection:
        connection.execute(text("UPDATE log_head SET simulated_ms = 7"))
    path = folder / "odd name#1%20?" / "ledger.db"
    path.parent.mkdir()
    for ending in ("", "-wal"):
        shutil.copyfile(folder / f"source.db{ending}", f"{path}{ending}")
    engine.dispose()
    return path


def simulated_ms(path: Path) -> object:
    engine = open_engine(str(path), read_only=True)
    try:
        with reading(engine) as connection:
            return connection.execute(text("SELECT simulated_ms FROM log_head")).scalar()
    finally:
        engine.dispose()


def test_reading_leaves_file_and_wal_as_they_are(tmp_path: Path) -> None:
    path = crashed(tmp_path)
    wal = Path(f"{path}-wal")
    before = path.read_bytes(), wal.read_bytes()
    assert before[1]
    for _ in range(2):
        assert simulated_ms(path) == 7
        assert (path.read_bytes(), wal.read_bytes()) == before
    link = tmp_path / "link.db"
    link.symlink_to(path)
    assert simulated_ms(link) == 7
    assert (path.read_bytes(), wal.read_bytes()) == before


def test_reading_a_ledger_that_was_closed_leaves_it_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    engine = open_engine(str(path))
    migrate(engine)
    engine.dispose()
    before = path.read_bytes()
    assert simulated_ms(path) == 0
    assert path.read_bytes() == before
    wal = Path(f"{path}-wal")
    assert not wal.exists() or not wal.read_bytes()
    open_engine(str(path)).dispose()


@pytest.mark.parametrize(
    ("wal", "shared", "folder_writable", "immutable"),
    [
        (None, False, False, True),
        (b"", False, False, True),
        (None, True, False, True),
        (b"", True, False, False),
        (b"frames", False, False, False),
        (b"frames", True, False, False),
        (None, False, True, False),
        (b"", False, True, False),
        (b"frames", False, True, False),
    ],
)
def test_file_counts_as_unchanging_only_where_sqlite_cannot_read_it_otherwise(
    tmp_path: Path, wal: bytes | None, shared: bool, folder_writable: bool, immutable: bool
) -> None:
    path = tmp_path / "ledger.db"
    path.touch()
    if wal is not None:
        Path(f"{path}-wal").write_bytes(wal)
    if shared:
        Path(f"{path}-shm").touch()
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    for name in (path, link):
        url = reading_url(name, folder_writable=folder_writable)
        assert url.query["mode"] == "ro"
        assert ("immutable" in url.query) == immutable


def test_closed_ledger_on_read_only_media_is_read_without_any_file_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The superuser may write everywhere, so the system's answer is put in its mouth."""
    path = tmp_path / "ledger.db"
    engine = open_engine(str(path))
    migrate(engine)
    engine.dispose()
    monkeypatch.setattr(os, "access", lambda _folder, _mode: False)
    assert simulated_ms(path) == 0
    assert [found.name for found in tmp_path.iterdir()] == ["ledger.db"]


def test_wal_that_cannot_be_read_on_read_only_media_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link without a target in the place of the -shm file stops even the superuser."""
    path = crashed(tmp_path)
    Path(f"{path}-shm").symlink_to(tmp_path / "missing" / "shm")
    monkeypatch.setattr(os, "access", lambda _folder, _mode: False)
    with pytest.raises(ConfigurationError, match=r"transactions in ledger\.db-wal.* copy both"):
        open_engine(str(path), read_only=True)


# -- transactions ---------------------------------------------------------------------------------


def test_readers_connection_cannot_write(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.db")
    migrate(open_engine(path))
    engine = open_engine(path, read_only=True)
    with pytest.raises(StorageError, match="readonly"), writing(engine) as connection:
        connection.execute(text("UPDATE log_head SET size = 5"))
    engine.dispose()


def test_failed_write_is_remembered_until_one_changes_something(engine: Engine) -> None:
    assert write_failure(engine) is None
    with pytest.raises(StorageError) as caught, writing(engine) as connection:
        connection.execute(text("UPDATE log_head SET size = NULL"))
    assert write_failure(engine) == str(caught.value) != ""
    with writing(engine) as connection:  # as a publisher does that finds nothing to publish
        read_head(connection, lock=True)
    with suppress(ZeroDivisionError), writing(engine) as connection:
        update_head(connection, simulated_ms=5)
        raise ZeroDivisionError
    assert write_failure(engine) == str(caught.value)
    with writing(engine) as connection:
        update_head(connection, simulated_ms=5)
    assert write_failure(engine) is None


def test_faulty_question_is_no_failed_write(engine: Engine) -> None:
    with suppress(StorageError), reading(engine) as connection:
        connection.execute(text("SELECT no_such_column FROM log_head"))
    assert write_failure(engine) is None


def test_foreign_exception_inside_a_transaction_comes_out_as_it_is(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError), writing(engine):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), reading(engine):
        raise ZeroDivisionError


def test_faulty_statement_is_a_storage_error(engine: Engine) -> None:
    for transaction in (writing, reading):
        with pytest.raises(StorageError), transaction(engine) as connection:
            connection.execute(text("SELECT no_such_column FROM log_head"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OperationalError("x", {}, Exception("database or disk is full")), StorageError),
        (OperationalError("x", {}, Exception("database is locked")), StorageError),
        (DatabaseError("x", {}, Exception("database disk image is malformed")), IntegrityError),
        (DatabaseError("x", {}, Exception("file is not a database")), IntegrityError),
    ],
)
def test_damage_is_fatal_and_everything_else_may_be_retried(
    error: Exception, expected: type[Exception]
) -> None:
    assert type(storage_error(error)) is expected


def test_long_messages_are_cut_to_their_first_line() -> None:
    assert str(storage_error(Exception("one\ntwo"))) == "one"
    assert str(storage_error(Exception(""))) == ""
    assert len(str(storage_error(Exception("x" * 1_000)))) == 200


# -- one writing process to a SQLite file ---------------------------------------------------------

HOLD = """
import sys
from ledger.store.engine import WriterLock
lock = WriterLock(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_second_process_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.db")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(ConfigurationError, match="another process is writing"):
            WriterLock(path)
        first.kill()
    WriterLock(path).release()


def test_lock_holds_under_every_name_of_the_file(tmp_path: Path) -> None:
    path, link = tmp_path / "ledger.db", tmp_path / "other-name.db"
    path.touch()
    link.symlink_to(path)
    lock = WriterLock(str(path))
    with pytest.raises(ConfigurationError, match="another process is writing"):
        WriterLock(str(link))
    lock.release()
    lock.release()
    WriterLock(str(link)).release()


def test_lock_in_a_folder_that_is_missing_names_it_and_the_remedy(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(ConfigurationError) as caught:
        WriterLock(str(missing / "ledger.db"))
    assert str(caught.value) == (
        f"the folder {missing} does not exist; make it first: mkdir -p {missing}"
    )
    missing.mkdir()
    WriterLock(str(missing / "ledger.db")).release()


def test_lock_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.db.lock").mkdir()
    with pytest.raises(ConfigurationError, match=r"cannot write .*ledger\.db\.lock"):
        WriterLock(str(tmp_path / "ledger.db"))


def test_file_with_a_second_hard_link_is_refused_under_either_name(tmp_path: Path) -> None:
    """Each name would have a lock and a WAL of its own."""
    path, link = tmp_path / "ledger.db", tmp_path / "other.db"
    open_engine(str(path)).dispose()
    held = WriterLock(str(path))
    link.hardlink_to(path)
    for name in (path, link):
        with pytest.raises(ConfigurationError, match=r"2 names \(hard links\)"):
            open_engine(str(name))
    with pytest.raises(ConfigurationError, match=r"2 names \(hard links\)"):
        WriterLock(str(link))
    held.release()
    for _ in range(2):  # the refusal lets go of the lock
        with pytest.raises(ConfigurationError, match=r"2 names \(hard links\)"):
            WriterLock(str(path))
    link.unlink()
    WriterLock(str(path)).release()
    open_engine(str(path)).dispose()


@pytest.mark.parametrize("name", ["ledger.db", "with blank.db", "back\\slash.db"])
def test_file_that_is_mounted_without_its_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path, mounts = tmp_path / name, tmp_path / "mountinfo"
    open_engine(str(path)).dispose()
    escaped = str(path).replace("\\", "\\134").replace(" ", "\\040")
    line = "42 27 254:0 /srv/a.db {} rw,relatime - ext4 /dev/vda rw\n"
    monkeypatch.setattr(engine_module, "MOUNTS", mounts)
    mounts.write_text("x\n" + line.format(escaped))
    link = tmp_path / "link.db"
    link.symlink_to(path)
    for opened in (str(path), str(link)):
        with pytest.raises(ConfigurationError, match=r"mount its whole folder at"):
            open_engine(opened)
        with pytest.raises(ConfigurationError, match="without its folder"):
            WriterLock(opened)
    open_engine(str(path), read_only=True).dispose()
    mounts.write_text(line.format(str(tmp_path)))
    open_engine(str(path)).dispose()
    mounts.unlink()  # not every system says what is mounted
    open_engine(str(path)).dispose()
    WriterLock(str(link)).release()


def test_postgresql_needs_no_lock_file() -> None:
    first = WriterLock("postgresql://localhost/ledger")
    second = WriterLock("postgresql://localhost/ledger")
    first.release()
    second.release()
