"""Admission of landmark directories and ranging reports."""

from typing import Any

import pytest

from ledger.errors import Reason
from ledger.protocol import statements as st
from ledger.registry.judge import MAX_REPORT_SKEW_MS
from ledger.registry.records import landmark_subject, party_subject
from tests.registry.bench import HOUR_MS, Bench, born, founded, refuses
from tests.world import Chip, signer

OTHER_TRIP = 7_000


@pytest.fixture
def bench() -> Bench:
    made = founded()
    made.take(made.directory())
    return made


@pytest.fixture
def chip(bench: Bench) -> Chip:
    return born(bench)


# -- directory -------------------------------------------------------------------------------


def test_a_directory_is_filed_under_the_authority_and_is_in_force(bench: Bench):
    verdict = bench.put(bench.directory(version=2))
    assert verdict.subjects == (party_subject("authority"),)
    assert bench.registry.directory is not None
    assert bench.registry.directory.version == 2


@pytest.mark.parametrize("version", [1, 3])
def test_directories_count_up_by_one(bench: Bench, version: int):
    with refuses(Reason.DIRECTORY_VERSION, "version"):
        bench.put(bench.directory(version=version))


def test_the_first_directory_has_version_one():
    with refuses(Reason.DIRECTORY_VERSION, "version"):
        founded().put(founded().directory(version=2))


# -- report ----------------------------------------------------------------------------------


def test_a_report_is_filed_under_its_landmark_and_no_chip(bench: Bench, chip: Chip):
    other = born(bench, 2)
    verdict = bench.put(bench.report(chip, other))
    assert verdict.subjects == (landmark_subject("beacon"),)
    assert verdict.conflict is None


def test_a_report_on_the_epoch_before_is_taken(bench: Bench, chip: Chip):
    before = bench.epoch
    bench.tick()
    bench.judge(bench.report(chip, epoch=before))


def test_a_report_on_an_older_epoch_is_refused(bench: Bench, chip: Chip):
    before = bench.epoch
    bench.tick()
    bench.tick()
    with refuses(Reason.EPOCH_UNKNOWN, "epoch"):
        bench.put(bench.report(chip, epoch=before))


def test_a_report_after_the_newest_epoch_is_refused(bench: Bench, chip: Chip):
    bench.world.now_ms += HOUR_MS
    with refuses(Reason.EPOCH_EXPIRED, "epoch"):
        bench.put(bench.report(chip))


@pytest.mark.parametrize("skew_s", [-1, 1])
def test_a_report_from_the_future_or_from_before_its_epoch_is_refused(
    bench: Bench, chip: Chip, skew_s: int
):
    limit = skew_s * MAX_REPORT_SKEW_MS // 1_000
    bench.judge(bench.report(chip, iat=bench.world.iat + limit))
    with refuses(Reason.TIME_IMPLAUSIBLE, "iat"):
        bench.put(bench.report(chip, iat=bench.world.iat + limit + skew_s))


def test_a_landmark_reports_for_itself_only(bench: Bench, chip: Chip):
    with refuses(Reason.NOT_AUTHORISED, "landmark"):
        bench.put(bench.report(chip, landmark="beacon-2"))


def test_a_landmark_outside_the_directory_is_refused(bench: Bench, chip: Chip):
    bench.take(bench.party("lamp", ["landmark"]))
    with refuses(Reason.LANDMARK_UNKNOWN, "landmark"):
        bench.put(bench.report(chip, by=signer("lamp"), landmark="lamp"))


def test_without_a_directory_there_are_no_landmarks():
    bench = founded()
    with refuses(Reason.LANDMARK_UNKNOWN, "landmark"):
        bench.put(bench.report(born(bench)))


def test_a_suspended_landmark_is_refused_and_told_why(bench: Bench, chip: Chip):
    bench.take(bench.directory(version=2, of={"suspended": "its clock is slow"}))
    with refuses(Reason.LANDMARK_SUSPENDED, "landmark"):
        bench.put(bench.report(chip, directory=2))
    bench.take(bench.directory(version=3))
    bench.judge(bench.report(chip, directory=3))


@pytest.mark.parametrize("version", [1, 3])
def test_a_report_names_the_directory_in_force(bench: Bench, chip: Chip, version: int):
    bench.take(bench.directory(version=2))
    bench.judge(bench.report(chip, directory=2))
    with refuses(Reason.DIRECTORY_VERSION, "directory"):
        bench.put(bench.report(chip, directory=version))


def test_a_row_on_an_unknown_chip_stops_the_report(bench: Bench, chip: Chip):
    with refuses(Reason.CHIP_UNKNOWN):
        bench.put(bench.report(chip, bench.world.chip(99)))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"root": bytes(32)}, "root"),
        ({"rows_signature": bytes(64)}, "rows_signature"),
        ({"rows_signature": bytes(96)}, "rows_signature"),
    ],
)
def test_a_root_that_does_not_fit_the_rows_is_refused(
    bench: Bench, chip: Chip, changes: dict[str, Any], field: str
):
    with refuses(Reason.RANGING_ROWS, field):
        bench.put(bench.report(chip, **changes))


def test_a_row_that_was_changed_under_the_old_root_is_refused(bench: Bench, chip: Chip):
    body = st.decode(bench.report(chip)).body
    rows = [body.rows[0].model_copy(update={"round_trip_us": OTHER_TRIP})]
    with refuses(Reason.RANGING_ROWS, "root"):
        bench.put(st.sign(body.model_copy(update={"rows": rows}), signer("beacon")))


def test_rows_signed_by_another_landmark_are_refused(bench: Bench, chip: Chip):
    body = st.decode(bench.report(chip, by=signer("lamp"))).body
    with refuses(Reason.RANGING_ROWS, "rows_signature"):
        bench.put(st.sign(body, signer("beacon")))
