"""``fleet``: a run against a service, and scenarios that cannot be run."""

import json
from pathlib import Path

import pytest

from api.cli.child import service
from device_sim.scenario import scenario_names
from tests.cli.harness import Program


def write(path: Path, name: str, change: tuple[str, str]) -> Path:
    """A packaged scenario with one change."""
    import device_sim

    source = Path(device_sim.__file__).parent / "scenarios" / f"{name}.toml"
    text = source.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change, 1))
    return path


def test_scenario_runs_against_a_service_and_leaves_a_report(
    program: Program, tmp_path: Path
) -> None:
    with service(tmp_path / "x.db", tmp_path / "log", "--clock", "simulated") as running:
        words = ("fleet", "run", "small", "--url", running.url, "--days", "3")
        done = program(*words, "--out", "made/here", "--json")
        assert (done.code, done.err) == (0, "")
        assert done.json["scenario"]["name"] == "small"
        assert done.json == json.loads(Path("made/here/report.json").read_text())
        again = program(*words)
        assert "has run on this ledger already" in again.complaint
        other = program(*words, "--seed", "99")
        assert other.code == 0
        assert other.out.startswith("note: ")
        assert "diversions" not in other.out  # they begin after three days
        assert "false holds        0 in " in other.out
        assert "other holds        3 by licences of an earlier run" in other.out
        assert "leave the speed-up out" in program(*words, "--speedup", "10").complaint


def test_service_that_is_down_is_one_line(program: Program) -> None:
    said = program("fleet", "run", "small", "--url", "http://127.0.0.1:1").complaint
    assert said.startswith("no service answers at http://127.0.0.1:1")


@pytest.mark.parametrize("name", scenario_names())
def test_packaged_scenarios_can_be_run(program: Program, name: str) -> None:
    done = program("fleet", "validate", name)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{name} can be run: ")
    facts = program("fleet", "validate", name, "--json").json
    assert facts["valid"] is True
    assert facts["name"] == name


def test_every_fault_of_a_scenario_is_a_line_with_place_and_remedy(
    program: Program, tmp_path: Path
) -> None:
    path = write(tmp_path / "bad.toml", "small", ("seed = ", "sed = "))
    line = path.read_text().splitlines().index("sed = 1") + 1
    done = program("fleet", "validate", path)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines() == [
        f"chip-passport: {path}: seed: missing. Add seed to the file.",
        f"chip-passport: {path}: line {line}: sed: unknown field. Did you mean seed? "
        "Otherwise take it out.",
    ]
    told = program("fleet", "validate", path, "--json")
    assert (told.code, told.err, told.json["valid"]) == (2, "", False)
    assert [fault["field"] for fault in told.json["faults"]] == ["seed", "sed"]


def test_scenario_with_faults_is_not_run(program: Program, tmp_path: Path) -> None:
    path = write(tmp_path / "bad.toml", "small", ("seed = ", "sed = "))
    assert "line " in program("fleet", "run", path).err


@pytest.mark.parametrize("name", ["nowhere.toml", "dem"])
def test_scenario_that_does_not_exist_names_the_packaged_ones(program: Program, name: str) -> None:
    said = program("fleet", "validate", name).complaint
    assert said.startswith(f"{name}: No such file or directory")
    assert "demo" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--days", "0"], "Invalid value for '--days'"),
        (["--devices", "none"], "Invalid value for '--devices'"),
        (["--seed", "-1"], "Invalid value for '--seed'"),
        (["--speedup", "0"], "Invalid value for '--speedup'"),
    ],
)
def test_option_out_of_range_is_one_line(program: Program, words: list[str], said: str) -> None:
    assert said in program("fleet", "run", "small", *words).complaint
