"""The query routes over a real ledger: shapes, paging, caching, refusals."""

import pytest

from api import schemas
from ledger.protocol import statements as st
from tests.api.harness import COSE, Altered, Http, assert_problem, serving
from tests.api.world import ORIGIN, T0_MS, Chip, World

_HOUR = 3_600_000


def move(http: Http, now_ms: int):
    return http.request("POST", "/v1/clock", json={"now_ms": now_ms})


def test_before_genesis_the_ledger_says_what_it_is_waiting_for(http: Http):
    ledger = schemas.Ledger.model_validate(http.get("/v1/ledger").json())
    assert (ledger.origin, ledger.genesis, ledger.size) == (None, None, 0)
    assert ledger.clock.mode == "simulated"
    assert http.get("/readyz").json() == {"status": "awaiting genesis"}
    assert http.get("/healthz").json() == {"status": "ok"}
    assert_problem(http.get("/log/checkpoint"), 404, "not-found")


def test_a_node_that_takes_nothing_is_not_ready_and_says_why(node):
    obstacle = "the last write failed: database or disk is full"
    with serving(Altered(node, ready=lambda: obstacle)) as http:
        answer = http.get("/readyz")
        assert assert_problem(answer, 503, "storage-unavailable")["detail"] == obstacle
        assert http.get("/healthz").status_code == 200


def test_after_genesis_the_ledger_tells_its_identity(fleet: Http):
    ledger = schemas.Ledger.model_validate(fleet.get("/v1/ledger").json())
    assert ledger.origin == ORIGIN
    assert ledger.epoch_s == 3_600
    assert fleet.get("/readyz").json() == {"status": "ready"}


def test_the_clock_moves_forward_only(fleet: Http):
    assert move(fleet, T0_MS + _HOUR).json() == {"mode": "simulated", "now_ms": T0_MS + _HOUR}
    assert fleet.get("/v1/clock").json()["now_ms"] == T0_MS + _HOUR
    assert_problem(move(fleet, T0_MS), 409, "clock-not-simulated")


@pytest.mark.parametrize(
    "body", [b"", b"x", b"null", b"[]", b"{}", b'{"now_ms": -1}', b'{"now_ms": "5"}',
             b'{"now_ms": 1e999}', b'{"now_ms": 5, "x": 1}', b'{"now_ms": true}', b"\xff",
             b'{"now_ms": 99999999999999999999}', b'{"now_ms": 1.5}']
)  # fmt: skip
def test_a_malformed_time_is_a_problem(http: Http, body: bytes):
    answer = http.post("/v1/clock", body, "application/json")
    assert_problem(answer, 422, "parameter-invalid")


