"""Why a chip is flagged, and who says so: what a passport tells beside the bare flag."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.passport.words import CONTRADICTIONS, contradicted
from ledger.protocol.statements import Kind
from ledger.service.node import Node, NodeSettings
from tests.service.harness import Stage, founded
from tests.service.storied import run
from tests.world import SINGAPORE, Chip, seed, signer


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return founded(tmp_path, chips=2)


def reasons(stage: Stage, chip: Chip) -> Any:
    stage.node.follow()
    passport = stage.node.passport(chip.ueid)
    flags = [item["flag"] for item in passport["flag_reasons"]]
    assert list(dict.fromkeys(flags)) == passport["flags"]
    return passport["flag_reasons"]


def test_chip_without_a_flag_has_no_reason(stage: Stage) -> None:
    stage.beat(stage.chips[0])
    assert reasons(stage, stage.chips[0]) == []


def test_strangers_shipment_is_its_authors_word_and_no_finding(stage: Stage) -> None:
    chip = stage.chips[0]
    stage.beat(chip)
    receipt = stage.conflict(stage.world.ship(chip, by=stage.world.reseller))
    assert reasons(stage, chip) == [
        {
            "flag": "suspect",
            "author": "reseller",
            "words": "a conflicting shipment was filed by reseller, who was not the holder of "
            "the chip; without effect, and no finding about the chip",
            "index": receipt.index,
        }
    ]
    assert stage.state(chip) == "active"
    stage.node.close()


def test_holders_paper_that_names_a_strange_chip_too_is_told_apart(stage: Stage) -> None:
    w, (chip, other) = stage.world, stage.chips
    stage.take(w.ship(other, by=w.holder, to="reseller", destination="MY", licence=None))
    stage.conflict(w.ship(chip, other, by=w.holder, to="reseller", licence=None))
    ((first,), (second,)) = (reasons(stage, one) for one in (chip, other))
    assert "filed by holder, who had shipped another chip on it already" in first["words"]
    assert "filed by holder, who had shipped the chip already" in second["words"]


def test_receipt_of_what_nobody_sent_names_who_claims_it(stage: Stage) -> None:
    stage.conflict(stage.world.receive(stage.chips[0], by=stage.world.reseller))
    (reason,) = reasons(stage, stage.chips[0])
    assert "receipt was filed by reseller, to whom nobody had shipped the chip" in reason["words"]


def test_second_birth_names_the_maker(stage: Stage) -> None:
    stage.conflict(stage.world.birth(replace(stage.chips[0], signer=signer("thief"))))
    (reason,) = reasons(stage, stage.chips[0])
    assert (reason["author"], "birth statement" in reason["words"]) == ("maker", True)


def test_what_a_chips_own_heartbeats_show_is_the_verifiers_word(stage: Stage) -> None:
    chip = stage.chips[0]
    stage.conflict(stage.world.ship(chip, by=stage.world.reseller))
    stage.beat(chip)
    stage.beat(chip, place=SINGAPORE)
    found = reasons(stage, chip)
    assert {item["author"] for item in found} == {"verifier"}
    assert [item["words"].partition(":")[0] for item in found] == [
        *("custody-place", "location-claim", "travel")
    ]


def test_failure_whose_words_begin_with_the_rules_name_says_it_once(stage: Stage) -> None:
    chip = stage.chips[0]
    stage.beat(chip, debug_status=0)
    (reason,) = reasons(stage, chip)
    assert reason["words"].startswith("debug: status ")


def test_copied_key_is_the_verifiers_word_too(stage: Stage) -> None:
    chip = stage.chips[0]
    stage.beat(chip)
    stage.beat(chip)
    clone = replace(chip, counter=chip.counter - 1, previous=seed("clone"))
    stage.conflict(stage.token(clone))
    (reason,) = reasons(stage, chip)
    assert (reason["author"], reason["index"]) == ("verifier", None)
    assert reason["words"].startswith("continuity: ")


def test_silence_says_since_when(stage: Stage) -> None:
    stage.beat(stage.chips[0])
    stage.hours(24 * 20)
    found = reasons(stage, stage.chips[0])
    assert (found[0]["flag"], found[0]["author"]) == ("silent", "verifier")
    assert found[0]["words"] == "no heartbeat since 2026-01-01T00:00:00Z"


def test_stored_state_gives_the_reasons_that_the_running_verifier_gives(stage: Stage) -> None:
    stage.conflict(stage.world.ship(stage.chips[0], by=stage.world.reseller))
    running = reasons(stage, stage.chips[0])
    assert running
    stage.node.close()
    reader = Node.open(NodeSettings(stage.node.settings.database, read_only=True))
    assert reader.passport(stage.chips[0].ueid)["flag_reasons"] == running
    reader.close()


def test_withheld_paper_has_no_author_and_no_blame(stage: Stage, tmp_path: Path) -> None:
    receipt = stage.conflict(stage.world.ship(stage.chips[0], by=stage.world.reseller))
    stage.node.follow()
    stage.node.close()
    run(tmp_path / "ledger.db", f"UPDATE entries SET body = NULL WHERE idx = {receipt.index}")
    reader = Node.open(NodeSettings(str(tmp_path / "ledger.db"), read_only=True))
    (reason,) = reader.passport(stage.chips[0].ueid)["flag_reasons"]
    reader.close()
    assert (reason["author"], reason["index"]) == (None, receipt.index)
    assert "no finding about the chip" in reason["words"]


def test_every_contradiction_by_a_paper_has_words() -> None:
    for kind in (Kind.SHIP, Kind.RECEIVE, Kind.INSTALL, Kind.RETIRE, Kind.BIRTH):
        for conflict in CONTRADICTIONS:
            said = contradicted(kind, conflict, "somebody")
            assert "filed by somebody, " in said
            assert "{" not in said
            assert ("birth statement" in said) == (kind is Kind.BIRTH)
