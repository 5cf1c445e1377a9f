"""The network between chips and ledger: sites that are cut off, and heartbeats that get lost."""

from device_sim.device import SimulatedChip


class Network:
    """Outages by site; loss by chance, drawn from each chip's own stream."""

    def __init__(self, loss: float) -> None:
        self._loss = loss
        self._outages: dict[str, list[tuple[int, int]]] = {}

    def cut(self, site: str, from_ms: int, until_ms: int) -> None:
        """No traffic from ``site`` between two offsets."""
        self._outages.setdefault(site, []).append((from_ms, until_ms))

    def reaches(self, chip: SimulatedChip, at_ms: int) -> bool:
        """Whether the chip can fetch an epoch now. Without one it makes no heartbeat."""
        spans = self._outages.get(chip.site.id, ()) if chip.site is not None else ()
        return not any(start <= at_ms < end for start, end in spans)

    def loses(self, chip: SimulatedChip) -> bool:
        """Whether the heartbeat that was just made is lost on the way."""
        return chip.radio.happens(self._loss)
