"""``kill -9`` of the real service under load from several clients over HTTP, on the real clock.

Its publisher and its verifier are at work. Every acknowledged entry is there afterwards, sizes
never shrink, each checkpoint that was fetched extends the one before it, and ``check`` finds
nothing. ``CHIP_PASSPORT_SERVED_KILLS`` sets the number of kills (20 unless told).
"""

import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from api.client import Client
from api.client_errors import ServiceUnavailable
from ledger.service.check import check_ledger
from ledger.store.engine import open_engine, reading
from tests.faults.cluster import Cluster, running_cluster
from tests.faults.promises import Promises
from tests.faults.serving import Fleet, Load, Service

pytestmark = pytest.mark.faults

KILLS = int(os.environ.get("CHIP_PASSPORT_SERVED_KILLS", "20"))
CHIPS = 4
SHORTEST_S, LONGEST_S = 0.1, 1.0
CHECK_EVERY = 5
PROGRESS_S = 60.0


def found(service: Service) -> Load:
    """The service's first life, in which it gets a fleet."""
    load = Load(Fleet(), Promises())
    with Client(service.start()) as client:
        load.fleet.found(client, CHIPS)
    return load


def under_load(load: Load, service: Service, seconds: float) -> None:
    """Clients at work for so long and until one more checkpoint was read; then a kill."""
    stop, seen = threading.Event(), len(load.promises.checkpoints)
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(load.run, service.url, stop)
        try:
            stop.wait(seconds)
            _progress(lambda: len(load.promises.checkpoints) > seen, stop)
            service.kill()
        finally:
            stop.set()
        working.result()


def _progress(done: Callable[[], bool], stopped: threading.Event) -> None:
    """Wait until ``done``, or until somebody has stopped because of what they found."""
    deadline = time.monotonic() + PROGRESS_S
    while not done() and not stopped.wait(0.02):
        assert time.monotonic() < deadline, "no progress"


def test_nothing_acknowledged_over_http_is_lost_to_kills(tmp_path: Path) -> None:
    database = tmp_path / "ledger.db"
    options = ("--database", database, "--checkpoint-every", "0.2", "--log-level", "error")
    service = Service(tmp_path, options)
    chance = random.Random(7)
    try:
        load = found(service)
        for number in range(1, KILLS + 1):
            under_load(load, service, chance.uniform(SHORTEST_S, LONGEST_S))
            load.promises.check(database)
            if number % CHECK_EVERY == 0 or number == KILLS:
                assert check_ledger(str(database)).faults == []
            if number < KILLS:
                service.start()
    finally:
        service.end()
    _tell(load, KILLS)


def _tell(load: Load, kills: int) -> None:
    entries, checkpoints = len(load.promises.entries), len(load.promises.checkpoints)
    assert entries > kills
    assert checkpoints >= kills
    print(f"\n{kills} kills: {entries} acknowledged entries, {checkpoints} checkpoints fetched")


# -- PostgreSQL -----------------------------------------------------------------------------------


def require_kept(database: str, promises: Promises) -> None:
    """What was promised, held against the tables of a PostgreSQL database."""
    engine = open_engine(database)
    with reading(engine) as connection:
        entries = connection.execute(text("SELECT idx, leaf_hash FROM entries")).all()
        notes = connection.execute(text("SELECT size, root FROM checkpoints")).all()
        size = connection.execute(text("SELECT size FROM log_head")).scalar_one()
    engine.dispose()
    stored = {index: bytes(leaf_hash).hex() for index, leaf_hash in entries}
    promises.hold(stored, {covered: bytes(root).hex() for covered, root in notes}, size)
    assert check_ledger(database).faults == []


@pytest.mark.postgres
def test_nothing_is_lost_when_the_service_or_postgresql_itself_is_killed(tmp_path: Path) -> None:
    with running_cluster() as cluster:
        options = ("--database", cluster.url, "--keys", tmp_path / "keys")
        options += ("--checkpoint-every", "0.2", "--log-level", "error")
        service = Service(tmp_path, options)
        try:
            load = found(service)
            for seconds in (0.2, 0.5, 0.8):
                under_load(load, service, seconds)
                require_kept(cluster.url, load.promises)
                service.start()
            for _ in range(2):
                _database_dies(load, service, cluster)
                require_kept(cluster.url, load.promises)
            service.stop()
            require_kept(cluster.url, load.promises)
        finally:
            service.end()
    assert load.promises.checkpoints


def _database_dies(load: Load, service: Service, cluster: Cluster) -> None:
    """Under load; the service stays up, refuses meanwhile, and goes on when it is back."""
    promises, stop = load.promises, threading.Event()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(load.run, service.url, stop)
        try:
            before = len(promises.entries)
            _progress(lambda: len(promises.entries) > before + CHIPS, stop)
            cluster.kill()
            refused = load.refused
            _progress(lambda: load.refused > refused + CHIPS, stop)
            with Client(service.url, attempts=1) as client, pytest.raises(ServiceUnavailable):
                client.ready()
            cluster.start()
            entries, checkpoints = len(promises.entries), len(promises.checkpoints)
            _progress(lambda: len(promises.entries) > entries + CHIPS, stop)
            _progress(lambda: len(promises.checkpoints) > checkpoints, stop)
        finally:
            stop.set()
        working.result()
