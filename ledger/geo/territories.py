"""The reviewed table of territories, and its application to decoded features.

The table (``territories.toml``) gives the countries of features without a usable ISO number and
of areas that the source folds into another feature. Only the build uses it.
"""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import iso3166
import shapely
from shapely import Polygon

from ledger.errors import ConfigurationError
from ledger.geo.topology import Feature, parts

TABLE = Path(__file__).with_name("territories.toml")

Codes = frozenset[str]
Territory = tuple[Codes, Polygon]


@dataclass(frozen=True, slots=True)
class Area:
    """Part of the features with a code of ``of`` that stands for ``codes`` instead."""

    name: str
    of: Codes
    codes: Codes
    outline: Polygon
    whole: bool


@dataclass(frozen=True, slots=True)
class Table:
    """The reviewed table: features by name, areas in order, islets."""

    features: dict[str, Codes]
    areas: tuple[Area, ...]
    islets: tuple[Territory, ...]


def load_table(path: Path = TABLE) -> Table:
    """Read and check the table.

    Raises:
        ConfigurationError: an entry has an unknown code, no note or a malformed outline.
    """
    entries = tomllib.loads(path.read_text("utf-8"))
    try:
        return Table(
            features={entry["name"]: _codes(entry) for entry in entries["feature"]},
            areas=tuple(_area(entry) for entry in entries["area"]),
            islets=tuple(_islet(entry) for entry in entries["islet"]),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{path.name}: {error!r}; correct the entry") from error


def assign(features: Iterable[Feature], table: Table) -> list[Territory]:
    """Every polygon with the set of countries it stands for, areas cut out of their features."""
    out: list[Territory] = []
    for feature in features:
        codes = _codes_of(feature, table)
        territories = [(codes, polygon) for polygon in feature.polygons]
        for area in table.areas:
            territories = [piece for whole in territories for piece in _apply(area, whole)]
        out += territories
    return out + list(table.islets)


def _apply(area: Area, territory: Territory) -> list[Territory]:
    codes, polygon = territory
    # Only features of one country: an area never takes from another disputed one.
    if len(codes) != 1 or not codes <= area.of or not polygon.intersects(area.outline):
        return [territory]
    if area.outline.covers(polygon):
        return [(area.codes, polygon)]
    if area.whole:
        return [territory]
    inside = parts(shapely.intersection(polygon, area.outline))
    outside = parts(shapely.difference(polygon, area.outline))
    return [(area.codes, part) for part in inside] + [(codes, part) for part in outside]


def _codes_of(feature: Feature, table: Table) -> Codes:
    if feature.name in table.features:
        return table.features[feature.name]
    country = iso3166.countries_by_numeric.get(feature.number or "")
    if country is None:
        raise ConfigurationError(
            f"feature {feature.name!r} has no known ISO number: add it to territories.toml"
        )
    return frozenset({country.alpha2})


def _codes(entry: dict[str, Any], key: str = "codes") -> Codes:
    codes = frozenset(entry[key])
    unknown = sorted(code for code in codes if code not in iso3166.countries_by_alpha2)
    if unknown or not codes or not entry["note"]:
        raise ValueError(f"{entry['name']}: unknown codes {unknown}, or no code or note")
    return codes


def _area(entry: dict[str, Any]) -> Area:
    corners = entry["outline"]
    outline = shapely.box(*corners[0], *corners[1]) if len(corners) == 2 else Polygon(corners)
    if not outline.is_valid or outline.is_empty:
        raise ValueError(f"{entry['name']}: the outline is not a simple polygon")
    whole = bool(entry.get("whole", False))
    return Area(entry["name"], _codes(entry, "of"), _codes(entry), outline, whole)


def _islet(entry: dict[str, Any]) -> Territory:
    (lon, lat), half = entry["at"], entry["half_width"]
    return _codes(entry), shapely.box(lon - half, lat - half, lon + half, lat + half)
