"""The delay model: its distribution by fixed seeds, its faults, and the table that it came from."""

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import delays as program
from benchmarks import pings
from device_sim.delays import (
    BAND_ENDS_KM,
    FIBRE_KM_PER_MS,
    MIN_MISPLACED_KM,
    MU,
    SIGMA,
    TOO_FAST,
    DelayModel,
    distances_km,
    generator,
    hasten,
    misplace,
    whole_us,
)
from device_sim.seeds import derive, root_seed
from tests.world import FRANKFURT, KUALA_LUMPUR, SINGAPORE

MIDDLES = (150.0, 375.0, 750.0, 1_500.0, 3_000.0, 6_000.0, 10_000.0, 15_000.0)
PLACES = np.array([FRANKFURT, SINGAPORE, KUALA_LUMPUR])


def rng(label: str) -> np.random.Generator:
    return generator(derive(root_seed(7), label))


@pytest.mark.parametrize("band", range(len(MU)))
def test_each_band_has_its_lognormal_excess(band: int):
    distance = np.full(40_000, MIDDLES[band])
    paths = DelayModel().paths_ms(distance, rng("bands"))
    excess = np.log((paths - 0.5) * FIBRE_KM_PER_MS / (2 * distance) - 1)
    assert np.mean(excess) == pytest.approx(MU[band], abs=0.02)
    assert np.std(excess) == pytest.approx(SIGMA[band], rel=0.02)


@pytest.mark.parametrize("at", range(len(BAND_ENDS_KM)))
def test_a_band_ends_where_the_next_begins(at: int):
    end = BAND_ENDS_KM[at]
    model, factor = DelayModel(), 1 + math.exp(MU[at + 1])
    below = np.median(model.paths_ms(np.full(40_000, end - 0.001), rng("ends")))
    above = np.median(model.paths_ms(np.full(40_000, end), rng("ends")))
    assert above == pytest.approx(0.5 + 2 * end / FIBRE_KM_PER_MS * factor, rel=0.02)
    assert below == pytest.approx(
        0.5 + 2 * end / FIBRE_KM_PER_MS * (1 + math.exp(MU[at])), rel=0.02
    )


def test_no_round_trip_is_faster_than_light_in_fibre():
    distance = np.linspace(0, 20_000, 50_000)
    model, random = DelayModel(), rng("light")
    least = model.least_ms(model.paths_ms(distance, random), 4, random)
    assert np.all(least > 2 * distance / FIBRE_KM_PER_MS + 0.5)
    assert np.all(whole_us(least) >= least * 1_000)


def test_more_probes_come_nearer_to_the_path():
    model = DelayModel()
    paths = np.full(20_000, 30.0)
    means = [np.mean(model.least_ms(paths, n, rng(f"probes {n}")) - paths) for n in (1, 4, 16)]
    assert means[0] > 1.5 * means[1] > 2.25 * means[2]


def test_jitter_is_lognormal():
    jitter = np.log(DelayModel(jitter_mu=-1, jitter_sigma=0.5).jitter_ms((40_000,), rng("j")))
    assert (np.mean(jitter), np.std(jitter)) == pytest.approx((-1, 0.5), abs=0.01)


def test_a_seed_gives_the_same_delays_and_another_seed_others():
    distance = distances_km(PLACES, PLACES[::-1] + 1.0)
    first, again, other = (
        DelayModel(host_correlation=0.5).paths_ms(distance, rng(label)) for label in "aab"
    )
    assert np.array_equal(first, again)
    assert not np.any(first == other)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_correlated_hosts_share_their_excess_and_keep_its_spread(share: float):
    distance = np.full((300, 300), 6_000.0)
    paths = DelayModel(host_correlation=share).paths_ms(distance, rng("hosts"))
    excess = np.log((paths - 0.5) * FIBRE_KM_PER_MS / (2 * distance) - 1)
    assert np.std(excess) == pytest.approx(SIGMA[5], rel=0.06)
    for axis in (0, 1):
        between = np.var(np.mean(excess, axis=axis)) / np.var(excess)
        assert between == pytest.approx(share / 2, abs=0.06)


def test_distances_are_those_of_the_sphere():
    distance = distances_km(PLACES, PLACES)
    assert np.diag(distance) == pytest.approx(0, abs=1e-6)
    assert distance == pytest.approx(distance.T)
    assert distance[1, 2] == pytest.approx(309, abs=2)
    assert distance[0, 1] == pytest.approx(10_280, abs=30)
    assert distances_km(np.array([[0.0, 0.0]]), np.array([[0.0, 180.0]]))[0, 0] == pytest.approx(
        math.pi * 6_371.0088
    )


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.01, 1), (0.05, 5), (1.0, 100)])
def test_wrong_entries_stand_far_from_their_landmarks(share: float, count: int):
    true = np.column_stack((np.linspace(-80, 80, 100), np.linspace(-170, 170, 100)))
    stated, wrong = misplace(true, share, rng("misplace"))
    moved = np.diag(distances_km(true, stated))
    assert len(wrong) == count
    assert np.all(moved[wrong] >= MIN_MISPLACED_KM)
    assert np.all(np.delete(moved, wrong) < 1e-6)
    assert np.all(np.abs(stated[:, 0]) <= 90)
    assert np.all(np.abs(stated[:, 1]) <= 180)


def test_hastened_rows_break_physics_and_others_stay():
    paths = np.full((500, 200), 100.0)
    rows, wrong = hasten(paths, 0.0002, rng("hasten"))
    assert 5 <= np.count_nonzero(wrong) <= 45
    assert np.all(rows[wrong] >= 100 * TOO_FAST[0])
    assert np.all(rows[wrong] <= 100 * TOO_FAST[1])
    assert np.all(rows[~wrong] == 100.0)
    assert not np.any(hasten(paths, 0.0, rng("hasten"))[1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"host_correlation": -0.1},
        {"host_correlation": 1.1},
        {"base_ms": -1.0},
        {"speed_km_per_ms": 0.0},
        {"jitter_sigma": -1.0},
    ],
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match=r"share|negative"):
        DelayModel(**wrong)


def test_misuse_is_refused():
    model = DelayModel(host_correlation=0.5)
    with pytest.raises(ValueError, match="shape"):
        model.paths_ms(np.ones(3), rng("x"))
    with pytest.raises(ValueError, match="probe"):
        model.least_ms(np.ones(3), 0, rng("x"))
    for fault in (misplace, hasten):
        with pytest.raises(ValueError, match="share"):
            fault(PLACES, 1.5, rng("x"))


@pytest.mark.skipif(pings.missing() is not None, reason="the table of real pings is not here")
def test_the_model_fits_the_real_table():
    (figure,) = program.run(quick=True)
    assert figure.met, figure.line()


def test_without_the_table_the_program_measures_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv(pings.VARIABLE, str(tmp_path))
    assert program.run(quick=True) == []
    assert "skipped" in capsys.readouterr().out
