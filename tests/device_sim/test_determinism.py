"""Same seed, same bytes; and one chip more changes no other."""

from device_sim.clock import Timeline
from device_sim.device import SimulatedChip
from device_sim.events import EventQueue, Priority
from device_sim.fleet import make_chips
from device_sim.parties import Maker, Parties
from device_sim.scenario import Scenario, load_packaged
from device_sim.seeds import Stream, derive, root_seed
from ledger.protocol import statements as st
from ledger.protocol import x509

START_MS = 1_800_000_000_000
EPOCH = bytes(range(16))


def fleet(count: int) -> tuple[Scenario, list[SimulatedChip]]:
    scenario = load_packaged("small")
    cohort = scenario.cohort[0].model_copy(update={"count": count})
    return scenario, make_chips(scenario, cohort)


def beats(chip: SimulatedChip, scenario: Scenario, count: int = 3) -> list[bytes]:
    chip.place(scenario.site[0], START_MS // 1000)
    now = range(START_MS // 1000, START_MS // 1000 + count * 3_600, 3_600)
    return [chip.heartbeat(now_s, EPOCH, 10.0, 4.0) for now_s in now]


def test_one_chip_more_changes_no_other() -> None:
    scenario, few = fleet(3)
    _, more = fleet(4)
    assert [beats(chip, scenario) for chip in few] == [beats(chip, scenario) for chip in more[:3]]


def test_chips_of_one_cohort_differ_in_everything_that_identifies_them() -> None:
    _, chips = fleet(11)
    assert len({chip.ueid for chip in chips}) == 11
    assert len({chip.key.public.raw for chip in chips}) == 11


def test_cohort_with_another_id_has_other_chips() -> None:
    scenario = load_packaged("small")
    cohort = scenario.cohort[0]
    renamed = cohort.model_copy(update={"id": "other"})
    ours = {chip.ueid for chip in make_chips(scenario, cohort)}
    assert not ours & {chip.ueid for chip in make_chips(scenario, renamed)}


def test_parties_keep_their_keys_when_the_run_seed_changes() -> None:
    scenario = load_packaged("small")
    other = scenario.model_copy(update={"seed": 99})
    first, second = Parties(scenario), Parties(other)
    assert first.signer("northlight").public == second.signer("northlight").public
    seed = first.certificate_seed("northlight")
    assert Maker(seed, "N").root == Maker(seed, "N").root


def test_birth_repeats_to_the_byte_and_its_chain_holds() -> None:
    scenario, chips = fleet(1)
    maker = Maker(Parties(scenario).certificate_seed("northlight"), "Northlight")
    body = maker.birth(chips[0], START_MS // 1000, 15_824)
    again = Maker(Parties(scenario).certificate_seed("northlight"), "Northlight")
    assert body == again.birth(chips[0], START_MS // 1000, 15_824)
    key = x509.verify_chain(body.certificates, maker.root, at=START_MS, ueid=chips[0].ueid)
    assert key.verify(st.binding_message(body.ueid, body.key), body.binding)


def test_events_of_one_instant_run_by_priority_then_in_order() -> None:
    queue, seen = EventQueue(), []
    for priority, name in (
        (Priority.HEARTBEAT, "beat"),
        (Priority.PAPERS, "first paper"),
        (Priority.WORLD, "world"),
        (Priority.PAPERS, "second paper"),
    ):
        queue.at(5, priority, lambda _at, name=name: seen.append(name))  # type: ignore[misc]
    queue.at(9, Priority.PAPERS, lambda _at: seen.append("too late"))
    for event in queue.due(5):
        event.action(event.at_ms)
    assert seen == ["first paper", "second paper", "world", "beat"]
    assert len(queue) == 1


def test_event_scheduled_by_an_event_of_the_same_step_runs_in_it() -> None:
    queue, seen = EventQueue(), []
    queue.at(1, Priority.WORLD, lambda at: queue.at(at + 1, Priority.WORLD, seen.append))
    for event in queue.due(2):
        event.action(event.at_ms)
    assert seen == [2]


def test_seed_of_a_label_depends_on_the_label_alone() -> None:
    root = root_seed(1)
    assert derive(root, "a") == derive(root, "a") != derive(root, "b")
    assert root_seed(1) != root_seed("1")


def test_stream_gives_the_same_draws_and_stays_in_range() -> None:
    first, second = Stream(root_seed(1)), Stream(root_seed(1))
    draws = [first.uniform(-2, 3) for _ in range(1_000)]
    assert draws == [second.uniform(-2, 3) for _ in range(1_000)]
    assert all(-2 <= draw < 3 for draw in draws)
    assert 0.3 < sum(draws) / len(draws) < 0.7


def test_timeline_with_speed_up_keeps_order_and_scale() -> None:
    timeline = Timeline(START_MS, 60.0)
    assert timeline.ledger_ms(60_000) == START_MS + 1_000
    assert timeline.iat(0) == START_MS // 1000
