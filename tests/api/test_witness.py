"""The witness over HTTP: statuses, types, limits; and the client that asks it."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from api.witness import SIZE_TYPE, STATUS, create_witness_app
from api.witness_client import (
    ATTEMPTS,
    WitnessAhead,
    WitnessClient,
    WitnessContradicts,
    WitnessError,
)
from ledger.errors import IntegrityError, StorageError
from ledger.log.cosignature import CosignatureVerifier, Cosigner, add_signatures
from ledger.log.note import MAX_NOTE_SIZE
from ledger.log.quorum import evaluate
from ledger.log.trust import TrustPolicy
from ledger.log.witness import MAX_REQUEST_SIZE, AddCheckpoint, Problem
from ledger.service.clock import SimulatedClock
from ledger.service.witness import Witness, WitnessSettings
from tests.api.harness import Altered
from tests.log.keys import TestKey
from tests.log.witnessed import ED_COSIGNER, ML_COSIGNER, ORIGIN, START_S, GrowingLog

LOG = GrowingLog()
KEYS = [CosignatureVerifier(c.vkey) for c in (ED_COSIGNER, ML_COSIGNER)]
PATH = "/add-checkpoint"
TEXT = "text/plain; charset=utf-8"


class Wire(httpx.BaseTransport):
    """Carries a synchronous client's requests to an app in this process, and counts them."""

    def __init__(self, app: Any) -> None:
        self._transport = httpx.ASGITransport(app)
        self._lock = threading.Lock()
        self.requests: list[bytes] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def carry() -> httpx.Response:
            inner = httpx.Request(
                request.method, request.url, headers=request.headers, content=request.read()
            )
            response = await self._transport.handle_async_request(inner)
            content = await response.aread()
            return httpx.Response(response.status_code, headers=response.headers, content=content)

        with self._lock:
            self.requests.append(request.read())
            return asyncio.run(carry())


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    clock = SimulatedClock(START_S * 1000)
    settings = WitnessSettings(
        str(tmp_path / "witness.db"), [ED_COSIGNER, ML_COSIGNER], LOG.keys, clock
    )
    witness = Witness.open(settings)
    yield witness
    witness.close()


@pytest.fixture
def wire(witness: Witness) -> Wire:
    return Wire(create_witness_app(witness))


@pytest.fixture
def post(wire: Wire) -> Callable[..., httpx.Response]:
    http = httpx.Client(transport=wire, base_url="http://witness")
    return lambda content, path=PATH: http.post(path, content=content)


def asking(transport: httpx.BaseTransport) -> WitnessClient:
    return WitnessClient("http://witness/", KEYS, transport=transport)


def prove(size: int) -> Callable[[int], tuple[bytes, ...]]:
    return lambda old: LOG.proof(old, size)


Post = Callable[..., httpx.Response]


def test_accepted_checkpoint_is_answered_with_signature_lines(post: Post) -> None:
    answer = post(LOG.request(0, 7))
    assert (answer.status_code, answer.headers["content-type"]) == (200, TEXT)
    lines = answer.text.splitlines(keepends=True)
    assert len(lines) == 2
    assert all(line.startswith("\u2014 witness.example/w") and line[-1] == "\n" for line in lines)


def test_conflict_is_answered_with_the_size_and_its_type(post: Post) -> None:
    post(LOG.request(0, 7))
    answer = post(LOG.request(0, 9))
    assert (answer.status_code, answer.content) == (409, b"7\n")
    assert answer.headers["content-type"] == SIZE_TYPE == "text/x.tlog.size"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"", 400, id="empty"),
        pytest.param(LOG.request(9, 7), 400, id="old size above size"),
        pytest.param(GrowingLog(key=2).request(0, 7), 403, id="another key"),
        pytest.param(GrowingLog("log.example/other").request(0, 7), 404, id="another log"),
        pytest.param(LOG.fork(0).request(7, 7), 409, id="another root"),
        pytest.param(AddCheckpoint(7, (), LOG.note(9)).encode(), 422, id="no proof"),
        pytest.param(LOG.fork(5).request(7, 9), 422, id="not an extension"),
        pytest.param(b"a" * (MAX_REQUEST_SIZE + 1), 413, id="too large"),
    ],
)
def test_declined_checkpoint_has_the_status_of_the_standard(
    post: Post, witness: Witness, body: bytes, status: int
) -> None:
    post(LOG.request(0, 7))
    answer = post(body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, TEXT)
    assert answer.text.endswith("\n")
    assert witness.latest(ORIGIN).seen.size == 7


