"""Scenario files: what can be run, and what is wrong with what cannot, line by line."""

import json
import re
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from device_sim.acts import ACTS
from device_sim.scenario import (
    KINDS,
    Fault,
    Scenario,
    ScenarioError,
    lasting,
    load,
    load_packaged,
    parse,
    resized,
    scenario_names,
    validate,
)
from device_sim.scenario.incident import DETAILS, Incident
from device_sim.scenario.words import FORMS

SMALL = (resources.files("device_sim") / "scenarios" / "small.toml").read_text(encoding="utf-8")


def broken(old: str, new: str) -> str:
    """The small scenario with its first ``old`` replaced."""
    assert old in SMALL, old
    return SMALL.replace(old, new, 1)


def line_with(text: str, snippet: str) -> int:
    """Number of the first line that contains ``snippet``."""
    return text[: text.index(snippet)].count("\n") + 1


# (replace this, by that, text on the line of the fault, field, part of the problem)
CORPUS = [
    ("days = 8", "days = 8 8", "days = 8 8", "", "not TOML"),
    ('name = "small"', 'name = "no good"', "no good", "name", "its form"),
    ("seed = 1\n", 'seed = "1"\n', 'seed = "1"', "seed", "integer"),
    ("seed = 1\n", "seeds = 1\n", "seeds = 1", "seeds", "unknown field"),
    ("days = 8", "days = -1", "days = -1", "calendar.days", "greater than"),
    ("T00:00:00Z", "T00:00:00", "T00:00:00", "calendar.start", "timezone"),
    ("every_min = 240", "every_min = 60", "every_min = 60", "heartbeat.every_min", "shorter"),
    ("jitter_min = 30", "jitter_min = 200", "jitter_min = 200", "heartbeat.jitter_min", "half"),
    ("silence_after_h = 24", "silence_hours = 24", "silence_hours", "policy.silence_hours", "no"),
    (
        "silence_after_h = 24",
        "silence_after_h = -24",
        "silence_after_h = -24",
        "policy.silence_after_h",
        "greater than",
    ),
    ("identity = 1", "identities = 1", "identities", "policy.hold_after.identities", "not one of"),
    ("silence_after_h", "version = 2\nsilence_after_h", "version = 2", "policy.version", "itself"),
    ("15824", "15824.5", "15824.5", "model[1].processing_performance", "integer"),
    ("svn = 9", 'svn = "9"', 'svn = "9"', "model[2].firmware[1].svn", "integer"),
    (
        "latitude = 50.1109\nlongitude = 8.6821",
        "latitude = 48.5846\nlongitude = 7.7507",
        "latitude = 48.5846",
        "site[1].latitude",
        "FR",
    ),
    ("latitude = 50.1109", "latitude = 95.0", "latitude = 95.0", "site[1].latitude", "less than"),
    (
        'name = "Silk Gate Systems (silk-gate.example)"\ncountry = "KZ"',
        'name = "Silk Gate"\ncountry = "QQ"',
        'country = "QQ"',
        "custodian[5].country",
        "no country",
    ),
    ('id = "munich"', 'id = "frankfurt"', 'id = "frankfurt"\ntown = "M', "site[2].id", "twice"),
    ('id = "silk-gate"', 'id = "ledger"', 'id = "ledger"', "custodian[5].id", "another party"),
    (
        'holder = "isar-compute"',
        'holder = "nobody"',
        'holder = "nobody"',
        "licence[2].holder",
        "no custodian nobody",
    ),
    ("until_day = 5.0", "until_day = -40.0", "until_day = -40.0", "licence[3].until_day", "before"),
    (
        "until_day = 5.0",
        "until_day = 50.0",
        "expired-licence",
        "cohort[2].incident[1].kind",
        "runs",
    ),
    (
        "quota_per_year = 2",
        "quota_per_year = 1",
        "quota_per_year = 1",
        "licence[4].quota_per_year",
        "2 chips",
    ),
    (
        "quota_per_year = 2",
        "quota_per_year = 3",
        "over-quota",
        "cohort[5].incident[1].kind",
        "only 2 of 3",
    ),
    ('model = "MI300X"\nroute', 'model = "MI400X"\nroute', "MI400X", "cohort[2].model", "no model"),
    (
        'route = "to-frankfurt"',
        'route = "to-nowhere"',
        "to-nowhere",
        "cohort[1].route",
        "no route to-nowhere",
    ),
    (
        'licence = "EU-2027-014"',
        'licence = "EU-2027-020"',
        'licence = "EU-2027-020"',
        "cohort[1].licence",
        "does not cover H100-SXM5",
    ),
    (
        'firmware = "96.00.74"',
        'firmware = "1.0"',
        'firmware = "1.0"',
        "cohort[3].firmware",
        "no firmware",
    ),
    (
        "count = 11",
        "count = 4",
        '[[cohort.incident]]\nkind = "debug"',
        "cohort[1].incident[5].chips",
        "take 5",
    ),
    ("count = 11", "count = 0", "count = 0", "cohort[1].count", "greater than"),
    ("born_day = 1.5", "born_day = 7.5", "born_day = 7.5", "cohort[5].born_day", "into service"),
    (
        'kind = "smuggle"',
        'kind = "steal"',
        'kind = "steal"',
        "cohort[1].incident[1].kind",
        "not one of",
    ),
    (
        'kind = "smuggle"\nday = 3.0\nsite = "almaty"',
        'kind = "smuggle"\nday = 3.0',
        '[[cohort.incident]]\nkind = "smuggle"',
        "cohort[1].incident[1]",
        "needs site",
    ),
    (
        'kind = "debug"\nday = 3.0',
        'kind = "debug"\nday = 3.0\nsite = "munich"',
        'site = "munich"\n\n[[cohort.incident]]\nkind = "rollback"',
        "cohort[1].incident[5].site",
        "no use",
    ),
    (
        'kind = "debug"\nday = 3.0',
        'kind = "debug"',
        '[[cohort.incident]]\nkind = "debug"',
        "cohort[1].incident[5]",
        "needs the day",
    ),
    (
        'kind = "debug"\nday = 3.0',
        'kind = "debug"\nday = 0.5',
        "day = 0.5",
        "cohort[1].incident[5].day",
        "before the chips",
    ),
    (
        'kind = "debug"\nday = 3.0',
        'kind = "debug"\nday = 7.5',
        "day = 7.5",
        "cohort[1].incident[5].day",
        "run ends",
    ),
    (
        "back_days = 1.0",
        "back_days = 3.5",
        "back_days = 3.5",
        "cohort[1].incident[6].back_days",
        "before the chips",
    ),
    (
        'kind = "silent"\nday = 3.0',
        'kind = "silent"\nday = 3.0\nrelease_after_days = 1.0',
        "release_after_days = 1.0",
        "cohort[1].incident[9].release_after_days",
        "only what is held",
    ),
    (
        'kind = "move"\nday = 3.0\nsite = "amsterdam"',
        'kind = "move"\nday = 3.0\nsite = "almaty"',
        'site = "almaty"\ntravel_days = 1.0\n\n[[cohort.incident]]\nkind = "late',
        "cohort[3].incident[1].site",
        "does not cover KZ",
    ),
    (
        'custodian = "silk-gate"',
        'custodian = "straits-supply"',
        'custodian = "straits-supply"\nsite = "almaty"',
        "cohort[4].incident[1].custodian",
        "already",
    ),
    (
        'incident = [{ kind = "over-quota" }]',
        'incident = [{ kind = "over-quota", day = 3.0 }]',
        "over-quota",
        "cohort[5].incident[1].day",
        "follows from",
    ),
    (
        'via = [{ party = "skybridge", days = 0.25 }]',
        'via = [{ party = "isar-compute", days = 0.25 }]',
        'via = [{ party = "isar-compute"',
        "route[1].via[1].party",
        "no licence",
    ),
    (
        'custodian = "rhein-rechen"\ndays = 0.5',
        'custodian = "skybridge"\ndays = 0.5',
        'custodian = "skybridge"',
        "route[1].custodian",
        "carrier only",
    ),
]


