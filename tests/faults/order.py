"""From a trace of system calls: was each answer sent behind the sync of what it answers for?

A statement is found in the page of the WAL that it was written with; its transaction ends with the
next frame whose header says how large the database is then (https://sqlite.org/walformat.html); a
sync of the WAL has to begin behind that write and be done before the answer begins to be sent.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

FRAME_HEADER = 24
SYNCS = {"fsync", "fdatasync"}
SENDS = {"sendto", "sendmsg", "write", "writev"}
WRITES = {"pwrite64", "write"}
_LINE = re.compile(r"^(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)$")
_RESULT = re.compile(r"= (-?\d+)(?: [A-Z]\w*(?: \(.*\))?)?$")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FILE = re.compile(r"^\d+<((?:\\x[0-9a-f]{2})*)>")


@dataclass
class Call:
    """One system call; ``begun`` and ``done`` are line numbers of the trace."""

    name: str
    file: str
    data: bytes
    begun: int
    done: int | None = None
    result: int | None = None


class NotInOrder(AssertionError):
    """An answer that did not wait for the disk."""


def parse(lines: Iterable[str]) -> list[Call]:
    """Calls of ``strace -f -y -xx``, in the order in which they began."""
    calls: list[Call] = []
    open_calls: dict[str, Call] = {}
    for number, line in enumerate(lines):
        found = _LINE.match(line.rstrip("\n"))
        if found is None:
            continue
        pid, resumed, name, rest = found.groups()
        if resumed is None:
            file = _FILE.match(rest)
            data = b"".join(_plain(text) for text in _STRING.findall(rest))
            place = _plain(file[1]).decode(errors="replace") if file else ""
            calls.append(Call(name, place, data, number))
            open_calls[pid] = calls[-1]
        result = _RESULT.search(rest)
        if result is not None and pid in open_calls:
            call = open_calls.pop(pid)
            call.done, call.result = number, int(result[1])
    return calls


def _plain(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def require_order(calls: list[Call], answers: dict[bytes, bytes]) -> int:
    """Hold ``answers`` (statement bytes: what its answer holds) to the order; how many there were.

    Raises NotInOrder.
    """
    wal = [call for call in calls if call.file.endswith("-wal")]
    sends = [call for call in calls if call.name in SENDS and call.file.startswith("socket")]
    sends += [call for call in calls if call.name in SENDS and call.file.startswith("TCP")]
    for statement, answer in answers.items():
        committed = _commit(wal, statement)
        sent = next((call for call in sends if answer in call.data), None)
        if sent is None:
            raise NotInOrder("the answer was never sent, or is not in the trace")
        if not any(sync.done < sent.begun for sync in _syncs(wal, committed)):
            raise NotInOrder(f"line {sent.begun}: an answer before the WAL was synced")
    return len(answers)


def _commit(wal: list[Call], statement: bytes) -> int:
    """Line at which the transaction with ``statement`` was written whole."""
    written = None
    commits = False
    for call in wal:
        if call.name not in WRITES:
            continue
        if len(call.data) == FRAME_HEADER:
            commits = call.data[4:8] != bytes(4)
        elif written is None and statement in call.data:
            written = call
        if written is not None and commits and len(call.data) != FRAME_HEADER:
            if call.done is None:
                raise NotInOrder("the write of a commit never ended")
            return call.done
    raise NotInOrder("a statement that was answered is not in the WAL")


def _syncs(wal: list[Call], after: int) -> Iterator["Synced"]:
    for call in wal:
        if call.name in SYNCS and call.begun > after and call.result == 0 and call.done is not None:
            yield Synced(call.begun, call.done)


@dataclass(frozen=True)
class Synced:
    """A sync that was carried out."""

    begun: int
    done: int
