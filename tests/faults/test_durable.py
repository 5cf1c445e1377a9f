"""An acknowledgement follows an fsync: the real service over a real socket, traced.

Several clients send at the same time. For every acknowledged heartbeat the trace has to show the
write of its transaction to the WAL, then a sync of the WAL, then the answer. The same check has to
fail where SQLite is told not to sync.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api.client import Client
from tests.faults.order import NotInOrder, parse, require_order
from tests.faults.serving import COMMAND, Fleet, Service
from tests.faults.tracing import require_strace

CLIENTS, ROUNDS = 4, 8
TRACE = "trace=pwrite64,write,writev,fsync,fdatasync,sendto,sendmsg"
CARELESS = (COMMAND[0], "-m", "tests.faults.careless")
WAIT_S = 60.0


def traced_run(
    folder: Path, command: Sequence[str] = COMMAND
) -> tuple[list[str], dict[bytes, bytes]]:
    """The trace of a service under load, and what it answered to which statement."""
    service = Service(folder, ("--database", folder / "ledger.db"), command)
    trace = folder / "trace"
    strace = ("strace", "-D", "-f", "-y", "-xx", "-s", "70000", "-o", str(trace), "-e", TRACE)
    try:
        url = service.start(*strace, "-e", "signal=none", "--")
        fleet = Fleet()
        with Client(url) as client:
            fleet.found(client, CLIENTS)

        def send(number: int) -> list[tuple[bytes, bytes]]:
            with Client(url) as client:
                sent = [fleet.beat(client, fleet.chips[number]) for _ in range(ROUNDS)]
            assert all(result.accepted for _, result in sent), sent
            return [(token, (r.leaf_hash or b"").hex().encode()) for token, r in sent]

        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = dict(pair for pairs in pool.map(send, range(CLIENTS)) for pair in pairs)
        service.stop()
    finally:
        service.end()
    return _whole(trace), answers


def _whole(trace: Path) -> list[str]:
    """The trace once strace, which outlives the service for a moment, has written it."""
    deadline = time.monotonic() + WAIT_S
    while True:
        lines = trace.read_text().splitlines()
        if lines and "+++ exited with" in lines[-1]:
            return lines
        assert time.monotonic() < deadline, lines[-1:]
        time.sleep(0.05)


@pytest.mark.faults
def test_every_acknowledgement_follows_a_sync_of_what_it_acknowledges(tmp_path: Path) -> None:
    require_strace()
    lines, answers = traced_run(tmp_path)
    calls = parse(lines)
    assert require_order(calls, answers) == CLIENTS * ROUNDS
    # The same trace without its syncs, with failed ones, and with late ones is not in order.
    for spoil in (_without_syncs, _with_failed_syncs, _with_late_syncs):
        with pytest.raises(NotInOrder, match="before the WAL was synced"):
            require_order(parse(spoil(lines)), answers)


@pytest.mark.faults
def test_service_that_does_not_sync_is_found_out(tmp_path: Path) -> None:
    """The negative control: everything is the same but ``PRAGMA synchronous=OFF``."""
    require_strace()
    lines, answers = traced_run(tmp_path, CARELESS)
    with pytest.raises(NotInOrder, match="before the WAL was synced"):
        require_order(parse(lines), answers)


def _is_sync(line: str) -> bool:
    return "fdatasync" in line or "fsync" in line


def _without_syncs(lines: list[str]) -> list[str]:
    return [line for line in lines if not _is_sync(line)]


def _with_failed_syncs(lines: list[str]) -> list[str]:
    return [
        line.replace("= 0", "= -1 EIO (Input/output error)") if _is_sync(line) else line
        for line in lines
    ]


def _with_late_syncs(lines: list[str]) -> list[str]:
    return [*_without_syncs(lines), *(line for line in lines if _is_sync(line))]


# -- the check itself, on traces small enough to read ----------------------------------------------


def trace(*calls: str) -> list[str]:
    return [f"{number % 2 + 7}  {call}" for number, call in enumerate(calls)]


def hexed(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


WAL, SOCKET = hexed(b"/x/ledger.db-wal"), hexed(b"socket:[9]")
MORE, LAST = hexed(bytes(24)), hexed(bytes(7) + b"\x05" + bytes(16))
HEAD = f'pwrite64(5<{WAL}>, "{MORE}", 24, 32) = 24'
COMMIT = f'pwrite64(5<{WAL}>, "{LAST}", 24, 99) = 24'
PAGE = f'pwrite64(5<{WAL}>, "{hexed(b"..statement..")}", 13, 56) = 13'
OTHER = f'pwrite64(5<{WAL}>, "{hexed(b"..")}", 2, 123) = 2'
SYNC = f"fdatasync(5<{WAL}>) = 0"
SEND = f'sendto(9<{SOCKET}>, "{hexed(b"HTTP answer")}", 11, 0, NULL, 0) = 11'
ANSWERS = {b"statement": b"answer"}


@pytest.mark.parametrize(
    "calls",
    [
        (HEAD, PAGE, COMMIT, OTHER, SYNC, SEND),
        (COMMIT, PAGE, SYNC, SEND),
        (HEAD, PAGE, SYNC, COMMIT, OTHER, SYNC, SEND),
    ],
)
def test_order_that_is_right(calls: tuple[str, ...]) -> None:
    assert require_order(parse(trace(*calls)), ANSWERS) == 1


@pytest.mark.parametrize(
    ("calls", "says"),
    [
        ((HEAD, PAGE, COMMIT, OTHER, SEND, SYNC), "before the WAL was synced"),
        ((HEAD, PAGE, SYNC, COMMIT, OTHER, SEND), "before the WAL was synced"),
        ((SYNC, COMMIT, PAGE, SEND), "before the WAL was synced"),
        ((COMMIT, PAGE, SYNC.replace("= 0", "= -1 EIO (x)"), SEND), "before the WAL was synced"),
        ((COMMIT, PAGE, SYNC.replace(WAL, hexed(b"/x/ledger.db")), SEND), "before the WAL"),
        ((COMMIT, OTHER, SYNC, SEND), "not in the WAL"),
        ((HEAD, PAGE, SYNC, SEND), "not in the WAL"),
        ((COMMIT, PAGE, SYNC), "never sent"),
    ],
)
def test_order_that_is_wrong(calls: tuple[str, ...], says: str) -> None:
    with pytest.raises(NotInOrder, match=says):
        require_order(parse(trace(*calls)), ANSWERS)


def test_sync_that_another_call_interrupts_counts_when_it_is_done() -> None:
    begun, done = f"7  fdatasync(5<{WAL}> <unfinished ...>", "7  <... fdatasync resumed>) = 0"
    send = f"8  {SEND}"
    before = [f"7  {COMMIT}", f"7  {PAGE}"]
    assert require_order(parse([*before, begun, done, send]), ANSWERS) == 1
    with pytest.raises(NotInOrder, match="before the WAL was synced"):
        require_order(parse([*before, begun, send, done]), ANSWERS)
