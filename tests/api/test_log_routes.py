"""The log's read API as C2SP tlog-tiles wants it: what is served, how it is cached, and HEAD."""

import base64

import pytest

from ledger.log import merkle, tiles
from tests.api.harness import CBOR_SEQ, Http, assert_problem
from tests.api.world import T0_MS, Chip

YEAR = "public, max-age=31536000, immutable"
OCTETS = "application/octet-stream"


def _grow(http: Http, chips: list[Chip], rounds: int) -> None:
    epoch = bytes.fromhex(http.get("/v1/epoch").json()["id"])
    tokens = [chip.heartbeat(epoch) for _ in range(rounds) for chip in chips]
    answer = http.post("/v1/heartbeats", b"".join(tokens), CBOR_SEQ)
    assert answer.json()["accepted"] == len(tokens)


def _publish(http: Http, now_ms: int) -> tuple[int, bytes]:
    """Size and root of a new checkpoint."""
    answer = http.request("POST", "/v1/clock", json={"now_ms": now_ms})
    assert answer.status_code == 200, answer.text
    _, size, root = http.get("/log/checkpoint").text.split("\n")[:3]
    return int(size), base64.b64decode(root)


@pytest.fixture
def published(fleet: Http, chips: list[Chip]) -> list[tuple[int, bytes]]:
    """Checkpoints of a log that outgrew its first tile."""
    found = []
    for step, rounds in enumerate((1, 20, 30, 4), 1):
        _grow(fleet, chips, rounds)
        found.append(_publish(fleet, T0_MS + step))
    assert found[0][0] < tiles.TILE_WIDTH < found[-1][0]
    return found


def _tile(http: Http, level: int | str, n: int, width: int) -> bytes:
    answer = http.get(f"/log/{tiles.tile_path(level, n, width)}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == OCTETS
    assert answer.headers["cache-control"] == YEAR
    return answer.content


def test_every_published_size_stays_readable_also_where_its_tiles_are_full_by_now(
    fleet: Http, published: list[tuple[int, bytes]]
):
    for size, root in published:
        leaves: list[bytes] = []
        entries: list[bytes] = []
        for level, full, partial in tiles.tiles_for_size(size):
            widths = [tiles.TILE_WIDTH] * full + [partial] * bool(partial)
            for n, width in enumerate(widths):
                data = _tile(fleet, level, n, width)
                assert len(data) == width * 32
                if level == 0:
                    leaves += [data[at : at + 32] for at in range(0, len(data), 32)]
                    entries += tiles.entry_bundle_decode(_tile(fleet, "entries", n, width))
        assert list(map(merkle.leaf_hash, entries)) == leaves
        assert merkle.root_from_leaves(leaves) == root


def test_a_tile_is_not_served_before_a_checkpoint_covers_it(
    fleet: Http, chips: list[Chip], published: list[tuple[int, bytes]]
):
    size = published[-1][0]
    _grow(fleet, chips, 1)
    ahead = size % tiles.TILE_WIDTH + 1
    for level in (0, "entries"):
        path = f"/log/{tiles.tile_path(level, size // tiles.TILE_WIDTH, ahead)}"
        answer = fleet.get(path)
        assert_problem(answer, 404, "tile-unknown")
        assert answer.headers["cache-control"] == "no-store"
    _publish(fleet, T0_MS + 60)
    assert fleet.get(path).status_code == 200


def test_the_checkpoint_is_asked_for_anew_each_time(fleet: Http, published: object):
    answer = fleet.get("/log/checkpoint")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    ["/log/checkpoint", "/log/tile/0/000.p/3", "/log/tile/entries/000.p/3", "/log/tile/9/000",
     "/log/tile/x", "/v1/ledger", "/v1/clock", "/v1/epoch", "/v1/devices", "/v1/devices/00",
     "/v1/decisions", "/problems", "/problems/busy", "/openapi.json", "/", "/nowhere"],
)  # fmt: skip
def test_head_is_answered_as_get_without_the_body(fleet: Http, path: str):
    fleet.request("POST", "/v1/clock", json={"now_ms": T0_MS + 1})
    plain = {"Accept-Encoding": "identity"}
    whole, head = fleet.get(path, headers=plain), fleet.request("HEAD", path, headers=plain)
    assert head.content == b""
    assert (head.status_code, head.headers) == (whole.status_code, whole.headers)
    assert int(head.headers["content-length"]) == len(whole.content)
