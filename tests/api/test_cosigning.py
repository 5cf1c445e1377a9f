"""The publisher's side of witnessing: asked beside the work, kept, served; and who stops whom."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as some

from api.cosigning import Cosigning, WitnessAddress, clients_of
from api.metrics import Metrics
from api.witness import create_witness_app
from api.witness_client import WitnessClient
from ledger.errors import ConfigurationError, IntegrityError
from ledger.log.cosignature import CosignatureVerifier, Cosigner, parse_vkey
from ledger.log.note import parse_note
from ledger.log.quorum import evaluate
from ledger.log.trust import TrustPolicy
from ledger.log.vkey import Vkey
from ledger.service.check import check_ledger
from ledger.service.clock import SimulatedClock
from ledger.service.node import Node
from ledger.service.witness import Witness, WitnessSettings
from tests.api.test_witness import Wire
from tests.log.keys import TestKey
from tests.log.witnessed import ED_COSIGNER, START_S, GrowingLog
from tests.service.harness import Stage, founded, open_node

WAIT_S = 20.0


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = founded(tmp_path, chips=1)
    stage.node.publish()
    yield stage
    stage.node.close()


def vkey_of(node: Node) -> Vkey:
    text = node.status().vkey
    assert text is not None
    return parse_vkey(text)


@contextmanager
def witnessing(folder: Path, node: Node, number: int) -> Iterator[tuple[Cosigner, Wire]]:
    cosigner = Cosigner(f"witness.example/{number}", TestKey(100 + number))
    log = vkey_of(node)
    settings = WitnessSettings(
        str(folder / f"witness{number}.db"),
        [cosigner],
        {log.name: [log]},
        SimulatedClock(START_S * 1000),
    )
    witness = Witness.open(settings)
    try:
        yield cosigner, Wire(create_witness_app(witness))
    finally:
        witness.close()


def client(cosigner: Cosigner, transport: httpx.BaseTransport) -> WitnessClient:
    return WitnessClient(
        "http://witness", [CosignatureVerifier(cosigner.vkey)], transport=transport
    )


class Told(list[BaseException]):
    """Collects what stopped the ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.event = threading.Event()

    def __call__(self, error: BaseException) -> None:
        self.append(error)
        self.event.set()


@contextmanager
def cosigning(node: Node, *clients: WitnessClient, **options: Any) -> Iterator[Told]:
    told = Told()
    wait_s = options.pop("wait_s", WAIT_S)
    witnesses = Cosigning(node, clients, told, **options)
    try:
        witnesses.start(wait_s)
        yield told
    finally:
        witnesses.stop()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def names(node: Node) -> list[str]:
    """Who has signed the checkpoint that is served."""
    note = node.checkpoint()
    assert note is not None
    return [line.name for line in parse_note(note).signatures]


# -- cosignatures ---------------------------------------------------------------------------


def test_each_checkpoint_is_cosigned_and_served_with_its_lines(
    stage: Stage, tmp_path: Path
) -> None:
    node, origin = stage.node, vkey_of(stage.node).name
    with (
        witnessing(tmp_path, node, 1) as (one, to_one),
        witnessing(tmp_path, node, 2) as (
            two,
            to_two,
        ),
    ):
        with cosigning(node, client(one, to_one), client(two, to_two)) as told:
            for _ in range(3):
                expected = [origin, "witness.example/1", "witness.example/2"]
                until(lambda: names(node) == expected)  # noqa: B023
                note = node.checkpoint()
                assert note is not None
                policy = TrustPolicy.parse(
                    f"log {vkey_of(node).encode()}\nwitness a {one.vkey.encode()}\n"
                    f"witness b {two.vkey.encode()}\ngroup both all a b\nquorum both\n".encode()
                )
                assert evaluate(policy, note).quorum_met
                said = Metrics(node).render().decode()
                size = node.status().published_size
                assert f'cosigned_size{{witness="witness.example/1"}} {size}.0' in said
                stage.take(stage.token(stage.chips[0]))
                assert node.publish() is not None
        assert told == []
        # One request for each checkpoint: the size that a witness has seen is remembered.
        assert len(to_one.requests) <= 4


def test_restart_serves_the_lines_that_were_kept(stage: Stage, tmp_path: Path) -> None:
    with witnessing(tmp_path, stage.node, 1) as (one, wire):
        with cosigning(stage.node, client(one, wire)):
            until(lambda: len(names(stage.node)) == 2)
        before = stage.node.checkpoint()
        stage.node.close()
        stage.node = open_node(tmp_path)
        assert stage.node.checkpoint() == before
    stage.take(stage.token(stage.chips[0]))
    stage.node.publish()
    assert len(names(stage.node)) == 1  # they are of the older checkpoint