@pytest.mark.parametrize(("old", "new", "at", "field", "problem"), CORPUS)
def test_fault_is_named_with_line_field_problem_and_remedy(
    old: str, new: str, at: str, field: str, problem: str
) -> None:
    text = broken(old, new)
    with pytest.raises(ScenarioError) as caught:
        parse(text, "small.toml")
    found = [fault for fault in caught.value.faults if fault.field == field]
    assert found, caught.value
    assert found[0].line == line_with(text, at), caught.value
    assert problem in found[0].problem
    assert found[0].remedy
    assert f"small.toml: line {found[0].line}: " in str(caught.value)


def test_every_fault_is_told_at_once_in_order_of_lines() -> None:
    text = SMALL.replace("seed = 1\n", 'seed = "1"\n').replace("count = 2", "count = 0")
    with pytest.raises(ScenarioError) as caught:
        parse(text)
    lines = [fault.line for fault in caught.value.faults]
    assert len(lines) == 3
    assert lines == sorted(lines)


def test_misspelt_field_gets_the_name_that_was_meant() -> None:
    text = broken("jitter_min = 30", "jiter_min = 30")
    with pytest.raises(ScenarioError, match=r"Did you mean jitter_min\?"):
        parse(text)


def only_fault(old: str, new: str) -> Fault:
    """The one fault of a scenario with one thing wrong."""
    with pytest.raises(ScenarioError) as caught:
        parse(broken(old, new))
    (fault,) = caught.value.faults
    return fault


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("count = 2", "count = 0", "cohort[3].count"),
        ('roles = ["carrier"]', 'roles = ["courier"]', "custodian[1].roles[1]"),
        ("[[model]]", "[[model]]\ncolour = 1", "model[1].colour"),
    ],
)
def test_one_mistake_in_an_array_is_one_fault(old: str, new: str, field: str) -> None:
    """What is wrong inside does not make the array around it too short as well."""
    assert only_fault(old, new).field == field


