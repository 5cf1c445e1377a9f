"""``locate``: lines in, lines out, and nothing half-written."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.harness import COMMAND, Program, environment


def case(name: str = "a", **changes: Any) -> dict[str, Any]:
    marks = [("x", 51.2, 10.0), ("y", 51.2, 10.1)]
    return {
        "case_id": name,
        "permitted": ["DE"],
        "prohibited": ["RU"],
        "max_faulty": 1,
        "landmarks": [
            {"id": id_, "latitude": lat, "longitude": lon, "rtt_ms": 0.5} for id_, lat, lon in marks
        ],
        **changes,
    }


def write(folder: Path, *cases: Any) -> Path:
    path = folder / "cases.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in cases))
    return path


def answers(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


ANSWER = {
    "case_id": "a",
    "verdict": "inside",
    "cleared": True,
    "possible": ["DE"],
    "contradiction": False,
}


def test_a_line_is_answered_by_a_line_in_order(program: Program, tmp_path: Path) -> None:
    cases = write(tmp_path, case(), case("b", permitted=["SG"]), case("c", landmarks=[]))
    done = program("locate", str(cases))
    assert (done.code, done.err) == (0, "")
    first, second, third = answers(done.out)
    assert first == ANSWER
    assert list(first) == list(ANSWER)
    assert (second["case_id"], second["verdict"]) == ("b", "outside")
    assert (third["verdict"], third["cleared"]) == ("unproven", False)


def test_output_goes_to_a_file_and_leaves_no_part(program: Program, tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    out.write_text("old")
    done = program("locate", str(write(tmp_path, case())), "-o", str(out))
    assert (done.code, done.out) == (0, "")
    assert answers(out.read_text()) == [ANSWER]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.jsonl", "cases.jsonl"]


def test_bad_line_is_named_and_nothing_is_written(program: Program, tmp_path: Path) -> None:
    bad = case("b")
    bad["landmarks"][1]["rtt_ms"] = -3
    out = tmp_path / "answers.jsonl"
    cases = write(tmp_path, case(), bad)
    complaint = program("locate", str(cases), "-o", str(out)).complaint
    assert complaint == (
        f"{cases}, line 2: landmarks[1].rtt_ms has to be more than 0 and at most 60000, not -3"
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "line 1: is not JSON"),
        (b"\xff", "line 1: is not UTF-8"),
        (b'{"case_id": "a"}', "line 1: landmarks is missing"),
    ],
)
def test_line_that_cannot_be_read_is_named(
    program: Program, tmp_path: Path, line: bytes, said: str
) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_bytes(line)
    assert said in program("locate", str(path)).complaint


def test_standard_input_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "locate", "-"],
        input="\ufeff\n" + json.dumps(case()) + "\r\n\n",
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert answers(done.stdout) == [ANSWER]


def test_empty_file_has_no_answers(program: Program, tmp_path: Path) -> None:
    assert program("locate", str(write(tmp_path))).out == ""


def test_missing_file_is_said(program: Program, tmp_path: Path) -> None:
    assert "No such file" in program("locate", str(tmp_path / "none.jsonl")).complaint


def test_explain_adds_reasons(program: Program, tmp_path: Path) -> None:
    done = program("locate", str(write(tmp_path, case(permitted=["PL"]))), "--explain")
    (answer,) = answers(done.out)
    assert answer["reasons"][0].startswith("Poland (PL) is beyond the reach of ")
    too_few = program("locate", str(write(tmp_path, case(landmarks=[]))), "--explain")
    assert answers(too_few.out)[0]["reasons"][0].startswith("too few landmarks")


def test_higher_speed_proves_less_and_an_unsound_one_is_refused(
    program: Program, tmp_path: Path
) -> None:
    cases = str(
        write(
            tmp_path,
            case(
                landmarks=[
                    {"id": "x", "latitude": 51.2, "longitude": 10.0, "rtt_ms": 1.3},
                    {"id": "y", "latitude": 51.2, "longitude": 10.1, "rtt_ms": 1.3},
                ]
            ),
        )
    )
    assert answers(program("locate", cases).out)[0]["verdict"] == "inside"
    light = program("locate", cases, "--speed", "299.792458")
    assert answers(light.out)[0]["verdict"] == "unproven"
    for speed in ("133", "300", "nan", "-1"):
        assert "--speed" in program("locate", cases, "--speed", speed).complaint


def test_operators_count_once(program: Program, tmp_path: Path) -> None:
    one = case()
    for mark in one["landmarks"]:
        mark["operator"] = "same"
    (answer,) = answers(program("locate", str(write(tmp_path, one))).out)
    assert answer["verdict"] == "unproven"


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_map_of_one_case_is_drawn(program: Program, tmp_path: Path, kind: str) -> None:
    cases, path = write(tmp_path, case("a $x_1$")), tmp_path / f"map.{kind}"
    done = program("locate", str(cases), "--map", str(path))
    assert (done.code, done.err) == (0, "")
    content = path.read_bytes()
    assert content.startswith(b"<?xml" if kind == "svg" else b"\x89PNG")
    program("locate", str(cases), "--map", str(path))
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("most", "marks"),
    [
        (1, []),
        (0, [(-90.0, 0.0, 9.0)]),
        (1, [(-17.0, 179.9, 2.0), (-17.0, -179.9, 2.0)]),
        (0, [(51.0, 10.0, 1.0), (36.0, 139.0, 1.0)]),
    ],
    ids=["none", "pole", "antimeridian", "contradiction"],
)
def test_map_is_drawn_of_whatever_is_left(
    program: Program, tmp_path: Path, most: int, marks: list[tuple[float, float, float]]
) -> None:
    landmarks = [
        {"id": str(number), "latitude": lat, "longitude": lon, "rtt_ms": trip}
        for number, (lat, lon, trip) in enumerate(marks)
    ]
    cases = write(tmp_path, case(landmarks=landmarks, max_faulty=most))
    done = program("locate", str(cases), "--map", str(tmp_path / "map.png"))
    assert (done.code, done.err) == (0, "")


def test_map_of_several_cases_or_of_another_kind_is_refused(
    program: Program, tmp_path: Path
) -> None:
    two = str(write(tmp_path, case(), case("b")))
    assert "there are 2" in program("locate", two, "--map", str(tmp_path / "m.svg")).complaint
    assert ".svg or .png" in program("locate", two, "--map", str(tmp_path / "m.pdf")).complaint
    assert list(tmp_path.iterdir()) == [tmp_path / "cases.jsonl"]


def test_a_device_is_written_to_and_not_replaced(program: Program, tmp_path: Path) -> None:
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    assert program("locate", str(write(tmp_path, case())), "-o", str(link)).code == 0
    assert link.is_symlink()