def test_fork_is_told_in_the_log_and_what_anybody_can_send_is_not(post: Post) -> None:
    with capture_logs() as said:
        post(LOG.request(0, 7))
        post(b"nonsense")
        post(LOG.request(0, 9))
        assert said == []
        post(LOG.fork(0).request(7, 7))
    assert [(line["log_level"], line["problem"]) for line in said] == [("warning", "fork")]


def test_every_problem_has_a_status_and_every_status_a_line_in_the_documentation() -> None:
    assert set(STATUS) == set(Problem)
    text = (Path(__file__).parents[2] / "docs" / "witness.md").read_text()
    documented = {int(status) for status in re.findall(r"^\| (\d{3}) \|", text, re.MULTILINE)}
    assert documented == {200, 413, 500, *STATUS.values()}
    assert f"{MAX_REQUEST_SIZE:,} bytes" in text


@pytest.mark.parametrize(
    ("fault", "status"), [(StorageError("disk full"), 503), (IntegrityError("torn"), 500)]
)
def test_fault_of_the_database_is_no_answer_about_the_checkpoint(
    witness: Witness, fault: Exception, status: int
) -> None:
    def fail(body: bytes) -> bytes:
        raise fault

    app = create_witness_app(Altered(witness, add_checkpoint=fail))  # type: ignore[arg-type]
    http = httpx.Client(transport=Wire(app), base_url="http://witness")
    answer = http.post(PATH, content=LOG.request(0, 7))
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
    assert "disk" not in answer.text


def test_other_methods_and_paths_are_not_answered(wire: Wire, post: Post) -> None:
    http = httpx.Client(transport=wire, base_url="http://witness")
    assert http.get(PATH).status_code == 405
    assert post(LOG.request(0, 7), "/other").status_code == 404


def test_submission_prefix_may_have_a_path(witness: Witness) -> None:
    wire = Wire(create_witness_app(witness, prefix="/w1"))
    client = WitnessClient("http://witness/w1", KEYS, transport=wire)
    assert len(client.cosign(LOG.note(7), prove(7))) == 2


# --- The client -----------------------------------------------------------------------------


def test_log_that_grows_is_cosigned_with_one_request_each(wire: Wire) -> None:
    with asking(wire) as client:
        for size in (0, 3, 7, 7, 60):
            assert len(client.cosign(LOG.note(size), prove(size))) == 2
    assert len(wire.requests) == 5


def test_cosignatures_added_to_the_checkpoint_meet_a_policy(wire: Wire) -> None:
    note = LOG.note(7)
    note = add_signatures(note, asking(wire).cosign(note, prove(7)))
    lines = [f"log {LOG.signer.vkey.encode()}\n"]
    lines += [f"witness w{n} {key.vkey.encode()}\n" for n, key in enumerate(KEYS)]
    policy = TrustPolicy.parse("".join([*lines, "group g all w0 w1\nquorum g\n"]).encode())
    assert evaluate(policy, note).age_s(START_S + 5) == 5


def test_client_that_forgot_the_size_asks_again_with_the_one_named(wire: Wire) -> None:
    asking(wire).cosign(LOG.note(7), prove(7))
    assert len(asking(wire).cosign(LOG.note(9), prove(9))) == 2
    assert [body.split(b"\n")[0] for body in wire.requests] == [b"old 0", b"old 0", b"old 7"]


@pytest.mark.parametrize("remembers", [True, False])
def test_witness_that_is_ahead_stops_the_log(wire: Wire, remembers: bool) -> None:
    client = asking(wire)
    client.cosign(LOG.note(9), prove(9))
    with pytest.raises(WitnessAhead, match="backup") as caught:
        (client if remembers else asking(wire)).cosign(LOG.note(7), prove(7))
    assert (caught.value.witness_size, caught.value.retry) == (9, False)


