"""The same run over a real socket, with the public client, against the real service."""

from pathlib import Path

from api.client import Client
from api.embedded import ServerThread
from api.settings import ServiceSettings
from device_sim.report import build_report
from device_sim.run import run
from device_sim.scenario import load_packaged
from device_sim.seeds import derive, root_seed
from ledger.service.clock import SimulatedClock
from ledger.service.keys import write_keys
from ledger.service.node import Node, NodeSettings
from tests.device_sim.peer import LedgerPeer

DAYS = 3
OPEN = ServiceSettings(access="open")


def test_service_and_peer_in_memory_come_to_the_same_decisions(tmp_path: Path) -> None:
    keys, seed = tmp_path / "keys", root_seed("socket test")
    write_keys(keys, derive(seed, "ledger"), derive(seed, "verifier"))
    settings = NodeSettings(
        database=str(tmp_path / "ledger.db"), keys=keys, clock=SimulatedClock(0)
    )
    node = Node.open(settings)
    try:
        with ServerThread(node, settings=OPEN) as service, Client(service.url) as client:
            scenario = load_packaged("small")
            result = run(scenario, client, limit_days=DAYS)
            report = build_report(result, client)
    finally:
        node.close()
    peer = LedgerPeer()
    expected = build_report(run(scenario, peer, limit_days=DAYS), peer)
    assert not result.problems
    assert report["heartbeats"] == expected["heartbeats"]
    assert report["statements"] == expected["statements"]
    assert report["incidents"] == expected["incidents"]
    assert report["decisions"] == expected["decisions"]
    assert report["ledger"]["size"] > report["heartbeats"]["accepted"]