def test_empty_array_is_a_fault_of_its_own() -> None:
    fault = only_fault('roles = ["carrier"]', "roles = []")
    assert (fault.field, fault.problem) == ("custodian[1].roles", "is empty")
    assert fault.remedy == "Give at least one."


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("where", ["days", "latitude"])
def test_number_that_is_none_is_called_so(where: str, number: str) -> None:
    line = next(line for line in SMALL.splitlines() if line.startswith(f"{where} ="))
    fault = only_fault(line, f"{where} = {number}")
    assert fault.problem == f"{number} is no number that can be calculated with"
    assert fault.remedy == "Write a finite number."


def test_policy_number_that_is_none_is_called_so() -> None:
    assert "nan is no number" in only_fault("identity = 1", "identity = nan").problem


def test_word_outside_its_list_gets_the_list() -> None:
    kind = only_fault('kind = "smuggle"', 'kind = "smugle"')
    assert kind.remedy == f"Did you mean smuggle? Use one of {', '.join(KINDS)}."
    rule = only_fault("identity = 1", "identities = 1")
    assert "Did you mean identity? Use one of identity, continuity, " in rule.remedy
    far = only_fault('kind = "smuggle"', "kind = 7")
    assert far.remedy == f"Use one of {', '.join(KINDS)}."


@pytest.mark.parametrize(
    ("old", "new", "problem", "remedy"),
    [
        ("count = 2", "count = 0", "0 is not greater than or equal to 1", "Use 1 or more."),
        ("days = 8", "days = 0", "0 is not greater than 0", "Use more than 0."),
        ("latitude = 50.1109", "latitude = 95.0", "95.0 is not less than or equal to 90", None),
        ('town = "Munich"', 'town = ""', "is empty", "Use at least 1 characters."),
        ('town = "Munich"', f'town = "{"x" * 201}"', "has 201", "Use at most 200 characters."),
        ('name = "small"', 'name = "Small One"', "'Small One' does not have its form", None),
        ('country = "DE"', 'country = "Germany"', "'Germany' does not have its form", None),
    ],
)
def test_value_out_of_bounds_gets_its_bound(
    old: str, new: str, problem: str, remedy: str | None
) -> None:
    fault = only_fault(old, new)
    assert fault.problem == problem
    assert fault.remedy == (remedy or fault.remedy)
    assert "docs/" not in fault.remedy


