"""A chip's history as people read it: heartbeats that say the same in one line.

A line ends where the chip says something new (another place, another firmware, nothing for a day)
and where something else happens to it. Heartbeats that are on record as conflicts have a line of
their own beside it, for a copied key speaks in turn with the chip. Claims are read from the words
in which the ledger tells them.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import asin, cos, radians, sin, sqrt
from typing import Any

from api.cli.output import moment

SAME_PLACE_KM = 5.0
"""Claims nearer to each other than this are one place; a site is a few hundred metres wide."""
SILENCE_MS = 24 * 3_600_000
"""A longer pause between heartbeats begins a new line, or it would not be seen."""
EARTH_RADIUS_KM = 6371.0

_PLACE = r"(?P<lat>[\d.]+)° (?P<ns>[NS]), (?P<lon>[\d.]+)° (?P<ew>[EW])"
_CLAIM = re.compile(rf"claims {_PLACE} ± \d+ m, firmware (?P<firmware>.+), boot (?P<boot>\d+)$")
_SITE = re.compile(rf"installed at (?P<site>.+), (?P<country>[A-Z]{{2}}) \({_PLACE}\)")


@dataclass(frozen=True, slots=True)
class Place:
    """A point, degrees; ``name`` where it is a site that the chip was installed at."""

    latitude: float
    longitude: float
    name: str = ""

    def km_to(self, other: "Place") -> float:
        """Great-circle distance."""
        a, b = radians(self.latitude), radians(other.latitude)
        half_lat, half_lon = (b - a) / 2, radians(other.longitude - self.longitude) / 2
        chord = sin(half_lat) ** 2 + cos(a) * cos(b) * sin(half_lon) ** 2
        return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(chord)))

    def __str__(self) -> str:
        north, east = "NS"[self.latitude < 0], "EW"[self.longitude < 0]
        return f"{abs(self.latitude):.4f}° {north}, {abs(self.longitude):.4f}° {east}"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a plain heartbeat says."""

    place: Place
    firmware: str
    boot: int


@dataclass(slots=True)
class Line:
    """One line: an entry, or ``count`` heartbeats from ``item`` to ``last``."""

    item: dict[str, Any]
    last: dict[str, Any]
    count: int = 1
    claim: Claim | None = None
    boots: tuple[int, int] = (0, 0)
    site: Place | None = None

    @property
    def words(self) -> str:
        """What the line says."""
        if self.claim is None or self.count == 1:
            return str(self.item["meaning"])
        first, last = self.boots
        boots = f"boot {first}" if first == last else f"boots {first} to {last}"
        reason = self.item["reason"]
        what = f" on record as evidence, without effect ({reason})" if reason else ""
        return (
            f"{self.count:,} heartbeats{what}, to {moment(self.last['received_ms'])}, claiming "
            f"{self.claim.place}{self._from_site()}, firmware {self.claim.firmware}, {boots}"
        )

    def _from_site(self) -> str:
        if self.claim is None or self.site is None:
            return ""
        distance = self.site.km_to(self.claim.place)
        if distance <= SAME_PLACE_KM:
            return f" (its site {self.site.name})"
        return f" ({distance:,.0f} km from its site {self.site.name})"


def lines(items: Iterable[dict[str, Any]]) -> Iterator[Line]:
    """Lines of a history, in order of their first entries."""
    site: Place | None = None
    under_way: dict[str | None, Line] = {}
    for item in items:
        reason, claim = item["reason"], _claim(item)
        line = under_way.get(reason)
        if line is not None and claim is not None and _goes_on(line, item, claim):
            line.last, line.count = item, line.count + 1
            line.boots = (line.boots[0], claim.boot)
            continue
        if line is not None or claim is None:
            yield from under_way.values()
            under_way = {}
        site = _site(item) or site
        boots = (0, 0) if claim is None else (claim.boot, claim.boot)
        under_way[reason] = Line(item, item, 1, claim, boots, site)
    yield from under_way.values()


def _goes_on(line: Line, item: dict[str, Any], claim: Claim) -> bool:
    return (
        line.claim is not None
        and item["received_ms"] - line.last["received_ms"] <= SILENCE_MS
        and claim.firmware == line.claim.firmware
        and claim.place.km_to(line.claim.place) <= SAME_PLACE_KM
    )


def _claim(item: dict[str, Any]) -> Claim | None:
    """The claim of a heartbeat, also of one that is on record as a conflict."""
    if item["kind"] not in ("heartbeat", "conflict"):
        return None
    found = _CLAIM.search(item["meaning"])
    return found and Claim(_place(found), found["firmware"], int(found["boot"]))


def _site(item: dict[str, Any]) -> Place | None:
    if item["kind"] != "install" or item["reason"]:
        return None
    found = _SITE.match(item["meaning"])
    return found and _place(found, f"{found['site']}, {found['country']}")


def _place(found: re.Match[str], name: str = "") -> Place:
    latitude = float(found["lat"]) * (1 if found["ns"] == "N" else -1)
    longitude = float(found["lon"]) * (1 if found["ew"] == "E" else -1)
    return Place(latitude, longitude, name)
