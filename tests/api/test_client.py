"""The public client against the real server, and against servers that misbehave."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from api.client import (
    AnswerInvalid,
    Client,
    ClientError,
    RequestRefused,
    ServiceUnavailable,
    Unreachable,
)
from api.embedded import ServerThread
from api.settings import ServiceSettings
from ledger.errors import ChipPassportError
from ledger.log.tiles import entry_bundle_decode
from ledger.protocol import statements as st
from tests.api.world import ORIGIN, T0_MS, Chip, World

OPEN = ServiceSettings(access="open")


@pytest.fixture
def client(node) -> Iterator[Client]:
    """A client of a real server over an empty ledger."""
    with ServerThread(node, settings=OPEN) as service, Client(service.url) as client:
        yield client


@pytest.fixture
def live(client: Client, world: World, genesis: bytes, chips: list[Chip]) -> Client:
    """A client of a ledger with parties and chips."""
    results = client.post_statements([genesis, *world.parties(), *map(world.birth, chips)])
    assert all(result.accepted for result in results), results
    return client


def test_the_whole_conversation_over_a_real_socket(live: Client, chips: list[Chip]):
    assert live.ledger()["origin"] == ORIGIN
    assert live.ready() == "ready"
    epoch = live.epoch()
    message = st.decode(epoch.statement)
    assert (message.kind, message.body.id) == (st.Kind.EPOCH, epoch.id)
    assert epoch.not_before_ms <= live.clock()["now_ms"] < epoch.not_after_ms
    single = live.post_heartbeats([chips[0].heartbeat(epoch.id)])
    many = live.post_heartbeats([chip.heartbeat(epoch.id) for chip in chips])
    assert [result.status for result in single + many] == ["accepted"] * 6
    lease = many[0].lease
    assert lease is not None
    assert (len(lease.id), lease.until_ms > T0_MS) == (16, True)
    assert live.set_clock(T0_MS + 60_000) == {"mode": "simulated", "now_ms": T0_MS + 60_000}
    size = int(live.checkpoint().split(b"\n")[1])
    assert size == live.ledger()["published_size"] >= 16
    entries = entry_bundle_decode(live.tile(f"entries/000.p/{size}"), size)
    assert len(entries) == size


def test_pages_are_fetched_as_one_sequence(live: Client, chips: list[Chip]):
    epoch = live.epoch().id
    live.post_heartbeats([chips[0].heartbeat(epoch) for _ in range(7)])
    entries = list(live.history(chips[0].ueid, page=3))
    assert [entry["seq"] for entry in entries] == list(range(8))
    ueids = [item["ueid"] for item in live.devices(page=2)]
    assert ueids == sorted(chip.ueid.hex() for chip in chips)
    assert [item["ueid"] for item in live.devices(state="active")] == [chips[0].ueid.hex()]
    assert list(live.decisions()) == []
    assert live.device(chips[0].ueid.hex())["last_heartbeat"]["counter"] == 7


def test_a_query_goes_on_behind_what_was_read(live: Client, chips: list[Chip]):
    epoch = live.epoch().id
    live.post_heartbeats([chips[0].heartbeat(epoch) for _ in range(7)])
    entries = list(live.history(chips[0].ueid))
    assert list(live.history(chips[0].ueid, after=entries[2]["seq"], page=2)) == entries[3:]
    assert list(live.history(chips[0].ueid, after=entries[-1]["seq"])) == []
    assert list(live.history(chips[0].ueid, after=None)) == entries
    items = list(live.devices())
    assert list(live.devices(after=items[1]["ueid"], page=1)) == items[2:]
    assert list(live.devices(after=bytes.fromhex(items[1]["ueid"]))) == items[2:]
    for wrong in (
        lambda: live.history(chips[0].ueid, after=-1),
        lambda: live.devices(after="x"),
        lambda: live.decisions(after=-1),
    ):
        with pytest.raises(RequestRefused, match="parameter-invalid"):
            list(wrong())


def test_decisions_go_on_behind_what_was_read():
    asked: list[dict[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        following = None if len(asked) > 1 else "9"
        return httpx.Response(200, json={"items": [{"index": len(asked)}], "next": following})

    assert len(list(against(answer).decisions(after=5, page=1))) == 2
    assert asked == [{"limit": "1", "after": "5"}, {"limit": "1", "after": "9"}]


def test_results_say_what_was_refused_and_what_is_on_record(live: Client, chips: list[Chip]):
    epoch = live.epoch().id
    chip = chips[0]
    live.post_heartbeats([chip.heartbeat(epoch)])
    chip.counter, chip.previous = 0, bytes(32)
    clone = chip.heartbeat(epoch, now_ms=T0_MS + 5_000)
    (recorded,) = live.post_heartbeats([clone])
    assert (recorded.status, recorded.reason) == ("recorded", "counter-rollback")
    assert recorded.index is not None
    assert recorded.leaf_hash is not None
    (refused,) = live.post_heartbeats([b"\x01"])
    assert (refused.status, refused.reason) == ("refused", "cose-malformed")
    assert refused.remedy
    both = live.post_heartbeats([b"\x01", b"\x02"])
    assert [result.reason for result in both] == ["cose-malformed"] * 2


def test_more_messages_than_a_batch_takes_go_in_several(live: Client):
    results = live.post_heartbeats([b"\x01"] * 5_000)
    assert len(results) == 5_000
    large = b"\x5a\x00\x10\x00\x00" + bytes(2**20)
    assert [result.reason for result in live.post_statements([large] * 5)] == ["too-large"] * 5
    assert live.post_heartbeats([]) == []


def test_bytes_that_break_the_framing_refuse_the_request(live: Client):
    with pytest.raises(RequestRefused) as error:
        live.post_heartbeats([b"\xff", b"\x01"])
    assert (error.value.reason, error.value.status) == ("cbor-malformed", 400)


def test_refusals_carry_reason_status_and_problem(client: Client):
    with pytest.raises(RequestRefused, match="ledger-has-no-genesis") as error:
        client.epoch()
    assert (error.value.reason, error.value.status) == ("ledger-has-no-genesis", 409)
    assert error.value.problem is not None
    assert error.value.problem["remedy"]
    with pytest.raises(RequestRefused) as error:
        client.device("01" + "5c" * 16)
    assert error.value.reason == "chip-unknown"
    with pytest.raises(RequestRefused) as error:
        client.set_clock(0)
    assert error.value.reason == "clock-not-simulated"
    with pytest.raises(RequestRefused):
        client.tile("0/999")
    assert isinstance(error.value, ChipPassportError)


def test_one_connection_serves_many_requests(node):
    with ServerThread(node) as service, Client(service.url) as client:
        for _ in range(5):
            client.ledger()
            client.post_heartbeats([b"\x01"])
        state = service.server._listener.uvicorn.server_state
        assert len(state.connections) == 1
        assert state.total_requests >= 9


@pytest.mark.parametrize("ueid", ["", "x/../..", "\x00", "?limit=1", "#"])
def test_a_malformed_ueid_asks_for_no_other_address(client: Client, ueid: str):
    with pytest.raises(RequestRefused):
        list(client.history(ueid))


# -- servers that misbehave -------------------------------------------------------------------


def against(answer: Callable[[httpx.Request], httpx.Response], **arguments) -> Client:
    arguments.setdefault("sleep", lambda _: None)
    return Client("http://127.0.0.1:1", transport=httpx.MockTransport(answer), **arguments)


def busy(request: httpx.Request) -> httpx.Response:
    problem = {"reason": "busy", "detail": "full", "status": 503}
    headers = {"Retry-After": "2", "Content-Type": "application/problem+json"}
    return httpx.Response(503, json=problem, headers=headers)


def test_busy_is_tried_again_after_the_named_pause_posts_too():
    answers = iter([busy, busy, lambda _: httpx.Response(201, json={"status": "accepted"})])
    pauses: list[float] = []
    client = against(lambda request: next(answers)(request), sleep=pauses.append)
    assert client.post_heartbeats([b"x"])[0].accepted
    assert pauses == [2.0, 2.0]


def test_busy_to_the_end_is_service_unavailable():
    pauses: list[float] = []
    with pytest.raises(ServiceUnavailable) as error:
        against(busy, sleep=pauses.append).ledger()
    assert (error.value.reason, error.value.status, len(pauses)) == ("busy", 503, 4)


def test_a_503_without_retry_after_is_not_tried_again():
    calls: list[int] = []

    def down(_request: httpx.Request) -> httpx.Response:
        calls.append(1)
        return httpx.Response(503, text="down")

    with pytest.raises(AnswerInvalid):
        against(down).ledger()
    assert len(calls) == 1


def test_a_broken_connection_is_tried_again_for_get_and_not_for_post():
    calls: list[str] = []

    def broken(request: httpx.Request) -> httpx.Response:
        calls.append(request.method)
        raise httpx.ReadError("broken", request=request)

    for ask in (
        lambda c: c.ledger(),
        lambda c: c.post_heartbeats([b"x"]),
        lambda c: c.set_clock(1),
    ):
        with pytest.raises(Unreachable):
            ask(against(broken))
    assert calls == ["GET"] * 5 + ["POST"] * 2


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={}),
        httpx.Response(200, json={"id": "zz", "counter": 1}),
        httpx.Response(404, text="nothing here"),
        httpx.Response(302, headers={"Location": "http://elsewhere/"}),
        httpx.Response(400, text="x", headers={"Content-Type": "application/problem+json"}),
        httpx.Response(400, json={}, headers={"Content-Type": "application/problem+json"}),
        httpx.Response(400, json=[1], headers={"Content-Type": "application/problem+json"}),
    ],
)
def test_an_answer_that_this_service_would_not_give_is_answer_invalid(answer: httpx.Response):
    for ask in (
        lambda c: c.epoch(),
        lambda c: list(c.devices()),
        lambda c: c.post_heartbeats([b"x"]),
        lambda c: c.post_heartbeats([b"x", b"y"]),
    ):
        with pytest.raises(AnswerInvalid):
            ask(against(lambda _: answer))


def test_fewer_results_than_messages_is_answer_invalid():
    one = {"results": [{"status": "accepted"}]}
    with pytest.raises(AnswerInvalid, match="1 results for 2"):
        against(lambda _: httpx.Response(200, json=one)).post_heartbeats([b"x", b"y"])


def test_nobody_listening_is_unreachable():
    with Client("http://127.0.0.1:9", attempts=1) as client, pytest.raises(Unreachable):
        client.ledger()


@pytest.mark.parametrize("url", ["", "x", "ftp://host", "http://", "127.0.0.1:80"])
def test_a_malformed_url_is_a_client_error(url: str):
    with pytest.raises(ClientError, match="URL"):
        Client(url)


def test_a_proxy_in_the_environment_is_not_used_on_loopback(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert not Client("http://127.0.0.1:80")._http.trust_env
    assert not Client("http://localhost")._http.trust_env
    assert Client("http://ledger.example")._http.trust_env
