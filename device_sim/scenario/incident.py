"""The kinds of incident: what may befall chips, honest or not, and what is then expected.

Each kind says which outcome and which rules the protocol is expected to come to; a scenario may
say otherwise for one incident. Controls are honest incidents that look like a dishonest one.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ledger.protocol.fields import LicenceId, PartyId
from ledger.protocol.policy import RuleId

Outcome = Literal["hold", "revoke", "flag", "none"]
Group = Literal["diversion", "breach", "failure", "honest"]
KindName = Literal[
    "transship",
    "smuggle",
    "spoof",
    "clone",
    "over-quota",
    "expired-licence",
    "bad-firmware",
    "debug",
    "rollback",
    "teleport",
    "clock-off",
    "silent",
    "late-receive",
    "outage",
    "move",
]


@dataclass(frozen=True, slots=True)
class IncidentKind:
    """What is true of every incident of one kind.

    ``needs`` and ``takes`` are optional fields of ``Incident`` that have to, or may, be given.
    ``timed`` kinds need a ``day``; the time of the others follows from licence or delivery.
    """

    summary: str
    group: Group
    expect: Outcome
    rules: tuple[RuleId, ...]
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    timed: bool = True


KINDS: dict[str, IncidentKind] = {
    "transship": IncidentKind(
        "shipped on, with papers, to a custodian who holds no licence for it",
        "diversion",
        "hold",
        ("licence",),
        needs=("custodian", "site"),
        takes=("travel_days", "reports"),
    ),
    "smuggle": IncidentKind(
        "moved without papers; reports honestly from where it is",
        "diversion",
        "hold",
        ("location-claim", "custody-place", "travel"),
        needs=("site",),
        takes=("travel_days",),
    ),
    "spoof": IncidentKind(
        "moved, and goes on claiming the licensed site",
        "diversion",
        "none",
        (),
        needs=("site",),
        takes=("travel_days",),
    ),
    "clone": IncidentKind(
        "its key and state live a second time, at another site",
        "diversion",
        "hold",
        ("continuity", "location-claim", "custody-place", "travel"),
        needs=("site",),
    ),
    "over-quota": IncidentKind(
        "delivered beyond the licence's number for the year",
        "breach",
        "hold",
        ("licence",),
        timed=False,
    ),
    "expired-licence": IncidentKind(
        "still in service when its licence has run out",
        "breach",
        "hold",
        ("licence",),
        timed=False,
    ),
    "bad-firmware": IncidentKind(
        "runs firmware that is no reference value",
        "breach",
        "hold",
        ("measurements",),
        takes=("lasts_days",),
    ),
    "debug": IncidentKind(
        "reports with debug access enabled", "breach", "hold", ("debug",), takes=("lasts_days",)
    ),
    "rollback": IncidentKind(
        "restored from a snapshot, so that its counter runs a second time",
        "breach",
        "hold",
        ("continuity", "boot"),
        takes=("back_days",),
    ),
    "teleport": IncidentKind(
        "claims to be at a distant site and back, faster than anything flies",
        "breach",
        "hold",
        ("travel", "location-claim", "custody-place"),
        needs=("site",),
        takes=("lasts_days",),
    ),
    "clock-off": IncidentKind(
        "its clock is wrong by more than the policy allows",
        "failure",
        "flag",
        (),
        takes=("offset_s", "lasts_days"),
    ),
    "silent": IncidentKind("stops to report", "failure", "flag", (), takes=("lasts_days",)),
    "late-receive": IncidentKind(
        "moved with papers; goes into service before the receipt is signed",
        "honest",
        "none",
        (),
        needs=("custodian", "site"),
        takes=("licence", "travel_days", "late_days"),
    ),
    "outage": IncidentKind(
        "its site has no network for some hours", "honest", "none", (), takes=("lasts_days",)
    ),
    "move": IncidentKind(
        "moved with papers to another licensed site",
        "honest",
        "none",
        (),
        needs=("site",),
        takes=("custodian", "licence", "travel_days"),
    ),
}
"""Kinds by name, in the order of the report."""

USUAL_DAYS = 3.0
"""What is to be detected is detected within so many days of its showing."""

DETAILS = (
    "site",
    "custodian",
    "licence",
    "travel_days",
    "lasts_days",
    "back_days",
    "late_days",
    "offset_s",
    "reports",
)
"""Fields that only some kinds take."""

_Span = Annotated[float, Field(gt=0, le=3_650)]


class Incident(BaseModel):
    """One incident of a cohort; its chips are the next ones that no incident before it has."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    kind: KindName
    chips: Annotated[int, Field(ge=1, le=100_000)] = 1
    day: Annotated[float, Field(ge=0, le=3_650)] | None = None
    site: str | None = None
    custodian: PartyId | None = None
    licence: LicenceId | None = None
    travel_days: _Span = 3.0
    lasts_days: _Span | None = None
    back_days: _Span = 1.0
    late_days: _Span = 2.0
    offset_s: Annotated[int, Field(ge=-31_536_000, le=31_536_000)] = 7_200
    reports: bool = True
    expect: Outcome | None = None
    rules: tuple[RuleId, ...] | None = None
    within_days: _Span | None = None
    release_after_days: _Span | None = None
    officer: PartyId | None = None

    @property
    def about(self) -> IncidentKind:
        """What is true of its kind."""
        return KINDS[self.kind]

    @property
    def expected(self) -> Outcome:
        """The outcome that counts as expected."""
        return self.expect or self.about.expect

    @property
    def due_days(self) -> float:
        """Days after its beginning by which the expected outcome has come."""
        if self.within_days is not None:
            return self.within_days
        return 0.0 if self.expected == "none" else self.hold_days

    @property
    def hold_days(self) -> float:
        """Days by which a hold or a flag has come, where one comes at all."""
        travels = "travel_days" in self.about.takes
        return USUAL_DAYS + (self.travel_days if travels else 0.0)

    @property
    def grounds(self) -> tuple[RuleId, ...]:
        """Rules of which at least one has to be among a decision's grounds."""
        return self.about.rules if self.rules is None else self.rules
