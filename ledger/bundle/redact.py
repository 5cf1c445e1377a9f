"""Leaving statements out of a bundle: their digests stay, so everything still proves."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from ledger.bundle.format import Bundle, Entry
from ledger.protocol.statements import Kind

KEPT = frozenset((Kind.GENESIS.value, Kind.INDEX_ROOT.value))
"""Never left out: without them nothing in a bundle can be checked."""

Withhold = Callable[[Entry], bool]


@dataclass(frozen=True, slots=True)
class Redacted:
    """A bundle with statements left out, and how many of each kind."""

    bundle: Bundle
    withheld: dict[str, int]


def redact(bundle: Bundle, withhold: Withhold) -> Redacted:
    """Leave out the statements that ``withhold`` is true of, but for genesis and index-root.

    Nothing is verified. What is left out already stays out and is not counted.
    """
    counted: Counter[str] = Counter()
    entries = []
    for entry in bundle.entries():
        if entry.body is not None and entry.kind not in KEPT and withhold(entry):
            counted[entry.kind] += 1
            entry = entry._replace(body=None)
        entries.append(entry)
    return Redacted(Bundle.of(bundle.head, entries), dict(counted))


def everything(_: Entry) -> bool:
    """Every statement: what is left is who signed, how many entries there are, and when."""
    return True


def of_kinds(kinds: Collection[str]) -> Withhold:
    """Statements of these kinds; a conflict counts as ``conflict``, whatever it was sent as."""
    chosen = frozenset(kinds)
    return lambda entry: entry.kind in chosen


def before(ms: int) -> Withhold:
    """Statements that came before this ledger time, in milliseconds."""
    return lambda entry: entry.received_ms < ms