def test_witness_that_does_not_answer_delays_neither_publishing_nor_ingest(
    stage: Stage, tmp_path: Path
) -> None:
    held, release = threading.Event(), threading.Event()

    def hang(_: httpx.Request) -> httpx.Response:
        held.set()
        assert release.wait(WAIT_S)
        return httpx.Response(503)

    with witnessing(tmp_path, stage.node, 1) as (one, wire):
        slow = client(Cosigner("slow.example", TestKey(99)), httpx.MockTransport(hang))
        with cosigning(stage.node, slow, client(one, wire), wait_s=0.05) as told:
            assert held.wait(WAIT_S)
            stage.take(stage.token(stage.chips[0]))
            assert stage.node.publish() is not None
            until(lambda: names(stage.node)[1:] == ["witness.example/1"])
            release.set()
        assert told == []


def test_answer_that_comes_after_the_end_is_not_looked_at(stage: Stage, tmp_path: Path) -> None:
    held, release, answered = threading.Event(), threading.Event(), threading.Event()
    with witnessing(tmp_path, stage.node, 1) as (one, wire):

        def late(request: httpx.Request) -> httpx.Response:
            held.set()
            assert release.wait(WAIT_S)
            response = wire.handle_request(request)
            answered.set()
            return response

        with cosigning(stage.node, client(one, httpx.MockTransport(late)), wait_s=0.01) as told:
            assert held.wait(WAIT_S)
        thread = next(found for found in threading.enumerate() if found.name == "witness")
        release.set()
        assert answered.wait(WAIT_S)
        thread.join(WAIT_S)
        assert not thread.is_alive()
        assert len(names(stage.node)) == 1
        assert told == []


def test_dead_witness_is_asked_again_and_no_reason_not_to_start(
    stage: Stage, tmp_path: Path
) -> None:
    with witnessing(tmp_path, stage.node, 1) as (one, wire):
        asked = threading.Event()

        def refuse_once(request: httpx.Request) -> httpx.Response:
            if not asked.is_set():
                asked.set()
                raise httpx.ConnectError("refused")
            return wire.handle_request(request)

        alive = client(one, httpx.MockTransport(refuse_once))
        with cosigning(stage.node, alive, retry_s=0.01) as told:
            until(lambda: len(names(stage.node)) == 2)
        assert told == []


def test_ledger_without_checkpoint_or_witnesses_asks_nobody(tmp_path: Path) -> None:
    node = open_node(tmp_path)
    try:
        with cosigning(node, client(ED_COSIGNER, httpx.MockTransport(lambda _: 1 / 0))) as told:  # type: ignore[arg-type]
            assert node.checkpoint() is None
        with cosigning(node):
            pass
        assert told == []
    finally:
        node.close()


# -- old backups ----------------------------------------------------------------------------


def grown(stage: Stage, folder: Path, *clients: WitnessClient) -> Path:
    """Copy the ledger, then let it grow under the witnesses; gives the backup's folder."""
    stage.node.close()
    backup = folder / "backup"
    backup.mkdir()
    for name in ("ledger.db", "keys"):
        source = folder / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, backup / name)
    stage.node = open_node(folder)
    with cosigning(stage.node, *clients):
        for _ in range(2):
            stage.take(stage.token(stage.chips[0]))
            stage.node.publish()
        until(lambda: len(names(stage.node)) == 1 + len(clients))
    return backup


def test_old_backup_does_not_start_beside_a_witness_that_is_ahead(
    stage: Stage, tmp_path: Path
) -> None:
    with witnessing(tmp_path, stage.node, 1) as (one, wire):
        backup = grown(stage, tmp_path, client(one, wire))
        newest = stage.node.status().published_size
        node = open_node(backup)
        size = node.status().published_size
        try:
            with (
                pytest.raises(ConfigurationError, match="Put back the newest state") as caught,
                cosigning(node, client(one, wire)),
            ):
                pass
            assert f"has cosigned size {newest}, this checkpoint has {size}" in str(caught.value)
            # Nothing is taken or signed on top of what is gone.
            with pytest.raises(IntegrityError):
                node.publish()
            with pytest.raises(IntegrityError):
                node.submit([stage.token(stage.chips[0])])
            assert node.status().published_size == size
        finally:
            node.close()
        # The newest state is welcome.
        with cosigning(stage.node, client(one, wire)):
            pass


@pytest.mark.parametrize("further", [0, 3])
def test_old_backup_whose_witness_was_away_at_the_start_is_stopped_when_it_is_back(
    stage: Stage, tmp_path: Path, further: int
) -> None:
    """Not further than the witness: it is ahead. Further: the trees contradict each other."""
    back = threading.Event()
    with witnessing(tmp_path, stage.node, 1) as (one, wire):
        backup = grown(stage, tmp_path, client(one, wire))

        def away(request: httpx.Request) -> httpx.Response:
            if not back.is_set():
                raise httpx.ConnectError("refused")
            return wire.handle_request(request)

        other = Stage(open_node(backup), stage.world, [stage.world.chip(0)])
        try:
            with cosigning(
                other.node, client(one, httpx.MockTransport(away)), retry_s=0.01
            ) as told:
                for _ in range(further):
                    other.hours(1)  # an epoch and a checkpoint
                back.set()
                assert told.event.wait(WAIT_S)
            assert isinstance(told[0], IntegrityError)
            assert "http://witness contradicts this ledger" in str(told[0])
            assert other.node.ready() == str(told[0])
        finally:
            other.node.close()


