"""Addresses and parameters with two readings are refused, whichever one would be harmless."""

import pytest

from tests.api.harness import Http, assert_problem
from tests.api.world import T0_MS, Chip


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/devices?state=active&state=held", "state"),
        ("/v1/devices?state=held&limit=1&state=held", "state"),
        ("/v1/devices?limit=1&%6cimit=2", "limit"),
        ("/v1/devices/01" + "5c" * 16 + "/history?after=1&after=2", "after"),
        ("/v1/decisions?action=hold&action=release", "action"),
        ("/v1/decisions?x=1&x=2", "x"),
    ],
)
def test_a_parameter_that_is_given_twice_is_refused(http: Http, path: str, field: str):
    assert assert_problem(http.get(path), 422, "parameter-invalid")["field"] == field


def test_different_parameters_go_together(fleet: Http, chips: list[Chip]):
    answer = fleet.get("/v1/devices?state=registered&holder=maker&model=TEST-1&limit=2")
    assert len(answer.json()["items"]) == 2


@pytest.mark.parametrize(
    "path",
    ["/v1/ledger", "/v1/epoch", "/v1/devices", "/log/checkpoint", "/log/tile/0/000.p/3", "/healthz",
     "/metrics", "/problems", "/"],
)  # fmt: skip
def test_an_address_ends_where_it_ends(fleet: Http, path: str):
    fleet.request("POST", "/v1/clock", json={"now_ms": T0_MS + 1})
    assert fleet.get(path).status_code == 200
    assert_problem(fleet.get(path + "%0a"), 404, "not-found")
    assert_problem(fleet.get(path + "%0d%0a"), 404, "not-found")


def test_a_closed_address_is_not_opened_by_a_newline(http: Http):
    for path in ("/v1/clock%0a", "/v1/heartbeats%0a", "/v1/statements%0A"):
        answer = http.request("POST", path, json={"now_ms": T0_MS + 1})
        assert_problem(answer, 404, "not-found")
    assert http.get("/v1/clock").json()["now_ms"] == T0_MS
