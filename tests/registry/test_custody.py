"""Custody: who holds a chip, by single steps and against a small model of the rules."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as h
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ledger.errors import Reason
from ledger.registry.records import licence_subject, party_subject
from ledger.values import SubjectKind
from tests.registry.bench import Bench, born, founded, installed, refuses
from tests.world import FRANKFURT, Chip, signer


@pytest.fixture
def bench() -> Bench:
    return founded()


def test_a_shipment_opens_and_a_receipt_closes_it(bench: Bench):
    chip, world = born(bench), bench.world
    verdict = bench.put(world.ship(chip))
    assert verdict.subjects == (
        (SubjectKind.CHIP, chip.ueid),
        party_subject("maker"),
        licence_subject("L-1"),
        party_subject("holder"),
    )
    record = bench.record(chip)
    assert (record.holder, record.consignee, record.shipped_ms) == ("maker", "holder", world.now_ms)
    bench.take(world.receive(chip))
    record = bench.record(chip)
    assert (record.holder, record.consignee, record.country) == ("holder", None, "DE")
    assert (record.licence, record.shipped_licence) == ("L-1", None)


def test_installation_gives_a_place_and_shipment_takes_it(bench: Bench):
    chip = installed(bench)
    record = bench.record(chip)
    assert (record.site, record.latitude, record.longitude) == ("Frankfurt 1", *FRANKFURT)
    bench.take(bench.world.ship(chip, by=bench.world.holder, to="maker", licence=None))
    record = bench.record(chip)
    assert (record.site, record.latitude, record.longitude) == (None, None, None)
    assert record.country == "DE"  # until somebody says that it arrived elsewhere


def test_receiving_without_a_licence_leaves_the_chip_under_none(bench: Bench):
    chip = installed(bench)
    bench.take(bench.world.ship(chip, by=bench.world.holder, to="rival", licence=None))
    bench.take(bench.world.receive(chip, by=signer("rival"), sender="holder"))
    assert bench.record(chip).licence is None


@pytest.mark.parametrize("licence", [None, "L-1"])
def test_a_carrier_leaves_the_licence_as_it_is(bench: Bench, licence: str | None):
    chip, world, carrier = installed(bench), bench.world, signer("carrier")
    bench.take(world.licence(id="L-2", holder="rival"))
    bench.take(world.ship(chip, by=world.holder, to="carrier", licence=licence and "L-2"))
    bench.take(world.receive(chip, by=carrier, sender="holder", country="NL"))
    record = bench.record(chip)
    assert (record.holder, record.licence, record.country) == ("carrier", "L-1", "NL")


def test_a_carrier_that_is_a_custodian_too_is_a_custodian(bench: Bench):
    chip, world = installed(bench), bench.world
    bench.take(world.ship(chip, by=world.holder, to="mixed", licence=None))
    bench.take(world.receive(chip, by=signer("mixed"), sender="holder"))
    assert bench.record(chip).licence is None


FAULTS: list[tuple[str, str, dict[str, Any], Reason]] = [
    ("ship", "rival", {}, Reason.NOT_CUSTODIAN),
    ("install", "rival", {}, Reason.NOT_CUSTODIAN),
    ("retire", "rival", {}, Reason.NOT_CUSTODIAN),
    ("receive", "rival", {"sender": "holder"}, Reason.NOTHING_IN_TRANSIT),
    ("receive", "holder", {"sender": "holder"}, Reason.NOTHING_IN_TRANSIT),
]


def paper(bench: Bench, kind: str, chip: Chip, who: str, **changes: Any) -> bytes:
    if kind == "retire":
        return bench.retire(chip, by=signer(who))
    token: bytes = getattr(bench.world, kind)(chip, by=signer(who), **changes)
    return token


@pytest.mark.parametrize(("kind", "who", "changes", "reason"), FAULTS)
def test_papers_by_others_go_on_record_under_all_they_name(
    bench: Bench, kind: str, who: str, changes: dict[str, Any], reason: Reason
):
    chip = installed(bench)
    verdict = bench.conflict(paper(bench, kind, chip, who, **changes), reason)
    assert (SubjectKind.CHIP, chip.ueid) in verdict.subjects
    assert party_subject(who) in verdict.subjects
    assert chip.ueid.hex() in verdict.detail


@pytest.mark.parametrize("kind", ["ship", "install", "retire"])
def test_a_chip_on_its_way_takes_no_paper_but_its_receipt(bench: Bench, kind: str):
    chip, world = installed(bench), bench.world
    bench.take(world.ship(chip, by=world.holder, to="rival", licence=None))
    bench.conflict(paper(bench, kind, chip, "holder"), Reason.IN_TRANSIT)
    bench.conflict(
        world.receive(chip, by=signer("mixed"), sender="holder"), Reason.NOTHING_IN_TRANSIT
    )
    bench.conflict(
        world.receive(chip, by=signer("rival"), sender="maker"), Reason.NOTHING_IN_TRANSIT
    )
    bench.take(world.receive(chip, by=signer("rival"), sender="holder"))


@pytest.mark.parametrize("kind", ["ship", "install", "retire", "receive"])
def test_a_retired_chip_takes_no_paper(bench: Bench, kind: str):
    chip = installed(bench)
    bench.take(bench.retire(chip))
    bench.conflict(paper(bench, kind, chip, "holder"), Reason.CHIP_RETIRED)


def test_a_revoked_chip_goes_back_but_never_into_service(bench: Bench):
    chip, world = installed(bench), bench.world
    bench.take(bench.decision(chip, "revoke"))
    bench.conflict(world.install(chip, site="Frankfurt 2"), Reason.CHIP_REVOKED)
    bench.take(world.ship(chip, by=world.holder, to="maker", licence=None))
    bench.take(world.receive(chip, by=world.maker, sender="holder", country="US"))
    bench.take(bench.retire(chip, by=world.maker))


@pytest.mark.parametrize(("kind", "member"), [("ship", "to"), ("receive", "sender")])
def test_the_other_party_has_to_be_one_that_takes_chips(bench: Bench, kind: str, member: str):
    chip = installed(bench)
    with refuses(Reason.PARTY_UNKNOWN, member):
        bench.put(paper(bench, kind, chip, "holder", **{member: "nobody"}))
    for who in ("beacon", "verifier", "officer", "ledger"):
        with refuses(Reason.FIELD_INVALID, member):
            bench.put(paper(bench, kind, chip, "holder", **{member: who}))


@pytest.mark.parametrize("kind", ["ship", "install"])
def test_a_named_licence_has_to_be_on_the_ledger(bench: Bench, kind: str):
    chip = installed(bench)
    with refuses(Reason.LICENCE_UNKNOWN, "licence"):
        bench.put(paper(bench, kind, chip, "holder", licence="L-9"))


@pytest.mark.parametrize("kind", ["ship", "receive", "install", "retire"])
def test_an_unknown_chip_is_refused(bench: Bench, kind: str):
    chip = installed(bench)
    stranger = bench.world.chip(77)
    with refuses(Reason.CHIP_UNKNOWN):
        bench.put(paper(bench, kind, stranger, "holder"))
    assert bench.record(chip).holder == "holder"


def test_one_wrong_chip_of_many_stops_the_whole_statement(bench: Bench):
    mine, other = installed(bench, 1), born(bench, 2)
    verdict = bench.conflict(
        bench.world.ship(mine, other, by=bench.world.holder, to="rival", licence=None),
        Reason.NOT_CUSTODIAN,
    )
    assert other.ueid.hex() in verdict.detail
    assert len(verdict.subjects) == 4


def test_a_shipment_to_oneself_moves_a_chip_between_sites(bench: Bench):
    chip, world = installed(bench), bench.world
    verdict = bench.put(world.ship(chip, by=world.holder, to="holder"))
    assert len(verdict.subjects) == 3  # chip, holder once, licence
    bench.take(world.receive(chip, sender="holder", country="FR"))
    record = bench.record(chip)
    assert (record.holder, record.country, record.site) == ("holder", "FR", None)
    assert bench.registry.licences["L-1"].used == {2026: 1}


# -- against a model -------------------------------------------------------------------------

WHO = ("maker", "holder", "rival", "carrier")
MAY = {"ship": WHO, "receive": WHO, "retire": WHO, "install": ("maker", "holder", "rival")}


class Custody(RuleBasedStateMachine):
    """Any paper by anyone in any order; the model is three variables."""

    @initialize()
    def begin(self) -> None:
        self.bench = founded()
        self.chip = born(self.bench)
        self.holder, self.to, self.retired = "maker", None, False
        self.number = 0

    def post(self, token: bytes, fault: Reason | None) -> bool:
        if fault is Reason.NOT_AUTHORISED:
            with refuses(fault):
                self.bench.put(token)
        elif fault is not None:
            self.bench.tick()  # so that no tally is ever full
            self.bench.conflict(token, fault)
        else:
            self.bench.take(token)
        return fault is None

    def fault(self, kind: str, who: str, sender: str = "") -> Reason | None:
        if who not in MAY[kind]:
            return Reason.NOT_AUTHORISED
        if self.retired:
            return Reason.CHIP_RETIRED
        if kind == "receive":
            return None if (self.to, self.holder) == (who, sender) else Reason.NOTHING_IN_TRANSIT
        if self.holder != who:
            return Reason.NOT_CUSTODIAN
        return Reason.IN_TRANSIT if self.to is not None else None

    @rule(who=h.sampled_from(WHO), to=h.sampled_from(WHO))
    def ship(self, who: str, to: str) -> None:
        fault = self.fault("ship", who)
        token = self.bench.world.ship(self.chip, by=signer(who), to=to, licence=None)
        if self.post(token, fault):
            self.to = to

    @rule(who=h.sampled_from(WHO), sender=h.sampled_from(WHO))
    def receive(self, who: str, sender: str) -> None:
        fault = self.fault("receive", who, sender)
        token = self.bench.world.receive(self.chip, by=signer(who), sender=sender)
        if self.post(token, fault):
            self.holder, self.to = who, None

    @rule()
    def receive_what_is_due(self) -> None:
        if self.to is not None:
            self.receive(self.to, self.holder)

    @rule(who=h.sampled_from(WHO))
    def install(self, who: str) -> None:
        self.post(self.bench.world.install(self.chip, by=signer(who)), self.fault("install", who))

    @rule(who=h.sampled_from(WHO), really=h.integers(0, 5))
    def retire(self, who: str, really: int) -> None:
        if really:
            return
        fault = self.fault("retire", who)
        if self.post(self.bench.retire(self.chip, by=signer(who)), fault):
            self.retired = True

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "bench"):
            record = self.bench.record(self.chip)
            assert (record.holder, record.consignee) == (self.holder, self.to)
            assert record.retired == self.retired
            assert not (record.site and record.consignee)


TestCustody = Custody.TestCase
TestCustody.settings = settings(
    max_examples=10,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