def test_answer_about_an_older_checkpoint_than_the_ledgers_newest_is_no_contradiction(
    stage: Stage, tmp_path: Path
) -> None:
    """Another process of the ledger was quicker with the next checkpoint."""
    with witnessing(tmp_path, stage.node, 1) as (one, wire):
        old = stage.node.published()
        stage.take(stage.token(stage.chips[0]))
        stage.node.publish()
        quick = client(one, wire)
        newest = stage.node.published()
        assert old is not None
        assert newest is not None
        assert quick.cosign(newest.note, lambda size: stage.node.extension_proof(size, newest.size))
        answers = iter([old])

        class Late:
            """A node whose first look at its checkpoint was a moment too early."""

            def __getattr__(self, name: str) -> Any:
                return getattr(stage.node, name)

            def published(self) -> Any:
                return next(answers, None) or stage.node.published()

        with cosigning(Late(), client(one, wire)) as told:  # type: ignore[arg-type]
            until(lambda: len(names(stage.node)) == 2)
        assert told == []


# -- damage ---------------------------------------------------------------------------------


def test_damaged_tile_is_the_ledgers_own_fault_and_no_fork(stage: Stage, tmp_path: Path) -> None:
    with witnessing(tmp_path, stage.node, 1) as (one, wire):
        asking = client(one, wire)
        with cosigning(stage.node, asking):
            until(lambda: len(names(stage.node)) == 2)
        stage.take(stage.token(stage.chips[0]))
        stage.node.publish()
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
            connection.execute("UPDATE tiles SET data = zeroblob(length(data))")
            connection.commit()
        with (
            pytest.raises(ConfigurationError, match="tiles do not lead to checkpoint"),
            cosigning(stage.node, client(one, wire)),
        ):
            pass


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("signature = CAST(substr(signature, 1, 71) || 'x' AS BLOB)", "not this key's"),
        ("signature = X''", "not this key's"),
        ("size = size + 1", "there is no checkpoint"),
        ("vkey = replace(vkey, '/1+', '/2+')", "key"),
    ],
)
def test_check_names_a_cosignature_that_does_not_hold(
    stage: Stage, tmp_path: Path, change: str, problem: str
) -> None:
    with (
        witnessing(tmp_path, stage.node, 1) as (one, wire),
        cosigning(stage.node, client(one, wire)),
    ):
        until(lambda: len(names(stage.node)) == 2)
    stage.node.close()
    path = tmp_path / "ledger.db"
    assert check_ledger(str(path)).faults == []
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(f"UPDATE cosignatures SET {change}").rowcount == 1
        connection.commit()
    (fault,) = check_ledger(str(path)).faults
    assert fault.place.startswith("table cosignatures, row witness.example/")
    assert problem in fault.problem
    stage.node = open_node(tmp_path)


# -- addresses ------------------------------------------------------------------------------

VKEY = ED_COSIGNER.vkey.encode()
ODD = Cosigner("who@witness.example", TestKey(5)).vkey.encode()


@pytest.mark.parametrize("vkey", [VKEY, ODD])
@pytest.mark.parametrize("url", ["http://w.example", "https://me:pw@w.example:8/x/"])
def test_address_is_read(vkey: str, url: str) -> None:
    found = WitnessAddress.parse(f"{vkey}@{url}")
    assert (found.vkey.encode(), found.url) == (vkey, url)


@pytest.mark.parametrize(
    "text",
    [
        *("", "@", VKEY, f"{VKEY}@", f"{VKEY}@ftp://x", f"{VKEY}@http://", f"{VKEY}@http://x?y=1"),
        *(f"{VKEY}@http://[", f"{VKEY[:-1]}@http://x", "w+01+AAAA@http://x"),
        GrowingLog().signer.vkey.encode() + "@http://x",
    ],
)
def test_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="a witness is VKEY@URL"):
        WitnessAddress.parse(text)


@given(some.text() | some.text().map(lambda text: f"{VKEY}@{text}"))
def test_only_our_error_comes_out_of_an_address(text: str) -> None:
    try:
        found = WitnessAddress.parse(text)
    except ConfigurationError:
        return
    assert f"{found.vkey.encode()}@{found.url}" == text


def test_two_keys_at_one_address_are_one_client_and_no_key_counts_twice() -> None:
    one, other = (WitnessAddress.parse(f"{vkey}@http://x") for vkey in (VKEY, ODD))
    (found,) = clients_of([one, WitnessAddress(other.vkey, "http://x/")])
    with found:
        assert [key.vkey for key in found.keys] == [one.vkey, other.vkey]
    with pytest.raises(ConfigurationError, match="the same key"):
        clients_of([one, WitnessAddress(one.vkey, "http://elsewhere")])
