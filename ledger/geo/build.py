"""Make the border files from npm ``world-atlas`` 2.0.2, ``countries-10m.json``.

    python -m ledger.geo.build PATH/countries-10m.json [--out DIR]

writes ``borders-10m.bin.gz`` (packed, every vertex of
the source; what verdicts use) and ``borders-display.json.gz`` (GeoJSON, simplified; pictures only).
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from ledger.geo.codec import BorderData, deterministic_gzip, pack
from ledger.geo.loader import BORDERS_PATH, DATA, DISPLAY_PATH
from ledger.geo.pieces import subdivide, wet_cells
from ledger.geo.territories import Territory, assign, load_table
from ledger.geo.topology import Grid, decode_arcs, features_of

FACTS = {
    "title": "Land borders by country, 1:10m, in pieces",
    "source": "Natural Earth 4.1.0, Admin 0 countries 1:10m, through npm world-atlas 2.0.2",
    "version": "1",
    "date": "2018-05-21",
    "licence": "Natural Earth: public domain; world-atlas: ISC",
}
MARGIN_M = 2_500.0
"""How far a border of the source may be from the real one: 0.25 mm at 1:10 million.

Reviewed border posts and tripoints lie up to 2.4 km from the drawn line (docs/borders.md)."""
KNOWN_SHA256 = "3bc6f1d367a9bcec479841bae0e76092f512838411d0cef124e92eec4db45f79"
DISPLAY_TOLERANCE = 0.05
"""Degrees. Moves borders by kilometres and is for pictures only."""


def build(topology: dict[str, Any]) -> bytes:
    """The packed file of borders for a topology with a ``countries`` layer."""
    features = features_of(topology, decode_arcs(topology), "countries")
    territories = subdivide(assign(features, load_table()))
    sets = sorted({codes for codes, _ in territories}, key=sorted)
    number = {codes: index for index, codes in enumerate(sets)}
    polygons = [polygon for _, polygon in territories]
    return pack(
        BorderData(
            facts=FACTS,
            margin_m=MARGIN_M,
            sets=tuple(sets),
            set_of_piece=np.array([number[codes] for codes, _ in territories], dtype=np.uint16),
            pieces=np.array(polygons, dtype=object),
            wet=wet_cells(polygons),
        )
    )


def build_display(topology: dict[str, Any]) -> bytes:
    """A small gzipped GeoJSON for pictures: one feature for each set of countries."""
    arcs = [_simplified(arc) for arc in decode_arcs(topology)]
    territories = assign(features_of(topology, arcs, "countries"), load_table())
    sets = sorted({codes for codes, _ in territories}, key=sorted)
    collection = {
        "type": "FeatureCollection",
        "note": f"For pictures only, simplified by {DISPLAY_TOLERANCE} degrees. {FACTS['source']}",
        "date": FACTS["date"],
        "features": [_display_feature(codes, territories) for codes in sets],
    }
    text = json.dumps(collection, separators=(",", ":"), sort_keys=True)
    return deterministic_gzip(text.encode())


def main(arguments: list[str] | None = None) -> None:
    """Command line: read the topology, write both files, print their sizes and digests."""
    parser = argparse.ArgumentParser(prog="python -m ledger.geo.build", description=__doc__)
    parser.add_argument("topology", type=Path, help="countries-10m.json of world-atlas 2.0.2")
    parser.add_argument("--out", type=Path, default=DATA, help="folder to write to")
    options = parser.parse_args(arguments)
    content = options.topology.read_bytes()
    if hashlib.sha256(content).hexdigest() != KNOWN_SHA256:
        sys.stderr.write("This is not the file of world-atlas 2.0.2: correct FACTS in build.py\n")
    topology = json.loads(content)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, make in ((BORDERS_PATH.name, build), (DISPLAY_PATH.name, build_display)):
        data = make(topology)
        (options.out / name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        sys.stdout.write(f"{name}: {len(data)} bytes, sha256 {digest}\n")


def _simplified(arc: Grid) -> Grid:
    """Fewer points of one arc, ends kept, so that neighbours still share it."""
    line = shapely.LineString(arc / 1000.0).simplify(DISPLAY_TOLERANCE, preserve_topology=True)
    thin = np.rint(shapely.get_coordinates(line) * 1000.0).astype(np.int64)
    closed = bool((arc[0] == arc[-1]).all())
    return arc if closed and len(thin) < 4 else thin


def _display_feature(codes: frozenset[str], territories: list[Territory]) -> dict[str, Any]:
    polygons = [polygon for own, polygon in territories if own == codes]
    rings = [
        [
            np.round(shapely.get_coordinates(ring), 2).tolist()
            for ring in (polygon.exterior, *polygon.interiors)
        ]
        for polygon in polygons
    ]
    return {
        "type": "Feature",
        "properties": {"codes": sorted(codes)},
        "geometry": {"type": "MultiPolygon", "coordinates": rings},
    }


if __name__ == "__main__":
    main()