def test_every_pattern_of_a_field_has_words() -> None:
    text = json.dumps(Scenario.model_json_schema())
    patterns = {json.loads(found) for found in re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', text)}
    assert patterns == set(FORMS)


def test_missing_field_is_named_at_its_table() -> None:
    text = broken('town = "Munich"\n', "")
    with pytest.raises(ScenarioError) as caught:
        parse(text)
    fault = caught.value.faults[0]
    assert (fault.field, fault.problem) == ("site[2].town", "missing")
    assert fault.line == line_with(text, '[[site]]\nid = "munich"')


def test_file_that_is_not_there_is_a_scenario_error(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="Name a file, or one of demo, quota, small"):
        load(tmp_path / "none.toml")


def test_file_that_is_not_utf8_is_refused_at_its_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b'name = "x"\ndescription = "\xe9"\n')
    faults = validate(path)
    assert [(fault.line, fault.problem) for fault in faults] == [(2, "the bytes are not UTF-8")]


def test_oversized_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.toml"
    path.write_bytes(b"#" * 1_000_001)
    assert "too many" in validate(path)[0].problem


def test_windows_line_ends_do_not_shift_the_lines(tmp_path: Path) -> None:
    path = tmp_path / "dos.toml"
    text = broken("count = 11", "count = 0")
    path.write_bytes(text.replace("\n", "\r\n").encode())
    assert validate(path)[0].line == line_with(text, "count = 0")


def test_unknown_packaged_name_lists_those_that_exist() -> None:
    with pytest.raises(ScenarioError, match="Choose one of demo, quota, small"):
        load_packaged("large")


@pytest.mark.parametrize("name", scenario_names())
def test_packaged_scenario_can_be_run(name: str) -> None:
    assert load_packaged(name).name == name


def test_sound_file_has_no_faults(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_text(SMALL, encoding="utf-8")
    assert validate(path) == []
    assert load(path) == load_packaged("small")


def test_every_kind_has_a_story_and_only_known_details() -> None:
    assert list(ACTS) == list(KINDS)
    for about in KINDS.values():
        assert set(about.needs) | set(about.takes) <= set(DETAILS)
    assert set(DETAILS) <= set(Incident.model_fields)


@pytest.mark.parametrize("name", scenario_names())
@pytest.mark.parametrize("chips", [1, 7, 30, 61, 200, 555])
def test_resized_scenario_has_that_many_chips_and_would_pass_its_checks(
    name: str, chips: int
) -> None:
    scenario = load_packaged(name)
    sized = resized(scenario, chips)
    assert sized.chips == max(chips, len(scenario.cohort))
    for before, after in zip(scenario.cohort, sized.cohort, strict=True):
        assert after.count >= 1
        assert sum(incident.chips for incident in after.incident) <= after.count
        assert len(after.incident) == min(len(before.incident), after.count)
    from device_sim.scenario.quotas import quota_faults

    assert not list(quota_faults(sized))


def test_lasting_changes_the_length_alone() -> None:
    scenario = load_packaged("small")
    longer = lasting(scenario, 20)
    assert longer.calendar.days == 20.0
    assert longer.cohort == scenario.cohort


@given(text=some.text(max_size=200))
def test_any_text_is_a_scenario_or_a_scenario_error(text: str) -> None:
    with pytest.raises(ScenarioError):
        parse(text)


@given(
    at=some.integers(0, len(SMALL) - 1),
    cut=some.integers(0, 40),
    put=some.text(max_size=10),
)
def test_damaged_scenario_is_still_one_or_a_scenario_error(at: int, cut: int, put: str) -> None:
    text = SMALL[:at] + put + SMALL[at + cut :]
    lines = text.count("\n") + 1
    assert all(0 <= fault.line <= lines for fault in faults_of(text))


def faults_of(text: str) -> tuple[Fault, ...]:
    """Faults of a text; nothing but a scenario or a ScenarioError may come of it."""
    try:
        parse(text)
    except ScenarioError as error:
        return error.faults
    return ()
