"""Points on the unit sphere: conversion, chords, and distances to chains of edges.

Working with three-dimensional points needs no special cases at the antimeridian or the poles.
Latitude and longitude are degrees, lengths are metres on a sphere of the mean Earth radius.
"""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius R1 of WGS 84 (NIMA TR8350.2)."""

HALF_TURN_M = math.pi * EARTH_RADIUS_M


def unit_vectors(lon_lat: Floats) -> Floats:
    """(n, 2) degrees, longitude first, to (n, 3) points of the unit sphere."""
    lon, lat = np.radians(lon_lat[:, 0]), np.radians(lon_lat[:, 1])
    level = np.cos(lat)
    return np.column_stack((level * np.cos(lon), level * np.sin(lon), np.sin(lat)))


def chord(distance_m: float) -> float:
    """Straight line between two points of the unit sphere that are ``distance_m`` apart."""
    return 2.0 * math.sin(min(distance_m, HALF_TURN_M) / EARTH_RADIUS_M / 2.0)


def arc_m(chord_length: float) -> float:
    """Inverse of :func:`chord`: metres along the great circle."""
    return 2.0 * EARTH_RADIUS_M * math.asin(min(1.0, chord_length / 2.0))


def destination(lat: float, lon: float, bearing_deg: float, distance_m: float) -> Floats:
    """The point reached from a place on a bearing, as (lon, lat) in an array of shape (1, 2)."""
    angle, bearing, phi = distance_m / EARTH_RADIUS_M, math.radians(bearing_deg), math.radians(lat)
    sine = math.sin(phi) * math.cos(angle) + math.cos(phi) * math.sin(angle) * math.cos(bearing)
    sine = max(-1.0, min(1.0, sine))
    turn = math.atan2(
        math.sin(bearing) * math.sin(angle) * math.cos(phi), math.cos(angle) - math.sin(phi) * sine
    )
    end_lon = (lon + math.degrees(turn) + 180.0) % 360.0 - 180.0
    return np.array([[end_lon, math.degrees(math.asin(sine))]])


def chain_distance(point: Floats, vertices: Floats, joined: Bools) -> float:
    """Least chord length from ``point`` (3,) to the edges between consecutive ``vertices`` (n, 3).

    ``joined[k]`` says that vertices k and k+1 belong to one ring; n ≥ 2.
    """
    ways = ways_to_edges(point, vertices)
    squares = np.einsum("ij,ij->i", ways, ways)
    return math.sqrt(float(np.min(squares[joined[:-1]])))


def ways_to_edges(point: Floats, vertices: Floats) -> Floats:
    """(n-1, 3): from ``point`` straight to the nearest place of each edge of ``vertices``."""
    start = vertices[:-1] - point
    edge = vertices[1:] - vertices[:-1]
    square = np.einsum("ij,ij->i", edge, edge)
    along = -np.einsum("ij,ij->i", start, edge)
    part = np.divide(along, square, out=np.zeros_like(along), where=square > 0.0)
    np.clip(part, 0.0, 1.0, out=part)
    start += edge * part[:, None]
    return start
