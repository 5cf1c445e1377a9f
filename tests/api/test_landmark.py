"""A landmark over UDP on this machine: what it measures, what it refuses, what it files."""

import secrets
import socket
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from api.landmark import Landmark, LandmarkSettings, TranscriptFolder, raw_clock_ns
from api.landmark_desk import Limits
from api.landmark_probe import fresh_prover, range_with
from ledger.errors import ConfigurationError
from ledger.protocol import cbor, ranging
from ledger.protocol.ranging import Commit, Reply, Result
from tests.api.landmarks import EPOCH, IDENT, at_work, ranged, shelf
from tests.api.world import Chip

CHIP, OTHER = Chip(1), Chip(2)
ROOT = Path(__file__).resolve().parents[2]


def test_chips_range_and_the_rows_are_filed_when_it_stops():
    ledger = shelf(CHIP, OTHER)
    with at_work(ledger) as address:
        results = [ranged(address, CHIP), ranged(address, OTHER, probes=8)]
    assert [(result.word, result.probes) for result in results] == [
        ("accepted", 4),
        ("accepted", 8),
    ]
    ((epoch, rows, version),) = ledger.filed
    assert (epoch, version) == (EPOCH, 1)
    assert {row.ueid: row.round_trip_us for row in rows} == {
        chip.ueid: result.round_trip_us for chip, result in zip((CHIP, OTHER), results, strict=True)
    }
    assert all(0 < row.round_trip_us < ranging.MAX_ROUND_TRIP_US for row in rows)


def test_the_least_of_several_sessions_is_filed():
    ledger = shelf(CHIP)
    with at_work(ledger) as address:
        results = [ranged(address, CHIP, probes=2) for _ in range(5)]
    ((_, (row,), _),) = ledger.filed
    assert row.round_trip_us == min(result.round_trip_us for result in results)


def test_transcripts_are_kept_and_are_those_of_the_rows(tmp_path: Path):
    ledger = shelf(CHIP, OTHER)
    with at_work(ledger, LandmarkSettings(transcripts=TranscriptFolder(tmp_path))) as address:
        ranged(address, CHIP)
        ranged(address, OTHER)
    (file,) = tmp_path.iterdir()
    assert file.name == f"{EPOCH.hex()}.cborseq"
    tokens = cbor.split_sequence(file.read_bytes(), max_items=9, max_item_size=1_232)
    ((_, rows, _),) = ledger.filed
    assert {sha256(token).digest() for token in tokens} == {row.transcript for row in rows}
    signed = {ranging.read_transcript(token)[1].ueid for token in tokens}
    assert signed == {CHIP.ueid, OTHER.ueid}


def test_a_session_whose_transcript_cannot_be_kept_does_not_count(tmp_path: Path):
    ledger = shelf(CHIP)
    settings = LandmarkSettings(transcripts=TranscriptFolder(tmp_path / "gone"))
    with at_work(ledger, settings) as address:
        assert ranged(address, CHIP).word == "storage-unavailable"
    assert ledger.filed == []


def test_a_chip_that_nobody_registered_is_refused():
    ledger = shelf(CHIP)
    with at_work(ledger) as address:
        assert ranged(address, OTHER).word == "chip-unknown"
    assert ledger.filed == []


def test_another_key_than_the_chips_is_refused():
    ledger = shelf(CHIP)
    thief = Chip(2)
    thief.ueid = CHIP.ueid
    with at_work(ledger) as address:
        assert ranged(address, thief).word == "cose-key-mismatch"
    assert ledger.filed == []


def test_another_epoch_is_refused_before_anything_is_timed():
    with at_work(shelf(CHIP)) as address:
        assert ranged(address, CHIP, epoch=bytes(16)).word == "epoch-unknown"


def test_a_chip_that_is_ahead_makes_the_landmark_ask_for_the_new_epoch():
    ledger, newer = shelf(CHIP), bytes(range(1, 17))
    settings = LandmarkSettings(refresh_s=3_600, news_s=0.0)
    with at_work(ledger, settings) as address:
        ledger.epochs = frozenset({EPOCH, newer})
        words = [ranged(address, CHIP, epoch=newer).word]
        while words[-1] == "epoch-unknown":
            words.append(ranged(address, CHIP, epoch=newer).word)
    assert (words[0], words[-1]) == ("epoch-unknown", "accepted")
    assert [epoch for epoch, _, _ in ledger.filed] == [newer]


def test_news_are_not_asked_for_all_the_time():
    ledger, newer = shelf(CHIP), bytes(range(1, 17))
    with at_work(ledger, LandmarkSettings(refresh_s=3_600, news_s=3_600)) as address:
        ledger.epochs = frozenset({EPOCH, newer})
        assert {ranged(address, CHIP, epoch=newer).word for _ in range(9)} == {"epoch-unknown"}


def test_a_longer_line_measures_longer_by_what_it_adds():
    ledger = shelf(CHIP)
    with at_work(ledger) as (host, port):
        plain = ranged((host, port), CHIP, probes=8)
        words = (sys.executable, "-m", "tests.api.delaying", host, host, str(port), "15")
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as line:
            assert line.stdout is not None
            far = ranged((host, int(line.stdout.readline())), CHIP, probes=8)
            line.kill()
    assert plain.round_trip_us < 15_000 <= far.round_trip_us < 45_000


def test_a_ledger_that_does_not_answer_is_told_to_the_chip():
    ledger = replace(shelf(CHIP), broken=True)
    with at_work(ledger) as address:
        assert ranged(address, CHIP).word == "busy"


