"""Posting heartbeats and statements: statuses, results, grouping, order."""

import asyncio
import threading

import pytest

from ledger.errors import Reason, StorageError
from ledger.protocol.statements import Kind
from tests.api.harness import CBOR_SEQ, COSE, PROBLEM, Altered, Http, assert_problem, serving
from tests.api.world import Chip, World

_RESULT = {
    "status", "kind", "index", "leaf_hash", "received_ms", "reason", "detail", "field", "remedy",
    "lease", "directive",
}  # fmt: skip


def post(http: Http, *tokens: bytes, path: str = "/v1/heartbeats"):
    return http.post(path, b"".join(tokens), CBOR_SEQ)


def epoch_id(http: Http) -> bytes:
    return bytes.fromhex(http.get("/v1/epoch").json()["id"])


def test_a_statement_is_created_with_its_place_on_the_ledger(http: Http, world: World, genesis):
    answer = http.post("/v1/statements", genesis, COSE)
    result = answer.json()
    assert answer.status_code == 201, answer.text
    assert set(result) == _RESULT
    assert (result["status"], result["kind"], result["index"]) == ("accepted", "genesis", 0)
    assert len(result["leaf_hash"]) == 64
    assert result["reason"] is result["detail"] is result["directive"] is None
    assert answer.headers["cache-control"] == "no-store"


def test_anything_before_genesis_is_refused(http: Http, world: World):
    answer = http.post("/v1/statements", world.parties()[1], COSE)
    assert answer.status_code in (403, 409)
    assert_problem(http.get("/v1/epoch"), 409, "ledger-has-no-genesis")


def test_a_heartbeat_gets_a_lease(fleet: Http, chips: list[Chip]):
    answer = fleet.post("/v1/heartbeats", chips[0].heartbeat(epoch_id(fleet)), COSE)
    assert answer.status_code == 201, answer.text
    lease = answer.json()["lease"]
    assert len(lease["id"]) == 32
    assert lease["until_ms"] > answer.json()["received_ms"]


def test_a_batch_of_accepted_heartbeats_is_200_in_order(fleet: Http, chips: list[Chip]):
    epoch = epoch_id(fleet)
    answer = post(fleet, *(chip.heartbeat(epoch) for chip in chips))
    body = answer.json()
    assert answer.status_code == 200, answer.text
    assert (body["accepted"], body["recorded"], body["refused"]) == (len(chips), 0, 0)
    indices = [result["index"] for result in body["results"]]
    assert indices == list(range(indices[0], indices[0] + len(chips)))
    assert all(set(result) == _RESULT for result in body["results"])


def test_a_mixed_batch_is_207_with_each_one_s_reason_and_remedy(fleet: Http, chips: list[Chip]):
    epoch = epoch_id(fleet)
    good, forged = chips[0].heartbeat(epoch), chips[1].heartbeat(epoch)
    forged = forged[:-1] + bytes([forged[-1] ^ 1])
    answer = post(fleet, forged, b"\x01", good)
    assert answer.status_code == 207
    assert answer.headers["content-type"] == "application/json"
    first, second, third = answer.json()["results"]
    assert (first["status"], first["reason"]) == ("refused", "signature-invalid")
    assert first["remedy"]
    assert first["index"] is first["kind"] is first["lease"] is None
    assert (second["reason"], third["status"]) == ("cose-malformed", "accepted")


def test_a_batch_without_an_accepted_one_is_the_first_one_s_problem_with_results(fleet: Http):
    answer = post(fleet, b"\x01", b"\x02")
    problem = assert_problem(answer, 400, "cose-malformed")
    assert [result["status"] for result in problem["results"]] == ["refused", "refused"]
    assert (problem["accepted"], problem["refused"]) == (0, 2)


def test_an_oversized_item_of_a_batch_is_refused_by_itself(fleet: Http, chips: list[Chip]):
    good = chips[0].heartbeat(epoch_id(fleet))
    answer = post(fleet, b"\x59\x09\x00" + bytes(0x900), good)
    assert answer.status_code == 207
    assert [result["status"] for result in answer.json()["results"]] == ["refused", "accepted"]


def test_a_conflict_is_409_with_its_place_on_the_ledger(fleet: Http, chips: list[Chip]):
    chip, epoch = chips[0], epoch_id(fleet)
    assert fleet.post("/v1/heartbeats", chip.heartbeat(epoch), COSE).status_code == 201
    chip.counter, chip.previous = 0, bytes(32)
    clone = chip.heartbeat(epoch, now_ms=World().now_ms + 5_000)
    answer = fleet.post("/v1/heartbeats", clone, COSE)
    problem = assert_problem(answer, 409, "counter-rollback")
    assert problem["index"] > 0
    assert len(problem["leaf_hash"]) == 64


def test_the_same_heartbeat_again_is_a_duplicate_and_not_kept(fleet: Http, chips: list[Chip]):
    token = chips[0].heartbeat(epoch_id(fleet))
    assert fleet.post("/v1/heartbeats", token, COSE).status_code == 201
    problem = assert_problem(fleet.post("/v1/heartbeats", token, COSE), 409, "duplicate")
    assert "index" not in problem


