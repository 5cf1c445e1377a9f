"""From a chip's heartbeat to a checked ledger: real processes, a real socket, public interfaces.

The service runs as a user starts it. What comes out of its log API is verified with the naive tree
of the tests and with the vkey that it names; then the process is killed and its file is checked.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from api.client import Client, Result
from ledger.log.chain import decode_leaf, leaf_hash
from ledger.log.checkpoint import open_checkpoint
from ledger.log.note import NoteVerifier
from ledger.log.tiles import entry_bundle_decode
from ledger.log.vkey import Vkey
from ledger.service.check import check_ledger
from ledger.values import ZERO_DIGEST
from tests.cli.harness import finish, start
from tests.log import oracle
from tests.world import SINGAPORE, START_MS, Chip, World, seed

HOUR_MS = 3_600_000
DATABASE = "ledger.db"


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Client]:
    """A service on a simulated clock; killed at the end, not stopped."""
    process = start(
        *("serve", "--port", "0", "--clock", "simulated", "--start", "2026-01-01T00:00:00Z"),
        *("--database", DATABASE),
        cwd=folder,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on "), finish(process).err
        with Client(line.split()[2]) as client:
            yield client
    finally:
        process.kill()
        finish(process)


class Fleet:
    """The parties and chips of a world on the public client."""

    def __init__(self, client: Client, world: World, chips: list[Chip]) -> None:
        self.client, self.world, self.chips = client, world, chips

    def file(self, *tokens: bytes) -> list[Result]:
        results = self.client.post_statements(tokens)
        assert all(result.accepted for result in results), results
        return results

    def found(self) -> None:
        ledger, w = self.client.ledger(), self.world
        keys = (bytes.fromhex(ledger["ledger_key"]), bytes.fromhex(ledger["verifier_key"]))
        self.file(w.genesis(*keys))
        self.file(*w.parties(), w.policy(travel_speed_kmh=0), w.licence())
        self.file(*(w.birth(chip) for chip in self.chips))
        self.file(w.ship(*self.chips), w.receive(*self.chips), w.install(*self.chips))

    def report(self, *away: Chip) -> list[Result]:
        """A heartbeat of every chip; those ``away`` are in Singapore. Then an hour goes by."""
        epoch = self.client.epoch().id
        tokens = [
            chip.heartbeat(
                epoch, self.world.now_ms, **({"place": SINGAPORE} if chip in away else {})
            )
            for chip in self.chips
        ]
        results = self.client.post_heartbeats(tokens)
        self.world.now_ms += HOUR_MS
        self.client.set_clock(self.world.now_ms)
        return results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("end-to-end")


@pytest.fixture(scope="module")
def fleet(folder: Path) -> Iterator[Fleet]:
    with serving(folder) as client:
        world = World(now_ms=START_MS)
        fleet = Fleet(client, world, [world.chip(number) for number in range(3)])
        fleet.found()
        yield fleet


def leaves(client: Client, size: int) -> list[bytes]:
    """Every leaf that the checkpoint covers, through the tile API."""
    found: list[bytes] = []
    for n, begin in enumerate(range(0, size, 256)):
        width = min(256, size - begin)
        path = f"entries/{n:03}" + ("" if width == 256 else f".p/{width}")
        found += entry_bundle_decode(client.tile(path), width)
    return found


def test_diverted_chip_is_held_told_so_released_and_its_log_verifies(fleet: Fleet) -> None:
    client, (_honest, diverted, cloned) = fleet.client, fleet.chips
    for _ in range(2):
        assert all(result.accepted for result in fleet.report())
    for _ in range(2):
        fleet.report(diverted)
    clone = replace(cloned, counter=1, previous=seed("clone"))
    token = clone.heartbeat(client.epoch().id, fleet.world.now_ms)
    (conflict,) = client.post_heartbeats([token])
    assert (conflict.status, conflict.reason) == ("recorded", "counter-rollback")
    results = fleet.report()

    assert results[0].lease is not None
    assert results[0].directive is None
    told = results[1].directive
    assert told is not None
    assert (results[1].lease, told.action, told.sequence) == (None, "hold", 1)
    states = {item["ueid"]: item["state"] for item in client.devices()}
    assert [states[chip.ueid.hex()] for chip in fleet.chips] == ["active", "held", "held"]
    (hold,) = client.decisions(ueid=diverted.ueid)
    assert bytes.fromhex(hold["digest"]) == told.digest
    assert "SG" in " ".join(hold["reasons"])
    (released,) = fleet.file(fleet.world.release(diverted, 2, told.digest))
    assert client.device(diverted.ueid)["state"] == "active"
    history = list(client.history(diverted.ueid))
    assert [item["seq"] for item in history] == list(range(len(history)))
    assert history[-1]["index"] == released.index
    assert history[-1]["signer"] == "officer"
    assert list(client.history(diverted.ueid, page=3)) == history


def test_log_api_leads_to_the_checkpoints_root_and_to_each_history(fleet: Fleet) -> None:
    fleet.report()
    client = fleet.client
    ledger = client.ledger()
    verifier = NoteVerifier(Vkey.parse(ledger["vkey"]))
    checkpoint, _ = open_checkpoint(client.checkpoint(), ledger["origin"], [verifier])
    assert checkpoint.size == ledger["published_size"]
    found = leaves(client, checkpoint.size)
    hashes = [leaf_hash(leaf) for leaf in found]
    assert oracle.root(hashes) == checkpoint.root
    chains: dict[bytes, list[bytes]] = {}
    for leaf, hashed in zip(found, hashes, strict=True):
        for link in decode_leaf(leaf).links:
            chain = chains.setdefault(link.subject, [])
            assert link.seq == len(chain)
            assert link.prev == (chain[-1] if chain else ZERO_DIGEST)
            chain.append(hashed)
    for chip in fleet.chips:
        listed = [bytes.fromhex(item["leaf_hash"]) for item in client.history(chip.ueid)]
        assert listed in chains.values()


def test_heartbeat_over_the_socket_is_what_the_leaf_commits_to(fleet: Fleet) -> None:
    (chip, *_) = fleet.chips
    token = chip.heartbeat(fleet.client.epoch().id, fleet.world.now_ms)
    (result,) = fleet.client.post_heartbeats([token])
    assert result.index is not None
    fleet.world.now_ms += HOUR_MS
    fleet.client.set_clock(fleet.world.now_ms)
    leaf = leaves(fleet.client, fleet.client.ledger()["published_size"])[result.index]
    assert leaf_hash(leaf) == result.leaf_hash
    assert decode_leaf(leaf).statement_digest == sha256(token).digest()


def test_killed_service_leaves_a_sound_ledger_and_goes_on(folder: Path, fleet: Fleet) -> None:
    """Runs last: it ends the service that the others used."""
    before = fleet.client.ledger()
    assert check_ledger(str(folder / DATABASE)).faults == []
    copy = folder / "killed"
    copy.mkdir()
    for path in folder.glob("ledger.db*"):
        if path.is_file() and path.suffix != ".lock":
            (copy / path.name).write_bytes(path.read_bytes())
    (copy / "ledger.db.keys").mkdir()
    for path in (folder / "ledger.db.keys").iterdir():
        target = copy / "ledger.db.keys" / path.name
        target.touch(0o600)
        target.write_bytes(path.read_bytes())
    with serving(copy) as client:
        after = client.ledger()
        assert {key: after[key] for key in ("origin", "genesis", "size", "vkey")} == {
            key: before[key] for key in ("origin", "genesis", "size", "vkey")
        }
        again = Fleet(client, fleet.world, fleet.chips)
        assert all(result.accepted for result in again.report())
    report = check_ledger(str(copy / DATABASE))
    assert report.faults == []
    assert report.entries > before["size"]