def test_a_landmark_outside_the_directory_files_nothing():
    ledger = replace(shelf(CHIP), version=None)
    with at_work(ledger) as address:
        assert ranged(address, CHIP).word == "accepted"
    assert ledger.filed == []


@pytest.mark.parametrize("reason", ["directory-version", "busy", "storage-unavailable"])
def test_rows_that_may_be_taken_later_are_filed_later(reason: str):
    ledger = replace(shelf(CHIP), refuses=[reason])
    with at_work(ledger, LandmarkSettings(report_s=0.05)) as address:
        ranged(address, CHIP)
        while ledger.refuses:
            ranged(address, CHIP)
    assert {row.ueid for _, rows, _ in ledger.filed for row in rows} == {CHIP.ueid}


def test_rows_that_are_refused_for_good_are_dropped():
    ledger = replace(shelf(CHIP), refuses=["epoch-unknown"])
    with at_work(ledger) as address:
        ranged(address, CHIP)
    assert ledger.filed == []
    assert ledger.refuses == []


def test_rows_are_kept_while_the_ledger_is_away():
    ledger = shelf(CHIP)
    with at_work(ledger, LandmarkSettings(report_s=0.05)) as address:
        ledger.broken = True
        ledger.find_key = lambda ueid: CHIP.signer.public  # type: ignore[method-assign]
        ranged(address, CHIP)
        for _ in range(20):
            ranged(address, CHIP)
        ledger.broken = False
    assert [row.ueid for _, rows, _ in ledger.filed for row in rows] == [CHIP.ueid]


def test_a_lost_result_is_sent_again():
    with at_work(shelf(CHIP)) as address, socket.socket(type=socket.SOCK_DGRAM) as line:
        line.settimeout(10)
        line.connect(address)
        prover = fresh_prover(CHIP.ueid, EPOCH, IDENT, 1, secrets.token_bytes)
        line.send(prover.commit(0))
        challenge = ranging.decode(line.recv(2_000))
        assert isinstance(challenge, ranging.Challenge)
        line.send(prover.answer(challenge))
        opening = prover.open(CHIP.signer)
        line.send(opening)
        first = line.recv(2_000)
        line.send(opening)
        assert line.recv(2_000) == first
        line.send(prover.commit(0))
        assert ranging.decode(line.recv(2_000)) == Result(challenge.session, "ranging-replayed")


def test_somebody_else_cannot_answer_in_a_session():
    """From another address, even with the right session id."""
    ledger = shelf(CHIP)
    with (
        at_work(ledger) as address,
        socket.socket(type=socket.SOCK_DGRAM) as line,
        socket.socket(type=socket.SOCK_DGRAM) as other,
    ):
        line.settimeout(10)
        line.connect(address)
        other.connect(address)
        prover = fresh_prover(CHIP.ueid, EPOCH, IDENT, 1, secrets.token_bytes)
        line.send(prover.commit(0))
        challenge = ranging.decode(line.recv(2_000))
        assert isinstance(challenge, ranging.Challenge)
        other.send(ranging.encode(Reply(challenge.session, 0, bytes(16))))
        line.send(prover.answer(challenge))
        line.send(prover.open(CHIP.signer))
        result = ranging.decode(line.recv(2_000))
        assert isinstance(result, Result)
        assert result.word == "accepted"


def test_rubbish_gets_no_answer_and_stops_nothing():
    with at_work(shelf(CHIP)) as address, socket.socket(type=socket.SOCK_DGRAM) as line:
        line.connect(address)
        for rubbish in (b"", b"\xff", bytes(1_500), b"\x84\x01", b"x" * 9_000):
            line.send(rubbish)
        assert ranged(address, CHIP).word == "accepted"
        line.settimeout(0.01)
        with pytest.raises(TimeoutError):
            line.recv(2_000)


def test_who_sends_too_much_gets_no_answer():
    with (
        at_work(shelf(CHIP), LandmarkSettings(limits=Limits(rate=1, burst=2))) as address,
        socket.socket(type=socket.SOCK_DGRAM) as line,
    ):
        line.settimeout(10)
        line.connect(address)
        commit = ranging.encode(Commit(bytes(16), 0, bytes(16), CHIP.ueid, bytes(32)))
        for _ in range(9):
            line.send(commit)
        for _ in range(2):
            line.recv(2_000)
        line.settimeout(0.05)
        with pytest.raises(TimeoutError):
            line.recv(2_000)


def test_a_landmark_that_is_not_there_has_no_result():
    with socket.socket(type=socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))
        prover = fresh_prover(CHIP.ueid, EPOCH, IDENT, 1, secrets.token_bytes)
        address = line.getsockname()
        assert range_with(address, prover, CHIP.signer, 1, timeout_s=0.01) is None


def test_an_address_that_cannot_be_had_is_the_operators_mistake():
    settings = LandmarkSettings(host="192.0.2.1")
    landmark = Landmark(IDENT, shelf(), settings, secrets.token_bytes)
    with pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1"):
        landmark.run(lambda *_: None)
    prover = fresh_prover(CHIP.ueid, EPOCH, IDENT, 1, secrets.token_bytes)
    with pytest.raises(ConfigurationError, match="cannot range"):
        range_with(("no-such-host.invalid", 1), prover, CHIP.signer, 1)


def test_the_clock_is_one_that_moves_on():
    first = raw_clock_ns()
    assert raw_clock_ns() >= first > 0
