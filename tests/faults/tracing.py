"""strace for the fault tests: attach it to a process, wait until it looks, read what it saw."""

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

ATTACH_S = 30.0
_PR_SET_PTRACER, _ANYBODY = 0x59616D61, ctypes.c_ulong(-1)
"""prctl(2): where Yama keeps processes apart, a child has to allow being traced by a sibling."""


@cache
def why_not() -> str | None:
    """Why system calls cannot be traced here; None where they can."""
    if shutil.which("strace") is None:
        return "strace is not installed (Debian: apt-get install strace)"
    done = subprocess.run(
        ["strace", "-o", os.devnull, "-e", "inject=fsync:error=EIO:when=1", "--", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if done.returncode == 0 else f"strace may not trace here: {done.stderr.strip()}"


def require_strace() -> None:
    """Skip the test where nothing can be traced; in CI that is a failure."""
    reason = why_not()
    if reason is None:
        return
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def allow_tracing() -> None:
    """Let another process trace this one; nothing to do where any may."""
    if hasattr(os, "posix_spawn"):
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANYBODY, 0, 0, 0)


@contextmanager
def traced(pid: int, options: Sequence[str], output: Path) -> Iterator[None]:
    """Inside, every system call of ``pid`` is looked at; afterwards it runs on by itself."""
    tracer = subprocess.Popen(
        ["strace", "-qq", "-o", str(output), *options, "-p", str(pid)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tracer.stderr is not None
    try:
        _wait_attached(pid, tracer)
        yield
    finally:
        if tracer.poll() is None:
            tracer.send_signal(signal.SIGINT)  # detaches
        tracer.wait(ATTACH_S)
        tracer.stderr.close()


def _wait_attached(pid: int, tracer: "subprocess.Popen[str]") -> None:
    status = Path(f"/proc/{pid}/status")
    while tracer.poll() is None:
        if f"TracerPid:\t{tracer.pid}\n" in status.read_text():
            return
    assert tracer.stderr is not None
    raise RuntimeError(f"strace does not attach: {tracer.stderr.read()}")
