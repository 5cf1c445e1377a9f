"""``serve`` in a process of its own: ready, asked, stopped; and why it does not start."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.cli.child import service
from ledger.errors import ConfigurationError
from tests.cli.harness import Program, Story, environment, finish, start

TIMEOUT_S = 60.0
EVERYWHERE = "0.0.0.0"  # noqa: S104 (to be refused, and to be allowed for a moment)


@contextlib.contextmanager
def serving(folder: Path, *words: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The process and its address, taken from the line that it prints."""
    process = start("serve", "--port", "0", *words, cwd=folder)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), finish(process).err
        yield process, line.split()[2]
    finally:
        process.kill()
        finish(process)


def wait_for_end(pid: int) -> bool:
    """Whether a process that is not our child ends in time."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_prints_its_address_answers_and_stops_in_order(
    tmp_path: Path, number: signal.Signals
) -> None:
    with serving(tmp_path, "--ready-file", "ready") as (process, url):
        assert (tmp_path / "ready").read_text() == url + "\n"
        assert httpx.get(f"{url}/readyz").json()["status"] == "awaiting genesis"
        assert (tmp_path / "ledger.db").exists()
        assert (tmp_path / "ledger.db.keys" / "ledger.key").exists()
        process.send_signal(number)
        done = finish(process)
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "ready").exists()


def test_second_process_on_the_same_file_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path):
        said = finish(start("serve", "--port", "0", cwd=tmp_path)).complaint
    assert said.startswith("another process is writing to ledger.db")


def test_simulated_clock_begins_where_it_is_told(tmp_path: Path) -> None:
    words = ("--clock", "simulated", "--start", "2027-01-04T00:00:00Z")
    with serving(tmp_path, *words) as (_, url):
        clock = httpx.get(f"{url}/v1/clock").json()
    assert clock == {"mode": "simulated", "now_ms": 1_799_020_800_000}


def test_port_in_use_is_one_line(program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = program("serve", "--port", port, "--database", "x.db").complaint
    assert said.startswith(f"cannot listen on 127.0.0.1 port {port}")


def test_damaged_ledger_is_one_line(program: Program, tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"SQLite format 3\x00" + bytes(range(256)) * 40)
    assert "x.db" in program("serve", "--port", "0", "--database", "x.db").complaint


def test_wrong_clock_for_a_ledger_is_one_line(program: Program, story: Story) -> None:
    keys = str(story.database.parent / "keys")
    words = ("serve", "--port", "0", "--database", str(story.database), "--keys", keys)
    assert "start it with --clock simulated" in program(*words).complaint


def test_another_authoritys_ledger_is_one_line(program: Program, story: Story) -> None:
    keys = str(story.database.parent / "keys")
    words = ("serve", "--port", "0", "--database", str(story.database), "--keys", keys)
    said = program(*words, "--clock", "simulated", "--authority", "ab" * 16).complaint
    assert said.startswith("the genesis is by the authority ")
    assert said.endswith(f", but --authority names {'ab' * 16}")


def test_missing_keys_of_a_ledger_are_one_line(
    program: Program, story: Story, tmp_path: Path
) -> None:
    words = ("serve", "--port", "0", "--database", str(story.database))
    said = program(*words, "--keys", tmp_path / "none", "--clock", "simulated").complaint
    assert "is missing; restore it, or name its folder with --keys" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", EVERYWHERE], "name the authority's key id with --authority"),
        (["--host", "example.org"], "name the authority's key id with --authority"),
        (["--authority", "abc"], "--authority takes a key id of 32 hex digits"),
        (["--start", "2027-01-04T00:00:00Z"], "add --clock simulated"),
        (["--clock", "simulated", "--start", "soon"], "'soon' is no time"),
        (["--clock", "simulated", "--start", "1950-01-01"], "lies before 1970"),
        (["--clock", "sundial"], "Invalid value for '--clock'"),
        (["--port", "70000"], "Invalid value for '--port'"),
        (["--checkpoint-every", "0"], "Invalid value for '--checkpoint-every'"),
        (["--witness", "http://w.example"], "a witness is VKEY@URL"),
        (["--witness", "w+00000000+AAAA@http://w.example"], "a witness is VKEY@URL"),
        (["--database", "nowhere/x.db"], "nowhere does not exist; make it first: mkdir -p"),
        (["--database", "postgresql://127.0.0.1:1/x", "--keys", "k"], "PostgreSQL does not answer"),
        (["--database", "postgresql://127.0.0.1:1/x"], "PostgreSQL does not answer"),
    ],
)
def test_serve_that_cannot_start_is_one_line(program: Program, words: list[str], said: str) -> None:
    assert said in program("serve", "--port", "0", *words).complaint


@pytest.mark.slow
def test_authority_allows_other_addresses_than_loopback(tmp_path: Path) -> None:
    process = start(
        "serve", "--host", EVERYWHERE, "--port", "0", "--authority", "ab" * 16, cwd=tmp_path
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(f"listening on http://{EVERYWHERE}:")
    process.terminate()
    assert finish(process).code == 0


WORKER = """
import os, sys
from api.workers import worker_pool
if __name__ == "__main__":
    with worker_pool(1) as executor:
        print(executor.submit(os.getpid).result(), flush=True)
        sys.stdin.read()
"""


def test_worker_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(WORKER)
    parent = subprocess.Popen(
        [sys.executable, "parent.py"],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    assert wait_for_end(worker)


@pytest.mark.slow
def test_service_with_workers_stops_in_order(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "1") as (process, _):
        process.terminate()
        assert finish(process).code == 0


def test_service_of_the_demo_ends_with_its_block(tmp_path: Path) -> None:
    with service(tmp_path / "x.db", tmp_path / "log", "--clock", "simulated") as running:
        assert httpx.get(f"{running.url}/healthz").status_code == 200
        assert running.failure() is None
    assert wait_for_end(running.pid)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("log", "x.db", "x.db.keys", "x.db.lock")
    ]


def test_service_of_the_demo_that_does_not_start_gives_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"SQLite format 3\x00" + bytes(range(256)) * 40)
    with (
        pytest.raises(ConfigurationError, match=r"did not start: .*x\.db"),
        service(tmp_path / "x.db", tmp_path / "log") as running,
    ):
        running.url  # noqa: B018 (waits for it)


def test_service_of_the_demo_ends_when_the_block_fails(tmp_path: Path) -> None:
    def interrupted() -> None:
        with service(tmp_path / "x.db", tmp_path / "log", "--clock", "simulated") as running:
            pids.append(running.pid)
            assert running.url
            raise KeyboardInterrupt

    pids: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert wait_for_end(pids[0])
