"""Custody papers: births, shipments, receipts, installations, signed by whoever has to."""

from collections.abc import Callable, Iterator, Sequence

from device_sim.clock import Timeline
from device_sim.device import SimulatedChip
from device_sim.parties import Maker, Parties
from device_sim.scenario import Scenario, Site
from ledger.protocol import statements as st
from ledger.protocol.keys import SigningKey

CHIPS_PER_PAPER = 256
"""Most chips that one custody statement names (docs/statements.md)."""

Post = Callable[[bytes], None]
"""Puts a signed statement into the outgoing mail."""


class Papers:
    """Writes and signs custody statements. Offsets are milliseconds since the start."""

    def __init__(
        self, scenario: Scenario, parties: Parties, timeline: Timeline, post: Post
    ) -> None:
        self._scenario = scenario
        self._parties = parties
        self._timeline = timeline
        self._post = post
        self._makers: dict[str, Maker] = {}

    def maker(self, manufacturer: str) -> Maker:
        """The certificate authority of a manufacturer."""
        maker = self._makers.get(manufacturer)
        if maker is None:
            name = self._scenario.manufacturers[manufacturer].name
            maker = Maker(self._parties.certificate_seed(manufacturer), name)
            self._makers[manufacturer] = maker
        return maker

    def birth(self, at_ms: int, manufacturer: str, chip: SimulatedChip) -> None:
        """The manufacturer endorses a chip."""
        performance = self._scenario.models[chip.identity.model].processing_performance
        body = self.maker(manufacturer).birth(chip, self._timeline.iat(at_ms), performance)
        self._send(body, manufacturer)

    def ship(
        self,
        at_ms: int,
        sender: str,
        chips: Sequence[SimulatedChip],
        *,
        to: str,
        destination: str,
        licence: str | None,
    ) -> None:
        """``sender`` ships chips to ``to`` in the country ``destination``."""
        for ueids in _pages(chips):
            body = st.Ship(
                iat=self._timeline.iat(at_ms),
                chips=ueids,
                to=to,
                destination=destination,
                licence=licence,
            )
            self._send(body, sender)

    def receive(
        self,
        at_ms: int,
        receiver: str,
        chips: Sequence[SimulatedChip],
        *,
        sender: str,
        country: str,
    ) -> None:
        """``receiver`` confirms what ``sender`` shipped."""
        for ueids in _pages(chips):
            iat = self._timeline.iat(at_ms)
            body = st.Receive(iat=iat, chips=ueids, sender=sender, country=country)
            self._send(body, receiver)

    def install(
        self, at_ms: int, holder: str, chips: Sequence[SimulatedChip], *, site: Site, licence: str
    ) -> None:
        """``holder`` puts chips into service at ``site``."""
        for ueids in _pages(chips):
            body = st.Install(
                iat=self._timeline.iat(at_ms),
                chips=ueids,
                site=site.town,
                country=site.country,
                latitude=site.latitude,
                longitude=site.longitude,
                licence=licence,
            )
            self._send(body, holder)

    def _send(self, body: st.Body, ident: str) -> None:
        signer: SigningKey = self._parties.signer(ident)
        self._post(st.sign(body, signer))


def _pages(chips: Sequence[SimulatedChip]) -> Iterator[list[bytes]]:
    for start in range(0, len(chips), CHIPS_PER_PAPER):
        yield [chip.ueid for chip in chips[start : start + CHIPS_PER_PAPER]]
