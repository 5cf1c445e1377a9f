"""The demo from a prepared environment: seconds, and the memory of all its processes together."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure

SAMPLE_S = 0.2


def run(*, quick: bool) -> list[Figure]:
    """Wall-clock seconds and peak resident megabytes of ``chip-passport demo``."""
    with tempfile.TemporaryDirectory(prefix="chip-passport-bench-") as name:
        command = [sys.executable, "-m", "api.cli", "demo", "--out", f"{name}/demo"]
        if quick:
            command += ["--devices", "40", "--days", "20"]
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as demo:
            peak = 0
            while demo.poll() is None:
                peak = max(peak, _resident_bytes(demo.pid))
                time.sleep(SAMPLE_S)
            said = demo.stderr.read().decode() if demo.stderr else ""
        elapsed = time.perf_counter() - start
        if demo.returncode:
            raise SystemExit(f"the demo failed: {said.strip()}")
    return [
        Figure("demo, wall clock", elapsed, None if quick else 60, at_least=False, unit="s"),
        Figure("demo, peak memory", peak / 1e6, 600, at_least=False, unit="MB"),
    ]


def _resident_bytes(root: int) -> int:
    """Resident memory of a process and all below it, pages shared between them counted twice."""
    children: dict[int, list[int]] = {}
    pages: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(") ")[2].split()
            except OSError:
                continue  # it has ended meanwhile
            children.setdefault(int(fields[1]), []).append(int(entry.name))
            pages[int(entry.name)] = int(fields[21])
    total, waiting = 0, [root]
    while waiting:
        process = waiting.pop()
        total += pages.get(process, 0) * 4096
        waiting += children.get(process, [])
    return total
