"""A witness with its database: restart, races, faults, forks; on SQLite and PostgreSQL."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from ledger.errors import ConfigurationError, IntegrityError, StorageError
from ledger.log.cosignature import CosignatureVerifier, Cosigner, split_timestamp
from ledger.log.note import open_note
from ledger.log.trust import TrustPolicy
from ledger.log.vkey import Vkey
from ledger.log.witness import Declined, Problem, Seen
from ledger.service import witness as module
from ledger.service.clock import SimulatedClock
from ledger.service.witness import Witness, WitnessSettings, followed_logs
from ledger.store.engine import open_engine, writing
from ledger.store.schema import migrate
from ledger.store.witness_rows import MAX_FORKS, register
from tests.log.keys import TestKey
from tests.log.witnessed import ED_COSIGNER, ML_COSIGNER, ORIGIN, START_S, GrowingLog

LOG = GrowingLog()
OTHER = GrowingLog("log.example/other", 2)
ENGINES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
Opener = Callable[..., Witness]


@pytest.fixture(params=ENGINES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "witness.db")
    return str(request.getfixturevalue("postgres_database"))


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(START_S * 1000)


@pytest.fixture
def open_witness(database: str, clock: SimulatedClock) -> Iterator[Opener]:
    """Opens witnesses of one database; they are closed at the end."""
    opened: list[Witness] = []

    def opener(**changes: object) -> Witness:
        settings = {
            "database": database,
            "cosigners": [ED_COSIGNER],
            "logs": LOG.keys | OTHER.keys,
            "clock": clock,
        }
        opened.append(Witness.open(WitnessSettings(**(settings | changes))))  # type: ignore[arg-type]
        return opened[-1]

    yield opener
    for witness in opened:
        witness.close()


@pytest.fixture
def witness(open_witness: Opener) -> Witness:
    return open_witness()


def times(answer: bytes | Declined, size: int, log: GrowingLog = LOG) -> list[int]:
    """Times of the cosignatures in an answer, all verified over the checkpoint of this size."""
    assert isinstance(answer, bytes), answer
    keys = [CosignatureVerifier(c.vkey) for c in (ED_COSIGNER, ML_COSIGNER)]
    _, lines = open_note(log.checkpoint(size).encode() + b"\n" + answer, keys)
    return [split_timestamp(line.signature)[0] for line in lines]


def problem(answer: bytes | Declined) -> tuple[Problem, int | None]:
    assert isinstance(answer, Declined), answer
    return answer.problem, answer.size


def test_growing_log_is_cosigned_step_by_step(witness: Witness, clock: SimulatedClock) -> None:
    assert times(witness.add_checkpoint(LOG.request(0, 3)), 3) == [START_S]
    clock.move((START_S + 9) * 1000 + 999)
    assert times(witness.add_checkpoint(LOG.request(3, 7)), 7) == [START_S + 9]
    latest = witness.latest(ORIGIN)
    assert latest.seen == Seen(7, LOG.checkpoint(7).root, START_S + 9)
    assert latest.note == LOG.note(7)


def test_witness_with_two_keys_gives_two_lines(open_witness: Opener) -> None:
    witness = open_witness(cosigners=[ED_COSIGNER, ML_COSIGNER])
    assert times(witness.add_checkpoint(LOG.request(0, 3)), 3) == [START_S, START_S]
    assert witness.vkeys == [ED_COSIGNER.vkey.encode(), ML_COSIGNER.vkey.encode()]


def test_logs_do_not_mix(witness: Witness) -> None:
    times(witness.add_checkpoint(LOG.request(0, 3)), 3)
    times(witness.add_checkpoint(OTHER.request(0, 5)), 5, OTHER)
    assert problem(witness.add_checkpoint(OTHER.request(3, 7))) == (Problem.CONFLICT, 5)


def test_restarted_witness_remembers(open_witness: Opener) -> None:
    first = open_witness()
    times(first.add_checkpoint(LOG.request(0, 7)), 7)
    first.close()
    second = open_witness(create=False)
    assert problem(second.add_checkpoint(LOG.request(0, 3))) == (Problem.CONFLICT, 7)
    assert problem(second.add_checkpoint(LOG.fork(5).request(7, 9)))[0] is Problem.PROOF
    times(second.add_checkpoint(LOG.request(7, 9)), 9)


def test_rollback_is_never_cosigned(witness: Witness) -> None:
    times(witness.add_checkpoint(LOG.request(0, 7)), 7)
    for old, size in ((0, 3), (3, 3), (3, 5), (0, 0)):
        assert problem(witness.add_checkpoint(LOG.request(old, size))) == (Problem.CONFLICT, 7)
    assert witness.latest(ORIGIN).seen.size == 7


def test_log_added_later_is_followed_and_one_left_out_is_remembered(open_witness: Opener) -> None:
    first = open_witness(logs=LOG.keys)
    times(first.add_checkpoint(LOG.request(0, 7)), 7)
    second = open_witness(logs=OTHER.keys)
    assert problem(second.add_checkpoint(LOG.request(7, 9)))[0] is Problem.UNKNOWN_LOG
    times(second.add_checkpoint(OTHER.request(0, 7)), 7, OTHER)
    third = open_witness()
    assert problem(third.add_checkpoint(LOG.request(0, 3))) == (Problem.CONFLICT, 7)


def test_fork_is_declined_and_kept_as_evidence(witness: Witness) -> None:
    times(witness.add_checkpoint(LOG.request(0, 7)), 7)
    fork = LOG.fork(5)
    for _ in range(2):
        assert problem(witness.add_checkpoint(fork.request(7, 7))) == (Problem.FORK, None)
    (kept,) = witness.forks()
    assert (kept.origin, kept.size, kept.seen_s) == (ORIGIN, 7, START_S)
    assert (kept.cosigned, kept.contradicting) == (LOG.note(7), fork.note(7))
    times(witness.add_checkpoint(LOG.request(7, 9)), 9)


def test_evidence_has_a_limit(witness: Witness) -> None:
    times(witness.add_checkpoint(LOG.request(0, 60)), 60)
    for at in range(MAX_FORKS + 2):
        assert problem(witness.add_checkpoint(LOG.fork(at).request(60, 60)))[0] is Problem.FORK
    assert len(witness.forks()) == MAX_FORKS


def test_clock_far_behind_the_last_cosignature_stops_cosigning(open_witness: Opener) -> None:
    times(open_witness().add_checkpoint(LOG.request(0, 3)), 3)
    late = open_witness(clock=SimulatedClock((START_S - 3600) * 1000))
    assert problem(late.add_checkpoint(LOG.request(3, 7)))[0] is Problem.CLOCK
    assert late.latest(ORIGIN).seen.size == 3


def test_of_requests_at_the_same_time_one_from_each_size_wins(open_witness: Opener) -> None:
    """Two processes' worth of witnesses, many threads, two histories: one history comes out."""
    pair = [open_witness(), open_witness()]
    pair[0].add_checkpoint(LOG.request(0, 4))
    fork = LOG.fork(4)
    requests = [(log, size) for size in range(5, 17) for log in (LOG, fork)]
    start = threading.Barrier(len(requests))

    def ask(number: int) -> tuple[GrowingLog, int] | None:
        log, size = requests[number]
        start.wait()
        answer = pair[number % 2].add_checkpoint(log.request(4, size))
        if isinstance(answer, Declined):
            assert answer.problem is Problem.CONFLICT
            return None
        times(answer, size, log)
        return log, size

    with ThreadPoolExecutor(len(requests)) as pool:
        won = [found for found in pool.map(ask, range(len(requests))) if found is not None]
    assert len(won) == 1
    log, size = won[0]
    assert pair[0].latest(ORIGIN).note == log.note(size)


