"""A figure, its limit, and how both are printed."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """``value`` against ``limit``; ``at_least`` says on which side it has to be."""

    name: str
    value: float
    limit: float | None = None
    at_least: bool = True
    unit: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """On the right side of its limit; a figure without one is only reported."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def line(self) -> str:
        """One line for a person."""
        unit = f" {self.unit}" if self.unit else ""
        text = f"{self.name}: {self.value:,.3g}{unit}"
        if self.limit is not None:
            side = "at least" if self.at_least else "at most"
            text += f" ({side} {self.limit:g}{unit}: {'met' if self.met else 'MISSED'})"
        if self.details:
            text += "  " + json.dumps(self.details)
        return text
