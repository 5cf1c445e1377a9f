"""Places, borders, sea, poles and antimeridian, on the packaged file."""

import math
from pathlib import Path

import iso3166
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import ConfigurationError, Reason, Refused
from ledger.geo.borders import SPHERE_FACTOR, Borders
from ledger.geo.names import country_name
from ledger.geo.sphere import EARTH_RADIUS_M
from tests.geo.places import AMONG, EXACT, ON_BORDERS, Place


@pytest.fixture(scope="module")
def borders() -> Borders:
    return Borders.load()


def ids(place: Place) -> str:
    return place.name


@pytest.mark.parametrize("place", EXACT, ids=ids)
def test_known_place_gives_exactly_its_countries(borders: Borders, place: Place) -> None:
    assert borders.countries_at(place.lat, place.lon, 50.0) == set(place.countries.split())


@pytest.mark.parametrize("place", AMONG, ids=ids)
def test_place_in_a_tiny_territory_keeps_it(borders: Borders, place: Place) -> None:
    assert borders.countries_at(place.lat, place.lon, 50.0) >= set(place.countries.split())


@pytest.mark.parametrize("place", ON_BORDERS, ids=ids)
def test_point_of_a_real_border_gives_both_sides(borders: Borders, place: Place) -> None:
    assert borders.countries_at(place.lat, place.lon) >= set(place.countries.split())


def test_accuracy_that_reaches_over_the_border_adds_the_neighbour(borders: Borders) -> None:
    assert borders.countries_at(22.5431, 114.0579, 50.0) == {"CN"}
    assert borders.countries_at(22.5431, 114.0579, 1_000.0) == {"CN", "HK"}


def test_inland_disc_stops_short_of_a_neighbour_beyond_it(borders: Borders) -> None:
    assert borders.countries_at(40.4168, -3.7038, 200_000.0) == {"ES"}
    assert "PT" in borders.countries_at(40.4168, -3.7038, 260_000.0)


def test_null_island_counts_as_the_nearest_coasts(borders: Borders) -> None:
    assert borders.countries_at(0.0, 0.0) == {"GH"}


def test_water_in_the_disc_counts_as_its_own_nearest_coast(borders: Borders) -> None:
    # From Dover, 20 km reach no French land, but water that is nearer to France.
    assert borders.countries_at(51.1279, 1.3134, 20_000.0) >= {"GB", "FR"}


def test_middle_of_the_pacific_is_not_empty(borders: Borders) -> None:
    assert borders.countries_at(0.0, -135.0) == {"PF"}


@pytest.mark.parametrize("lon", [-180.0, -179.9, 179.9, 180.0])
def test_disc_over_the_antimeridian_sees_both_sides(borders: Borders, lon: float) -> None:
    # Attu and the Commander Islands lie on the eastern, Adak on the western side.
    assert borders.countries_at(52.0, lon, 900_000.0) == {"RU", "US"}


@pytest.mark.parametrize("lon", [-180.0, -90.0, 0.0, 45.0, 180.0])
def test_disc_over_a_pole_is_the_same_from_every_longitude(borders: Borders, lon: float) -> None:
    assert borders.countries_at(90.0, lon, 1_200_000.0) == borders.countries_at(90.0, 0.0, 1.2e6)
    assert borders.countries_at(-90.0, lon, 500_000.0) == {"AQ"}


def test_disc_over_the_north_pole_touches_all_arctic_coasts(borders: Borders) -> None:
    found = borders.countries_at(89.9, 10.0, 1_200_000.0)
    assert found >= {"CA", "GL", "RU", "SJ"}
    # Water near the rim may count as farther coasts as well: more than need be, never fewer.
    assert found <= {"CA", "GL", "RU", "SJ", "NO", "US"}