def test_each_route_takes_its_own_kinds_only(fleet: Http, world: World, chips: list[Chip]):
    heartbeat, statement = chips[0].heartbeat(epoch_id(fleet)), world.parties()[0]
    size = fleet.get("/v1/ledger").json()["size"]
    problem = assert_problem(
        fleet.post("/v1/statements", heartbeat, COSE), 422, "cose-type-mismatch"
    )
    assert problem["field"] == "typ"
    assert_problem(fleet.post("/v1/heartbeats", statement, COSE), 422, "cose-type-mismatch")
    answer = post(fleet, heartbeat, world.birth(Chip(77)), heartbeat, path="/v1/statements")
    assert [result["reason"] for result in answer.json()["results"]] == [
        "cose-type-mismatch", None, "cose-type-mismatch",
    ]  # fmt: skip
    assert fleet.get("/v1/ledger").json()["size"] == size + 1


def test_framing_faults_refuse_the_whole_batch_and_keep_nothing(fleet: Http, chips: list[Chip]):
    size = fleet.get("/v1/ledger").json()["size"]
    good = chips[0].heartbeat(epoch_id(fleet))
    assert_problem(post(fleet, good, b"\xff"), 400, "cbor-malformed")
    assert_problem(post(fleet, good, good[:-1]), 400, "cbor-malformed")
    assert_problem(post(fleet), 400, "sequence-empty")
    assert_problem(post(fleet, b"\x00" * 4_097), 413, "sequence-too-long")
    assert fleet.get("/v1/ledger").json()["size"] == size


def test_a_batch_is_one_write_and_waiting_single_posts_share_one(node):
    calls: list[int] = []
    gate = threading.Event()

    def submit(tokens, expect=None):
        calls.append(len(tokens))
        assert expect is Kind.HEARTBEAT
        gate.wait(10)
        return node.submit(tokens, expect)

    async def one(client):
        return await client.post("/v1/heartbeats", content=b"x", headers={"Content-Type": COSE})

    async def opener(_client):
        await asyncio.sleep(0.1)
        gate.set()

    with serving(Altered(node, submit=submit)) as http:
        http.together(*[one] * 20, opener)
        assert sum(calls) == 20
        assert len(calls) <= 2
        post(http, *[b"\x01"] * 50)
    assert calls[-1] == 50


def test_the_event_loop_answers_while_a_batch_is_written(node):
    gate = threading.Event()

    def submit(tokens, expect=None):
        assert gate.wait(10)
        return node.submit(tokens, expect)

    async def batch(client):
        headers = {"Content-Type": CBOR_SEQ}
        return await client.post("/v1/heartbeats", content=b"\x01\x02", headers=headers)

    async def bystander(client):
        await asyncio.sleep(0.05)
        health = await client.get("/healthz")
        gate.set()
        return health

    with serving(Altered(node, submit=submit)) as http:
        written, health = http.together(batch, bystander)
    assert health.status_code == 200
    assert written.status_code == 400


@pytest.mark.parametrize("media", [COSE, CBOR_SEQ])
def test_a_write_that_fails_is_503_and_may_be_tried_again(node, media: str):
    def submit(tokens, expect=None):
        raise StorageError("disk full at /var/secret")

    with serving(Altered(node, submit=submit)) as http:
        answer = http.post("/v1/heartbeats", b"\x01", media)
        assert_problem(answer, 503, "storage-unavailable")
        assert answer.headers["retry-after"] == "1"
        assert "secret" not in answer.text


@pytest.mark.parametrize("media", [COSE, CBOR_SEQ])
def test_a_defect_in_a_write_is_500_with_a_problem(node, media: str):
    def submit(tokens, expect=None):
        raise ZeroDivisionError

    with serving(Altered(node, submit=submit)) as http:
        assert_problem(http.post("/v1/heartbeats", b"\x01", media), 500, "internal-error")


def test_outcomes_are_counted_by_reason(fleet: Http, chips: list[Chip]):
    fleet.post("/v1/heartbeats", chips[0].heartbeat(epoch_id(fleet)), COSE)
    post(fleet, b"\x01", b"\x02")
    text = fleet.get("/metrics").text
    label = 'route="/v1/heartbeats"'
    assert f'messages_total{{outcome="accepted",{label}}} 1.0' in text
    assert f'messages_total{{outcome="refused",{label}}} 2.0' in text
    assert f'not_accepted_total{{reason="cose-malformed",{label}}} 2.0' in text
    assert 'ingest_seconds_count{media="application/cbor-seq",route="/v1/heartbeats"} 1.0' in text
    for name in ("log_size", "published_size", "verifier_lag", "queue_depth"):
        assert f"chip_passport_{name} " in text


def test_problems_of_ingest_keep_their_media_type(http: Http):
    assert http.post("/v1/heartbeats", b"", COSE).headers["content-type"] == PROBLEM
    assert Reason.COSE_MALFORMED in http.post("/v1/heartbeats", b"", COSE).text
