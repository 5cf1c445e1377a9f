"""Ranging between network namespaces: what the network adds is measured, and never less.

Needs Linux, ``ip`` and the right to make namespaces; where one of them is missing, the tests are
skipped and say which. The delay is the kernel's (netem) and, on every kernel, that of a relay
inside the far namespace.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.landmark import LandmarkSettings
from ledger.service.keys import write_key
from tests.api.landmarks import EPOCH, IDENT, Shelf, at_work, shelf
from tests.api.world import Chip, seed

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
NAME = f"cp{os.getpid()}"
HERE, THERE = f"{NAME}a", f"{NAME}b"
LANDMARK, DEVICE = "10.199.77.1", "10.199.77.2"
INSIDE = ("ip", "netns", "exec", NAME, sys.executable, "-m")
CHIP = Chip(1)


def run(*words: str) -> str:
    """A command that has to succeed; its output."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A namespace that a virtual cable joins to this one."""
    if sys.platform != "linux" or shutil.which("ip") is None:
        pytest.skip("no ip on this machine (package iproute2)")
    made = subprocess.run(("ip", "netns", "add", NAME), capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"network namespaces cannot be made here: {made.stderr.strip()}")
    try:
        try:
            run("ip", "link", "add", HERE, "type", "veth", "peer", "name", THERE, "netns", NAME)
            run("ip", "addr", "add", f"{LANDMARK}/30", "dev", HERE)
            run("ip", "link", "set", HERE, "up")
            run("ip", "-n", NAME, "addr", "add", f"{DEVICE}/30", "dev", THERE)
            run("ip", "-n", NAME, "link", "set", THERE, "up")
            run("ip", "-n", NAME, "link", "set", "lo", "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no virtual cable can be laid here: {error.stderr.strip()}")
        yield NAME
    finally:
        subprocess.run(("ip", "netns", "del", NAME), check=True)


@contextlib.contextmanager
def netem(port: int, ms: float) -> Iterator[tuple[str, int]]:
    """The kernel holds every packet of the far end back on its way out."""
    if shutil.which("tc") is None:
        pytest.skip("no tc on this machine (package iproute2)")
    words = ("tc", "-n", NAME, "qdisc")
    try:
        run(*words, "add", "dev", THERE, "root", "netem", "delay", f"{ms * 1_000:.0f}us")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the kernel adds no delay (module sch_netem): {error.stderr.strip()}")
    try:
        yield LANDMARK, port
    finally:
        run(*words, "del", "dev", THERE, "root")


@contextlib.contextmanager
def relay(port: int, ms: float) -> Iterator[tuple[str, int]]:
    """A relay in the far namespace holds every datagram back on its way out."""
    words = (*INSIDE, "tests.api.delaying", DEVICE, LANDMARK, str(port), str(ms))
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield DEVICE, int(process.stdout.readline())
        finally:
            process.kill()


LINES = {"netem": netem, "relay": relay}


def probe(address: tuple[str, int], key: Path, probes: int) -> subprocess.CompletedProcess[str]:
    """A chip in the far namespace ranges."""
    words = (
        *INSIDE, "api.cli", "landmark", "probe", f"{address[0]}:{address[1]}", "--landmark", IDENT,
        "--chip", CHIP.ueid.hex(), "--key", str(key), "--epoch", EPOCH.hex(),
        "--probes", str(probes), "--json",
    )  # fmt: skip
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)


def ranged(address: tuple[str, int], key: Path) -> int:
    """The round trip of eight probes, in µs."""
    done = probe(address, key, 8)
    assert done.returncode == 0, done.stderr or done.stdout
    return int(json.loads(done.stdout)["round_trip_us"])


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "chip.key"
    write_key(path, seed("chip 1"))
    return path


@pytest.fixture
def ledger() -> Shelf:
    return shelf(CHIP)


@pytest.mark.parametrize("line", list(LINES))
def test_the_least_round_trip_grows_by_what_the_network_adds(
    namespace: str, key: Path, ledger: Shelf, line: str
):
    measured = {}
    with at_work(ledger, LandmarkSettings(host=LANDMARK)) as (host, port):
        measured[0] = ranged((host, port), key)
        for added in (10, 40, 120):
            with LINES[line](port, added) as address:
                measured[added] = ranged(address, key)
    for added, trip_us in measured.items():
        assert trip_us >= added * 1_000, "a packet is never faster than its line"
        assert trip_us < (added + 25) * 1_000, "the least of eight probes comes near to it"
    assert sorted(measured, key=measured.__getitem__) == [0, 10, 40, 120]
    ((_, (row,), _),) = ledger.filed
    assert row.round_trip_us == measured[0]


@pytest.mark.parametrize("line", list(LINES))
def test_a_reply_that_takes_over_a_second_is_not_counted(
    namespace: str, key: Path, ledger: Shelf, line: str
):
    with (
        at_work(ledger, LandmarkSettings(host=LANDMARK)) as (_, port),
        LINES[line](port, 1_100) as address,
    ):
        assert probe(address, key, 1).returncode != 0
    assert ledger.filed == []
