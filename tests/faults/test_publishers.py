"""Two publishers on one store, as processes: on SQLite the second one never comes to publish, on
PostgreSQL they take turns at the locked row, and whoever comes second builds on the first."""

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api.client import Client
from ledger.service.check import check_ledger
from tests.faults.promises import Promises
from tests.faults.serving import COMMAND, ROOT, Fleet, Load, Service, take_checkpoint
from tests.faults.test_served import _progress, require_kept

pytestmark = pytest.mark.faults

CHIPS = 2
CHECKPOINTS = 6
END_S = 60.0


def test_second_service_on_a_sqlite_ledger_leaves_the_first_alone(tmp_path: Path) -> None:
    database = tmp_path / "ledger.db"
    options = ("--database", database, "--checkpoint-every", "0.1", "--log-level", "error")
    service = Service(tmp_path, options)
    promises = Promises()
    try:
        with Client(service.start()) as client:
            fleet = Fleet()
            fleet.found(client, CHIPS)
            second = subprocess.run(
                [*COMMAND, "serve", "--port", "0", *map(str, options)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=END_S,
                check=False,
            )
            assert second.returncode == 2, second
            assert "another process is writing to" in second.stderr
            _, result = fleet.beat(client, fleet.chips[0])
            assert result.accepted
            _progress(lambda: client.ledger()["published_size"] > (result.index or 0), _never())
            take_checkpoint(client, promises)
        service.stop()
    finally:
        service.end()
    promises.check(database)
    assert check_ledger(str(database)).faults == []


@pytest.mark.postgres
def test_two_services_on_one_postgresql_ledger_publish_one_history(
    postgres_database: str, tmp_path: Path
) -> None:
    """Both publish as fast as they can, statements come in through both, each is asked."""
    options = ("--database", postgres_database, "--keys", tmp_path / "keys")
    options += ("--checkpoint-every", "0.05", "--log-level", "error")
    services = [Service(tmp_path / name, options) for name in ("first", "second")]
    fleet, stop = Fleet(), threading.Event()
    try:
        for service in services:
            service.folder.mkdir()
            service.start()
        with Client(services[0].url) as client:
            fleet.found(client, 2 * CHIPS)
        halves = Fleet(fleet.world, fleet.chips[:CHIPS]), Fleet(fleet.world, fleet.chips[CHIPS:])
        loads = [Load(half, Promises()) for half in halves]
        with ThreadPoolExecutor(2) as pool:
            pairs = zip(loads, services, strict=True)
            working = [pool.submit(load.run, service.url, stop) for load, service in pairs]
            try:
                for load in loads:
                    seen = load.promises.checkpoints
                    _progress(lambda seen=seen: len(seen) >= CHECKPOINTS, stop)  # type: ignore[misc]
            finally:
                stop.set()
            for done in working:
                done.result()
        assert [load.refused for load in loads] == [0, 0]
        for service in services:
            service.stop()
    finally:
        for service in services:
            service.end()
    for load in loads:
        require_kept(postgres_database, load.promises)


def _never() -> threading.Event:
    return threading.Event()
