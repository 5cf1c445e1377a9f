"""The daily look at the ledger by those who have to act on it: officers, and the scorer's flags.

Only chips with a planned release, or with an expected flag, are looked up.
"""

from collections.abc import Mapping
from typing import Any

from device_sim.authority import Authority
from device_sim.clock import days
from device_sim.gateway import Gateway, find_device
from device_sim.world import Deed, World


class Watch:
    """Remembers which chips still wait for something."""

    def __init__(self, world: World, gateway: Gateway) -> None:
        self._world = world
        self._gateway = gateway
        self._authority = Authority(world.scenario, world.parties)
        self._flags = [deed for deed in world.deeds if deed.expected == "flag"]
        self._releases = {
            (chip.ueid, deed.at_ms): deed
            for deed in world.deeds
            if deed.incident.release_after_days is not None
            for chip in deed.chips
        }
        self.released: dict[str, int] = {}
        """Ledger time of each release, by UEID in hex."""

    def look(self, at_ms: int) -> None:
        """Once a day: note flags, and put releases that are due into the mail."""
        for deed in self._flags:
            if deed.at_ms <= at_ms:
                self._note_flags(deed, at_ms)
        for (ueid, began_ms), deed in list(self._releases.items()):
            if began_ms <= at_ms and self._release(ueid, deed, at_ms):
                del self._releases[ueid, began_ms]

    def _note_flags(self, deed: Deed, at_ms: int) -> None:
        for chip in deed.chips:
            ueid = chip.ueid.hex()
            if ueid not in deed.flagged_ms:
                passport = find_device(self._gateway, ueid)
                if passport is not None and passport["flags"]:
                    deed.flagged_ms[ueid] = self._world.timeline.ledger_ms(at_ms)

    def _release(self, ueid: bytes, deed: Deed, at_ms: int) -> bool:
        """Mail a release if the chip has been held long enough; True when it is done with."""
        passport = find_device(self._gateway, ueid.hex())
        if passport is None or passport["state"] != "held":
            return False
        held = self._last_decision(ueid)
        now_ms = self._world.timeline.ledger_ms(at_ms)
        wait_days = deed.incident.release_after_days or 0.0
        wait_ms = round(days(wait_days) / self._world.timeline.speedup)
        if held is None or held["action"] != "hold" or held["issued_ms"] + wait_ms > now_ms:
            return False
        officer = deed.incident.officer or self._world.scenario.officer[0].id
        token = self._authority.release(officer, held, passport["key"], now_ms)
        self._world.mail.append(token)
        self.released[ueid.hex()] = now_ms
        return True

    def _last_decision(self, ueid: bytes) -> Mapping[str, Any] | None:
        last = None
        for item in self._gateway.decisions(ueid=ueid.hex()):
            last = item
        return last
