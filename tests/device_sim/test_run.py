"""Whole runs against a ledger in memory that follows the real rules."""

import json
from functools import cache
from typing import Any

import pytest

from device_sim.report import build_report, chip_deeds
from device_sim.run import run
from device_sim.scenario import KINDS, load_packaged, scenario_names
from device_sim.tally import Progress, RunResult
from ledger.errors import ConfigurationError
from ledger.protocol import statements as st
from ledger.protocol.statements import Kind
from tests.device_sim.peer import LedgerPeer


@cache
def small() -> tuple[RunResult, LedgerPeer, dict[str, Any]]:
    peer = LedgerPeer()
    result = run(load_packaged("small"), peer)
    return result, peer, build_report(result, peer)


def test_small_comes_out_as_its_scenario_expects() -> None:
    _, _, report = small()
    wrong = [row for row in report["incidents"] if row["as_expected"] != row["chips"]]
    assert not wrong
    assert report["as_expected"]
    assert not report["problems"]


def test_small_has_every_kind_of_incident() -> None:
    _, _, report = small()
    assert [row["kind"] for row in report["incidents"]] == list(KINDS)


def test_report_is_ready_for_json_and_names_what_was_missed() -> None:
    result, _, report = small()
    again = json.loads(json.dumps(report))
    assert again["diversions"]["missed_kinds"] == {"spoof": 1}
    assert again["chips"] == result.scenario.chips == 17
    assert again["examples"][0]["what"] == "a diversion caught"
    assert again["ledger"]["origin"] == "peer.example"
    assert again["false_holds"]["count"] == 0


def test_every_statement_of_a_sound_scenario_is_accepted() -> None:
    result, peer, _ = small()
    assert result.statements.accepted == result.statements.sent
    assert peer.kinds["birth"] == 17
    assert result.heartbeats.refused == 0


def test_every_heartbeat_decodes_and_verifies_under_its_birth_key() -> None:
    _, peer, _ = small()
    for token in peer.tokens[:200]:
        message = st.decode(token, expect=Kind.HEARTBEAT)
        message.verify(peer.registry.key_for(message))


def test_released_chip_is_active_again() -> None:
    result, peer, _ = small()
    assert result.released
    assert all(peer.device(ueid)["state"] == "active" for ueid in result.released)


def test_same_seed_gives_the_same_bytes() -> None:
    _, first, _ = small()
    second = LedgerPeer()
    run(load_packaged("small"), second)
    assert second.tokens == first.tokens
    assert [item[0].token for item in second.log] == [item[0].token for item in first.log]


def test_another_seed_gives_other_chips() -> None:
    _, first, _ = small()
    peer = LedgerPeer()
    result = run(load_packaged("small"), peer, seed=2, limit_days=3)
    assert not set(peer.registry.chips) & set(first.registry.chips)
    assert result.scenario.seed == 2


def test_second_seed_goes_on_in_the_same_ledger() -> None:
    peer = LedgerPeer()
    run(load_packaged("small"), peer, limit_days=3)
    result = run(load_packaged("small"), peer, limit_days=3, seed=2)
    assert not result.problems
    assert any("policy in force stays" in note for note in result.notes)
    assert any("past the calendar" in note for note in result.notes)
    report = build_report(result, peer)
    assert report["chips"] == 17
    assert len(list(peer.devices())) == 34


def test_second_run_is_scored_on_its_own_chips_alone() -> None:
    peer = LedgerPeer()
    first = run(load_packaged("small"), peer)
    before = build_report(first, peer)
    assert before["decisions"]["total"] > 0
    assert not any("quota" in note for note in first.notes)
    second = run(load_packaged("small"), peer, seed=2)
    report = build_report(second, peer)
    ours = {chip.ueid.hex() for chip in second.world.chips}
    decided = [item for item in peer.decisions() if item["ueid"] in ours]
    assert report["decisions"]["total"] == len(decided)
    assert sum(report["states"].values()) == report["chips"] == 17
    assert {item["ueid"] for item in report["examples"]} <= ours
    assert report["diversions"]["chips"] == before["diversions"]["chips"]
    # The first run's report is the same whatever came after it.
    assert build_report(first, peer)["decisions"] == before["decisions"]
    assert any("chips of earlier runs count too" in note for note in second.notes)


@pytest.mark.parametrize(("days", "found"), [(3, False), (4, True), (8, False)])
def test_diversion_begun_too_late_for_an_outcome_is_open(days: float, found: bool) -> None:
    """The scenario's diversions begin on day 3, and what is not begun is not open."""
    peer = LedgerPeer()
    result = run(load_packaged("small"), peer, limit_days=days)
    told = build_report(result, peer)["diversions"]
    deeds = [deed for deed in chip_deeds(result) if deed.at_ms < result.end_ms]
    assert told["chips"] + told["open"] == sum(deed.group == "diversion" for deed in deeds)
    assert (told["open"] > 0) is found


def test_hold_by_a_licence_of_an_earlier_run_is_no_false_hold() -> None:
    peer = LedgerPeer()
    first = run(load_packaged("small"), peer, limit_days=3)
    assert build_report(first, peer)["false_holds"]["by_earlier_licences"] == 0
    second = run(load_packaged("small"), peer, seed=2, limit_days=3)
    assert (first.shares_licences, second.shares_licences) == (False, True)
    holds = build_report(second, peer)["false_holds"]
    assert (holds["count"], holds["decisions"]) == (0, [])
    assert holds["by_earlier_licences"] == 3
    second.shares_licences = False
    assert build_report(second, peer)["false_holds"]["count"] == 3


def test_same_seed_twice_on_one_ledger_is_refused() -> None:
    peer = LedgerPeer()
    run(load_packaged("small"), peer, limit_days=3)
    with pytest.raises(ConfigurationError, match="seed 1 has run on this ledger"):
        run(load_packaged("small"), peer, limit_days=3)


def test_ledger_of_another_authority_is_refused() -> None:
    peer = LedgerPeer()
    run(load_packaged("small"), peer, limit_days=3)
    other = load_packaged("small").model_copy(update={"authority_seed": "another", "seed": 9})
    with pytest.raises(ConfigurationError, match="another authority"):
        run(other, peer, limit_days=3)


def test_run_cut_short_is_scored_only_on_what_could_show() -> None:
    peer = LedgerPeer()
    report = build_report(run(load_packaged("small"), peer, limit_days=5), peer)
    assert {row["kind"] for row in report["incidents"]} < set(KINDS)
    assert report["as_expected"]


def test_progress_ends_at_the_last_step() -> None:
    seen: list[Progress] = []
    run(load_packaged("small"), LedgerPeer(), limit_days=3, progress=seen.append)
    assert (seen[0].step, seen[-1].step) == (1, seen[-1].steps)
    assert seen[-1].heartbeats > 0


def test_speed_up_on_a_simulated_clock_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="as fast as it can be"):
        run(load_packaged("small"), LedgerPeer(), speedup=10)


def test_speed_up_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="above 0"):
        run(load_packaged("small"), LedgerPeer("real"), speedup=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", scenario_names())
def test_packaged_scenario_comes_out_as_it_expects(name: str) -> None:
    peer = LedgerPeer()
    result = run(load_packaged(name), peer)
    report = build_report(result, peer)
    wrong = [row for row in report["incidents"] if row["as_expected"] != row["chips"]]
    assert not wrong
    assert not result.problems
    assert report["false_holds"]["count"] == 0
