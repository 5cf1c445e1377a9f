"""POST /v1/cosignatures: taken from the auditors named, over what was published, and served."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from api.app import create_app
from api.settings import ServiceSettings
from ledger.log.checkpoint import Checkpoint, sign_checkpoint
from ledger.log.cosignature import CosignatureVerifier, Cosigner, add_signatures
from ledger.log.note import MAX_NOTE_SIZE, NoteSigner, parse_note
from ledger.protocol.keys import Ed25519Signer
from ledger.service.node import Node
from tests.api.harness import COSE, Http, assert_problem, serving
from tests.api.world import T0_MS, World, seed

TEXT = "text/plain; charset=utf-8"
PATH = "/v1/cosignatures"
TIME_S = 1_800_000_000


def cosigner(name: str, label: str = "auditor") -> Cosigner:
    return Cosigner(name, Ed25519Signer.from_seed(seed(label)))


AUDITOR = cosigner("auditor.example/a1")
OTHER = cosigner("auditor.example/a2", "other")


@pytest.fixture
def http(node: Node) -> Iterator[Http]:
    """A ledger that takes cosignatures of one auditor."""
    app = create_app(
        node,
        settings=ServiceSettings(access="open"),
        auditors=[CosignatureVerifier(AUDITOR.vkey)],
    )
    with asyncio.Runner() as runner:
        yield Http(runner, app)


@pytest.fixture
def note(http: Http, genesis: bytes) -> bytes:
    assert http.post("/v1/statements", genesis, COSE).status_code == 201
    return publish(http, 1)


def publish(http: Http, step: int) -> bytes:
    answer = http.request("POST", "/v1/clock", json={"now_ms": T0_MS + step * 3_600_000})
    assert answer.status_code == 200, answer.text
    return served(http)


def served(http: Http) -> bytes:
    return http.get("/log/checkpoint").content


def cosigned(note: bytes, *cosigners: Cosigner, time_s: int = TIME_S) -> bytes:
    text = parse_note(note).text
    return add_signatures(note, [one.cosign(text, time_s) for one in cosigners])


def test_cosignature_is_taken_and_served(http: Http, note: bytes) -> None:
    answer = http.post(PATH, cosigned(note, AUDITOR), TEXT)
    assert answer.status_code == 200, answer.text
    size = int(note.split(b"\n")[1])
    assert answer.json() == {"size": size, "cosigners": ["auditor.example/a1"], "served": True}
    assert served(http) == cosigned(note, AUDITOR)


def test_lines_of_others_are_left_out(http: Http, note: bytes) -> None:
    assert http.post(PATH, cosigned(note, OTHER, AUDITOR), TEXT).status_code == 200
    assert served(http) == cosigned(note, AUDITOR)


def test_checkpoint_that_is_no_longer_the_newest_is_taken_and_not_served(
    http: Http, note: bytes
) -> None:
    newest = publish(http, 2)
    answer = http.post(PATH, cosigned(note, AUDITOR), TEXT)
    assert (answer.status_code, answer.json()["served"]) == (200, False)
    assert served(http) == newest
    assert http.post(PATH, cosigned(newest, AUDITOR), TEXT).json()["served"]
    assert http.post(PATH, cosigned(note, AUDITOR), TEXT).status_code == 200
    assert served(http) == cosigned(newest, AUDITOR)


def test_cosignature_that_is_sent_again_never_replaces_a_newer_one(http: Http, note: bytes) -> None:
    assert http.post(PATH, cosigned(note, AUDITOR, time_s=TIME_S + 9), TEXT).status_code == 200
    assert http.post(PATH, cosigned(note, AUDITOR), TEXT).status_code == 200
    assert served(http) == cosigned(note, AUDITOR, time_s=TIME_S + 9)


def test_cosignature_of_nobody_named_is_refused(http: Http, note: bytes) -> None:
    for lines in ((), (OTHER,), (cosigner("auditor.example/a1", "other"),)):
        answer = http.post(PATH, cosigned(note, *lines), TEXT)
        assert_problem(answer, 403, "signature-invalid")
    assert served(http) == note


def test_false_cosignature_is_refused(http: Http, note: bytes) -> None:
    line = AUDITOR.cosign(parse_note(note).text, TIME_S)
    false = line.signature[:-1] + bytes([line.signature[-1] ^ 1])
    data = add_signatures(note, [type(line)(line.name, line.key_id, false)])
    assert_problem(http.post(PATH, data, TEXT), 403, "signature-invalid")


@pytest.mark.parametrize("change", ["size", "root", "extension"])
def test_checkpoint_that_was_not_published_is_refused(
    http: Http, note: bytes, change: str, world: World
) -> None:
    """Whoever signed it: the ledger keeps no cosignature over what it does not serve."""
    was = Checkpoint.decode(parse_note(note).text)
    changed: dict[str, Any] = {
        "size": Checkpoint(was.origin, was.size - 1, was.root),
        "root": Checkpoint(was.origin, was.size, seed("root")),
        "extension": Checkpoint(was.origin, was.size, was.root, ("more",)),
    }
    signed = sign_checkpoint(changed[change], [NoteSigner(was.origin, world.authority)])
    answer = http.post(PATH, cosigned(signed, AUDITOR), TEXT)
    assert_problem(answer, 404, "checkpoint-unknown")
    assert served(http) == note


def test_ledger_without_auditors_takes_nothing(node: Node, note: bytes) -> None:
    with serving(node) as http:
        answer = http.post(PATH, cosigned(note, AUDITOR), TEXT)
        assert_problem(answer, 403, "signature-invalid")


def test_other_requests_are_refused(http: Http, note: bytes) -> None:
    data = cosigned(note, AUDITOR)
    assert_problem(http.post(PATH, data, "application/json"), 415, "media-type-unsupported")
    assert_problem(http.post(PATH, b"x" * (MAX_NOTE_SIZE + 1), TEXT), 413, "too-large")
    assert_problem(http.post(f"{PATH}?x=1", data, TEXT), 422, "parameter-invalid")
    assert_problem(http.get(PATH), 405, "method-not-allowed")
    assert_problem(http.post(PATH, b"", TEXT), 400, "note-malformed")


@given(at=some.integers(0, 400), byte=some.integers(0, 255), cut=some.integers(0, 400))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_are_taken_whole_or_refused(
    http: Http, note: bytes, at: int, byte: int, cut: int
) -> None:
    data = bytearray(cosigned(note, AUDITOR))
    data[at % len(data)] = byte
    answer = http.post(PATH, bytes(data[: len(data) - cut % 3]), TEXT)
    assert answer.status_code in (200, 400, 403, 404), answer.text
    assert served(http) in (note, cosigned(note, AUDITOR))
