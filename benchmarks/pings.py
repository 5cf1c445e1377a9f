"""Real round trips between servers in known cities, read from files that lie beside the project.

``cities.csv``: city, Lat, Long, Population. ``pings.csv``: source, destination_label ("City
Country, Continent"), …, min_ms, … (milliseconds). Set CHIP_PASSPORT_PINGS to a folder with files of
the same form to measure with other data.
"""

import csv
import os
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path

import iso3166

from ledger.appraisal.landmark_check import Suspension, self_check
from ledger.location.atlas import Atlas
from ledger.location.sightings import Landmark, LandmarkTable
from ledger.protocol import landmarks
from ledger.protocol.ranging import MAX_ROUND_TRIP_US

VARIABLE = "CHIP_PASSPORT_PINGS"
FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"
# Names that the labels use and ISO 3166 does not.
NAMES = {
    "Bolivia": "BO",
    "Czech Republic": "CZ",
    "Hong Kong": "HK",
    "Iran": "IR",
    "Kosovo": "XK",
    "Moldova": "MD",
    "Russia": "RU",
    "South Korea": "KR",
    "Taiwan": "TW",
    "Tanzania": "TZ",
    "Turkey": "TR",
    "United Kingdom": "GB",
    "United States": "US",
    "Venezuela": "VE",
    "Vietnam": "VN",
}


@dataclass(frozen=True)
class Pings:
    """Servers as landmarks (each its own operator), round trips in ms, and true countries.

    ``round_trips[a, b]`` is the least that server ``a`` measured to ``b``; indices are those of
    ``table``. ``countries[a]`` is what the label says, whatever the coordinates.
    """

    table: LandmarkTable
    round_trips: dict[tuple[int, int], float]
    countries: list[str]

    @cached_property
    def suspended(self) -> list[int]:
        """Servers whose own coordinates break physics with three others or more."""
        return [int(found.landmark) for found in self._suspensions()]

    def _suspensions(self) -> tuple[Suspension, ...]:
        """The landmarks' own check of each other; a server's id in it is its index."""
        directory = [
            landmarks.Landmark(
                id=str(index),
                operator=str(index),
                latitude=one.latitude,
                longitude=one.longitude,
                addresses=[],
            )
            for index, one in enumerate(self.table.landmarks)
        ]
        measured = (
            (str(one), str(other), ceil(trip_ms * 1_000))
            for (one, other), trip_ms in self.round_trips.items()
            if trip_ms < MAX_ROUND_TRIP_US / 1_000
        )
        return self_check(directory, measured).suspensions

    @cached_property
    def healthy(self) -> list[int]:
        """The servers that may be landmarks."""
        wrong = set(self.suspended)
        return [index for index in range(len(self.table.landmarks)) if index not in wrong]

    def name(self, index: int) -> str:
        """The city of a server."""
        return self.table.landmarks[index].id


def folder() -> Path:
    """Where the files are looked for."""
    return Path(os.environ.get(VARIABLE, FOLDER))


def missing() -> str | None:
    """Why there is nothing to read, or None."""
    where = folder()
    found = sorted(where.glob("*cities.csv")) and sorted(where.glob("*pings.csv"))
    if found:
        return None
    return f"no *cities.csv and *pings.csv in {where}; set {VARIABLE} to a folder that has them"


def read(atlas: Atlas) -> Pings:
    """All servers with coordinates, and the round trips between them."""
    where = folder()
    with sorted(where.glob("*cities.csv"))[0].open(encoding="utf-8", newline="") as file:
        places = {
            row["city"]: (float(row["Lat"]), float(row["Long"])) for row in csv.DictReader(file)
        }
    longest_first = sorted(places, key=len, reverse=True)
    known: dict[str, tuple[str, str] | None] = {}
    trips: dict[tuple[str, str], float] = {}
    country: dict[str, str] = {}
    with sorted(where.glob("*pings.csv"))[0].open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            label = row["destination_label"].rpartition(", ")[0]
            if label not in known:
                known[label] = _city(label, longest_first)
            found = known[label]
            if found is None or row["source"] not in places or not float(row["min_ms"]) > 0.0:
                continue
            city, country[city] = found
            key = (row["source"], city)
            trips[key] = min(float(row["min_ms"]), trips.get(key, float("inf")))
    table = LandmarkTable(
        atlas, [Landmark(city, *places[city], operator=city) for city in sorted(country)]
    )
    number = table.number
    return Pings(
        table,
        {
            (number[one], number[other]): value
            for (one, other), value in trips.items()
            if one in number and other in number and one != other
        },
        [country[city] for city in sorted(country)],
    )


def _city(label: str, cities: list[str]) -> tuple[str, str] | None:
    """City and country code of "City Country"; None for a city without coordinates."""
    for city in cities:
        if label.startswith(city + " "):
            name = label[len(city) + 1 :]
            code = NAMES.get(name)
            return city, code or iso3166.countries_by_name[name.upper()].alpha2
    return None
