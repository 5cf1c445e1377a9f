"""Running the command line, in this process and in one of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from api.cli.program import run
from tests.service.harness import Stage, found, open_node
from tests.world import FRANKFURT, SINGAPORE, Chip

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "api.cli"]


@dataclass(frozen=True)
class Story:
    """A ledger's file and what happened to its chips."""

    database: Path
    stays: str
    diverted: str
    silent: str


@dataclass(frozen=True)
class Outcome:
    """What a run of the program left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which has to be one JSON document."""
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line of an error; asserts that there is nothing else."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert self.out == ""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("chip-passport: ")
        assert "Traceback" not in self.err
        return lines[0].removeprefix("chip-passport: ")


class Program:
    """``program("history", ueid)``: run in this process."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *words: str | Path) -> Outcome:
        self._capture.readouterr()
        code = run([str(word) for word in words])
        out, err = self._capture.readouterr()
        return Outcome(code, out, err)


def make_story(folder: Path) -> Story:
    """Five days of three chips that report every four hours."""
    with_node = open_node(folder)
    try:
        stage = found(with_node, chips=3)
        for step in range(30):
            _one_step(stage, step)
    finally:
        with_node.close()
    names = [chip.ueid.hex() for chip in stage.chips]
    return Story(folder / "ledger.db", *names)


def _one_step(stage: Stage, step: int) -> None:
    stays, diverted, silent = stage.chips
    tokens = [_token(stage, stays), _token(stage, diverted, moved=step >= 18)]
    if not 8 <= step < 20:
        tokens.append(_token(stage, silent))
    stage.take(*tokens)
    stage.hours(4)


def _token(stage: Stage, chip: Chip, *, moved: bool = False) -> bytes:
    return stage.token(chip, place=SINGAPORE if moved else FRANKFURT)


def environment(**changes: str) -> dict[str, str]:
    """Our environment without settings of the program, and with the sources importable."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("CHIP_PASSPORT_") and key not in ("COLUMNS", "FORCE_COLOR")
    }
    return {**kept, "PYTHONPATH": str(ROOT), **changes}


def start(*words: str | Path, cwd: Path, **changes: str) -> "subprocess.Popen[str]":
    """Start the program in a process of its own."""
    return subprocess.Popen(
        [*COMMAND, *map(str, words)],
        cwd=cwd,
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]", timeout: float = 60) -> Outcome:
    """Wait for its end."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Outcome(process.returncode, out, err)
