"""A ledger and three witnesses, each a process of its own, from the command line over sockets.

Two of three make a quorum, and one of them signs with ML-DSA-44. One is killed and comes back; then
an old backup of the ledger is put in the place of the newest state, and the witnesses know better.
"""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from api.client import Client
from ledger.log.quorum import Endorsement, evaluate
from ledger.log.trust import TrustPolicy
from ledger.service.check import check_ledger
from tests.cli.harness import finish, start
from tests.world import START_MS, World

pytestmark = pytest.mark.slow
HOUR_MS = 3_600_000
WAIT_S = 60.0
LEDGER = ("serve", "--port", "0", "--clock", "simulated", "--start", "2026-01-01T00:00:00Z")


@dataclass
class Process:
    """A service that runs; ``words`` is its line without what stands around the rest."""

    process: "subprocess.Popen[str]"
    url: str
    rest: str

    def kill(self) -> None:
        self.process.kill()
        finish(self.process)

    def stop(self) -> None:
        self.process.terminate()
        done = finish(self.process)
        assert done.code == 0, done.err


@dataclass
class Scene:
    """The folder, and every process that was started."""

    folder: Path
    started: list[Process] = field(default_factory=list)

    def run(self, *words: str) -> Process:
        process = start(*words, cwd=self.folder)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on "), finish(process).err
        _, _, url, rest = line.strip().split(" ", 3)
        self.started.append(Process(process, url, rest.strip("()")))
        return self.started[-1]

    def witness(self, number: int, vkey: str, port: str = "0") -> Process:
        algorithm = "ml-dsa-44" if number == 1 else "ed25519"
        words = ("--name", f"witness.example/{number}", "--database", f"w{number}.db")
        words += ("--algorithm", algorithm)
        return self.run("witness", "serve", *words, "--ledger", vkey, "--port", port)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    for process in scene.started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def found(client: Client, world: World) -> str:
    """Genesis and parties; gives the ledger's vkey."""
    about = client.ledger()
    keys = (bytes.fromhex(about[name]) for name in ("ledger_key", "verifier_key"))
    tokens = [world.genesis(*keys), *world.parties()]
    assert all(result.accepted for result in client.post_statements(tokens))
    return str(client.ledger()["vkey"])


def publish(client: Client, world: World) -> None:
    """An hour goes by: an epoch, an index-root, a checkpoint."""
    world.now_ms += HOUR_MS
    client.set_clock(world.now_ms)


def endorsed(client: Client, policy: TrustPolicy, count: int) -> Endorsement:
    """The newest checkpoint, once so many witnesses vouch for it."""
    deadline = time.monotonic() + WAIT_S
    while True:
        endorsement = evaluate(policy, client.checkpoint())
        if len(endorsement.vouchers) == count:
            return endorsement
        assert time.monotonic() < deadline, endorsement
        time.sleep(0.02)


def test_quorum_is_reached_outlives_a_witness_and_stops_an_old_backup(scene: Scene) -> None:
    world = World(now_ms=START_MS)
    ledger = scene.run(*LEDGER)
    with Client(ledger.url) as client:
        vkey = found(client, world)
        publish(client, world)
    ledger.stop()

    witnesses = [scene.witness(number, vkey) for number in range(3)]
    keys = [witness.rest.removeprefix("key ") for witness in witnesses]
    named = [f"witness w{n} {key}\n" for n, key in enumerate(keys)]
    text = "".join([f"log {vkey}\n", *named, "group g 2 w0 w1 w2\nquorum g\n"])
    policy = TrustPolicy.parse(text.encode())
    pairs = zip(keys, witnesses, strict=True)
    asked = [word for key, w in pairs for word in ("--witness", f"{key}@{w.url}")]

    # The checkpoint from before there were witnesses is cosigned at once, the next one too.
    ledger = scene.run(*LEDGER, *asked)
    with Client(ledger.url) as client:
        first = endorsed(client, policy, 3)
        publish(client, world)
        second = endorsed(client, policy, 3)
    assert first.quorum_met
    assert second.quorum_met
    assert second.checkpoint.size > first.checkpoint.size
    ledger.stop()
    shutil.copyfile(scene.folder / "ledger.db", scene.folder / "backup.db")

    # One witness dies: two are a quorum, and nothing waits for the third.
    witnesses[2].kill()
    ledger = scene.run(*LEDGER, *asked)
    with Client(ledger.url) as client:
        publish(client, world)
        third = endorsed(client, policy, 2)
    assert third.quorum_met
    assert third.needed == ("w0", "w1")
    ledger.kill()

    # An old backup does not start; it would sign another history.
    newest = scene.folder / "newest"
    newest.mkdir()
    for path in scene.folder.glob("ledger.db*"):
        if path.is_file():
            shutil.move(path, newest / path.name)
    shutil.copyfile(scene.folder / "backup.db", scene.folder / "ledger.db")
    done = finish(start(*LEDGER, *asked, cwd=scene.folder))
    assert (done.code, done.out) == (2, "")
    (said,) = (line for line in done.err.splitlines() if line.startswith("chip-passport: "))
    assert f"has cosigned size {third.checkpoint.size}" in said
    assert "Put back the newest state" in said

    # The newest state does, and the witness that was away catches up from where it was.
    for path in newest.iterdir():
        os.replace(path, scene.folder / path.name)
    witnesses[2] = scene.witness(2, vkey, witnesses[2].url.rpartition(":")[2])
    assert witnesses[2].rest == f"key {keys[2]}"
    ledger = scene.run(*LEDGER, *asked)
    with Client(ledger.url) as client:
        assert endorsed(client, policy, 3).checkpoint == third.checkpoint
        publish(client, world)
        assert endorsed(client, policy, 3).checkpoint.size > third.checkpoint.size
    ledger.stop()
    assert check_ledger(str(scene.folder / "ledger.db")).faults == []