def test_first_requests_at_the_same_time_do_not_both_win(open_witness: Opener) -> None:
    pair = [open_witness(), open_witness()]
    start = threading.Barrier(8)

    def ask(number: int) -> bytes | Declined:
        start.wait()
        log = LOG if number % 4 < 2 else LOG.fork(0)
        return pair[number % 2].add_checkpoint(log.request(0, 5 + number))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert sum(isinstance(answer, bytes) for answer in answers) == 1


def test_nothing_is_signed_before_the_record_is_committed(
    open_witness: Opener, database: str
) -> None:
    """While the key signs, another connection reads the new record."""
    sizes = []

    class Watching(TestKey):
        def sign(self, message: bytes, /) -> bytes:
            with closing(reader):
                sizes.append(reader.latest(ORIGIN).seen.size)
            return super().sign(message)

    reader = open_witness()
    witness = open_witness(cosigners=[Cosigner("w", Watching(30))])
    assert isinstance(witness.add_checkpoint(LOG.request(0, 7)), bytes)
    assert sizes == [7]


def test_key_that_fails_after_the_commit_leaves_a_record_and_the_log_asks_again(
    open_witness: Opener,
) -> None:
    class Broken(TestKey):
        def sign(self, message: bytes, /) -> bytes:
            raise OSError("the token was pulled out")

    broken = open_witness(cosigners=[Cosigner("w", Broken(30))])
    with pytest.raises(OSError, match="pulled"):
        broken.add_checkpoint(LOG.request(0, 7))
    sound = open_witness()
    assert problem(sound.add_checkpoint(LOG.request(0, 7))) == (Problem.CONFLICT, 7)
    times(sound.add_checkpoint(LOG.request(7, 7)), 7)


