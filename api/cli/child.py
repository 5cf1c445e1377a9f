"""The demo's service: ``chip-passport serve`` in a process of its own, which ends with us."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from ledger.errors import ConfigurationError

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.02


class Service:
    """A service that has been started; ``url`` waits until it answers."""

    def __init__(self, process: "subprocess.Popen[bytes]", ready: Path, log: Path) -> None:
        self._process = process
        self._ready = ready
        self._log = log
        self.pid = process.pid

    @cached_property
    def url(self) -> str:
        """Its address; ConfigurationError with its last words if it does not start."""
        return _await(self._process, self._ready, self._log)

    def failure(self) -> str | None:
        """Why it has ended, in a line, if it has: the signal, or what its log says last."""
        code = self._process.poll()
        if code is None:
            return None
        return last_line(self._log) if code >= 0 else f"it was ended by signal {-code}"


@contextlib.contextmanager
def service(database: Path, log: Path, *options: str) -> Iterator[Service]:
    """Serve ``database`` on a free loopback port until the block ends, by whatever way.

    The child stops when its standard input ends, so it does not outlive this process even where
    this process is killed. An interrupt from the terminal goes to us only.
    """
    ready = log.with_suffix(".ready")
    ready.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "api.cli", "serve", "--database", str(database)),
        *("--port", "0", "--ready-file", str(ready), "--until-eof", *options),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=output,
            env=_environment(),
            start_new_session=True,
        )
    try:
        yield Service(process, ready, log)
    finally:
        _stop(process)
        ready.unlink(missing_ok=True)


def last_line(log: Path) -> str:
    """What the service said last."""
    with contextlib.suppress(OSError):
        lines = log.read_text(errors="replace").strip().splitlines()
        if lines:
            return lines[-1].removeprefix("chip-passport: ")
    return "it said nothing"


def _environment() -> dict[str, str]:
    """Ours, without the settings of another service than the demo's; and ``api`` importable."""
    ours = {key: value for key, value in os.environ.items() if key != "CHIP_PASSPORT_DEBUG"}
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [ours.get("PYTHONPATH")])]
    return {**ours, "PYTHONPATH": os.pathsep.join(paths)}


def _await(process: "subprocess.Popen[bytes]", ready: Path, log: Path) -> str:
    """The address, once requests are answered."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready.exists():
        if process.poll() is not None:
            raise ConfigurationError(f"the service did not start: {last_line(log)}")
        if time.monotonic() > deadline:
            raise ConfigurationError(f"the service did not start in time: {last_line(log)}")
        time.sleep(POLL_S)
    return ready.read_text().strip()


def _stop(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None  # noqa: S101 (a pipe was asked for)
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(STOP_TIMEOUT_S)
    except BaseException:
        process.kill()
        process.wait()
        raise
