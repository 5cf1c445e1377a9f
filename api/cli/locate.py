"""``locate``: what round trips to landmarks prove about a place."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import files
from api.cli.errors import UsageError

if TYPE_CHECKING:
    from ledger.location.atlas import Atlas
    from ledger.location.cases import Case
    from ledger.location.possible import Possible
    from ledger.location.verdict import LocationVerdict

CHUNK = 500
"""Cases whose landmarks are measured against the borders together."""

CACHED = 20_000
"""Places whose distances to all countries are kept, at 4 kB each."""


def locate(
    cases: Annotated[
        Path, typer.Argument(metavar="CASES.jsonl", help="One case a line; - reads standard input.")
    ],
    answers: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="ANSWERS.jsonl",
            help="Where the answers go. [default: standard output]",
            show_default=False,
        ),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(
            metavar="KM_PER_MS",
            help="What no signal exceeds: from 2/3 of the speed of light (199.86) to it (299.79). "
            "[default: 2/3]",
            show_default=False,
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--map",
            metavar="FILE.svg|png",
            help="Draw the discs, the possible area and borders of the one case that is given.",
            show_default=False,
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Add the reasons in words to each answer.")
    ] = False,
) -> None:
    """Tell what round trips to landmarks prove.

    A reply cannot come back faster than light in fibre: a landmark excludes every place
    that is too far away for its round trip. What is left decides.

    \b
    A case is one line of JSON (docs/location.md has more):
      {"case_id": "a", "permitted": ["DE"], "prohibited": ["RU"], "max_faulty": 1,
       "landmarks": [{"id": "fra", "latitude": 50.1, "longitude": 8.7, "rtt_ms": 3.2}]}
    and so is its answer:
      {"case_id": "a", "verdict": "inside|outside|unproven", "cleared": false,
       "possible": ["DE", "FR"], "contradiction": false}

    A landmark may name its "operator"; max_faulty counts operators that may be wrong.
    Input that breaks a rule is refused as a whole, and nothing is written.
    """
    from ledger.location.atlas import Atlas
    from ledger.location.cases import write_answer

    pace = _speed(speed)
    kind = _kind(picture)
    read = list(_read(cases))
    if picture is not None and len(read) != 1:
        raise UsageError(f"--map draws one case, and there are {len(read)}; give a file with one")
    atlas = Atlas.load()
    found = list(_judged(atlas, read, pace))
    lines = [
        write_answer(case.case_id, verdict, reasons=explain) + "\n"
        for case, (_, verdict) in zip(read, found, strict=True)
    ]
    if picture is not None:
        from api.cli.location_map import draw_map

        content = draw_map(read[0], *found[0], kind)
        files.write(picture, content)
    if answers is None or str(answers) == "-":
        sys.stdout.write("".join(lines))
    else:
        files.write(answers, "".join(lines).encode())


def _speed(given: float | None) -> float:
    from ledger.location.reach import FIBRE_KM_PER_MS, LEAST_SPEED, LIGHT_KM_PER_MS

    if given is None:
        return FIBRE_KM_PER_MS
    if not LEAST_SPEED <= given <= LIGHT_KM_PER_MS:
        raise UsageError(
            f"--speed {given:g}: it bounds what is possible, so it lies between 2/3 of the speed "
            f"of light and that speed ({LEAST_SPEED:g} to {LIGHT_KM_PER_MS} km/ms); a slower one "
            "would exclude places that are not"
        )
    return given


def _kind(picture: Path | None) -> str:
    kind = "" if picture is None else picture.suffix.lower().removeprefix(".")
    if picture is not None and kind not in ("svg", "png"):
        raise UsageError(f"--map {picture}: the name has to end in .svg or .png")
    return kind


def _read(path: Path) -> Iterator["Case"]:
    from ledger.errors import Refused
    from ledger.location.cases import read_case

    standard = str(path) == "-"
    name = "standard input" if standard else str(path)
    content = sys.stdin.buffer.read() if standard else files.read(path)
    for number, line in enumerate(content.split(b"\n"), start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"{name}, line {number}: is not UTF-8 ({error.reason})") from error
        if not text.strip():
            continue
        try:
            yield read_case(text)
        except Refused as refused:
            field = "" if refused.field in (None, "line") else f"{refused.field} "
            raise UsageError(f"{name}, line {number}: {field}{refused.detail}") from refused


def _judged(
    atlas: "Atlas", cases: list["Case"], speed: float
) -> Iterator[tuple["Possible", "LocationVerdict"]]:
    import functools

    from api.cli import output
    from ledger.location.possible import possible_countries
    from ledger.location.sightings import LandmarkTable, Sightings
    from ledger.location.verdict import Terms, judge

    row = functools.lru_cache(CACHED)(atlas.row)
    terms = functools.lru_cache(CACHED)(functools.partial(Terms.of, atlas))
    with output.progress() as display:
        task = display.add_task("judging cases", total=len(cases))
        for start in range(0, len(cases), CHUNK):
            chunk = cases[start : start + CHUNK]
            distinct = {landmark: None for case in chunk for landmark in case.landmarks}
            table = LandmarkTable(atlas, distinct, row)
            index = {landmark: number for number, landmark in enumerate(table.landmarks)}
            for case in chunk:
                chosen = [index[landmark] for landmark in case.landmarks]
                sightings = Sightings(table, chosen, case.round_trips_ms)
                possible = possible_countries(atlas, sightings, case.max_faulty, speed)
                yield possible, judge(possible, terms(case.permitted, case.prohibited))
                display.advance(task)
