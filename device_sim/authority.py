"""What the authority and its officers sign: genesis, parties, licences, policy, releases."""

from collections.abc import Iterator, Mapping
from typing import Any

from device_sim.clock import Timeline, days
from device_sim.parties import Maker, Parties
from device_sim.scenario import Scenario, make_policy
from ledger.protocol import statements as st
from ledger.values import MILLIS_PER_SECOND

BUCKET_BITS = 8
VERIFIER = "verifier"
_SECONDS_PER_MINUTE = 60


class Authority:
    """The licence office of a scenario. ``iat`` arguments are in seconds."""

    def __init__(self, scenario: Scenario, parties: Parties) -> None:
        self._scenario = scenario
        self._parties = parties

    def genesis(self, ledger: Mapping[str, Any], iat: int) -> bytes:
        """The genesis statement for a ledger that describes itself as in GET /v1/ledger."""
        scenario = self._scenario
        body = st.Genesis(
            iat=iat,
            origin=scenario.origin or f"{scenario.name}.chip-passport.example",
            clock=ledger["clock"]["mode"],
            epoch_s=scenario.calendar.epoch_min * _SECONDS_PER_MINUTE,
            bucket_bits=BUCKET_BITS,
            authority=self._founder(scenario.authority.id, scenario.authority.name),
            ledger=bytes.fromhex(ledger["ledger_key"]),
            verifier=st.Founder(
                id=VERIFIER, name="Verifier", key=bytes.fromhex(ledger["verifier_key"])
            ),
            officers=[self._founder(officer.id, officer.name) for officer in scenario.officer],
        )
        return self._sign(body)

    def parties(self, iat: int) -> Iterator[bytes]:
        """Every party but those that the genesis names, parents before their children."""
        for maker in self._scenario.manufacturer:
            seed = self._parties.certificate_seed(maker.id)
            yield self._sign(
                st.PartyStatement(
                    iat=iat,
                    id=maker.id,
                    name=maker.name,
                    roles=["manufacturer"],
                    country=maker.country,
                    key=self._key(maker.id),
                    root_certificate=Maker(seed, maker.name).root,
                )
            )
        for custodian in _parents_first(self._scenario):
            yield self._sign(
                st.PartyStatement(
                    iat=iat,
                    id=custodian.id,
                    name=custodian.name,
                    roles=list(custodian.roles),
                    country=custodian.country,
                    key=self._key(custodian.id),
                    parent=custodian.parent,
                )
            )

    def officers(self, iat: int) -> Iterator[bytes]:
        """Officers as parties, for a ledger whose genesis may not name them."""
        for officer in self._scenario.officer:
            yield self._sign(
                st.PartyStatement(
                    iat=iat,
                    id=officer.id,
                    name=officer.name,
                    roles=["officer"],
                    country=self._scenario.manufacturer[0].country,
                    key=self._key(officer.id),
                )
            )

    def licences(self, iat: int, timeline: Timeline) -> Iterator[bytes]:
        """Every licence, its dates on the run's own calendar."""
        for licence in self._scenario.licence:
            yield self._sign(
                st.Licence(
                    iat=iat,
                    id=licence.id,
                    holder=licence.holder,
                    countries=list(licence.countries),
                    models=list(licence.models),
                    not_before=timeline.iat(days(licence.from_day)),
                    not_after=timeline.iat(days(licence.until_day)),
                    quota_per_year=licence.quota_per_year,
                    assurance=licence.assurance,
                )
            )

    def policy(self, iat: int) -> bytes:
        """Version 1 of the policy."""
        return self._sign(make_policy(self._scenario, iat))

    def release(self, officer: str, held: Mapping[str, Any], key: str, now_ms: int) -> bytes:
        """An officer lifts the hold ``held``, a decision as in GET /v1/decisions.

        ``key`` is the thumbprint of the chip's key in hex, as its passport shows it.
        """
        body = st.Decision(
            iat=now_ms // MILLIS_PER_SECOND,
            action="release",
            ueid=bytes.fromhex(held["ueid"]),
            key=bytes.fromhex(key),
            sequence=held["sequence"] + 1,
            previous=bytes.fromhex(held["digest"]),
            rules=list(held["rules"]),
            reasons=["looked into; the cause has been put right"],
            evidence=[bytes.fromhex(held["leaf_hash"])],
            policy=bytes.fromhex(held["policy"]),
            issued_ms=now_ms,
            effective_ms=now_ms,
            appeal=f"to {self._scenario.authority.id}",
        )
        return st.sign(body, self._parties.signer(officer))

    def _founder(self, ident: str, name: str) -> st.Founder:
        return st.Founder(id=ident, name=name, key=self._key(ident))

    def _key(self, ident: str) -> bytes:
        return self._parties.signer(ident).public.to_cose_key()

    def _sign(self, body: st.Body) -> bytes:
        return st.sign(body, self._parties.signer(self._scenario.authority.id))


def _parents_first(scenario: Scenario) -> list[Any]:
    """Custodians so that each follows its parent."""
    ordered: dict[str, Any] = {}

    def add(ident: str, path: tuple[str, ...]) -> None:
        custodian = scenario.custodians[ident]
        if custodian.parent is not None and ident not in path:
            add(custodian.parent, (*path, ident))
        ordered.setdefault(ident, custodian)

    for custodian in scenario.custodian:
        add(custodian.id, ())
    return list(ordered.values())
