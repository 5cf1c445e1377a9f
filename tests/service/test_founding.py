"""The first entry: only a genesis that names this node's keys and clock is taken."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import IntegrityError, Reason, Refused, StorageError
from ledger.protocol import statements as st
from ledger.protocol.statements import Kind
from ledger.service.keys import write_keys
from ledger.service.node import MAX_CLOCK_STEP_MS, Node
from ledger.service.views import Receipt
from ledger.store.engine import reading
from ledger.store.log_rows import read_head
from tests.service.harness import HOUR_MS, Stage, found, open_node
from tests.service.ticking import TickingClock
from tests.world import START_MS, World, seed, signer


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = open_node(tmp_path)
    yield node
    node.close()


def genesis(node: Node, **changes: Any) -> bytes:
    status = node.status()
    return World().genesis(
        changes.pop("ledger", status.ledger_key),
        changes.pop("verifier_key", status.verifier_key),
        **changes,
    )


def test_fitting_genesis_is_the_first_entry_and_opens_an_epoch(node: Node) -> None:
    token = genesis(node)
    (receipt,) = node.submit([token])
    assert isinstance(receipt, Receipt)
    assert (receipt.index, receipt.kind, receipt.conflict) == (0, Kind.GENESIS, None)
    status = node.status()
    assert (status.origin, status.size, status.epoch_s) == ("test.example/ledger", 2, 3_600)
    assert status.genesis_digest == st.decode(token).digest
    assert node.epoch().counter == 0
    assert status.vkey is not None
    assert status.vkey.startswith("test.example/ledger+")


def test_empty_ledger_answers_with_nothing_and_its_keys(node: Node) -> None:
    status = node.status()
    assert (status.origin, status.genesis_digest, status.vkey, status.size) == (None, None, None, 0)
    assert len(status.ledger_key) > 32
    assert status.ledger_key != status.verifier_key
    assert node.checkpoint() is None
    assert node.publish() is None
    node.follow()
    with pytest.raises(Refused) as refused:
        node.epoch()
    assert refused.value.reason is Reason.LEDGER_EMPTY
    assert node.ready() is None


@pytest.mark.parametrize(
    "changes",
    [
        {"ledger": signer("other").public.to_cose_key()},
        {"verifier_key": signer("other").public.to_cose_key()},
        {"clock": "real"},
    ],
    ids=["ledger-key", "verifier-key", "clock"],
)
def test_genesis_that_does_not_fit_the_node_is_refused(node: Node, changes: dict[str, Any]) -> None:
    refused = Stage(node, World()).refuse(genesis(node, **changes))
    assert refused.reason is Reason.GENESIS_MISMATCH
    Stage(node, World()).take(genesis(node))


def test_ledger_and_verifier_keys_changed_round_are_refused(node: Node) -> None:
    status = node.status()
    token = World().genesis(status.verifier_key, status.ledger_key)
    assert Stage(node, World()).refuse(token).reason is Reason.GENESIS_MISMATCH


def test_simulated_genesis_is_refused_on_a_real_clock(tmp_path: Path) -> None:
    node = open_node(tmp_path, clock=TickingClock(START_MS))
    stage = Stage(node, World())
    assert stage.refuse(genesis(node)).reason is Reason.GENESIS_MISMATCH
    stage.take(genesis(node, clock="real"))
    node.close()


def test_only_the_named_authority_may_found(tmp_path: Path) -> None:
    node = open_node(tmp_path, authority_kid=World().authority.public.kid)
    usurper = World(authority=signer("usurper"))
    status = node.status()
    token = usurper.genesis(status.ledger_key, status.verifier_key)
    refused = Stage(node, usurper).refuse(token)
    assert refused.reason is Reason.GENESIS_MISMATCH
    assert World().authority.public.kid.hex() in refused.detail
    Stage(node, World()).take(genesis(node))
    node.close()


def test_genesis_with_anothers_signature_is_refused(node: Node) -> None:
    token = genesis(node)
    forged = token[:-64] + bytes([token[-64] ^ 1]) + token[-63:]
    assert Stage(node, World()).refuse(forged).reason is Reason.SIGNATURE_INVALID
    body = st.decode(token).body
    assert Stage(node, World()).refuse(st.sign(body, signer("x"))).reason in (
        Reason.COSE_KEY_MISMATCH,
        Reason.SIGNATURE_INVALID,
    )


@pytest.mark.parametrize("ident", ["ledger", "officer"])
def test_founders_that_share_an_id_are_refused(node: Node, ident: str) -> None:
    body = st.decode(genesis(node)).body
    founder = body.verifier.model_copy(update={"id": ident})
    token = st.sign(body.model_copy(update={"verifier": founder}), World().authority)
    assert Stage(node, World()).refuse(token).reason is Reason.FIELD_INVALID


def test_founders_that_share_a_key_are_refused(node: Node) -> None:
    token = genesis(
        node,
        officers=[
            st.Founder(id="officer", name="O", key=World().authority.public.to_cose_key()),
        ],
    )
    assert Stage(node, World()).refuse(token).reason is Reason.KEY_IN_USE


def test_everything_else_is_refused_before_the_genesis(node: Node) -> None:
    w = World()
    tokens = [
        *w.parties(),
        w.policy(),
        w.licence(),
        w.birth(w.chip(0)),
        w.ship(w.chip(0)),
        w.chip(0).heartbeat(bytes(16), START_MS),
    ]
    results = node.submit(tokens)
    assert [isinstance(r, Refused) and r.reason for r in results] == [Reason.LEDGER_EMPTY] * 8
    assert node.status().size == 0


def test_batch_behind_an_unusable_first_token_is_told_that_the_genesis_is_missing(
    node: Node,
) -> None:
    results = node.submit([b"\x00", World().policy(), b"\x01"])
    reasons = [result.reason for result in results if isinstance(result, Refused)]
    assert reasons == [Reason.COSE_MALFORMED, Reason.LEDGER_EMPTY, Reason.LEDGER_EMPTY]


def test_batch_that_begins_with_the_genesis_goes_on_behind_it(node: Node) -> None:
    w = World()
    results = node.submit([genesis(node), *w.parties(), w.policy(), b"junk"])
    assert [isinstance(result, Receipt) for result in results] == [True] * 5 + [False]
    assert [r.index for r in results if isinstance(r, Receipt)] == [0, 2, 3, 4, 5]


def test_genesis_under_another_expected_kind_is_refused(node: Node) -> None:
    (result,) = node.submit([genesis(node)], Kind.HEARTBEAT)
    assert isinstance(result, Refused)
    assert result.reason is Reason.COSE_TYPE
    assert node.status().size == 0


def test_empty_batch_has_no_answers(node: Node) -> None:
    assert node.submit([]) == []
    found(node, chips=0)
    assert node.submit([]) == []


def test_second_genesis_is_refused_and_so_is_the_first_once_more(node: Node) -> None:
    stage = found(node, chips=0)
    same = genesis(node)
    assert stage.refuse(same).reason in (Reason.GENESIS_EXISTS, Reason.DUPLICATE)
    other = genesis(node, origin="test.example/other")
    assert stage.refuse(other).reason is Reason.GENESIS_EXISTS
    usurper = World(authority=signer("usurper"))
    status = node.status()
    token = usurper.genesis(status.ledger_key, status.verifier_key)
    assert stage.refuse(token).reason is Reason.GENESIS_EXISTS


def test_node_learns_of_a_genesis_that_another_process_took(
    tmp_path: Path, two_nodes: tuple[Node, Node]
) -> None:
    first, second = two_nodes
    stage = found(first, chips=1)
    other = Stage(second, stage.world, stage.chips)
    assert second.epoch().id == first.epoch().id
    assert other.take(other.token(stage.chips[0]))[0].index == first.status().size - 1
    assert second.status().origin == "test.example/ledger"


ASK_FIRST: dict[str, Callable[[Node], object]] = {
    "status": lambda node: node.status().origin == "test.example/ledger",
    "ready": lambda node: node.ready() is None,
    "follow": lambda node: node.follow() is None and node.status().verifier_position == 7,
    "publish": lambda node: node.publish() is not None,
    "set_time": lambda node: node.set_time(START_MS + HOUR_MS) is None and node.epoch().counter,
}


@pytest.mark.parametrize("question", ASK_FIRST)
def test_every_question_notices_a_genesis_that_another_process_took(
    two_nodes: tuple[Node, Node], question: str
) -> None:
    first, second = two_nodes
    found(first, chips=0)
    assert second._genesis is None
    assert ASK_FIRST[question](second)
    assert second._genesis == first._genesis
    assert second.ready() is None


def test_time_limit_holds_for_a_node_that_has_not_seen_the_genesis(
    two_nodes: tuple[Node, Node],
) -> None:
    first, second = two_nodes
    found(first, chips=0)
    with pytest.raises(Refused):
        second.set_time(START_MS + MAX_CLOCK_STEP_MS + 1)


@pytest.mark.parametrize("question", ["status", "ready"])
def test_node_with_other_keys_says_so_when_it_is_only_asked(
    tmp_path: Path, two_nodes: tuple[Node, Node], question: str
) -> None:
    first, second = two_nodes
    write_keys(tmp_path / "other" / "keys", seed("other ledger"), seed("other verifier"))
    other = open_node(tmp_path / "other", second.settings.database)
    assert other.ready() is None
    found(first, chips=0)
    getattr(other, question)()
    assert "ledger key is not the one" in (other.ready() or "")
    with pytest.raises(IntegrityError, match="ledger key is not the one"):
        other.publish()
    assert other.status().origin == "test.example/ledger"
    other.close()


def test_node_that_cannot_look_for_a_genesis_is_not_ready(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_node: Node) -> None:
        raise StorageError("server closed the connection")

    monkeypatch.setattr(Node, "_load_genesis", fail)
    assert node.ready() == "the database does not answer: server closed the connection"
    monkeypatch.undo()
    assert node.ready() is None


def test_node_with_other_keys_stops_when_another_process_has_founded_the_ledger(
    tmp_path: Path, two_nodes: tuple[Node, Node]
) -> None:
    first, second = two_nodes
    write_keys(tmp_path / "other" / "keys", seed("other ledger"), seed("other verifier"))
    other = open_node(tmp_path / "other", second.settings.database)
    found(first, chips=0)
    with pytest.raises(IntegrityError, match="ledger key is not the one"):
        other.submit(World().parties())
    reason = other.ready()
    assert reason is not None
    assert "another process" in reason
    other.close()


def test_node_stops_when_another_process_took_another_authoritys_genesis(
    tmp_path: Path, two_nodes: tuple[Node, Node]
) -> None:
    first, _ = two_nodes
    wanted = signer("wanted").public.kid
    other = open_node(tmp_path, first.settings.database, authority_kid=wanted)
    found(first, chips=0)
    with pytest.raises(IntegrityError, match=f"--authority names {wanted.hex()}"):
        other.submit(World().parties())
    other.close()


def test_party_is_taken_by_a_node_that_has_not_seen_the_genesis(
    two_nodes: tuple[Node, Node],
) -> None:
    first, second = two_nodes
    stage = Stage(first, World())
    stage.take(genesis(first))
    Stage(second, stage.world).take(*stage.world.parties())
    with reading(first._engine) as connection:
        assert read_head(connection).size == 5
