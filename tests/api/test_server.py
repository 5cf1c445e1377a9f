"""The server on a real socket: start, ready, tick, stop, and what ends it."""

import functools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from api.client import Client
from api.embedded import ServerProcess, ServerThread
from api.listening import bind
from api.metrics import Metrics
from api.server import Server, Ticker
from api.settings import ServiceSettings
from ledger.errors import ConfigurationError, IntegrityError, StorageError
from ledger.service.clock import SystemClock
from ledger.service.node import Node, NodeSettings
from tests.api.conftest import open_node
from tests.api.harness import CBOR_SEQ, Altered
from tests.api.world import Chip, World


def test_a_server_in_a_thread_answers_and_stops(node):
    with ServerThread(node) as service, Client(service.url) as client:
        assert client.ready() == "awaiting genesis"
        assert service.url.startswith("http://127.0.0.1:")
    with pytest.raises(httpx.ConnectError):
        httpx.get(service.url + "/healthz", trust_env=False)


def test_an_address_that_is_taken_is_refused_at_start_with_a_remedy(node):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"port {port}.*Choose another") as error:
            Server(node, port=port)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("no.such.host.invalid", 0)])
def test_an_address_that_cannot_be_had_is_refused(host: str, port: int):
    with pytest.raises(ConfigurationError, match=r"cannot listen on"):
        bind(host, port)


def test_a_server_process_serves_and_keeps_the_ledger(tmp_path: Path):
    open_it = functools.partial(open_node, tmp_path)
    with ServerProcess(open_it) as service, Client(service.url) as client:
        assert service.pid != os.getpid()
        ledger = client.ledger()
        world = World()
        token = world.genesis(
            bytes.fromhex(ledger["ledger_key"]), bytes.fromhex(ledger["verifier_key"])
        )
        assert client.post_statements([token])[0].accepted
    again = open_node(tmp_path)
    assert again.status().size >= 1
    again.close()


def test_a_server_process_that_cannot_open_its_ledger_tells_why(tmp_path: Path, node):
    # ``node`` holds the file's lock.
    with pytest.raises(ConfigurationError), ServerProcess(functools.partial(open_node, tmp_path)):
        pass


