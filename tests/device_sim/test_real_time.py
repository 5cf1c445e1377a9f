"""A ledger on the real clock: waited for, never set."""

import pytest

from device_sim import realtime
from device_sim.run import run
from device_sim.scenario import load_packaged
from tests.device_sim.peer import LedgerPeer


class Watch:
    """A monotonic clock that moves only when somebody sleeps; the peer's clock moves with it."""

    def __init__(self, peer: LedgerPeer) -> None:
        self._peer = peer
        self._now = 1_000.0
        self.naps: list[float] = []

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self._now += seconds
        self._peer.now_ms += round(seconds * 1000)
        self._peer._open_epoch()
        self._peer._follow()


def test_run_on_a_real_clock_waits_and_sets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    start = 1_790_000_000_000
    peer = LedgerPeer("real", start)
    watch = Watch(peer)
    monkeypatch.setattr(realtime, "time", watch)
    result = run(load_packaged("small"), peer, limit_days=2.5, speedup=1_000)
    assert not peer.clock_moves
    assert result.start_ms == start
    assert result.end_ms == start + round(2.5 * 86_400)
    assert result.heartbeats.accepted > 20
    assert not result.problems
    assert any("real clock" in note for note in result.notes)
    assert max(watch.naps) <= 1.0


def test_wait_for_a_moment_that_is_past_returns_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(LedgerPeer("real", 0))
    monkeypatch.setattr(realtime, "time", watch)
    realtime.real_pace(5_000)(4_000)
    assert not watch.naps