def test_failed_write_signs_nothing_and_keeps_nothing(
    witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = module.advance

    def fail(*arguments: object) -> None:
        advance(*arguments)  # type: ignore[arg-type]
        raise StorageError("disk full")

    monkeypatch.setattr(module, "advance", fail)
    with pytest.raises(StorageError):
        witness.add_checkpoint(LOG.request(0, 7))
    monkeypatch.undo()
    assert witness.latest(ORIGIN).seen == Seen()
    times(witness.add_checkpoint(LOG.request(0, 7)), 7)


TORN = [
    "UPDATE witness_logs SET size = size + 1",
    "UPDATE witness_logs SET note = NULL",
    f"UPDATE witness_logs SET origin = 'x' WHERE origin = '{ORIGIN}'",
    "DELETE FROM witness_logs",
]


@pytest.mark.parametrize("statement", TORN)
def test_record_that_contradicts_itself_stops_the_witness(
    witness: Witness, open_witness: Opener, database: str, statement: str
) -> None:
    times(witness.add_checkpoint(LOG.request(0, 7)), 7)
    engine = open_engine(database)
    with writing(engine) as connection:
        connection.execute(text(statement))
    with pytest.raises(IntegrityError):
        witness.add_checkpoint(LOG.request(7, 9))
    with writing(engine) as connection:
        connection.execute(text("DELETE FROM witness_logs"))
        register(connection, witness.settings.logs)
    engine.dispose()
    with pytest.raises(IntegrityError):  # once fatal, always
        witness.add_checkpoint(LOG.request(0, 9))


def test_witness_does_not_start_on_a_torn_record(open_witness: Opener, database: str) -> None:
    times(open_witness().add_checkpoint(LOG.request(0, 7)), 7)
    engine = open_engine(database)
    with writing(engine) as connection:
        connection.execute(text("UPDATE witness_logs SET size = 8"))
    engine.dispose()
    with pytest.raises(IntegrityError):
        open_witness()


def test_database_of_a_ledger_or_of_another_version_is_refused(
    open_witness: Opener, database: str
) -> None:
    engine = open_engine(database)
    migrate(engine)
    with pytest.raises(ConfigurationError, match="one of its own"):
        open_witness()
    engine.dispose()


def test_database_of_another_version_is_refused(open_witness: Opener, database: str) -> None:
    open_witness()
    engine = open_engine(database)
    with writing(engine) as connection:
        connection.execute(text("UPDATE witness_about SET version = 2"))
    engine.dispose()
    with pytest.raises(ConfigurationError, match="schema"):
        open_witness()


def test_lost_database_is_not_made_anew_unless_asked(tmp_path: Path) -> None:
    missing = str(tmp_path / "lost.db")
    clock = SimulatedClock()
    settings = WitnessSettings(missing, [ED_COSIGNER], LOG.keys, clock, create=False)
    with pytest.raises(ConfigurationError):
        Witness.open(settings)
    assert not Path(missing).exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"cosigners": []},
        {"cosigners": [ED_COSIGNER, Cosigner("second", TestKey(20))]},
        {"logs": {ORIGIN: []}},
        {"logs": {ORIGIN: LOG.keys[ORIGIN] * 2}},
        {"logs": {ORIGIN: [Vkey(ORIGIN, 0x04, TestKey(1).public.raw)]}},
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    settings = {
        "database": str(tmp_path / "w.db"),
        "cosigners": [ED_COSIGNER],
        "logs": LOG.keys,
        "clock": SimulatedClock(),
    }
    with pytest.raises(ConfigurationError):
        Witness.open(WitnessSettings(**(settings | changes)))  # type: ignore[arg-type]


def test_logs_to_follow_are_read_from_a_trust_policy() -> None:
    lines = [f"log {log.signer.vkey.encode()}\n" for log in (LOG, OTHER, GrowingLog(key=3))]
    policy = TrustPolicy.parse("".join([*lines, "quorum none\n"]).encode())
    keys = followed_logs(policy)
    assert {origin: len(vkeys) for origin, vkeys in keys.items()} == {ORIGIN: 2, OTHER.origin: 1}
