"""GET /v1/entries: statements in the log's order, as far as the asker may see them."""

from typing import Any

import httpx
import pytest

from api.client import AnswerInvalid, Client
from ledger.log import tiles
from ledger.log.chain import decode_leaf
from ledger.protocol import entries as codec
from ledger.protocol.entries import decode_statements
from ledger.protocol.statements import Kind
from ledger.service import entries
from ledger.service.node import Node
from ledger.service.viewer import EVERYBODY, OPEN, PUBLIC_KINDS
from ledger.values import sha256
from tests.api.harness import CBOR_SEQ, COSE, Http, assert_problem
from tests.api.world import T0_MS, Chip, World


@pytest.fixture
def size(fleet: Http, chips: list[Chip], world: World) -> int:
    """Entries under a checkpoint, a heartbeat and a conflict among them; another is behind it."""
    epoch = bytes.fromhex(fleet.get("/v1/epoch").json()["id"])
    for chip in chips:
        assert fleet.post("/v1/heartbeats", chip.heartbeat(epoch), COSE).status_code == 201
    chips[0].counter, chips[0].previous = 0, bytes(32)
    assert (
        fleet.post("/v1/heartbeats", chips[0].heartbeat(epoch, T0_MS + 9_000), COSE).status_code
        == 409
    )
    fleet.request("POST", "/v1/clock", json={"now_ms": T0_MS + 1})
    assert fleet.post("/v1/heartbeats", chips[1].heartbeat(epoch), COSE).status_code == 201
    return int(fleet.get("/log/checkpoint").text.split("\n")[1])


def ask(http: Http, start: int, limit: int = 1_000) -> list[bytes | None]:
    answer = http.get(f"/v1/entries?start={start}&limit={limit}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == CBOR_SEQ
    assert answer.headers["cache-control"] == "no-store"
    return decode_statements(answer.content, limit=limit)


def leaves(http: Http, size: int) -> list[bytes]:
    path = tiles.tile_path("entries", 0, size)
    return tiles.entry_bundle_decode(http.get(f"/log/{path}").content, size)


def test_statements_are_those_of_the_leaves_up_to_the_checkpoint(fleet: Http, size: int) -> None:
    digests = [decode_leaf(leaf).statement_digest for leaf in leaves(fleet, size)]
    assert [sha256(statement or b"") for statement in ask(fleet, 0)] == digests


def test_pages_follow_each_other_and_end_with_an_empty_one(fleet: Http, size: int) -> None:
    pages, start = [], 0
    while page := ask(fleet, start, 3):
        pages += page
        start += len(page)
    assert pages == ask(fleet, 0)
    assert start == size
    assert ask(fleet, 2**53 - 1) == []


def test_the_public_sees_what_is_about_the_ledger_and_no_conflict(
    fleet: Http, node: Node, size: int
) -> None:
    kinds = [decode_leaf(leaf).kind for leaf in leaves(fleet, size)]
    assert {Kind.CONFLICT.value, Kind.HEARTBEAT.value, Kind.BIRTH.value} < set(kinds)
    shown = node.statements(0, 1_000, EVERYBODY)
    assert [kind in PUBLIC_KINDS for kind in kinds] == [found is not None for found in shown]
    assert node.statements(0, 1_000, OPEN) == ask(fleet, 0)


def test_answer_ends_where_it_is_large_enough(
    node: Node, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = node.statements(0, 1_000, OPEN)
    monkeypatch.setattr(entries, "MAX_ANSWER_BYTES", 1)
    assert node.statements(2, 1_000, OPEN) == whole[2:3]
    sizes = [len(found or b"") for found in whole]
    monkeypatch.setattr(entries, "MAX_ANSWER_BYTES", sum(sizes[:2]) + 1)
    assert node.statements(0, 1_000, OPEN) == whole[:3]


@pytest.mark.parametrize(
    "query", ["", "limit=5", "start=-1", "start=x", "start=0&limit=0", "start=0&limit=1001"]
)
def test_other_parameters_are_refused(fleet: Http, query: str) -> None:
    assert_problem(fleet.get(f"/v1/entries?{query}"), 422, "parameter-invalid")


def test_limits_of_the_answer_are_those_of_the_route() -> None:
    from api.settings import MAX_PAGE

    assert codec.MAX_ENTRIES == MAX_PAGE


def client(answer: bytes) -> Client:
    def handler(request: httpx.Request) -> httpx.Response:
        asked: dict[str, Any] = dict(request.url.params)
        assert asked == {"start": "7", "limit": "2"}
        return httpx.Response(200, content=answer)

    return Client("http://test", transport=httpx.MockTransport(handler))


def test_client_gives_statements() -> None:
    assert client(b"\xf6\x41a").statements(7, 2) == [None, b"a"]


@pytest.mark.parametrize("answer", [b"\xf6\xf6\xf6", b"\x42a", b"[]"])
def test_client_takes_no_other_answer(answer: bytes) -> None:
    with pytest.raises(AnswerInvalid):
        client(answer).statements(7, 2)
