"""A ledger that is killed again and again: ``python -m tests.faults.lives FOLDER N SEED``.

The program is loaded once; each life is a fork of that (``tests.faults.worker``) and is killed at a
random moment. What the lives were promised is held against what is stored after each, and printed
at the end as one JSON document.
"""

import json
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ledger.appraisal.places import cached_places
from ledger.geo.borders import Borders
from ledger.service.check import check_ledger
from tests.faults import worker
from tests.faults.promises import Promises

LONGEST_S = 0.5
START_S = 60.0
CHECK_EVERY = 40


def live(work: Callable[[], None], seconds: float, mark: bytes = b"R") -> bytes:
    """One life, killed so long after its first line with ``mark``; what it said until then."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(write, 1)
        os.close(read)
        try:
            work()
        except BaseException:
            traceback.print_exc()
        os._exit(1)  # nobody lives on to be killed
    os.close(write)
    said, deadline, ready = b"", time.monotonic() + START_S, False
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([read], [], [], left)[0]:
            continue
        piece = os.read(read, 65_536)
        if not piece:
            break
        said += piece
        if not ready and b"\n" + mark in b"\n" + said:
            ready, deadline = True, time.monotonic() + seconds
    os.kill(pid, signal.SIGKILL)
    while piece := os.read(read, 65_536):
        said += piece
    os.close(read)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert said.startswith(b"R\n"), said
    assert status == -signal.SIGKILL, f"it ended by itself with {status}: {said!r}"
    return said


def survive(folder: Path, kills: int, seed: int) -> Promises:
    """So many lives; AssertionError at the first promise that is not kept."""
    chance = random.Random(seed)
    promises = Promises()
    for number in range(1, kills + 1):
        # Every other life gets as far as a checkpoint, however slow the machine is.
        mark = b"R" if number % 2 else b"C"
        promises.take(live(lambda: worker.main(folder), chance.uniform(0, LONGEST_S), mark))
        promises.check(folder / "ledger.db")
        if number % CHECK_EVERY == 0 or number == kills:
            assert check_ledger(str(folder / "ledger.db")).faults == []
    return promises


def main(folder: Path, kills: int, seed: int) -> None:
    """Live, be killed, tell."""
    cached_places(Borders.load(None))  # forks find it loaded
    print(json.dumps(asdict(survive(folder, kills, seed))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