@pytest.mark.parametrize("accuracy", [20_100_000.0, 1e12, 1e308])
def test_disc_over_the_whole_globe_gives_every_code(borders: Borders, accuracy: float) -> None:
    assert borders.countries_at(10.0, 10.0, accuracy) == set(borders.codes)


def test_every_code_is_in_iso_3166_or_kosovo(borders: Borders) -> None:
    assert list(borders.codes) == sorted(set(borders.codes))
    assert set(borders.codes) <= set(iso3166.countries_by_alpha2)
    assert len(borders.codes) >= 249  # all that ISO assigns, and XK


def test_every_assigned_code_has_a_territory(borders: Borders) -> None:
    assert set(iso3166.countries_by_alpha2) - set(borders.codes) == set()


@pytest.mark.parametrize(
    ("lat", "lon", "accuracy", "field"),
    [
        (math.nan, 0.0, 0.0, "latitude"),
        (90.001, 0.0, 0.0, "latitude"),
        (-90.001, 0.0, 0.0, "latitude"),
        (True, 0.0, 0.0, "latitude"),
        ("1", 0.0, 0.0, "latitude"),
        (0.0, math.inf, 0.0, "longitude"),
        (0.0, 180.001, 0.0, "longitude"),
        (0.0, None, 0.0, "longitude"),
        (0.0, 0.0, -0.001, "accuracy"),
        (0.0, 0.0, math.nan, "accuracy"),
        (0.0, 0.0, math.inf, "accuracy"),
        (0.0, 0.0, 10**400, "accuracy"),
    ],
)
def test_number_out_of_range_is_refused_with_its_field(
    borders: Borders, lat: float, lon: float, accuracy: float, field: str
) -> None:
    with pytest.raises(Refused) as caught:
        borders.countries_at(lat, lon, accuracy)
    assert (caught.value.reason, caught.value.field) == (Reason.CLAIM_INVALID, field)


@given(
    st.floats(-90.0, 90.0),
    st.floats(-180.0, 180.0),
    st.one_of(st.just(0.0), st.floats(0.0, 1e5), st.floats(0.0, 3e7)),
)
def test_valid_input_never_raises_and_never_gives_nothing(
    lat: float, lon: float, accuracy: float
) -> None:
    found = Borders.load().countries_at(lat, lon, accuracy)
    assert found
    assert found <= set(Borders.load().codes)


def test_version_names_source_date_and_digest(borders: Borders) -> None:
    version = borders.version
    assert "Natural Earth" in version.source
    assert len(version.digest) == 64
    assert str(version) == f"{version.date} sha256:{version.digest}"


def test_packaged_borders_are_loaded_once() -> None:
    assert Borders.load() is Borders.load()


def test_sphere_factor_covers_every_radius_of_curvature_of_the_ellipsoid() -> None:
    # WGS 84 (NIMA TR8350.2): semi-major axis and first eccentricity squared.
    axis, square = 6_378_137.0, 6.694_379_990_14e-3
    for lat in range(91):
        sine = math.sin(math.radians(lat)) ** 2
        prime = axis / math.sqrt(1.0 - square * sine)
        meridian = prime * (1.0 - square) / (1.0 - square * sine)
        for radius in (prime, meridian):
            assert 1.0 / SPHERE_FACTOR < EARTH_RADIUS_M / radius < SPHERE_FACTOR


def test_pictures_know_the_same_codes(borders: Borders) -> None:
    features = Borders.display()["features"]
    assert {code for f in features for code in f["properties"]["codes"]} == set(borders.codes)
    assert all(feature["geometry"]["coordinates"] for feature in features)


@pytest.mark.parametrize(
    ("code", "name"), [("XK", "Kosovo"), ("de", "Germany"), ("FR", "France"), ("QQ", "QQ")]
)
def test_country_name_for_people(code: str, name: str) -> None:
    assert country_name(code) == name


def test_missing_file_is_a_configuration_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read.*docs/borders\.md"):
        Borders.load(tmp_path / "absent.bin.gz")