def test_witness_of_another_history_stops_the_log(wire: Wire) -> None:
    fork = LOG.fork(3)
    asking(wire).cosign(LOG.note(7), prove(7))
    with pytest.raises(WitnessContradicts):
        asking(wire).cosign(fork.note(7), prove(7))
    with pytest.raises(WitnessContradicts) as caught:
        asking(wire).cosign(fork.note(9), lambda old: fork.proof(old, 9))
    assert (caught.value.status, caught.value.retry) == (422, False)


@contextmanager
def answering(*answers: httpx.Response | Exception) -> Iterator[WitnessClient]:
    """A client whose witness gives these answers, one after the other."""
    queue = list(answers)

    def respond(request: httpx.Request) -> httpx.Response:
        answer = queue.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with asking(httpx.MockTransport(respond)) as client:
        yield client
    assert not queue


def conflict(content: bytes, kind: str = SIZE_TYPE) -> httpx.Response:
    return httpx.Response(409, content=content, headers={"Content-Type": kind})


def test_witness_that_names_sizes_without_end_is_given_up(wire: Wire) -> None:
    answers = [conflict(b"%d\n" % n) for n in range(1, ATTEMPTS + 1)]
    with answering(*answers) as client, pytest.raises(WitnessError) as caught:
        client.cosign(LOG.note(9), prove(9))
    assert caught.value.retry


def test_witness_that_names_the_size_it_was_asked_for_contradicts() -> None:
    answers = [conflict(b"9\n"), conflict(b"9\n")]
    with answering(*answers) as client, pytest.raises(WitnessContradicts):
        client.cosign(LOG.note(9), prove(9))


GOOD = ED_COSIGNER.cosign(LOG.checkpoint(7).encode(), START_S).line().encode()
STRANGER = Cosigner("witness.example/w1", TestKey(77))


@pytest.mark.parametrize(
    ("answer", "retry"),
    [
        pytest.param(conflict(b"07\n"), False, id="leading zero"),
        pytest.param(conflict(b"7"), False, id="no newline"),
        pytest.param(conflict(b"9223372036854775808\n"), False, id="2**63"),
        pytest.param(conflict(b"7\n", TEXT), False, id="size without its type"),
        pytest.param(httpx.Response(200, content=b""), False, id="no line"),
        pytest.param(httpx.Response(200, content=GOOD[:-1]), False, id="no newline in line"),
        pytest.param(httpx.Response(200, content=GOOD + b"more"), False, id="more than lines"),
        pytest.param(httpx.Response(200, content=b"a" * (MAX_NOTE_SIZE + 1)), False, id="large"),
        pytest.param(httpx.Response(302, headers={"Location": "http://x/"}), False, id="moved"),
        pytest.param(httpx.Response(403, text="no\x1b[2J"), False, id="forbidden"),
        pytest.param(httpx.Response(429), True, id="too many"),
        pytest.param(httpx.Response(503), True, id="busy"),
        pytest.param(httpx.ConnectError("refused"), True, id="unreachable"),
        pytest.param(httpx.ReadTimeout("slow"), True, id="slow"),
    ],
)
def test_answer_that_is_no_cosignature_is_an_error(
    answer: httpx.Response | Exception, retry: bool
) -> None:
    with answering(answer) as client, pytest.raises(WitnessError) as caught:
        client.cosign(LOG.note(7), prove(7))
    assert caught.value.retry is retry
    assert "\x1b" not in str(caught.value)


def test_lines_of_unknown_keys_are_ignored_and_false_ones_refused() -> None:
    text = LOG.checkpoint(7).encode()
    unknown = STRANGER.cosign(text, START_S)
    false = type(unknown)(unknown.name, ED_COSIGNER.vkey.key_id, unknown.signature)
    with answering(httpx.Response(200, content=unknown.line().encode() + GOOD)) as client:
        (found,) = client.cosign(LOG.note(7), prove(7))
    assert found.line().encode() == GOOD
    for content in (unknown.line().encode(), false.line().encode() + GOOD):
        with (
            answering(httpx.Response(200, content=content)) as client,
            pytest.raises(WitnessError),
        ):
            client.cosign(LOG.note(7), prove(7))


def test_cosignature_of_another_checkpoint_is_refused() -> None:
    with answering(httpx.Response(200, content=GOOD)) as client, pytest.raises(WitnessError):
        client.cosign(LOG.note(9), prove(9))
