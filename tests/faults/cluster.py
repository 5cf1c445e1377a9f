"""A PostgreSQL cluster of our own that is killed with all its processes, and started again."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import URL

from tests import postgres

END_S = 30.0


@dataclass
class Cluster:
    """Server programs, the folder of the cluster, and the account that runs it."""

    binaries: Path
    home: Path
    account: postgres.Account | None
    running: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        url = URL.create(
            "postgresql+psycopg", "postgres", database="postgres", query={"host": str(self.home)}
        )
        return postgres.text(url)

    @property
    def _status(self) -> Path:
        return self.home / "data" / "postmaster.pid"

    def start(self) -> None:
        """Run; what the last kill has left is recovered by PostgreSQL."""
        self._status.unlink(missing_ok=True)  # its "ready" is of the life before
        context = postgres._running(self.binaries, self.home / "data", self.home, self.account)
        keeper = self.running.enter_context(context)
        postgres._wait_ready(keeper, self._status, self.home / "log")

    def kill(self) -> None:
        """``kill -9`` of the server and every process of it, as when the machine goes."""
        server = int(self._status.read_text().split()[0])
        processes = [server, *_children(server)]
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        deadline = time.monotonic() + END_S
        while any(_alive(process) for process in processes):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.running.close()


def _children(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(status.parent.name))
    return found


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A fresh one, removed afterwards; where none can be had the test is skipped, but not in CI."""
    binaries = postgres.wheel_binaries() or postgres.system_binaries()
    if binaries is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no PostgreSQL server to kill")
    account = postgres.Account.suitable()
    home = postgres._private_directory(account)
    try:
        if account is not None:
            binaries = postgres._reachable(binaries, home, account)
        postgres._run_initdb(binaries, home / "data", account)
        cluster = Cluster(binaries, home, account)
        with cluster.running:
            cluster.start()
            yield cluster
            cluster.running.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)
