"""Bundles out of a real ledger's database: every chip of an eventful one, checked offline."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from ledger.appraisal.places import cached_places
from ledger.bundle.findings import Report
from ledger.bundle.verify import verify
from ledger.errors import Reason
from ledger.geo.borders import Borders
from ledger.log.note import NoteSigner
from ledger.log.trust import TrustedLog, TrustPolicy
from ledger.service.bundles import read_bundle
from ledger.store.engine import open_engine, reading
from tests.protocol.refusals import refused
from tests.service.harness import Stage, open_node
from tests.service.storied import tell
from tests.world import signer

PLACES = cached_places(Borders.load())
TRUST = TrustPolicy(
    (TrustedLog(NoteSigner("test.example/ledger", signer("ledger")).vkey),), (), (), None
)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stage, Path]:
    folder = tmp_path_factory.mktemp("story")
    return tell(folder), folder


@pytest.fixture
def connection(story: tuple[Stage, Path]) -> Iterator[Connection]:
    engine = open_engine(str(story[1] / "ledger.db"), read_only=True)
    with reading(engine) as connection:
        yield connection
    engine.dispose()


def report_of(connection: Connection, ueid: bytes, now_ms: int) -> Report:
    data = read_bundle(connection, ueid).encode()
    return verify(data, trust=TRUST, now_ms=now_ms, places=PLACES)


@pytest.mark.parametrize(
    ("number", "state", "decisions"),
    [(0, "held", 1), (1, "held", 2), (2, "revoked", 2), (3, "held", 1), (10, "retired", 0)],
)
def test_every_life_is_established(
    story: tuple[Stage, Path], connection: Connection, number: int, state: str, decisions: int
):
    stage, _ = story
    report = report_of(connection, stage.world.chip(number).ueid, stage.world.now_ms)
    assert report.accepted, report.faults
    assert (report.state, report.decisions, report.decisions_checked) == (state, decisions, True)
    assert report.remarks == []
    assert [event.seq for event in report.life] == list(range(report.entries))
    assert report.unchecked == 0


def test_a_hold_for_a_quota_is_a_remark(story: tuple[Stage, Path], connection: Connection):
    stage, _ = story
    report = report_of(connection, stage.world.chip(11).ueid, stage.world.now_ms)
    assert report.accepted
    assert report.state == "held"
    assert any("quota" in remark for remark in report.remarks)


def test_absence_is_proved(story: tuple[Stage, Path], connection: Connection):
    stage, _ = story
    report = report_of(connection, stage.world.chip(99).ueid, stage.world.now_ms)
    assert report.accepted
    assert report.entries == 0


def test_what_is_no_ueid_and_sizes_that_are_too_large_are_refused(connection: Connection):
    with refused(Reason.CLAIM_INVALID, "ueid"):
        read_bundle(connection, b"x")
    with refused(Reason.PROOF_INVALID, "since"):
        read_bundle(connection, b"\x01" + bytes(16), since=[1 << 40])


def test_an_earlier_checkpoint_is_extended(story: tuple[Stage, Path], connection: Connection):
    from sqlalchemy import select

    from ledger.service.publish import checkpoint_table

    stage, _ = story
    query = select(checkpoint_table.c.size, checkpoint_table.c.note).order_by(
        checkpoint_table.c.size
    )
    kept = connection.execute(query).all()[0]
    bundle = read_bundle(connection, stage.chips[0].ueid, since=[kept.size])
    report = verify(
        bundle.encode(),
        trust=TRUST,
        now_ms=stage.world.now_ms,
        places=PLACES,
        remembered=[kept.note],
    )
    assert report.accepted
    assert report.remarks == []


def test_a_ledger_without_a_checkpoint_gives_no_bundle(tmp_path: Path):
    open_node(tmp_path).close()
    engine = open_engine(str(tmp_path / "ledger.db"), read_only=True)
    with reading(engine) as connection, refused(Reason.LEDGER_EMPTY):
        read_bundle(connection, b"\x01" + bytes(16))
    engine.dispose()
