"""Opening a database: SQLite (one file, WAL, synchronous=FULL) or PostgreSQL.

What a durable commit rests on is asserted here, at start: a database that does not confirm the
settings is refused. One process writes to a SQLite file at a time; a lock file beside it says so.
"""

import fcntl
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from ledger.errors import ConfigurationError, IntegrityError, StorageError

SQLITE_BUSY_S = 30
SQLITE_CACHE_KIB = 65_536
WRITES = "chip_passport_writes"
"""Execution option of a connection whose transaction is going to write."""
MOUNTS = Path("/proc/self/mountinfo")
"""What this process sees mounted where (Linux, proc_pid_mountinfo(5)); elsewhere it is missing."""
_OUTCOME = "chip_passport_outcome"
"""Execution option of an engine: how its last write ended."""
_CHANGED = "chip_passport_changed"
"""Mark on a connection whose transaction has changed rows."""


@dataclass(slots=True)
class _Outcome:
    failure: str | None = None


def database_url(database: str) -> URL:
    """URL of ``database``: an SQLAlchemy URL, or the path of a SQLite file."""
    if "://" not in database:
        if database.startswith(("postgres:", "postgresql:")):  # no file, and no name to repeat
            raise ConfigurationError("a database URL has two slashes after its colon")
        return URL.create("sqlite", database=str(Path(database)))
    if database.partition("://")[2].partition("?")[0].count("@") > 1:
        # A part of the password would be taken for the host, and named in errors.
        raise ConfigurationError("write an @ within a database URL's user or password as %40")
    try:
        url = make_url(database)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError("the database is a file path or a URL") from error
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigurationError(
            f"{url.get_backend_name()} is not supported; use SQLite or PostgreSQL"
        )
    if url.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise ConfigurationError(f"the driver of {url.drivername} is not supported; leave it out")
    if url.get_backend_name() == "sqlite" and (
        url.query or (url.database or "").startswith("file:")
    ):
        # Options could leave locks out, and the lock file would not lie beside the file they name.
        raise ConfigurationError("a SQLite database takes no options; give the path of its file")
    return url


def shown_database(database: str) -> str:
    """The database's name as people may see it: a path, or a URL without its password."""
    if "://" not in database:
        return database
    url = database_url(database)
    if "password" in url.query:
        url = url.update_query_dict({"password": "***"})
    return url.render_as_string(hide_password=True)


def open_engine(
    database: str, *, read_only: bool = False, create: bool = True, examine: bool = True
) -> Engine:
    """Connect and assert what durability needs; ``ConfigurationError`` where it is not so.

    ``examine``: look through a SQLite file's pages before it is written to, which takes the longer
    the larger the file is; whoever writes a row beside a running service leaves it to that one.
    """
    url = database_url(database)
    if url.get_backend_name() == "sqlite":
        engine = _open_sqlite(url, read_only, create, examine and not read_only)
    else:
        engine = _open_postgresql(url)
    engine.update_execution_options(**{_OUTCOME: _Outcome()})
    event.listen(engine, "after_cursor_execute", _note_change)
    return engine


def write_failure(engine: Engine) -> str | None:
    """Why the last write failed; None where it did not. One that changed no row tells nothing."""
    outcome: _Outcome = engine.get_execution_options()[_OUTCOME]
    return outcome.failure


def _note_change(connection: Connection, *event_arguments: Any) -> None:
    context = event_arguments[3]
    if context is not None and (context.isinsert or context.isupdate or context.isdelete):
        connection.info[_CHANGED] = True


def _open_postgresql(url: URL) -> Engine:
    engine = create_engine(url, pool_size=4, max_overflow=4, pool_pre_ping=True)
    try:
        with engine.connect() as connection:
            values = [
                str(connection.execute(text(f"SHOW {name}")).scalar())
                for name in ("fsync", "synchronous_commit", "full_page_writes")
            ]
    except SQLAlchemyError as error:
        engine.dispose()
        raise ConfigurationError(f"PostgreSQL does not answer: {_first_line(error)}") from error
    if values[0] != "on" or values[1] == "off" or values[2] != "on":
        engine.dispose()
        raise ConfigurationError(
            "PostgreSQL runs with fsync, synchronous_commit or full_page_writes off; "
            "an acknowledgement would promise more than it holds"
        )
    return engine


