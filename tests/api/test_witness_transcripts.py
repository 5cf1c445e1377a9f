"""Sessions with a witness, byte for byte, as text files that explain the protocol.

A file is a list of steps. ``# words`` comment, ``@ command`` acts on the witness (``clock S``,
``restart``), ``> line`` is sent and ``< line`` is what has to come back: first status and type,
then the body. Every line sent or received ends in a newline.
"""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.witness import create_witness_app
from ledger.service.clock import SimulatedClock
from ledger.service.witness import Witness, WitnessSettings
from tests.api.test_witness import Wire
from tests.log.witnessed import ED_COSIGNER, START_S, GrowingLog

FOLDER = Path(__file__).parent / "transcripts"
FILES = sorted(FOLDER.glob("witness-*.txt"))


class Session:
    """A witness on a simulated clock that can be restarted."""

    def __init__(self, database: Path) -> None:
        self.clock = SimulatedClock(START_S * 1000)
        self._settings = WitnessSettings(
            str(database), [ED_COSIGNER], GrowingLog().keys, self.clock
        )
        self._witness = Witness.open(self._settings)

    def command(self, words: list[str]) -> None:
        if words[0] == "clock":
            self.clock.move(int(words[1]) * 1000)
        elif words[0] == "restart":
            self.close()
            self._witness = Witness.open(self._settings)
        else:
            raise ValueError(f"unknown command {words}")

    def send(self, body: str) -> str:
        wire = Wire(create_witness_app(self._witness))
        with httpx.Client(transport=wire, base_url="http://witness") as http:
            answer = http.post("/add-checkpoint", content=body.encode())
        return f"{answer.status_code} {answer.headers['content-type']}\n{answer.text}"

    def close(self) -> None:
        self._witness.close()


def exchanges(text: str) -> Iterator[tuple[str, str, str]]:
    """(command, sent, expected) triples; a step is a command or an exchange."""
    sent: list[str] = []
    expected: list[str] = []
    for line in [*text.splitlines(), "# end"]:
        mark, rest = line[:1], line[2:]
        if mark == "<":
            expected.append(f"{rest}\n")
            continue
        if expected:
            yield "", "".join(sent), "".join(expected)
            sent, expected = [], []
        if mark == ">":
            sent.append(f"{rest}\n")
        elif mark == "@":
            yield rest, "", ""
        else:
            assert mark in ("#", ""), f"a line starts with # @ > or <: {line}"


def test_there_are_transcripts() -> None:
    assert len(FILES) >= 3


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_session_goes_as_written(path: Path, tmp_path: Path) -> None:
    session = Session(tmp_path / "witness.db")
    try:
        for command, sent, expected in exchanges(path.read_text("utf-8")):
            if command:
                session.command(command.split())
            else:
                assert session.send(sent) == expected
    finally:
        session.close()
