"""What is wrong with a scenario file: every fault at once, each with its line and a remedy."""

from collections.abc import Iterable
from dataclasses import dataclass

from ledger.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: 1-based line (0 where the file has none), field, problem, remedy."""

    line: int
    field: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        name = f"{self.field}: " if self.field else ""
        return f"{where}{name}{self.problem}. {self.remedy}"


class ScenarioError(ConfigurationError):
    """A scenario that cannot be run. ``faults`` has all that was found, in order of lines."""

    def __init__(self, source: str, faults: Iterable[Fault]) -> None:
        self.source = source
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line))
        super().__init__("\n".join(f"{source}: {fault}" for fault in self.faults))

    def __reduce__(self) -> tuple[object, ...]:
        return (ScenarioError, (self.source, self.faults))
