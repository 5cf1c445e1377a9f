"""A ledger in which everything has happened, and ways to damage a copy of it."""

import shutil
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ledger.protocol import statements as st
from ledger.service.audit.report import CheckReport
from ledger.service.check import check_ledger
from tests.service.harness import Stage, found, open_node
from tests.world import SINGAPORE, seed, signer


def tell(folder: Path, database: str | None = None, rounds: int = 4) -> Stage:
    """Every kind of statement, conflicts, holds, a release, a revocation.

    Over 70 entries with 4 rounds, over 300 (past a full tile) with 60.
    """
    stage = found(
        open_node(folder, database),
        chips=4,
        revoke_after_forks=3,
        silence_after_h=4,
        silence_hold_after_h=8,
    )
    w, (honest, diverted, cloned, silent) = stage.world, stage.chips
    for _ in range(3):
        stage.beat(diverted, place=SINGAPORE)
    (hold,) = stage.decisions(diverted)
    stage.take(w.release(diverted, 2, bytes.fromhex(hold["digest"])))
    stage.take(*(stage.token(chip) for chip in (honest, cloned, silent) for _ in range(3)))
    for _ in range(3):
        clone = replace(cloned, counter=cloned.counter - 1, previous=seed("clone"))
        stage.conflict(stage.token(clone))
        stage.node.follow()
        stage.hours(0.5)
    assert stage.state(cloned) == "revoked"
    stage.conflict(w.birth(replace(honest, signer=signer("thief"))))
    stage.conflict(w.ship(honest, by=w.reseller))
    stage.take(
        w.policy(
            version=2,
            title="second policy",
            revoke_after_forks=3,
            silence_after_h=4,
            silence_hold_after_h=8,
        )
    )
    stage.take(w.licence(id="L-2", holder="reseller", countries=["MY"], quota_per_year=1))
    for _ in range(rounds):
        stage.take(*(stage.token(chip) for chip in (honest, diverted) for _ in range(2)))
        stage.hours(1 if stage.node.status().size % 3 else 0.25)
    moved = [w.chip(number) for number in (10, 11)]
    stage.take(*(w.birth(chip) for chip in moved))
    stage.take(w.ship(*moved, to="reseller", destination="MY", licence="L-2"))
    stage.take(w.receive(*moved, by=w.reseller, country="MY"))
    gone = st.Retire(iat=w.iat, chips=[moved[0].ueid], cause="burnt")
    stage.take(st.sign(gone, w.reseller))
    stage.take(w.landmark(), w.directory(), w.directory(version=2))
    stage.take(w.report(stage.node.epoch().id, honest, diverted, directory=2))
    stage.hours(9)
    assert stage.state(silent) == "held"
    stage.node.close()
    return stage


def copy_of(made: Path, folder: Path) -> Path:
    """The ledger file, copied for a test to damage."""
    target = folder / "copy.db"
    # Of an earlier copy; to be another file for SQLite, which may still have that one open.
    for ending in ("", "-wal", "-shm"):
        target.with_name(f"{target.name}{ending}").unlink(missing_ok=True)
    shutil.copyfile(made, target)
    return target


def run(path: Path, statement: str, values: Iterable[Any] = ()) -> None:
    """One SQL statement that has to change something."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute(statement, tuple(values)).rowcount, statement
        connection.commit()
    finally:
        connection.close()


def value(path: Path, query: str) -> Any:
    """First column of the first row."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchone()[0]
    finally:
        connection.close()


def flipped(data: bytes, at: int, bit: int = 0) -> bytes:
    """One bit changed."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]


def place(path: Path, **options: Any) -> str:
    """Where check finds the first fault."""
    report = check_ledger(str(path), **options)
    assert not report.sound
    assert len(report.faults) == 1
    assert report.faults[0].problem
    return report.faults[0].place


def counts(report: CheckReport) -> tuple[int, ...]:
    """What was counted."""
    return (report.entries, report.signatures, report.conflicts, report.decisions, report.chips)
