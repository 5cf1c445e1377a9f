"""What a check found."""

from dataclasses import dataclass, field

from ledger.errors import ChipPassportError


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that does not fit: where it is, and what is wrong with it."""

    place: str
    problem: str


class FaultFound(ChipPassportError):
    """Ends a check."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}")
        self.fault = Fault(place, problem)


@dataclass(slots=True)
class Tally:
    """Counts of what was re-derived from entries, up to the last one or up to the first fault."""

    entries: int = 0
    signatures: int = 0
    conflicts: int = 0
    decisions: int = 0
    origin: str | None = None
    genesis: str | None = None


@dataclass(slots=True)
class CheckReport(Tally):
    """What a check counted, and the fault at which it ended."""

    checkpoints: int = 0
    tiles: int = 0
    chips: int = 0
    verifier_position: int = 0
    """Entries that the verifier had read when it last saved its state; it may have read more."""
    root: str | None = None
    faults: list[Fault] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Nothing was found."""
        return not self.faults
