"""Appraising heartbeats that say what the one before said, in a fraction of the time.

A chip that stands where it stood, in the boot it was in, with the firmware it had, gives the same
findings again. Once a heartbeat was found fine by every rule, the next one is compared with it:
where nothing differs but its times and its counter, and those are within the rules' limits, the
outcome is known. Everything else goes through ``Appraiser.feed``, and so does the first heartbeat
after any other entry of the chip or a new policy. Tests hold both ways against each other.
"""

from ledger.appraisal.appraiser import Appraiser
from ledger.appraisal.case import Case, Fix, Seen
from ledger.appraisal.rules import Tier
from ledger.bundle.twins import Report
from ledger.protocol.heartbeat import Heartbeat
from ledger.protocol.policy import Policy
from ledger.protocol.statements import Message
from ledger.registry.records import Chip, ChipState
from ledger.values import MILLIS_PER_SECOND

_FOREVER = 1 << 63


class Steady:
    """Beside an appraiser: takes what it can, and says where it cannot."""

    def __init__(self, appraiser: Appraiser) -> None:
        self._appraiser = appraiser
        self._chip: Chip | None = None
        self._case: Case | None = None
        self._last: Heartbeat | None = None
        self._leaf_hash = b""
        self._received_ms = 0
        self._taken = 0
        """Heartbeats taken since the appraiser's own records were last brought up to date."""
        self._limits = (0, 0, 0, 0)

    def settle(self) -> None:
        """Bring the case up to date, and compare with nothing until the next ``begin``."""
        self.catch_up()
        self._last = None

    def catch_up(self) -> None:
        """Bring the case up to date: before silence is judged, or anything else reads it."""
        case, last = self._case, self._last
        if case is None or last is None or case.seen is None or not self._taken:
            return
        claim, received_s = last.location, self._received_ms // MILLIS_PER_SECOND
        place = claim.latitude, claim.longitude, claim.accuracy_m
        boot = last.boot_count, last.boot_seed, last.uptime
        countries = case.seen.countries
        case.seen = Seen(self._received_ms, last.iat, *place, *boot, self._leaf_hash, countries)
        skew_s = self._limits[0]
        at_s = min(max(last.iat, received_s - skew_s), received_s + skew_s)
        case.fix = Fix(at_s, *place)
        case.clean_run += self._taken
        self._taken = 0

    def begin(self, message: Message, leaf_hash: bytes, received_ms: int) -> None:
        """The appraiser has just read this heartbeat: compare the next ones with it, if it may."""
        registry, body = self._appraiser.registry, message.body
        chip, case = registry.chip(body.ueid), self._appraiser.cases[body.ueid]
        policy = registry.policy
        self._last = None
        if policy is None or not _fine(chip, case, policy):
            return
        licence = None if chip.licence is None else registry.find_licence(chip.licence)
        span = (
            (0, _FOREVER) if licence is None else (licence.body.not_before, licence.body.not_after)
        )
        self._chip, self._case, self._last = chip, case, body
        self._limits = (policy.max_clock_skew_s, policy.max_fix_age_s, *span)
        self._leaf_hash, self._received_ms = leaf_hash, received_ms

    def take(self, report: Report, leaf_hash: bytes, received_ms: int) -> bool:
        """Take a heartbeat that follows the chip's last one; False: the long way.

        The caller has checked its freshness, and let the appraiser judge the silence before it.
        """
        last, chip, case = self._last, self._chip, self._case
        if last is None or chip is None or case is None:
            return False
        body = report.body
        skew_s, age_s, start, end = self._limits
        received_s = received_ms // MILLIS_PER_SECOND
        claim, before = body.location, last.location
        if (
            body.counter != chip.counter + 1
            or body.previous != chip.heartbeat_digest
            or claim[:3] != before[:3]
            or body.boot_count != last.boot_count
            or body.uptime < last.uptime
            or not -skew_s <= body.iat - received_s <= skew_s
            or not -skew_s <= body.iat - claim.timestamp <= age_s
            or not start <= received_s < end
            or body.measurement != last.measurement
            or body.boot_seed != last.boot_seed
            or body.debug_status != last.debug_status
            or body.model != last.model
            or body.oemid != last.oemid
            or case.silent
            or case.pending
        ):
            return False
        chip.counter = body.counter
        chip.heartbeat_digest = report.content_digest
        chip.heartbeat_ms = case.expected_since_ms = received_ms
        self._last, self._leaf_hash, self._received_ms = body, leaf_hash, received_ms
        self._taken += 1
        return True


def _fine(chip: Chip, case: Case, policy: Policy) -> bool:
    """Every rule affirms the chip's last heartbeat, and nothing else is open about it."""
    return (
        chip.state is ChipState.ACTIVE
        and case.expected_since_ms > 0
        and case.fix is not None
        and not (case.failures or case.suspect or case.silent or case.owes_report)
        and not (case.pending or case.forks or case.unclear_run or case.outside_since_ms)
        and all(tier == Tier.AFFIRMING for tier in case.tiers.values())
        and ("travel" in case.tiers or policy.travel_speed_kmh == 0)
    )
