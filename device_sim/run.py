"""Drives a scenario against a ledger, step by step of its clock.

In each step: the ledger's clock moves (or is waited for), what has become due happens in the
simulated world, its statements go out in order, then the heartbeats of the chips whose turn it is.
Within a step all messages carry their own times but arrive at its end.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from device_sim.clock import Timeline, days, minutes, steps
from device_sim.device import SimulatedChip
from device_sim.gateway import Gateway
from device_sim.plan import make_world
from device_sim.realtime import Pace, real_pace
from device_sim.scenario import Scenario, lasting, resized
from device_sim.setup import prepare
from device_sim.tally import KEPT_PROBLEMS, Progress, RunResult
from device_sim.watch import Watch
from device_sim.world import World
from ledger.errors import ConfigurationError
from ledger.values import MILLIS_PER_DAY, MILLIS_PER_SECOND

REAL_STEP_MS = 1_000
"""Against a real clock the world is looked at once a second."""
PART = 64
"""Heartbeats that are sent together."""
SETTLE_MS = 3_000
"""A service on the real clock lets its verifier follow about once a second."""

Show = Callable[[Progress], None]


def run(
    scenario: Scenario,
    gateway: Gateway,
    *,
    progress: Show | None = None,
    limit_days: float | None = None,
    devices: int | None = None,
    seed: int | None = None,
    speedup: float = 1.0,
) -> RunResult:
    """Run ``scenario`` on the ledger behind ``gateway`` and say what was sent and what was done.

    ``limit_days``, ``devices`` and ``seed`` override the scenario. ``speedup`` is for a ledger on
    the real clock, where a scenario's day takes 1/speedup days; a simulated clock needs none.
    Raises ConfigurationError where the ledger cannot be used, ClientError where it does not answer.
    """
    scenario = _variant(scenario, limit_days, devices, seed)
    facts = gateway.ledger()
    mode, now_ms = facts["clock"]["mode"], facts["clock"]["now_ms"]
    is_simulated = mode == "simulated"
    _check_speed(is_simulated, speedup)
    start_ms = round(scenario.start.timestamp() * MILLIS_PER_SECOND)
    base_ms = max(start_ms, now_ms) if is_simulated else now_ms
    timeline = Timeline(base_ms, speedup)
    world = make_world(scenario, timeline)
    pace: Pace = gateway.set_clock if is_simulated else real_pace(now_ms)
    pace(base_ms)
    notes = _clock_notes(is_simulated, base_ms - start_ms, speedup)
    found, shares_licences = prepare(world, gateway, facts, base_ms)
    notes += found
    notes += _quota_notes(scenario, facts["genesis"] is None and base_ms == start_ms)
    total_ms = days(scenario.calendar.days)
    end_ms = timeline.ledger_ms(total_ms)
    result = RunResult(
        scenario, world, mode, speedup, base_ms, end_ms, notes, shares_licences=shares_licences
    )
    step_ms = minutes(scenario.calendar.step_min)
    if not is_simulated:
        step_ms = min(step_ms, max(round(REAL_STEP_MS * speedup), 1))
    _Driver(world, gateway, result, pace).drive(total_ms, step_ms, progress)
    pace(end_ms + (1 if is_simulated else SETTLE_MS))  # lets the verifier follow what came last
    return result


class _Driver:
    """The loop over the clock's steps."""

    def __init__(self, world: World, gateway: Gateway, result: RunResult, pace: Pace) -> None:
        self._world = world
        self._gateway = gateway
        self._result = result
        self._pace = pace
        self._watch = Watch(world, gateway)
        self._post = ThreadPoolExecutor(1, "post")
        """One thread, so that the parts arrive in order."""

    def drive(self, total_ms: int, step_ms: int, progress: Show | None) -> None:
        """Run to the end of the calendar."""
        with self._post:
            self._drive(total_ms, step_ms, progress)

    def _drive(self, total_ms: int, step_ms: int, progress: Show | None) -> None:
        count = -(-total_ms // step_ms)
        for number, at_ms in enumerate(steps(total_ms, step_ms), start=1):
            self._step(at_ms, at_ms - step_ms)
            if progress is not None:
                result = self._result
                now_ms = self._world.timeline.ledger_ms(at_ms)
                sent = (result.heartbeats.sent, result.statements.sent)
                progress(Progress(number, count, now_ms, *sent))
        self._result.released = self._watch.released

    def _step(self, at_ms: int, before_ms: int) -> None:
        world = self._world
        self._pace(world.timeline.ledger_ms(at_ms))
        for event in world.queue.due(at_ms):
            event.action(event.at_ms)
        if at_ms // MILLIS_PER_DAY > before_ms // MILLIS_PER_DAY:
            self._watch.look(at_ms)
        self._send_statements()
        self._send_heartbeats(at_ms)

    def _send_statements(self) -> None:
        mail = self._world.mail
        if not mail:
            return
        results = self._gateway.post_statements(list(mail))
        mail.clear()
        self._result.statements.add(results)
        for item in results:
            if item.status != "accepted" and len(self._result.problems) < KEPT_PROBLEMS:
                self._result.problems.append(f"{item.status}: {item.reason}: {item.detail}")

    def _send_heartbeats(self, at_ms: int) -> None:
        """One fetch of the epoch for all, as a site's proxy would do it.

        The ledger works on one part while the next is being signed. What it answers reaches the
        chips when all have spoken: so nothing depends on how fast it is.
        """
        world = self._world
        due = [
            chip for chip in world.reporting if chip.powered and world.network.reaches(chip, at_ms)
        ]
        world.reporting.clear()
        if not due:
            return
        epoch = self._gateway.epoch().id
        now_ms = world.timeline.ledger_ms(at_ms)
        sent = []
        for at in range(0, len(due), PART):
            senders, tokens = self._sign(due[at : at + PART], epoch, now_ms)
            if tokens:
                sent.append((senders, self._post.submit(self._gateway.post_heartbeats, tokens)))
        for senders, answer in sent:
            results = answer.result()
            for chip, item in zip(senders, results, strict=True):
                chip.take(item)
            self._result.heartbeats.add(results)

    def _sign(
        self, due: list[SimulatedChip], epoch: bytes, now_ms: int
    ) -> tuple[list[SimulatedChip], list[bytes]]:
        """The heartbeats that reach the network, and who sent them."""
        network, plan = self._world.network, self._world.scenario.heartbeat
        senders, tokens = [], []
        for chip in due:
            self._result.degraded += chip.is_degraded(now_ms)
            now_s = now_ms // MILLIS_PER_SECOND
            token = chip.heartbeat(now_s, epoch, plan.accuracy_m, plan.scatter_m)
            if network.loses(chip):
                self._result.lost += 1
            else:
                senders.append(chip)
                tokens.append(token)
        return senders, tokens


def _variant(
    scenario: Scenario, limit_days: float | None, devices: int | None, seed: int | None
) -> Scenario:
    if limit_days is not None:
        scenario = lasting(scenario, limit_days)
    if devices is not None:
        scenario = resized(scenario, devices)
    if seed is not None:
        scenario = scenario.model_copy(update={"seed": seed})
    return scenario


def _check_speed(is_simulated: bool, speedup: float) -> None:
    if speedup <= 0:
        raise ConfigurationError("the speed-up is a number above 0")
    if is_simulated and speedup != 1.0:
        raise ConfigurationError(
            "this ledger runs on a simulated clock, which is as fast as it can be; "
            "leave the speed-up out"
        )


def _quota_notes(scenario: Scenario, is_as_planned: bool) -> list[str]:
    """Where the ledger's year is not the scenario's, or others have had a part of a quota."""
    limited = [item.id for item in scenario.licence if item.quota_per_year is not None]
    if is_as_planned or not limited:
        return []
    return [
        f"the quota of {', '.join(limited)} counts by the ledger's year, and chips of earlier runs "
        "count too: chips that the scenario has within it may be held as above it"
    ]


def _clock_notes(is_simulated: bool, late_ms: int, speedup: float) -> list[str]:
    if not is_simulated:
        how = "in real time" if speedup == 1.0 else f"{speedup:g} times as fast as its calendar"
        return [f"the ledger runs on the real clock: the scenario runs from now, {how}"]
    if late_ms > 0:
        moved = late_ms / MILLIS_PER_DAY
        return [f"the ledger's clock was {moved:.1f} days past the calendar: it begins there"]
    return []
