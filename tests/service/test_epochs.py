"""Epochs and time: opened at their boundaries, current and previous taken, never back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.errors import ConfigurationError, Reason, Refused
from ledger.protocol import statements as st
from ledger.protocol.statements import Kind
from ledger.service.clock import SimulatedClock
from ledger.service.node import MAX_CLOCK_STEP_MS, Node
from ledger.service.views import Receipt
from ledger.store.engine import reading
from ledger.store.log_rows import entry_table, read_head
from ledger.values import MILLIS_PER_DAY
from tests.service.harness import HOUR_MS, Stage, found, founded, open_node
from tests.service.ticking import TickingClock
from tests.world import START_MS, World


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = founded(tmp_path)
    yield stage
    stage.node.close()


def epochs(node: Node) -> list[tuple[int, st.Epoch]]:
    """(received time, statement) of every epoch on the log."""
    with reading(node._engine) as connection:
        query = (
            entry_table.select()
            .where(entry_table.c.kind == Kind.EPOCH.value)
            .order_by(entry_table.c.idx)
        )
        return [
            (row["received_ms"], st.decode(row["body"]).body)
            for row in connection.execute(query).mappings()
        ]


# -- simulated clock ------------------------------------------------------------------------------


def test_every_boundary_on_the_way_opens_its_epoch_at_its_time(stage: Stage) -> None:
    stage.node.set_time(START_MS + 3 * HOUR_MS + 5)
    opened = epochs(stage.node)
    assert [(received, body.counter) for received, body in opened] == [
        (START_MS + hour * HOUR_MS, hour) for hour in range(4)
    ]
    for received, body in opened:
        assert (body.not_before_ms, body.not_after_ms) == (received, received + HOUR_MS)
    assert len({body.id for _, body in opened}) == 4
    assert stage.node.status().now_ms == START_MS + 3 * HOUR_MS + 5


def test_last_millisecond_belongs_to_the_old_epoch_and_the_boundary_to_the_new(
    stage: Stage,
) -> None:
    stage.node.set_time(START_MS + HOUR_MS - 1)
    assert stage.node.epoch().counter == 0
    stage.node.set_time(START_MS + HOUR_MS)
    assert stage.node.epoch().counter == 1


def test_current_and_previous_epoch_are_taken_and_older_ones_refused(stage: Stage) -> None:
    (chip,) = stage.chips
    first = stage.node.epoch().id
    stage.take(stage.token(chip))
    stage.hours()
    stage.take(stage.token(chip, epoch=first))
    stage.hours()
    refused = stage.refuse(stage.token(chip, epoch=first))
    assert refused.reason is Reason.EPOCH_UNKNOWN
    chip.counter, chip.previous = chip.counter - 1, _last(stage)
    stage.take(stage.token(chip))


def _last(stage: Stage) -> bytes:
    items = stage.node.history(stage.chips[0].ueid, None, 100).items
    index = [item["index"] for item in items if item["kind"] == "heartbeat"][-1]
    with reading(stage.node._engine) as connection:
        query = entry_table.select().where(entry_table.c.idx == index)
        return st.decode(connection.execute(query).mappings().one()["body"]).content_digest


def test_previous_epoch_is_not_fresh_for_longer_than_an_epoch(tmp_path: Path) -> None:
    """On a real clock that stood still: nobody opened the epochs in between."""
    clock = TickingClock(START_MS)
    stage = real_stage(tmp_path, clock)
    (chip,) = stage.chips
    old = stage.node.epoch().id
    clock.at_ms = stage.world.now_ms = START_MS + 5 * HOUR_MS
    stage.node.tick()
    assert stage.refuse(stage.token(chip, epoch=old)).reason is Reason.EPOCH_EXPIRED
    stage.node.close()


def test_nonce_of_no_epoch_is_refused(stage: Stage) -> None:
    refused = stage.refuse(stage.token(stage.chips[0], epoch=bytes(16)))
    assert refused.reason is Reason.EPOCH_UNKNOWN


def test_clock_does_not_go_back(stage: Stage) -> None:
    stage.hours(2)
    before = stage.node.status()
    with pytest.raises(Refused) as refused:
        stage.node.set_time(stage.world.now_ms - 1)
    assert refused.value.reason is Reason.CLOCK
    assert stage.node.status() == before
    stage.node.set_time(stage.world.now_ms)


@pytest.mark.parametrize(
    "now_ms", [-1, 0, START_MS + MAX_CLOCK_STEP_MS + 1, 2**63 - 1, 2**63, 2**80, -(2**70)]
)
def test_time_out_of_range_is_refused_before_and_after_the_genesis(
    tmp_path: Path, now_ms: int
) -> None:
    node = open_node(tmp_path)
    for _ in range(2):
        before = node.status()
        if now_ms > START_MS + MAX_CLOCK_STEP_MS + 1 or now_ms <= 0 or before.size:
            with pytest.raises(Refused) as refused:
                node.set_time(now_ms)
            assert refused.value.reason is (
                Reason.CLOCK if now_ms <= 0 else Reason.PARAMETER_INVALID
            )
            assert refused.value.field == "now_ms"
        assert node.status() == before
        if not before.size:
            found(node, chips=0)
    node.close()


@pytest.mark.parametrize("epoch_s", [60, 86_400])
def test_step_past_too_many_epochs_is_refused_and_the_largest_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch_s: int
) -> None:
    """Of a minute each they are what bounds the step, of a day each the days are."""
    monkeypatch.setattr("ledger.service.node.MAX_EPOCHS_AT_ONCE", 20)
    monkeypatch.setattr("ledger.service.node.MAX_CLOCK_STEP_MS", 3 * MILLIS_PER_DAY)
    node = open_node(tmp_path)
    status, world = node.status(), World()
    genesis = world.genesis(status.ledger_key, status.verifier_key, epoch_s=epoch_s)
    Stage(node, world).take(genesis)
    node.set_time(START_MS + 7)
    until_ms = node.epoch().not_after_ms
    largest = {
        60: until_ms + 20 * 60_000 - 1,
        86_400: START_MS + 7 + 3 * MILLIS_PER_DAY,
    }[epoch_s]
    before = node.status()
    with pytest.raises(Refused) as refused:
        node.set_time(largest + 1)
    assert refused.value.reason is Reason.PARAMETER_INVALID
    assert refused.value.field == "now_ms"
    assert refused.value.detail == (
        f"at most to {largest} at once: 3 days, and 20 epochs of {epoch_s} s"
    )
    assert node.status() == before
    opened = len(epochs(node))
    node.set_time(largest)
    assert len(epochs(node)) - opened == {60: 20, 86_400: 3}[epoch_s]
    node.close()


def test_clock_before_the_genesis_may_be_set_to_any_year(tmp_path: Path) -> None:
    node = open_node(tmp_path, clock=SimulatedClock(0))
    node.set_time(START_MS)
    stage = found(node, chips=0)
    assert stage.node.epoch().not_before_ms == START_MS
    node.close()


def test_simulated_epoch_ids_are_the_same_in_every_run_and_cannot_be_guessed_from_outside(
    tmp_path: Path,
) -> None:
    ids = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        stage = found(open_node(tmp_path / name), chips=0)
        stage.hours(2)
        ids.append([body.id for _, body in epochs(stage.node)])
        stage.node.close()
    assert ids[0] == ids[1]


def test_received_time_is_the_simulated_time(stage: Stage) -> None:
    stage.hours(1.5)
    (receipt,) = stage.take(stage.token(stage.chips[0]))
    assert receipt.received_ms == START_MS + int(1.5 * HOUR_MS)


def test_epoch_by_a_party_that_is_not_the_ledger_is_refused(stage: Stage) -> None:
    body = st.Epoch(
        iat=START_MS // 1000,
        id=bytes(16),
        counter=1,
        not_before_ms=START_MS,
        not_after_ms=START_MS + HOUR_MS,
    )
    refused = stage.refuse(st.sign(body, stage.world.authority))
    assert refused.reason is Reason.NOT_AUTHORISED


# -- real clock -----------------------------------------------------------------------------------


def real_stage(folder: Path, clock: TickingClock, chips: int = 1) -> Stage:
    node = open_node(folder, clock=clock)
    world = World(now_ms=clock.at_ms)
    status = node.status()
    stage = Stage(node, world)
    stage.take(world.genesis(status.ledger_key, status.verifier_key, clock="real"))
    stage.take(*world.parties(), world.policy(), world.licence())
    stage.chips = [world.chip(number) for number in range(chips)]
    stage.take(*(world.birth(chip) for chip in stage.chips))
    return stage


def test_real_clock_opens_the_epoch_of_the_present_only(tmp_path: Path) -> None:
    clock = TickingClock(START_MS + 5)
    stage = real_stage(tmp_path, clock)
    clock.at_ms += 10 * HOUR_MS
    stage.node.tick()
    stage.node.tick()
    bodies = [body for _, body in epochs(stage.node)]
    assert [(body.counter, body.not_before_ms) for body in bodies] == [
        (0, START_MS),
        (1, START_MS + 10 * HOUR_MS),
    ]
    assert stage.node.checkpoint() is not None
    stage.node.close()


@pytest.mark.parametrize("question", ["submit", "epoch", "tick"])
def test_whoever_asks_first_opens_the_epoch(tmp_path: Path, question: str) -> None:
    clock = TickingClock(START_MS)
    stage = real_stage(tmp_path, clock)
    clock.at_ms += HOUR_MS
    if question == "submit":
        stage.node.submit([b""])
    else:
        getattr(stage.node, question)()
    assert [body.counter for _, body in epochs(stage.node)] == [0, 1]
    stage.node.close()


def test_real_epoch_ids_differ_from_run_to_run(tmp_path: Path) -> None:
    ids = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        stage = real_stage(tmp_path / name, TickingClock(START_MS), chips=0)
        ids.add(stage.node.epoch().id)
        stage.node.close()
    assert len(ids) == 2


def test_received_time_never_goes_back_though_the_machines_clock_does(tmp_path: Path) -> None:
    clock = TickingClock(START_MS + 600_000)
    stage = real_stage(tmp_path, clock)
    (chip,) = stage.chips
    first = stage.take(stage.token(chip))[0].received_ms
    clock.at_ms -= 300_000
    second = stage.take(stage.token(chip))[0].received_ms
    clock.at_ms += 900_000
    third = stage.take(stage.token(chip))[0].received_ms
    assert (first, second, third) == (
        START_MS + 600_000,
        START_MS + 600_000,
        START_MS + 1_200_000,
    )
    stage.node.close()


def test_clock_set_back_over_a_boundary_keeps_the_epoch_that_is_open(tmp_path: Path) -> None:
    clock = TickingClock(START_MS + HOUR_MS + 5)
    stage = real_stage(tmp_path, clock)
    clock.at_ms = START_MS + HOUR_MS - 5
    stage.node.tick()
    stage.take(stage.token(stage.chips[0]))
    clock.at_ms = START_MS + 2 * HOUR_MS
    stage.node.tick()
    assert [body.counter for _, body in epochs(stage.node)] == [0, 1]
    stage.node.close()


def test_setting_the_time_of_a_real_clock_is_refused(tmp_path: Path) -> None:
    stage = real_stage(tmp_path, TickingClock(START_MS))
    with pytest.raises(Refused) as refused:
        stage.node.set_time(START_MS + 1)
    assert refused.value.reason is Reason.CLOCK
    stage.node.close()


def test_tick_does_nothing_on_a_simulated_clock(stage: Stage) -> None:
    before = stage.node.status()
    stage.node.tick()
    assert stage.node.status() == before


def test_ledger_from_the_future_is_refused_at_start(tmp_path: Path) -> None:
    clock = TickingClock(START_MS)
    real_stage(tmp_path, clock).node.close()
    early = TickingClock(START_MS - MILLIS_PER_DAY - 1)
    with pytest.raises(ConfigurationError, match="more than a day in the future"):
        open_node(tmp_path, clock=early)
    early.at_ms += 1
    open_node(tmp_path, clock=early).close()


def test_simulated_clock_goes_on_from_where_it_stood(stage: Stage, tmp_path: Path) -> None:
    stage.node.set_time(START_MS + 77)
    stage.node.close()
    node = open_node(tmp_path, clock=SimulatedClock(0))
    assert node.status().now_ms == START_MS + 77
    node.close()


# -- several processes ----------------------------------------------------------------------------


def test_two_processes_that_open_the_same_epoch_agree_on_one(
    two_nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one's epoch reaches the log after the second one has looked, before it writes."""
    first, second = two_nodes
    clock = TickingClock(START_MS)
    first.clock = second.clock = clock
    status = first.status()
    world = World()
    Stage(first, world).take(world.genesis(status.ledger_key, status.verifier_key, clock="real"))
    assert second.epoch().counter == 0
    clock.at_ms += HOUR_MS
    sign = st.sign

    def overtaken(*arguments: object) -> bytes:
        monkeypatch.setattr("ledger.service.node.st.sign", sign)
        first.tick()
        return sign(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("ledger.service.node.st.sign", overtaken)
    second.tick()
    assert second.ready() is None
    assert first.epoch() == second.epoch()
    assert [body.counter for _, body in epochs(first)] == [0, 1]
    with reading(first._engine) as connection:
        # genesis, two epochs, and the index-root before the first process's checkpoint
        assert read_head(connection).size == 4


def test_answers_are_receipts_or_refusals(stage: Stage) -> None:
    results = stage.node.submit([stage.token(stage.chips[0]), b"junk"])
    assert [type(result) for result in results] == [Receipt, Refused]
