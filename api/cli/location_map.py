"""A picture of one case: borders, discs, and the area that they leave possible.

The area is computed on a grid of places, without the margins that a verdict adds; borders are the
simplified ones. It is a picture to understand a verdict by, and decides nothing.
"""

import io
import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ledger.geo.borders import Borders
from ledger.geo.sphere import Floats, unit_vectors
from ledger.location.cases import Case
from ledger.location.possible import Possible
from ledger.location.reach import EARTH_RADIUS_KM
from ledger.location.verdict import LocationVerdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (11.0, 7.5)
GRID = (420, 560)
LEAST_DEGREES = 3.0
MOST_LABELS = 30
SEA, LAND, EDGE = "#eaf1f6", "#f7f5ef", "#9a958a"
PERMITTED, PROHIBITED, OTHER = "#9fd3a8", "#e8a49c", "#f1dd9b"
AREA, DISC, MARK = "#1f4e8c", "#6b7f99", "#b3261e"

Window = tuple[float, float, float, float]
"""West, south, east, north in degrees; longitudes may go beyond ±180."""


def draw_map(case: Case, possible: Possible, verdict: LocationVerdict, kind: str) -> bytes:
    """The picture as bytes; ``kind`` is ``svg`` or ``png``. The same case gives the same bytes."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib
    from matplotlib.figure import Figure

    settings: Any = {"svg.hashsalt": "chip-passport", "font.size": 9.0, "svg.fonttype": "path"}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fonts that lack a letter of an id
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        window = _window(possible)
        _frame(axes, window, case, possible, verdict)
        _draw_land(axes, window, case, verdict)
        _draw_area(axes, window, possible)
        _draw_landmarks(axes, window, possible)
        target = io.BytesIO()
        figure.savefig(
            target, format=kind, dpi=110, metadata={"Date": None} if kind == "svg" else None
        )
    return target.getvalue()


def _excess(possible: Possible, lon: Floats, lat: Floats) -> Floats:
    """(landmarks, ...) kilometres from each place of a grid to the edges of the discs."""
    places = unit_vectors(np.column_stack((lon.ravel(), lat.ravel())))
    products = np.clip(possible.sightings.units @ places.T, -1.0, 1.0)
    away = np.arccos(products) * EARTH_RADIUS_KM - possible.radii_km[:, None]
    return np.asarray(away.reshape(len(away), *lon.shape))


def _left(possible: Possible, excess: Floats) -> Floats:
    """By how many kilometres each place is excluded; possible where it is not positive."""
    most, names = possible.max_faulty, [one.operator for one in possible.sightings.landmarks]
    owners = sorted(set(names))
    if len(owners) <= most:
        return np.full(excess.shape[1:], -1.0)
    by_owner = np.array([excess[[name == own for name in names]].max(axis=0) for own in owners])
    return np.asarray(np.sort(by_owner, axis=0)[-1 - most])


def _mesh(window: Window, rows: int, columns: int) -> tuple[Floats, Floats]:
    west, south, east, north = window
    lon, lat = np.meshgrid(np.linspace(west, east, columns), np.linspace(south, north, rows))
    return lon, lat


def _window(possible: Possible) -> Window:
    """Around the possible area and the landmarks that bound it most closely."""
    order = np.argsort(possible.radii_km, kind="stable")[: possible.max_faulty + 3]
    closest = [possible.sightings.landmarks[index] for index in order]
    centre = closest[0].longitude if closest else 0.0
    if possible.witness is not None and possible.max_faulty < possible.sightings.operators:
        centre = possible.witness[1]
    world = (centre - 180.0, -85.0, centre + 180.0, 85.0)
    lon, lat = _mesh(world, 341, 721)
    kept = _left(possible, _excess(possible, lon, lat)) <= 0.0 if closest else lon < np.inf
    east = [(one.longitude - centre + 180.0) % 360.0 + centre - 180.0 for one in closest]
    xs = np.concatenate((lon[kept], east))
    ys = np.concatenate((lat[kept], [one.latitude for one in closest]))
    if not len(xs):
        return world
    pad = max(LEAST_DEGREES, 0.12 * float(max(np.ptp(xs), np.ptp(ys))))
    return (
        max(world[0], float(xs.min()) - pad),
        max(-85.0, float(ys.min()) - pad),
        min(world[2], float(xs.max()) + pad),
        min(85.0, float(ys.max()) + pad),
    )


def _frame(
    axes: "Axes", window: Window, case: Case, possible: Possible, verdict: LocationVerdict
) -> None:
    west, south, east, north = window
    axes.set_xlim(west, east)
    axes.set_ylim(south, north)
    middle = np.radians(np.clip((south + north) / 2.0, -70.0, 70.0))
    axes.set_aspect(1.0 / float(np.cos(middle)))
    axes.set_facecolor(SEA)
    axes.grid(color="#c9d3da", linewidth=0.4)
    axes.xaxis.set_major_formatter(lambda x, _: f"{(x + 180.0) % 360.0 - 180.0:g}°")
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}°")
    names = list(verdict.possible)
    shown = " ".join(names[:24]) + (f" and {len(names) - 24} more" if len(names) > 24 else "")
    state = "CONTRADICTION, unproven" if verdict.contradiction else verdict.proof.value
    cleared = "cleared" if verdict.cleared else "not cleared"
    title = f"{case.case_id}: {state}; {cleared} (up to {possible.max_faulty} operators wrong)"
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", parse_math=False)
    axes.set_xlabel(f"Possible: {shown or 'nowhere'}", loc="left", parse_math=False)


def _draw_land(axes: "Axes", window: Window, case: Case, verdict: LocationVerdict) -> None:
    from matplotlib.collections import LineCollection, PolyCollection
    from matplotlib.patches import Patch

    west, south, east, north = window
    shapes: list[Floats] = []
    colours: list[str] = []
    for feature in Borders.display()["features"]:
        colour = _colour(set(feature["properties"]["codes"]), case, set(verdict.possible))
        for polygon in feature["geometry"]["coordinates"]:
            shell = np.array(polygon[0], dtype=np.float64)
            for turn in (-360.0, 0.0, 360.0):
                moved = shell + np.array([turn, 0.0])
                low, high = moved.min(axis=0), moved.max(axis=0)
                if low[0] < east and high[0] > west and low[1] < north and high[1] > south:
                    shapes.append(moved)
                    colours.append(colour)
    # Large ones first: shells are drawn without their holes, which others fill.
    order = sorted(range(len(shapes)), key=lambda k: -float(np.prod(np.ptp(shapes[k], axis=0))))
    shapes, colours = [shapes[k] for k in order], [colours[k] for k in order]
    # Cuts along ±180° are no borders.
    lines = [part for shape in shapes for part in _without_cuts(shape)]
    axes.add_collection(PolyCollection(shapes, facecolors=colours, linewidths=0.0, zorder=1))
    axes.add_collection(LineCollection(lines, colors=EDGE, linewidths=0.5, zorder=2))
    legend = [
        Patch(color=PERMITTED, label="possible, permitted"),
        Patch(color=PROHIBITED, label="possible, prohibited"),
        Patch(color=OTHER, label="possible, neither"),
        Patch(edgecolor=AREA, facecolor="#d9e2ec", linewidth=2.0, label="possible area"),
        Patch(edgecolor=DISC, facecolor="none", label="reach of a landmark"),
    ]
    axes.legend(
        handles=legend, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8
    )


def _colour(codes: set[str], case: Case, possible: set[str]) -> str:
    if not codes & possible:
        return LAND
    if codes & set(case.prohibited):
        return PROHIBITED
    return PERMITTED if codes <= set(case.permitted) else OTHER


def _without_cuts(shape: Floats) -> list[Floats]:
    on_cut = np.abs(np.abs((shape[:, 0] + 180.0) % 360.0 - 180.0) - 180.0) < 0.01
    polar = np.abs(shape[:, 1]) > 89.9
    gaps = np.flatnonzero((on_cut[1:] & on_cut[:-1]) | (polar[1:] & polar[:-1])) + 1
    return [part for part in np.split(shape, gaps) if len(part) > 1]


def _draw_area(axes: "Axes", window: Window, possible: Possible) -> None:
    if not len(possible.radii_km):
        return
    lon, lat = _mesh(window, *GRID)
    excess = _excess(possible, lon, lat)
    for one in excess:
        if one.min() < 0.0 < one.max():
            axes.contour(lon, lat, one, levels=[0.0], colors=DISC, linewidths=0.7, zorder=3)
    left = _left(possible, excess)
    if left.min() < 0.0 < left.max():
        low = float(left.min())
        axes.contourf(lon, lat, left, levels=[low, 0.0], colors=AREA, alpha=0.15, zorder=3)
        axes.contour(lon, lat, left, levels=[0.0], colors=AREA, linewidths=2.0, zorder=4)


def _draw_landmarks(axes: "Axes", window: Window, possible: Possible) -> None:
    west, south, east, north = window
    trips = possible.sightings.round_trips_ms
    order = np.argsort(trips, kind="stable")
    for index in order[:MOST_LABELS]:
        landmark = possible.sightings.landmarks[index]
        x = (landmark.longitude - west) % 360.0 + west
        if x <= east and south <= landmark.latitude <= north:
            axes.plot(x, landmark.latitude, "^", color=MARK, markersize=5, zorder=6)
            axes.annotate(
                f"{landmark.id}, {trips[index]:.4g} ms",
                (x, landmark.latitude),
                xytext=(5, 3),
                textcoords="offset points",
                fontsize=7.5,
                zorder=7,
                parse_math=False,
                annotation_clip=True,
            )