def _start(tmp_path: Path) -> tuple[subprocess.Popen[str], str]:
    """A program that serves until a signal, and says so before it ends."""
    code = (
        "import sys; from pathlib import Path; from api.server import Server\n"
        "from tests.api.conftest import open_node\n"
        "node = open_node(Path(sys.argv[1]))\n"
        "Server(node).run(on_ready=lambda url: print(url, flush=True))\n"
        "node.close(); print('closed', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_ends_the_server_in_order(tmp_path: Path, number: signal.Signals):
    process, url = _start(tmp_path)
    try:
        assert httpx.get(url + "/readyz", trust_env=False).status_code == 200
        process.send_signal(number)
        output, _ = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert output == "closed\n"
    assert process.returncode == 0


def test_requests_under_way_are_finished_before_the_server_ends(node):
    entered, release = threading.Event(), threading.Event()

    def slow_status():
        entered.set()
        assert release.wait(10)
        return node.status()

    altered = Altered(node, status=node.status)
    found: list[int] = []
    with ServerThread(altered) as service:
        altered.status = slow_status
        url = service.url + "/v1/ledger"
        asker = threading.Thread(
            target=lambda: found.append(httpx.get(url, trust_env=False).status_code)
        )
        asker.start()
        assert entered.wait(10)
        service.server.stop()
        time.sleep(0.2)
        assert found == []
        release.set()
        asker.join()
    assert found == [200]


def test_contradictory_data_stops_the_server_and_is_raised(node):
    def broken(*_: object):
        raise IntegrityError("entry 7 is not what was hashed")

    altered = Altered(node, epoch=broken)
    service = ServerThread(altered).__enter__()
    answer = httpx.get(service.url + "/v1/epoch", trust_env=False)
    assert (answer.status_code, answer.json()["reason"]) == (500, "internal-error")
    service._thread.join(10)
    assert not service._thread.is_alive()
    with pytest.raises(IntegrityError, match="entry 7"):
        service.__exit__(None, None, None)


def test_a_real_clock_ledger_is_ticked_and_a_simulated_one_is_not(tmp_path: Path, node):
    ticked: list[str] = []
    with ServerThread(Altered(node, tick=lambda **_: ticked.append("simulated"))):
        time.sleep(0.1)
    real = Node.open(NodeSettings(str(tmp_path / "real.db"), clock=SystemClock()))
    with ServerThread(Altered(real, tick=lambda **_: ticked.append("real"))):
        time.sleep(0.1)
    real.close()
    assert ticked == ["real"]


def test_a_verifier_that_is_busy_does_not_delay_checkpoints(tmp_path: Path):
    release, published = threading.Event(), threading.Event()
    real = Node.open(NodeSettings(str(tmp_path / "real.db"), clock=SystemClock()))
    busy = Altered(real, tick=lambda **_: release.wait(10), publish=published.set)
    try:
        with ServerThread(busy):
            assert published.wait(10)
            assert not release.is_set()
            release.set()
    finally:
        real.close()


def test_a_tick_that_fails_is_tried_again_and_a_contradiction_is_final(node):
    faults = iter([StorageError("full"), RuntimeError("ours"), None, IntegrityError("broken")])
    calls: list[int] = []
    told: list[BaseException] = []
    done = threading.Event()

    def tick():
        calls.append(1)
        fault = next(faults)
        if fault is not None:
            raise fault

    def fatal(error: BaseException):
        told.append(error)
        done.set()

    metrics = Metrics(node)
    ticker = Ticker(tick, 0.01, metrics, fatal)
    ticker.start()
    assert done.wait(10)
    ticker.stop()
    assert len(calls) == 4
    assert [str(error) for error in told] == ["broken"]
    text = metrics.render().decode()
    assert 'ticks_total{outcome="failed"} 2.0' in text
    assert 'ticks_total{outcome="fatal"} 1.0' in text


def test_a_slow_upload_does_not_hold_up_the_others(node):
    settings = ServiceSettings(upload_timeout_s=0.3)
    with ServerThread(node, settings=settings) as service:
        port = int(service.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(
                b"POST /v1/heartbeats HTTP/1.1\r\nHost: x\r\nContent-Type: application/cose\r\n"
                b"Content-Length: 100\r\n\r\nabc"
            )
            assert httpx.get(service.url + "/healthz", trust_env=False).status_code == 200
            slow.settimeout(10)
            answer = slow.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 408")
            assert b'"reason":"upload-timeout"' in answer
            assert b"connection: close" in answer.lower()


def test_an_abandoned_upload_leaves_the_service_well(node):
    with ServerThread(node) as service:
        port = int(service.url.rpartition(":")[2])
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port)) as gone:
                gone.sendall(
                    b"POST /v1/heartbeats HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n"
                    b"Content-Type: application/cose\r\n\r\nabc"
                )
        with Client(service.url) as client:
            assert client.post_heartbeats([b"\x01"])[0].reason == "cose-malformed"
        text = httpx.get(service.url + "/metrics", trust_env=False).text
        assert "faults_total{error=" not in text


def test_health_is_answered_promptly_while_real_batches_are_processed(node, world, genesis):
    chips = [Chip(n) for n in range(1, 9)]
    node.submit([genesis])
    node.submit([*world.parties(), *map(world.birth, chips)])
    epoch = node.epoch().id
    tokens = [chip.heartbeat(epoch) for _ in range(200) for chip in chips]
    with ServerThread(node) as service:
        results: list[httpx.Response] = []

        def post():
            headers = {"Content-Type": CBOR_SEQ}
            results.append(
                httpx.post(
                    service.url + "/v1/heartbeats",
                    content=b"".join(tokens),
                    headers=headers,
                    trust_env=False,
                    timeout=60,
                )
            )

        poster = threading.Thread(target=post)
        waits: list[float] = []
        with httpx.Client(trust_env=False) as client:
            client.get(service.url + "/healthz")
            poster.start()
            while poster.is_alive():
                began = time.perf_counter()
                client.get(service.url + "/healthz")
                waits.append(time.perf_counter() - began)
                time.sleep(0.005)
        poster.join()
    assert results[0].json()["accepted"] == len(tokens)
    assert len(waits) >= 5
    assert sorted(waits)[len(waits) // 2] < 0.1