def test_the_landmark_directory_comes_as_json_or_as_its_signed_statement(fleet: Http, world: World):
    assert_problem(fleet.get("/v1/landmarks"), 404, "landmark-unknown")
    entry = {
        "id": "beacon",
        "operator": "lighthouse",
        "latitude": 50.11,
        "longitude": 8.68,
        "addresses": ["beacon.example:8490"],
    }
    body = st.LandmarkDirectory.model_validate(
        {"iat": T0_MS // 1_000, "version": 1, "landmarks": [entry]}
    )
    token = st.sign(body, world.authority)
    assert fleet.post("/v1/statements", token, COSE).status_code == 201
    found = schemas.Landmarks.model_validate(fleet.get("/v1/landmarks").json())
    assert (found.version, found.statement) == (1, token.hex())
    assert [item.model_dump() for item in found.landmarks] == [entry | {"suspended": None}]
    signed = fleet.get("/v1/landmarks", headers={"Accept": COSE})
    assert (signed.headers["content-type"], signed.content) == (COSE, token)


def test_the_epoch_comes_as_json_or_as_its_signed_statement(fleet: Http):
    epoch = schemas.Epoch.model_validate(fleet.get("/v1/epoch").json())
    assert epoch.not_before_ms <= T0_MS < epoch.not_after_ms
    signed = fleet.get("/v1/epoch", headers={"Accept": COSE})
    assert signed.headers["content-type"] == COSE
    assert signed.content.hex() == epoch.statement
    for wish in (f"{COSE};q=0", f"{COSE};q=0, application/json", "*/*", "application/*"):
        answer = fleet.get("/v1/epoch", headers={"Accept": wish})
        assert answer.headers["content-type"] == "application/json"


def test_passports_and_histories_have_the_documented_shape(fleet: Http, chips: list[Chip]):
    epoch = bytes.fromhex(fleet.get("/v1/epoch").json()["id"])
    assert fleet.post("/v1/heartbeats", chips[0].heartbeat(epoch), COSE).status_code == 201
    move(fleet, T0_MS + 1_000)
    passport = fleet.get(f"/v1/devices/{chips[0].ueid.hex()}")
    found = schemas.Passport.model_validate(passport.json())
    assert (found.model, found.manufacturer, found.state) == ("TEST-1", "maker", "active")
    assert found.last_heartbeat is not None
    assert found.last_heartbeat.counter == 1
    assert passport.headers["cache-control"] == "no-store"
    history = fleet.get(f"/v1/devices/{chips[0].ueid.hex()}/history")
    entries = schemas.History.model_validate(history.json()).items
    assert [entry.kind for entry in entries[:2]] == ["birth", "heartbeat"]
    assert [entry.seq for entry in entries] == list(range(len(entries)))
    page = schemas.Passports.model_validate(fleet.get("/v1/devices").json())
    assert len(page.items) == len(chips)
    schemas.Decisions.model_validate(fleet.get("/v1/decisions").json())


def test_pages_follow_each_other_without_gap_or_overlap(fleet: Http, chips: list[Chip]):
    seen: list[str] = []
    after = None
    while True:
        query = {"limit": "2"} | ({"after": after} if after else {})
        page = fleet.get("/v1/devices", params=query).json()
        assert len(page["items"]) <= 2
        seen += [item["ueid"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == sorted(chip.ueid.hex() for chip in chips)


def test_filters_select(fleet: Http, chips: list[Chip]):
    def count(**query: str) -> int:
        return len(fleet.get("/v1/devices", params=query).json()["items"])

    assert count(state="registered") == count(holder="maker") == count(model="TEST-1") == len(chips)
    assert count(state="held") == count(holder="cloud") == count(model="X") == 0
    assert count(country="DE") == 0


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/devices?limit=0", "limit"),
        ("/v1/devices?limit=1001", "limit"),
        ("/v1/devices?limit=x", "limit"),
        ("/v1/devices?state=lost", "state"),
        ("/v1/devices?country=germany", "country"),
        ("/v1/devices?holder=%00", "holder"),
        ("/v1/devices?model=%00", "model"),
        ("/v1/devices?after=zz", "after"),
        ("/v1/devices?after=" + "0" * 15, "after"),
        ("/v1/devices?unknown=1", "unknown"),
        ("/v1/decisions?action=scold", "action"),
        ("/v1/decisions?ueid=%ff", "ueid"),
        ("/v1/decisions?after=-1", "after"),
        ("/v1/decisions?after=99999999999999999999", "after"),
        ("/v1/devices/01" + "5c" * 16 + "/history?after=x", "after"),
        ("/v1/devices?limit=1&limit=2", "limit"),
        ("/v1/devices?state=held&state=active", "state"),
        ("/v1/devices?limit=", "limit"),
        ("/v1/devices?limit=1_0", "limit"),
        ("/v1/devices?limit=5.0", "limit"),
        ("/v1/devices?limit=%2B5", "limit"),
        ("/v1/devices?limit=%205", "limit"),
        ("/v1/devices?limit=%D9%A3", "limit"),
        ("/v1/devices?limit=" + "9" * 5_000, "limit"),
        ("/v1/decisions?after=%D9%A3", "after"),
        ("/v1/decisions?after=1_0", "after"),
        ("/v1/devices/01" + "5c" * 16 + "/history?after=%2B1", "after"),
        ("/v1/devices/01" + "5c" * 16 + "?limit=1", "limit"),
        ("/v1/ledger?x", "x"),
        ("/v1/epoch?id=1", "id"),
        ("/v1/clock?now_ms=1", "now_ms"),
    ],
)
def test_a_wrong_parameter_is_named(http: Http, path: str, field: str):
    assert assert_problem(http.get(path), 422, "parameter-invalid")["field"] == field


def test_an_unknown_chip_is_404_and_a_malformed_ueid_422(fleet: Http):
    unknown = "01" + "5c" * 16
    for path in (f"/v1/devices/{unknown}", f"/v1/devices/{unknown}/history"):
        assert_problem(fleet.get(path), 404, "chip-unknown")
    for ueid in ("x", "00", "01", "%00", "5c" * 17):
        assert_problem(fleet.get(f"/v1/devices/{ueid}"), 422, "claim-invalid")


def test_checkpoint_and_tiles_are_served_as_the_tile_log_wants(fleet: Http):
    move(fleet, T0_MS + 1_000)
    checkpoint = fleet.get("/log/checkpoint")
    assert checkpoint.headers["content-type"] == "text/plain; charset=utf-8"
    assert checkpoint.headers["cache-control"] == "no-cache"
    origin, size = checkpoint.text.split("\n")[:2]
    assert origin == ORIGIN
    for path in (f"/log/tile/0/000.p/{size}", f"/log/tile/entries/000.p/{size}"):
        tile = fleet.get(path)
        assert tile.status_code == 200, tile.text
        assert tile.headers["content-type"] == "application/octet-stream"
        assert "immutable" in tile.headers["cache-control"]
    assert len(fleet.get(f"/log/tile/0/000.p/{size}").content) == 32 * int(size)


def test_a_tile_beyond_the_checkpoint_is_404_and_a_malformed_path_400(fleet: Http):
    move(fleet, T0_MS + 1_000)
    for path in ("0/000", "0/000.p/255", "1/000.p/1", "entries/x001/000"):
        answer = fleet.get(f"/log/tile/{path}")
        assert_problem(answer, 404, "tile-unknown")
        assert answer.headers["cache-control"] == "no-store"
    for path in ("", "x", "0/0", "0/000.p/0", "0/000.p/256", "../0/000", "0/000%00", "64/000"):
        answer = fleet.get(f"/log/tile/{path}")
        assert answer.status_code in (400, 404), path
