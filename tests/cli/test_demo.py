"""``demo`` from nothing to a ledger that can be asked, and how it ends when something is wrong."""

import json
import os
import shlex
import signal
import subprocess
import time
from hashlib import sha256
from pathlib import Path

import pytest

from api.cli import child
from api.cli.folder import MARK, DemoFolder
from ledger.errors import ConfigurationError
from tests.cli.harness import COMMAND, Outcome, Program, environment, finish, start

SIZE = ("--devices", "20", "--days", "17")
"""Long enough for a chip to be smuggled away and held; every cohort has one chip at least."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A small demo in a folder of its own."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, finish(start("demo", *SIZE, cwd=folder))


@pytest.fixture
def folder(tmp_path: Path) -> DemoFolder:
    """The folder of a demo to come."""
    return DemoFolder(tmp_path / "out")


def services(folder: Path) -> list[int]:
    """Process ids of services that run in ``folder``."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            if b"serve" in words and (path / "cwd").resolve() == folder.resolve():
                found.append(int(path.name))
        except OSError:
            continue
    return found


def until(condition: object, timeout: float = 60) -> None:
    """Wait for something to hold."""
    assert callable(condition)
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_demo_tells_what_happened(made: tuple[Path, Outcome]) -> None:
    _, done = made
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Scenario demo, 17 days from ")
    for words in ("chips ", "heartbeats ", "decisions ", "diversions open", "false holds"):
        assert words in done.out
    assert "0 of 0" not in done.out


def test_demo_leaves_ledger_and_report_and_no_process(made: tuple[Path, Outcome]) -> None:
    folder, _ = made
    names = {path.name for path in (folder / "chip-passport-demo").iterdir()}
    assert names == {
        MARK,
        "ledger.db",
        "ledger.db.keys",
        "ledger.db.lock",
        "ledger.db.signed",
        "report.json",
        "service.log",
        "trust.policy",
    }
    report = json.loads((folder / "chip-passport-demo" / "report.json").read_text())
    assert report["scenario"]["name"] == "demo"
    assert services(folder) == []


def test_commands_to_try_next_work_as_they_are_printed(
    made: tuple[Path, Outcome], program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, done = made
    monkeypatch.chdir(folder)
    lines = done.out.partition("Try next:\n")[2].splitlines()
    commands = [shlex.split(line) for line in lines if line.startswith("  python -m api.cli ")]
    assert [command[3] for command in commands] == ["history", "decisions", "check"]
    for command in commands:
        again = program(*command[3:])
        assert (again.code, again.err) == (0, "")
        assert again.out
    history = program(*commands[0][3:]).out
    assert "birth" in history
    assert "HOLD" in history


@pytest.mark.slow
def test_same_seed_makes_the_same_ledger_byte_for_byte(
    made: tuple[Path, Outcome], tmp_path: Path
) -> None:
    folder, _ = made
    again = finish(start("demo", *SIZE, "--json", cwd=tmp_path))
    assert (again.code, again.err) == (0, "")
    one, two = folder / "chip-passport-demo", tmp_path / "chip-passport-demo"
    assert again.json == json.loads((one / "report.json").read_text())
    digests = [sha256((path / "ledger.db").read_bytes()).hexdigest() for path in (one, two)]
    assert digests[0] == digests[1]


@pytest.mark.slow
def test_another_seed_makes_another_ledger_in_place_of_the_earlier_demo(tmp_path: Path) -> None:
    words = ("demo", "--devices", "20", "--days", "2", "--json")
    first = finish(start(*words, cwd=tmp_path))
    second = finish(start(*words, "--seed", "5", cwd=tmp_path))
    assert second.err == "replacing the earlier demo in chip-passport-demo\n"
    assert second.json["scenario"]["seed"] == 5
    assert first.json["ledger"]["root"] != second.json["ledger"]["root"]


def test_folder_that_is_no_demos_is_left_alone(program: Program, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    said = program("demo", "--out", "mine").complaint
    assert said == "mine is not an earlier demo's folder; name another one with --out"
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    said = program("demo", "--out", "mine/thesis.txt").complaint
    assert said == "mine/thesis.txt is a file; name another folder with --out"


def test_empty_folder_is_taken_and_an_earlier_demo_is_replaced(folder: DemoFolder) -> None:
    folder.path.mkdir()
    assert folder.prepare() is False
    folder.write_report({"old": True})
    folder.database.write_text("old")
    folder.keys.mkdir()
    (folder.keys / "ledger.key").write_text("old")
    (folder.path / "notes.txt").write_text("mine")
    assert folder.prepare() is True
    left = {path.name for path in folder.path.iterdir()}
    assert left == {MARK, "ledger.db.lock", "notes.txt"}


def test_folder_in_which_a_demo_is_running_is_refused(folder: DemoFolder) -> None:
    folder.prepare()
    with child.service(folder.database, folder.log, "--clock", "simulated") as running:
        assert running.url
        with pytest.raises(ConfigurationError, match="another process is writing"):
            folder.prepare()
        assert folder.database.exists()


def test_interrupted_demo_stops_its_service_and_exits_130(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "demo"],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(lambda: (tmp_path / "chip-passport-demo" / "service.ready").exists())
    os.killpg(process.pid, signal.SIGINT)
    done = finish(process)
    assert (done.code, done.out) == (130, "")
    assert done.err == "chip-passport: interrupted\n"
    assert services(tmp_path) == []


def test_killed_demo_leaves_no_service(tmp_path: Path) -> None:
    process = start("demo", cwd=tmp_path)
    until(lambda: (tmp_path / "chip-passport-demo" / "service.ready").exists())
    process.kill()
    finish(process)
    until(lambda: not services(tmp_path))


@pytest.mark.slow
def test_service_that_dies_is_one_line_with_its_last_words(tmp_path: Path) -> None:
    process = start("demo", cwd=tmp_path)
    until(lambda: (tmp_path / "chip-passport-demo" / "service.ready").exists())
    for pid in services(tmp_path):
        os.kill(pid, signal.SIGKILL)
    assert finish(process).complaint == "the service failed: it was ended by signal 9"