def _open_sqlite(url: URL, read_only: bool, create: bool, examine: bool) -> Engine:
    path = Path(url.database or "")
    if not url.database or url.database == ":memory:":
        raise ConfigurationError("a ledger lives in a file; give its path")
    if not path.exists():
        if read_only or not create:
            raise ConfigurationError(f"there is no ledger at {path}")
        _require_folder(path)
    elif path.is_dir():
        raise ConfigurationError(f"{path} is a folder, not a ledger")
    elif not read_only:
        _require_one_name(path)
    if read_only:
        url = reading_url(path, folder_writable=os.access(path.resolve().parent, os.W_OK))
    engine = create_engine(url, connect_args={"timeout": SQLITE_BUSY_S})

    @event.listens_for(engine, "connect")
    def _settings(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, see _begin
        cursor = connection.cursor()
        if read_only:
            cursor.execute("PRAGMA query_only=ON")
        else:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute(f"PRAGMA cache_size=-{SQLITE_CACHE_KIB}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes the lock before it reads, or two would build on the same head.
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    try:
        with engine.connect() as connection:
            mode = connection.execute(text("PRAGMA journal_mode")).scalar()
            synchronous = connection.execute(text("PRAGMA synchronous")).scalar()
            check = "PRAGMA quick_check(1)" if examine else "SELECT 'ok'"
            damage = connection.execute(text(check)).scalar()
    except SQLAlchemyError as error:
        engine.dispose()
        raise ConfigurationError(
            f"{path} is not a usable ledger: {_first_line(error)}"
            + (_reading_remedy(path) if read_only else "")
        ) from error
    if damage != "ok":
        engine.dispose()
        raise ConfigurationError(f"{path} is damaged: {damage}; restore it from a backup")
    if not read_only and (mode != "wal" or synchronous != 2):
        engine.dispose()
        raise ConfigurationError(
            f"{path} does not take WAL with synchronous=FULL (it has {mode}, {synchronous}); "
            "use a local file system"
        )
    return engine


def reading_url(path: Path, *, folder_writable: bool) -> URL:
    """Address under which SQLite only reads ``path``: the file and its WAL stay as they are.

    SQLite reads a file in WAL mode with the help of two files beside it. Where it can neither find
    nor make them (read-only media) it is told that nobody changes the file, unless a WAL holds
    transactions, which would then be passed over.
    """
    file = path.resolve()  # as SQLite does: the WAL lies beside the file, not beside a link
    wal, shared = Path(f"{file}-wal"), Path(f"{file}-shm")
    query = {"uri": "true", "mode": "ro"}
    if not folder_writable and not _holds(wal) and not (wal.exists() and shared.exists()):
        query["immutable"] = "1"
    return URL.create("sqlite", database=file.as_uri(), query=query)


def _holds(wal: Path) -> bool:
    return wal.exists() and wal.stat().st_size > 0


def _reading_remedy(path: Path) -> str:
    file = path.resolve()
    if not _holds(Path(f"{file}-wal")) or os.access(file.parent, os.W_OK):
        return ""
    return (
        f"; it has transactions in {file.name}-wal, and to read them the folder has to take files: "
        "copy both files into one that does"
    )


def _require_folder(path: Path) -> None:
    folder = path.parent
    if not folder.is_dir():
        remedy = f"mkdir -p {shlex.quote(str(folder))}"
        raise ConfigurationError(f"the folder {folder} does not exist; make it first: {remedy}")


def _require_one_name(path: Path) -> None:
    """SQLite's WAL and our lock are named after the file: two hard links would have two of each.

    Two writers would then destroy the file. Symbolic links are followed and do no harm. A file that
    is mounted without its folder, as into a container, has two names as well.
    """
    file = path.resolve()
    if file in _mount_points():
        raise ConfigurationError(
            f"{path} is mounted without its folder: its -wal and .lock files would not be where "
            f"others look for them; mount its whole folder at {file.parent}"
        )
    try:
        names = path.stat().st_nlink
    except FileNotFoundError:
        return
    if names > 1:
        raise ConfigurationError(
            f"{path} has {names} names (hard links), and writing under one would not lock the "
            "others; remove them, or copy the file with its -wal file and use the copy"
        )


def _mount_points() -> set[Path]:
    """Where this process sees something mounted; empty where the system does not say."""
    try:
        lines = MOUNTS.read_bytes().splitlines()
    except OSError:
        return set()
    fields = (line.split(b" ") for line in lines)
    return {Path(os.fsdecode(_unescaped(field[4]))) for field in fields if len(field) > 4}


def _unescaped(field: bytes) -> bytes:
    """Blanks, line ends and backslashes of a path are written as a backslash and three digits."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8) & 0xFF]), field)


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A write transaction: committed at the end, rolled back on any exception.

    Database faults come out as ``StorageError`` (nothing was kept; may be retried) or, where the
    stored data is damaged, as ``IntegrityError``.
    """
    outcome = engine.get_execution_options().get(_OUTCOME) or _Outcome()
    changed = False
    try:
        with (
            engine.connect().execution_options(**{WRITES: True}) as connection,
            connection.begin(),
        ):
            connection.info.pop(_CHANGED, None)
            yield connection
            changed = _CHANGED in connection.info
    except _database_errors(engine) as error:
        ours = storage_error(error)
        outcome.failure = str(ours)
        _let_go(engine)
        raise ours from error
    if changed:
        outcome.failure = None


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A read transaction: one consistent view of the ledger."""
    # Each statement of PostgreSQL's usual level sees what was committed before that statement.
    level = {"isolation_level": "REPEATABLE READ"} if _is_postgresql(engine) else {}
    try:
        with engine.connect().execution_options(**level) as connection:
            yield connection
    except _database_errors(engine) as error:
        _let_go(engine)
        raise storage_error(error) from error


def _let_go(engine: Engine) -> None:
    """After a fault begin with fresh connections: SQLite's keep a lock they could not give up.

    Those in use by other threads are closed when they are given back. PostgreSQL's are tried each
    time before they are used.
    """
    if not _is_postgresql(engine):
        engine.dispose()


def _database_errors(engine: Engine) -> tuple[type[Exception], ...]:
    """What a database's faults are raised as: COPY goes past SQLAlchemy, so the driver's too."""
    return SQLAlchemyError, engine.dialect.loaded_dbapi.Error


def _is_postgresql(engine: Engine) -> bool:
    return engine.dialect.name == "postgresql"


def storage_error(error: Exception) -> StorageError | IntegrityError:
    """Our error for a database's: damage is fatal, everything else may be retried."""
    words = _first_line(error)
    if "malformed" in words or "not a database" in words:
        return IntegrityError(f"the database is damaged: {words}")
    return StorageError(words)


def _first_line(error: Exception) -> str:
    cause: object = error.orig if isinstance(error, DBAPIError) else error
    return (str(cause).splitlines() or [""])[0][:200]


class WriterLock:
    """Holds ``<database>.lock`` while this process may write to a SQLite ledger."""

    def __init__(self, database: str) -> None:
        self._file: int | None = None
        url = database_url(database)
        if url.get_backend_name() != "sqlite":
            return
        # Beside the file itself, or it could be opened once more by the name of a link.
        file = Path(url.database or "").resolve()
        _require_folder(file)
        path = f"{file}.lock"
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.release()
            raise ConfigurationError(
                f"another process is writing to {url.database}; stop it first, or use PostgreSQL"
            ) from error
        try:
            _require_one_name(file)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the lock up; the file stays, since removing it would race with others."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
